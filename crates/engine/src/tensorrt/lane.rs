//! One lane on the GPU: a context, a stream, pinned buffers. A batch is copied to the device, run and copied back in
//! one go; two lanes overlap the one's copies with the other's run.

use coverslip_bundle::ComposedGraph;
use coverslip_plugin_abi::{REASON_DEVICE_LOST, REASON_OUT_OF_MEMORY};
use coverslip_tensorrt as tensorrt;

use super::cuda::{CudaError, Device, Graph, Plain, Transfers};
use super::signature::{Output, Signature};
use crate::outputs::{BatchOutputs, FeatureOutputs};
use crate::{Failure, Lane, Loss, TileMemory, TileOutput};
use coverslip_base::error::{Error, Result, error};
use coverslip_base::memory::reserve;
use coverslip_base::sync::{Arc, Mutex, PoisonError, Weak};

/// Runs of one batch size before it is recorded. In the first one TensorRT prepares what a new shape needs.
const RUNS_BEFORE_RECORDING: u32 = 2;

/// What a lane runs on. It is made at open, so that no memory is asked for while a slide runs.
pub(super) struct Bench {
    // A graph ends before the context whose memory it uses, the context before the buffers that it is bound to.
    recording: Recording,
    context: tensorrt::Context,
    transfers: Transfers,
    stream: tensorrt::Stream,
    device: Arc<Device>,
    signature: Arc<Signature>,
    /// The batch that the context is shaped for; 0: none yet.
    shaped: usize,
}

/// How far the context's batch size is from being recorded as a CUDA graph. Only one size is recorded at a time, because
/// a recording holds only while the context keeps its shape.
enum Recording {
    /// Run this many times without recording.
    Settling(u32),
    Recorded(Graph),
    /// The driver or TensorRT refuses to record, or TensorRT records by itself.
    Refused,
}

impl Bench {
    /// Binds buffers to a context of `engine`; `record`: whether this side records CUDA graphs.
    pub(super) fn new(
        device: &Arc<Device>,
        mut context: tensorrt::Context,
        signature: &Arc<Signature>,
        record: bool,
    ) -> Result<Bench, Loss> {
        let transfers = Transfers::new(device, signature.input_bytes(), signature.output_bytes()).map_err(cuda_lost)?;
        let outside = || Loss { reason: REASON_DEVICE_LOST, error: error!(INTERNAL, "a part outside its buffer") };
        context.bind(ComposedGraph::PIXELS, &transfers.input().ok_or_else(outside)?).map_err(lost)?;
        for output in &signature.outputs {
            let memory = transfers.output(output.at, output.bytes(signature.max_batch)).ok_or_else(outside)?;
            context.bind(&output.name, &memory).map_err(lost)?;
        }
        Ok(Bench {
            recording: if record { Recording::Settling(0) } else { Recording::Refused },
            context,
            stream: transfers.stream().for_tensorrt(),
            transfers,
            device: device.clone(),
            signature: signature.clone(),
            shaped: 0,
        })
    }

    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        let (count, size) = (tiles.len(), self.signature.tile_bytes());
        if count == 0 || count > self.signature.max_batch || tiles.iter().any(|tile| tile.len() != size) {
            return Err(error!(INTERNAL, "{count} tiles, or tiles of another size than the model's").into());
        }
        self.transfers.upload(tiles).map_err(cuda_lost)?;
        self.infer(count)?;
        for output in &self.signature.outputs {
            self.transfers.download(output.at, output.bytes(count)).map_err(cuda_lost)?;
        }
        self.transfers.wait().map_err(cuda_lost)?;
        Ok(self.read(count)?.scatter(&self.signature.taps, outputs)?)
    }

    /// Puts the graph's run on the stream.
    fn infer(&mut self, tiles: usize) -> Result<(), Failure> {
        self.transfers.lend();
        if self.shaped != tiles {
            self.shaped = 0;
            let shape = self.signature.input_shape(tiles as i64);
            self.context.set_input_shape(ComposedGraph::PIXELS, &shape).map_err(lost)?;
            self.shaped = tiles;
            if !matches!(self.recording, Recording::Refused) {
                self.recording = Recording::Settling(0);
            }
        }
        match &mut self.recording {
            Recording::Recorded(graph) => Ok(graph.launch().map_err(cuda_lost)?),
            Recording::Settling(runs) if *runs >= RUNS_BEFORE_RECORDING => self.record_and_run(),
            Recording::Settling(runs) => {
                *runs += 1;
                Ok(self.context.enqueue(&self.stream).map_err(lost)?)
            }
            Recording::Refused => Ok(self.context.enqueue(&self.stream).map_err(lost)?),
        }
    }

    fn record_and_run(&mut self) -> Result<(), Failure> {
        let (context, stream) = (&mut self.context, &self.stream);
        let Some(mut graph) = self.transfers.record(|| context.enqueue(stream).is_ok()) else {
            self.recording = Recording::Refused;
            return Ok(self.context.enqueue(&self.stream).map_err(lost)?);
        };
        let launched = graph.launch().map_err(cuda_lost);
        self.recording = Recording::Recorded(graph);
        Ok(launched?)
    }

    fn read(&self, tiles: usize) -> Result<BatchOutputs<'_>> {
        let (embeddings, of_sae) = self.signature.outputs.split_at(self.signature.taps.len());
        let features = match of_sae {
            [index, value, active, error] => Some(FeatureOutputs {
                index: self.output(index, tiles),
                value: self.output(value, tiles),
                active: self.output(active, tiles),
                error: self.output(error, tiles),
            }),
            // No SAE.
            _ => None,
        };
        let mut taps = reserve(embeddings.len())?;
        taps.extend(embeddings.iter().map(|output| self.output(output, tiles)));
        Ok(BatchOutputs { embeddings: taps, features })
    }

    fn output<T: Plain>(&self, output: &Output, tiles: usize) -> &[T] {
        self.transfers.read(output.at, output.bytes(tiles) / size_of::<T>())
    }
}

/// The benches that no lane uses.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Bench>>);

impl Pool {
    pub(super) fn put(&self, bench: Bench) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bench);
    }

    pub(super) fn take(&self) -> Option<Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// A bench in use. It goes back to the pool unless something went wrong.
pub(super) struct TensorRtLane {
    bench: Option<Bench>,
    pool: Weak<Pool>,
}

impl TensorRtLane {
    /// On the lane's own thread.
    pub(super) fn new(bench: Bench, pool: &Arc<Pool>) -> Result<TensorRtLane, Loss> {
        bench.device.enter().map_err(cuda_lost)?;
        Ok(TensorRtLane { bench: Some(bench), pool: Arc::downgrade(pool) })
    }
}

impl Lane for TensorRtLane {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        // Taken out during the run: after a panic its state is unknown.
        let Some(mut bench) = self.bench.take() else {
            return Err(error!(INTERNAL, "this lane failed before").into());
        };
        let done = bench.run(tiles, outputs);
        if !matches!(done, Err(Failure::Lost(_))) {
            self.bench = Some(bench);
        }
        done
    }

    fn read_from(&mut self, memory: &TileMemory) -> bool {
        self.bench.as_mut().is_some_and(|bench| bench.transfers.read_from(memory))
    }
}

impl Drop for TensorRtLane {
    fn drop(&mut self) {
        if let (Some(mut bench), Some(pool)) = (self.bench.take(), self.pool.upgrade()) {
            bench.transfers.forget_source();
            pool.put(bench);
        }
    }
}

/// A CUDA call failed: the engine is lost.
pub(super) fn cuda_lost(error: CudaError) -> Loss {
    let native = error.code;
    let (reason, error) = match error.is_out_of_memory() {
        true => (REASON_OUT_OF_MEMORY, error!(OUT_OF_MEMORY, "the GPU's memory is used up: {error}")),
        false => (REASON_DEVICE_LOST, error!(ENGINE_UNAVAILABLE, "the GPU failed: {error}; see nvidia-smi")),
    };
    Loss { reason, error: error.with_native(native) }
}

/// TensorRT refused a call: the engine is lost.
pub(super) fn lost(error: tensorrt::Error) -> Loss {
    let text = error.to_string();
    if text.to_ascii_lowercase().contains("out of memory") {
        return Loss {
            reason: REASON_OUT_OF_MEMORY,
            error: error!(OUT_OF_MEMORY, "the GPU's memory is used up: {text}"),
        };
    }
    Loss { reason: REASON_DEVICE_LOST, error: error!(ENGINE_UNAVAILABLE, "TensorRT failed: {text}") }
}

impl From<Loss> for Failure {
    fn from(loss: Loss) -> Self {
        Failure::Lost(loss)
    }
}

impl From<Loss> for Error {
    fn from(loss: Loss) -> Self {
        loss.error
    }
}
