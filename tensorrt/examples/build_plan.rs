//! Builds a plan from an ONNX file, with a line of progress; on RTX also without a GPU.
//!
//! ```text
//! cargo run --example build_plan -- /opt/lib/libtensorrt_rtx.so.1 model.onnx --target sm86,sm89 --batch 1,16,64 \
//!     --out model.plan
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use coverslip_tensorrt::{
    Builder, ComputeCapability, InputRange, Library, Model, ProgressMonitor, Runtime, Severity, Tensor,
};

const USAGE: &str = "usage: build_plan LIBRARY MODEL.onnx [--target sm86,…] [--batch MIN,OPT,MAX] [--out PLAN]";

/// One line on the terminal: the outermost phase and how far it is.
#[derive(Default)]
struct Line(Mutex<Option<(String, u32)>>);

impl ProgressMonitor for Line {
    fn phase_start(&self, phase: &str, parent: Option<&str>, steps: u32) {
        if parent.is_none() {
            *self.0.lock().unwrap() = Some((phase.to_owned(), steps));
        }
    }

    fn step_complete(&self, phase: &str, step: u32) -> ControlFlow<()> {
        if let Some((outermost, steps)) = &*self.0.lock().unwrap()
            && outermost == phase
        {
            eprint!("\r{phase}: {} of {steps}   ", step + 1);
        }
        ControlFlow::Continue(())
    }

    fn phase_finish(&self, phase: &str) {
        if self.0.lock().unwrap().as_ref().is_some_and(|(outermost, _)| outermost == phase) {
            eprintln!();
        }
    }
}

struct Arguments {
    library: PathBuf,
    model: PathBuf,
    targets: Vec<ComputeCapability>,
    batch: [i64; 3],
    out: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut positional = Vec::new();
    let (mut targets, mut batch, mut out) = (Vec::new(), [1, 8, 16], None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--target" => targets = list(&arguments.next().ok_or(USAGE)?)?,
            "--batch" => batch = list(&arguments.next().ok_or(USAGE)?)?.try_into().map_err(|_| USAGE)?,
            "--out" => out = Some(arguments.next().ok_or(USAGE)?.into()),
            _ => positional.push(PathBuf::from(argument)),
        }
    }
    let [library, model] = positional.try_into().map_err(|_| USAGE)?;
    Ok(Arguments { library, model, targets, batch, out })
}

fn list<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split(',').map(str::parse).collect()
}

fn show(what: &str, tensors: &[Tensor]) {
    for tensor in tensors {
        println!("{what}: {tensor}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { library, model, targets, batch, out } = arguments()?;
    let library = Library::load(std::path::absolute(library)?)?;
    println!(
        "{library:?}; driver: {}",
        match library.driver() {
            Ok(driver) => format!("{driver:?}"),
            Err(error) => error.to_string(),
        }
    );
    library.on_log(Severity::WARNING, |severity, line| eprintln!("[{severity}] {line}"));

    let mut builder = Builder::new(library)?;
    let mut network = builder.network()?;
    let path = std::path::absolute(&model)?;
    let begin = Instant::now();
    network.parse(&Model::new(&std::fs::read(&model)?).at(&path))?;
    println!("parsed into {} layers in {:.2} s", network.layers(), begin.elapsed().as_secs_f64());
    show("input", &network.inputs());
    show("output", &network.outputs());

    let mut config = builder.config()?;
    if !targets.is_empty() {
        config.set_compute_capabilities(&targets)?;
    }
    config.set_progress_monitor(Line::default());
    // What is open is the batch.
    let inputs = network.inputs();
    let at = |shape: &[i64], batch: i64| shape.iter().map(|&e| if e < 0 { batch } else { e }).collect::<Vec<_>>();
    let shapes: Vec<_> = inputs.iter().map(|input| batch.map(|size| at(&input.shape, size))).collect();
    let ranges: Vec<_> = (inputs.iter().zip(&shapes))
        .map(|(input, [min, opt, max])| InputRange { input: &input.name, min, opt, max })
        .collect();
    config.add_profile(&builder.profile(&ranges)?)?;

    let begin = Instant::now();
    let plan = builder.build(&mut network, &mut config)?;
    println!("built {} bytes in {:.2} s", plan.len(), begin.elapsed().as_secs_f64());
    if let Some(out) = &out {
        std::fs::write(out, &plan)?;
    }
    describe(library, &plan, out.as_deref());
    Ok(())
}

/// What the plan is on this machine: an engine, or a reason why not.
fn describe(library: Library, plan: &[u8], out: Option<&Path>) {
    match Runtime::new(library).and_then(|runtime| runtime.deserialize(plan)) {
        Ok(engine) => {
            show("engine input", &engine.inputs());
            show("engine output", &engine.outputs());
            println!("device memory per context: {} bytes", engine.device_memory());
        }
        Err(error) => println!("it cannot run here: {error}"),
    }
    if let Some(out) = out {
        println!("wrote {}", out.display());
    }
}
