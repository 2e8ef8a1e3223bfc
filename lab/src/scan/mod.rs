//! `coverslip scan`: the reference host. Plays a slide in scan order and writes what the plugin says about it.

mod demo;
mod levels;
mod outputs;
mod verdict;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use coverslip_bundle::Manifest;
use coverslip_plugin_abi as abi;
use coverslip_slides::generated::GeneratedSlide;
use coverslip_slides::{Mpp, Selection, SlideSource};

use crate::claim;
use crate::host::{HostError, Session, Setup, stage_name};
use crate::play::{Acquisition, Settings, StatusLine, play, resolution};
use crate::term::{Line, stop_flag};
use levels::Levels;
use outputs::{Scanned, Thumbnail};
use verdict::Verdict;

/// A slide to scan.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    /// None: the generated slide.
    pub(crate) slide: Option<PathBuf>,
    /// The folder of the outputs.
    pub(crate) out: PathBuf,
    /// Which image of the file, by which reader.
    pub(crate) selection: Selection,
    /// Micrometres per pixel, by the user.
    pub(crate) mpp: Option<f64>,
    /// The scanner's name in the profile; None: the only one there.
    pub(crate) scanner: Option<String>,
    pub(crate) setup: Setup,
    pub(crate) settings: Settings,
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Ctrl-C.
    Stopped,
    /// An alert, or more flags than expected.
    Wrong,
    /// Nothing is wrong, but something was not checked against a profile.
    Incomplete,
    Good,
}

/// Plays the slide, writes the outputs and prints the verdict.
///
/// # Errors
/// Where the slide, the bundle or the folder of the outputs cannot be used, the one is the other, or the scan ends early.
pub(crate) fn run(scan: &Scan) -> Result<Ending, Box<dyn Error>> {
    let mut source: Box<dyn SlideSource> = match &scan.slide {
        Some(path) => coverslip_slides::open(path, &scan.selection)?,
        None => Box::new(GeneratedSlide::new()),
    };
    let mpp = resolution(source.info(), scan.mpp)?;
    let claim = claim::apart(&scan.out, &scan.slide)?;
    let drafts = outputs::prepare(&claim, scan.slide.as_deref())?;
    let stop = stop_flag();
    let setup =
        if scan.slide.is_none() && scan.scanner.is_none() { &demo::held_against(&scan.setup) } else { &scan.setup };
    let session = open(setup, &stop)?;
    if scan.settings.embeddings {
        one_vector_per_tile(&session.manifest()?)?;
    }
    let Setup { profile, trust, .. } = setup;
    let levels = Levels::of(profile.as_deref(), trust, scan.scanner.as_deref(), scan.settings.alpha)?;
    let scanned = scanned(scan, source.as_mut(), &mpp, &session, &levels, &stop)?;
    let slide_json = outputs::slide_json(&scanned, &session);
    session.close()?;

    let files = outputs::write_all(drafts, &scanned, &slide_json)?;
    let played = &scanned.played;
    let mut stdout = crate::term::screen();
    let verdict = Verdict::new(played, |bit| levels.at(bit));
    for line in outputs::closing_lines(&scanned, &files).iter().chain(&verdict.lines) {
        writeln!(stdout, "{line}")?;
    }
    played.conservation()?;
    if let Some(error) = &played.error {
        return Err(format!("the slide was not scanned to its end: {error}").into());
    }
    Ok(match stop.load(Ordering::SeqCst) {
        true => Ending::Stopped,
        false if verdict.wrong => Ending::Wrong,
        false if !verdict.complete => Ending::Incomplete,
        false => Ending::Good,
    })
}

/// Refuses the embeddings of a bundle of the lab: the tokens of all tiles of a slide would be in memory until it is over.
fn one_vector_per_tile(manifest: &Manifest) -> Result<(), String> {
    match manifest.taps.iter().find(|tap| manifest.patch_tokens(tap).is_some()) {
        Some(tap) => Err(format!(
            "--embeddings: expected a bundle whose taps have one vector per tile, found patch tokens in tap {}; scan with the \
             bundle that goes to the scanner, or take some tokens of each tile with `coverslip embed --patch-tokens {}`",
            tap.name, tap.name
        )),
        None => Ok(()),
    }
}

fn open(setup: &Setup, stop: &AtomicBool) -> Result<Session, Box<dyn Error>> {
    let mut line = Line::new();
    let session = setup.open(|stage, fraction| {
        line.show(&format!("{} {:3.0} %", stage_name(stage), fraction * 100.0));
        !stop.load(Ordering::SeqCst)
    })?;
    line.clear();
    Ok(session)
}

/// Plays the slide and gathers what the outputs need.
fn scanned(
    scan: &Scan,
    source: &mut dyn SlideSource,
    mpp: &Mpp,
    session: &Session,
    levels: &Levels,
    stop: &AtomicBool,
) -> Result<Scanned, Box<dyn Error>> {
    let info = source.info().clone();
    let (acquisition, field) = Acquisition::whole_slide(&scan.settings, &levels.scanner_id, &session.info, &info, mpp)?;
    let mut thumbnail = Thumbnail::new(info.width, info.height);
    let mut see = |rect, pixels: &[u8]| thumbnail.add(rect, pixels);
    let played =
        play(session, &acquisition, source, &mut see, &mut StatusLine::new(true), stop).map_err(with_the_option)?;
    let strongest = outputs::strongest(&played.collected, session)?;
    let (mpp, settings) = (mpp.clone(), scan.settings.clone());
    let bundle = crate::host::text(&session.info.bundle_name);
    let profile = levels.profile.clone();
    Ok(Scanned { source: info, mpp, bundle, profile, settings, field, thumbnail, strongest, played })
}

/// The plugin tells its host to announce smaller frames. The user of this command does that by an option.
fn with_the_option(error: Box<dyn Error>) -> Box<dyn Error> {
    let refused = error.downcast_ref::<HostError>().filter(|refused| refused.code == abi::OUT_OF_MEMORY);
    let said = refused.map(|refused| format!("{refused}. Give a smaller size of frames with --frame-size"));
    said.map_or(error, |said| said.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slide_without_room_is_told_the_option() {
        let refused = |code| {
            let error = HostError { code, native_code: 0, message: "announce smaller frames".into() };
            with_the_option(error.into()).to_string()
        };
        assert!(
            refused(abi::OUT_OF_MEMORY)
                .ends_with("announce smaller frames. Give a smaller size of frames with --frame-size")
        );
        assert!(!refused(abi::BUSY).contains("--frame-size"));
    }
}
