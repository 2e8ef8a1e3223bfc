//! Picks the engine and where it runs, and has it loaded on a thread of its own.
//!
//! The host's thread is not used, for two reasons. rten makes one thread pool per process, which inherits processors and
//! priority from the first thread that uses it. CUDA makes a context current on every thread that calls it.

use coverslip_base::error::{Result, error};
use coverslip_base::log::Log;
use coverslip_base::sync::Arc;
use coverslip_base::thread::spawn;
use coverslip_bundle::Bundle;
use coverslip_engine::Loss;
use coverslip_engine::config::EngineConfig;
use coverslip_engine::load::{Checked, Loader};
use coverslip_plugin_abi as abi;
use crossbeam_channel::{Sender, bounded};

use super::duty::Duty;
use super::isolation::Isolation;
use crate::restarts::Restarts;

/// The engines, checked.
pub(crate) struct Opened {
    pub(crate) duty: Duty,
    /// The largest 1 − cosine of the self-check.
    pub(crate) self_check_error: f64,
}

/// Tells the host the progress of the opening. An error from it ends the opening.
pub(crate) type OnProgress<'a> = dyn FnMut(i32, f64) -> Result<()> + 'a;

/// What is opened.
#[derive(Clone)]
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code, reason = "no worker is built here"))]
pub(crate) struct Wanted {
    pub(crate) config: EngineConfig,
    pub(crate) isolation: Isolation,
    pub(crate) bundle: Arc<Bundle>,
    /// The bundle's folder.
    pub(crate) folder: std::path::PathBuf,
    pub(crate) log: Arc<Log>,
    pub(crate) restarts: Arc<Restarts>,
}

/// Opens what is wanted, or what takes its place; `report` is called on this thread.
pub(crate) fn open(wanted: Wanted, report: &mut OnProgress<'_>) -> Result<Opened> {
    let (tell, progress) = bounded(1);
    let (done, result) = bounded(1);
    let placement = Arc::new(wanted.config.placement.clone());
    let thread = spawn("load".into(), &placement, move || {
        let _ = done.send(Choice { wanted, tell: Listener(tell) }.load());
    })?;
    // Until the thread drops its sender.
    let heard = progress.iter().try_for_each(|(stage, part)| report(stage, part));
    drop(progress);
    let _ = thread.join();
    if let Err(stop) = heard {
        // The engine may be open already: the loader goes on while its last report is heard.
        if let Ok(Ok(opened)) = result.try_recv() {
            let _ = spawn("unload".into(), &placement, move || drop(opened));
        }
        return Err(stop);
    }
    result.try_recv().unwrap_or_else(|_| {
        Err(error!(INTERNAL, "a defect was caught while the engine loaded the graph: report it with the bundle"))
    })
}

/// Reports to the host from the thread that loads.
#[derive(Clone)]
struct Listener(Sender<(i32, f64)>);

impl Listener {
    /// Waits until the host has heard. Fails when the host has cancelled.
    fn tell(&self, stage: i32, part: f64) -> Result<()> {
        self.0.send((stage, part)).map_err(|_| error!(CANCELLED, "nobody listens"))
    }
}

struct Choice {
    wanted: Wanted,
    tell: Listener,
}

impl Choice {
    fn load(&self) -> Result<Opened> {
        let config = &self.wanted.config;
        let opened = |checked: Checked, spare, loss| Opened {
            duty: Duty::new(checked.engine, spare, loss),
            self_check_error: checked.worst,
        };
        if config.kind == abi::ENGINE_CPU {
            return Ok(opened(self.cpu()?, None, None));
        }
        match self.tensorrt() {
            Ok(checked) => {
                // The spare is loaded and checked now, because a running slide leaves no time for it.
                let on_cpu = config.fallback == abi::FALLBACK_ON_CPU;
                let spare = if on_cpu { Some(self.cpu()?.engine) } else { None };
                Ok(opened(checked, spare, None))
            }
            Err(loss) if self.may_fall_back(&loss) => Ok(opened(self.cpu()?, None, Some(loss))),
            Err(loss) => Err(loss.error),
        }
    }

    fn may_fall_back(&self, loss: &Loss) -> bool {
        let EngineConfig { kind, fallback, .. } = self.wanted.config;
        kind == abi::ENGINE_AUTO && fallback != abi::FALLBACK_NONE && loss.error.code != abi::CANCELLED
    }

    fn cpu(&self) -> Result<Checked> {
        match self.wanted.isolation.isolates(abi::ENGINE_CPU) {
            true => self.apart(abi::ENGINE_CPU).map_err(|loss| loss.error),
            false => self.here(|loader| loader.cpu()),
        }
    }

    fn tensorrt(&self) -> Result<Checked, Loss> {
        match self.wanted.isolation.isolates(abi::ENGINE_TENSORRT) {
            true => self.apart(abi::ENGINE_TENSORRT),
            false => self.here(|loader| loader.tensorrt()),
        }
    }

    /// In this process.
    fn here<T>(&self, load: impl FnOnce(&Loader<'_>) -> T) -> T {
        let Wanted { config, bundle, log, .. } = &self.wanted;
        load(&Loader { config, bundle, log, tell: &|stage, part| self.tell.tell(stage, part) })
    }

    /// In a process of its own.
    #[cfg(any(target_os = "linux", windows))]
    fn apart(&self, kind: i32) -> Result<Checked, Loss> {
        use super::remote::open;
        use super::remote::order::{Order, shape};

        let Wanted { config, isolation, bundle, folder, log, restarts } = &self.wanted;
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let mut engine = EngineConfig { kind, ..config.clone() };
        // The worker's folder is another.
        engine.gpu.plans = engine.gpu.plans.map(|plans| std::path::absolute(&plans).unwrap_or(plans));
        let order = Order {
            program: isolation.program()?.to_owned(),
            timeout: isolation.timeout,
            open: coverslip_wire::control::Open { bundle: absolute, digest: bundle.digest().0, engine },
            shape: shape(bundle.manifest()),
            log: log.clone(),
            restarts: restarts.clone(),
        };
        open(order, &|stage, part| self.tell.tell(stage, part))
    }

    #[cfg(not(any(target_os = "linux", windows)))]
    fn apart(&self, _: i32) -> Result<Checked, Loss> {
        let error = error!(UNSUPPORTED, "an engine in a process of its own is built for Linux and Windows alone");
        Err(Loss { reason: abi::REASON_NO_WORKER, error })
    }
}
