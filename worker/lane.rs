//! One lane: a thread with a runner of the engine and a connection to a lane of the host's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use coverslip_base::error::{Error, error};
use coverslip_base::memory::reserve;
use coverslip_engine::{Engine, Failure, Lane, TileOutput};
use coverslip_files::fence::panic_text;
use coverslip_wire::batch::write_outputs;
use coverslip_wire::control::{write_error, write_loss};
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Link, Transport};

use crate::lines::Speaker;

/// What lanes share.
pub(crate) struct Site {
    pub(crate) engine: Arc<dyn Engine>,
    /// Bytes of a tile.
    pub(crate) tile: usize,
    pub(crate) speaker: Arc<Speaker>,
}

/// Runs batches until the host's lane ends, or breaks the protocol: then the connection is dropped.
pub(crate) fn run(site: &Site, mut link: Link) {
    let mut bench = Bench { runner: None, pixels: Vec::new(), outputs: Vec::new(), answer: Vec::new() };
    let mut found = match bench.begin(site) {
        Ok(()) => link.send(Kind::Ready, &[], None),
        Err(failure) => refuse(&mut link, failure),
    };
    while found.is_ok() {
        found = bench.serve(site, &mut link);
    }
}

/// A lane's runner and its memory, kept between batches.
struct Bench {
    runner: Option<Box<dyn Lane>>,
    /// The number of tiles, and they.
    pixels: Vec<u8>,
    outputs: Vec<TileOutput>,
    answer: Vec<u8>,
}

fn refuse(link: &mut Link, failure: Failure) -> Result<(), Broken> {
    match failure {
        Failure::Batch(error) => link.send(Kind::Failed, &[&write_error(&error)], None),
        Failure::Lost(loss) => link.send(Kind::Lost, &[&write_loss(&loss)], None),
    }
}

impl Bench {
    fn begin(&mut self, site: &Site) -> Result<(), Failure> {
        self.runner = Some(site.engine.lane()?);
        Ok(())
    }

    /// The next batch.
    fn serve(&mut self, site: &Site, link: &mut Link) -> Result<(), Broken> {
        let most = site.engine.about().max_batch * site.tile + size_of::<u32>();
        match link.receive(&mut self.pixels, most, None)? {
            Kind::Run => {}
            _ => return Err(Broken::System(0)),
        }
        site.speaker.heard();
        #[cfg(debug_assertions)]
        if let Some((_, pixels)) = self.pixels.split_at_checked(size_of::<u32>())
            && crate::poison::taste(&pixels.chunks(site.tile).collect::<Vec<_>>(), link)
        {
            return Err(Broken::Ended);
        }
        match catch_unwind(AssertUnwindSafe(|| self.infer(site))) {
            Ok(Ok(())) => link.send(Kind::Outputs, &[&self.answer], None),
            Ok(Err(failure)) => {
                // The runner is dropped on the thread that used it.
                self.runner = self.runner.take().filter(|_| matches!(failure, Failure::Batch(_)));
                refuse(link, failure)
            }
            Err(panic) => {
                // The runner's state is unknown: the next batch makes a new one.
                self.runner = None;
                let text = panic_text(&*panic);
                refuse(link, error!(INTERNAL, "a defect was caught in the worker: {text}; report it").into())
            }
        }
    }

    fn infer(&mut self, site: &Site) -> Result<(), Failure> {
        let Some((count, pixels)) = self.pixels.split_first_chunk() else { return Err(ragged().into()) };
        let count = u32::from_le_bytes(*count) as usize;
        if count == 0 || pixels.len() != count * site.tile {
            return Err(ragged().into());
        }
        let mut tiles: Vec<&[u8]> = reserve(count)?;
        tiles.extend(pixels.chunks_exact(site.tile));
        #[cfg(debug_assertions)]
        crate::poison::panic_if_asked();
        let runner = match &mut self.runner {
            Some(runner) => runner,
            None => self.runner.insert(site.engine.lane()?),
        };
        self.outputs.resize_with(count, TileOutput::default);
        runner.run(&tiles, &mut self.outputs)?;
        Ok(write_outputs(&self.outputs, &mut self.answer)?)
    }
}

fn ragged() -> Error {
    error!(INTERNAL, "a batch does not consist of tiles of the model's size")
}
