//! The control connection: who is there, what to open, lanes, the end.

use std::sync::Arc;

use coverslip_base::error::{Error, Result, error, from_bundle};
use coverslip_base::log::Log;
use coverslip_base::sync::{Mutex, PoisonError};
use coverslip_base::thread::{Placement, settle, spawn};
use coverslip_bundle::Bundle;
use coverslip_engine::Loss;
use coverslip_engine::config::EngineConfig;
use coverslip_engine::load::{Checked, Loader};
use coverslip_plugin_abi as abi;
use coverslip_wire::control::{Hello, Open, Opened, Progress, write_loss};
use coverslip_wire::frame::{CONTROL_BUDGET, Kind};
use coverslip_wire::{Broken, Link, Transport};

use crate::inherited::{drop_rights, end, fail, give_way};
use crate::lane::{self, Site};
use crate::lines::Speaker;

/// Serves one runtime, and ends the process.
pub(crate) fn serve(control: Link) {
    // What breaks the protocol, or has no host, ends this process as a crash would: the library starts another.
    if serve_one(control).is_err() {
        fail();
    }
    end();
}

fn serve_one(mut control: Link) -> Result<(), Broken> {
    let speaker = Speaker::new(control.try_clone()?);
    let mut payload = Vec::new();
    speaker.say(Kind::Hello, &Hello { build: crate::stamp::BUILD.into(), process: std::process::id() }.write())?;
    // A host of another build sees that, and ends this.
    expect(control.receive(&mut payload, CONTROL_BUDGET, None)?, Kind::Hello)?;
    Hello::read(&payload)?;
    expect(control.receive(&mut payload, CONTROL_BUDGET, None)?, Kind::Open)?;
    let open = Open::read(&payload)?;
    give_way();
    let placement = Arc::new(open.engine.placement.clone());
    // What the engine starts of threads while it loads inherits this one's place.
    settle(&placement);
    let site = match load(open, &placement, &speaker) {
        Ok((site, opened)) => {
            speaker.say(Kind::Opened, &opened.write())?;
            site
        }
        Err(loss) => return speaker.say(Kind::Refused, &write_loss(&loss)),
    };
    drop_rights();
    answer(&mut control, &Arc::new(site), &placement)
}

/// Lanes, until the end.
fn answer(control: &mut Link, site: &Arc<Site>, placement: &Arc<Placement>) -> Result<(), Broken> {
    let (mut payload, mut lanes) = (Vec::new(), Vec::new());
    loop {
        match control.receive_link(&mut payload, CONTROL_BUDGET, None)? {
            (Kind::Lane, Some(passed)) => {
                let site = site.clone();
                // Without a thread the connection is dropped, and the host sees that.
                lanes.extend(spawn(format!("lane{}", lanes.len()), placement, move || lane::run(&site, passed)).ok());
                lanes.retain(|lane| !lane.is_finished());
            }
            (Kind::Close, None) => {
                // The host has dropped its lanes before.
                lanes.into_iter().for_each(|lane| drop(lane.join()));
                return Ok(());
            }
            _ => return Err(unexpected()),
        }
    }
}

fn expect(found: Kind, wanted: Kind) -> Result<(), Broken> {
    if found == wanted { Ok(()) } else { Err(unexpected()) }
}

fn unexpected() -> Broken {
    Broken::System(0)
}

/// Opens bundle and engine, and checks the engine.
fn load(open: Open, placement: &Arc<Placement>, speaker: &Arc<Speaker>) -> Result<(Site, Opened), Loss> {
    let log = {
        let speaker = speaker.clone();
        Arc::new(Log::new(Some(Box::new(move |level, line| speaker.line(level, line)))))
    };
    let (result, speaker, said) = (Arc::new(Mutex::new(None)), speaker.clone(), log.clone());
    let place = result.clone();
    // On a thread with the placement: rten's pool inherits it.
    let thread = spawn("load".into(), placement, move || {
        let loaded = load_here(open, &said, &speaker);
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
    });
    thread.map_err(unavailable)?.join().map_err(|_| defect())?;
    let loaded = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    loaded.unwrap_or_else(|| Err(defect()))
}

fn load_here(mut open: Open, log: &Arc<Log>, speaker: &Arc<Speaker>) -> Result<(Site, Opened), Loss> {
    let bundle = Bundle::open(&open.bundle).map_err(|e| unavailable(from_bundle(e)))?;
    if bundle.digest().0 != open.digest {
        let changed =
            error!(DIGEST_MISMATCH, "the bundle has changed since the library opened it: open the runtime again");
        return Err(unavailable(changed));
    }
    let config: &mut EngineConfig = &mut open.engine;
    let tell = |stage, part| {
        let heard = speaker.say(Kind::Progress, &Progress { stage, part }.write());
        speaker.heard();
        heard.map_err(|_| error!(CANCELLED, "the library listens no more"))
    };
    let loader = Loader { config, bundle: &bundle, log, tell: &tell };
    let Checked { engine, worst } = match loader.config.kind {
        abi::ENGINE_TENSORRT => loader.tensorrt()?,
        _ => loader.cpu().map_err(unavailable)?,
    };
    let opened = Opened { about: engine.about().clone(), worst };
    let tile = 3 * bundle.manifest().side * bundle.manifest().side;
    Ok((Site { engine, tile, speaker: speaker.clone() }, opened))
}

/// The CPU engine has no reasons.
fn unavailable(error: Error) -> Loss {
    Loss { reason: abi::REASON_NONE, error }
}

fn defect() -> Loss {
    let error = error!(INTERNAL, "a defect was caught while the engine was loaded: report it");
    Loss { reason: abi::REASON_DEFECT, error }
}
