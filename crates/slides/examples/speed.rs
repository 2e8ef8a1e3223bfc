//! Opening and reading a slide, by this crate and by OpenSlide in turn, on one thread.
//!
//! `speed FILE ROUNDS [own]` prints the seconds of each round and their median ratio, and the largest memory that this
//! process has had. With `own`, OpenSlide is left out.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use coverslip_slides::{ReaderKind, Rect, Selection, open};

/// As the scan's default.
const FRAME: u32 = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().ok_or("expected a slide")?);
    let rounds: usize = arguments.next().ok_or("expected a number of rounds")?.to_string_lossy().parse()?;
    let both = arguments.next().is_none();
    let mut out = std::io::stdout().lock();
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let own = seconds(&file, ReaderKind::Own)?;
        if both {
            let other = seconds(&file, ReaderKind::OpenSlide)?;
            ratios.push(own / other);
            writeln!(out, "coverslip {own:.4} s, OpenSlide {other:.4} s")?;
        } else {
            writeln!(out, "coverslip {own:.4} s")?;
        }
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        writeln!(
            out,
            "coverslip takes {median:.3} of OpenSlide's time, {:.3} to {:.3}",
            ratios[0],
            ratios[ratios.len() - 1]
        )?;
    }
    // Linux alone says it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("memory: not known here");
    writeln!(out, "{}", peak.split_whitespace().collect::<Vec<_>>().join(" "))?;
    Ok(())
}

/// Opens a slide and reads it frame by frame.
fn seconds(file: &std::path::Path, reader: ReaderKind) -> Result<f64, Box<dyn Error>> {
    let started = Instant::now();
    let mut slide = open(file, &Selection { reader: Some(reader), scene: None })?;
    let (width, height) = (slide.info().width, slide.info().height);
    let mut pixels = Vec::new();
    for y in (0..height).step_by(FRAME as usize) {
        for x in (0..width).step_by(FRAME as usize) {
            let rect = Rect { x, y, width: FRAME.min(width - x), height: FRAME.min(height - y) };
            slide.read(rect, &mut pixels)?;
        }
    }
    Ok(started.elapsed().as_secs_f64())
}
