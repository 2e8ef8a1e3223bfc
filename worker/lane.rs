//! One lane: a thread with a runner of the engine and a connection to a lane of the host's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use coverslip_base::error::{Error, error};
use coverslip_base::memory::reserve;
use coverslip_engine::{Engine, Failure, Lane, TileMemory, TileOutput};
use coverslip_files::fence::panic_text;
use coverslip_plugin_abi::LOG_DEBUG;
use coverslip_wire::batch::{read_shared, write_outputs, write_ready};
use coverslip_wire::control::{write_error, write_loss};
use coverslip_wire::frame::Kind;
use coverslip_wire::{Broken, Link, Passed, Transport};

use crate::lines::Speaker;

/// What lanes share.
pub(crate) struct Site {
    pub(crate) engine: Arc<dyn Engine>,
    /// Bytes of a tile.
    pub(crate) tile: usize,
    pub(crate) speaker: Arc<Speaker>,
}

impl Site {
    /// Bytes of the largest batch.
    fn batch_bytes(&self) -> usize {
        self.engine.about().max_batch * self.tile
    }
}

/// Runs batches until the host's lane ends, or breaks the protocol: then the connection is dropped.
pub(crate) fn run(site: &Site, (mut link, memory): Passed) {
    let memory = memory.and_then(|memory| Some(Arc::new(memory.map(site.batch_bytes()).ok()?) as TileMemory));
    let mut bench = Bench { runner: None, memory, payload: Vec::new(), outputs: Vec::new(), answer: Vec::new() };
    let mut found = match bench.begin(site) {
        Ok(()) => link.send(Kind::Ready, &[&write_ready(bench.memory.is_some())], None),
        Err(failure) => refuse(&mut link, failure),
    };
    while found.is_ok() {
        found = bench.serve(site, &mut link);
    }
}

/// A lane's runner and its memory, kept between batches.
struct Bench {
    // Ends before the memory from which it reads.
    runner: Option<Box<dyn Lane>>,
    /// The host's, where it has given some: tiles lie there, or come over the connection.
    memory: Option<TileMemory>,
    /// What came over the connection: the number of tiles, and they, if they are not in the memory.
    payload: Vec<u8>,
    outputs: Vec<TileOutput>,
    answer: Vec<u8>,
}

fn refuse(link: &mut Link, failure: Failure) -> Result<(), Broken> {
    match failure {
        Failure::Batch(error) => link.send(Kind::Failed, &[&write_error(&error)], None),
        Failure::Lost(loss) => link.send(Kind::Lost, &[&write_loss(&loss)], None),
    }
}

/// A runner, which may read from this memory.
fn runner(site: &Site, memory: Option<&TileMemory>) -> Result<Box<dyn Lane>, Failure> {
    let mut runner = site.engine.lane()?;
    if memory.is_some_and(|memory| runner.read_from(memory)) {
        site.speaker.line(LOG_DEBUG, c"the device reads a lane's tiles from shared memory by itself");
    }
    Ok(runner)
}

/// The batch's pixels: `shared` tiles of the memory, or those that came over the connection.
fn pixels<'b>(
    tile: usize,
    shared: Option<usize>,
    memory: Option<&'b TileMemory>,
    payload: &'b [u8],
) -> Result<&'b [u8], Error> {
    let ragged = || error!(INTERNAL, "a batch does not consist of tiles of the model's size");
    if let Some(count) = shared {
        let whole: &[u8] = memory.map(|memory| (**memory).as_ref()).unwrap_or_default();
        return count.checked_mul(tile).and_then(|bytes| whole.get(..bytes)).ok_or_else(ragged);
    }
    let (count, pixels) = payload.split_first_chunk().ok_or_else(ragged)?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > 0 && Some(pixels.len()) == count.checked_mul(tile) { Ok(pixels) } else { Err(ragged()) }
}

impl Bench {
    fn begin(&mut self, site: &Site) -> Result<(), Failure> {
        self.runner = Some(runner(site, self.memory.as_ref())?);
        Ok(())
    }

    /// The next batch.
    fn serve(&mut self, site: &Site, link: &mut Link) -> Result<(), Broken> {
        let shared = match link.receive(&mut self.payload, site.batch_bytes() + size_of::<u32>(), None)? {
            Kind::Run => None,
            // Without memory it breaks the protocol.
            Kind::RunShared if self.memory.is_some() => {
                Some(read_shared(&self.payload, site.engine.about().max_batch)?)
            }
            _ => return Err(Broken::System(0)),
        };
        site.speaker.heard();
        #[cfg(debug_assertions)]
        if let Ok(pixels) = pixels(site.tile, shared, self.memory.as_ref(), &self.payload)
            && crate::poison::taste(&pixels.chunks(site.tile).collect::<Vec<_>>(), link, &site.speaker)
        {
            return Err(Broken::Ended);
        }
        match catch_unwind(AssertUnwindSafe(|| self.infer(site, shared))) {
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

    fn infer(&mut self, site: &Site, shared: Option<usize>) -> Result<(), Failure> {
        let memory = self.memory.as_ref();
        let pixels = pixels(site.tile, shared, memory, &self.payload)?;
        let mut tiles: Vec<&[u8]> = reserve(pixels.len() / site.tile)?;
        tiles.extend(pixels.chunks_exact(site.tile));
        #[cfg(debug_assertions)]
        crate::poison::panic_if_asked();
        let runner = match &mut self.runner {
            Some(runner) => runner,
            none => none.insert(runner(site, memory)?),
        };
        self.outputs.resize_with(tiles.len(), TileOutput::default);
        runner.run(&tiles, &mut self.outputs)?;
        Ok(write_outputs(&self.outputs, &mut self.answer)?)
    }
}
