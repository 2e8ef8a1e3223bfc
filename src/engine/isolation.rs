//! Where the engine runs: in this process or in a worker's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use coverslip_base::error::error;
use coverslip_engine::Loss;
use coverslip_plugin_abi as abi;

/// The time for one batch, unless the host says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The worker's program, beside the library.
pub(crate) const PROGRAM: &str = if cfg!(windows) { "coverslip-worker.exe" } else { "coverslip-worker" };

/// Where the engine runs, as the host wants it.
#[derive(Clone, Debug)]
pub(crate) struct Isolation {
    /// `COVERSLIP_ISOLATION_*`
    pub(crate) mode: i32,
    /// As the host named it.
    pub(crate) named: Option<PathBuf>,
    /// Where it would be otherwise; None: it is not known where the library is.
    pub(crate) beside: Option<PathBuf>,
    /// The time for one batch; None: any.
    pub(crate) timeout: Option<Duration>,
    /// The host knows of workers.
    pub(crate) known: bool,
}

impl Isolation {
    pub(crate) const DEFAULT_TIMEOUT: Option<Duration> = Some(DEFAULT_TIMEOUT);

    /// Whether this engine, CPU or TensorRT, runs in a process of its own.
    pub(crate) fn isolates(&self, engine: i32) -> bool {
        match self.mode {
            abi::ISOLATION_ALWAYS => true,
            abi::ISOLATION_NEVER => false,
            _ => {
                let there = cfg!(any(target_os = "linux", windows)) && self.program().is_ok();
                engine == abi::ENGINE_TENSORRT && self.known && there
            }
        }
    }

    /// The worker's program.
    pub(crate) fn program(&self) -> Result<&Path, Loss> {
        let place = self.named.as_deref().or(self.beside.as_deref());
        if let Some(place) = place.filter(|place| place.is_file()) {
            return Ok(place);
        }
        let error = error!(
            ENGINE_UNAVAILABLE,
            "expected the worker's program at {}, found none: install it beside the library, or set \
             runtime_desc.worker_path",
            place.map_or_else(|| "the library's folder".into(), |place| place.display().to_string())
        );
        Err(Loss { reason: abi::REASON_NO_WORKER, error })
    }
}

#[cfg(test)]
impl Isolation {
    /// As a host of version 1.0 leaves it.
    pub(crate) fn unset() -> Isolation {
        let timeout = Isolation::DEFAULT_TIMEOUT;
        Isolation { mode: abi::ISOLATION_AUTO, named: None, beside: None, timeout, known: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_isolates_a_gpu_where_the_worker_is_there_and_the_host_knows_of_it() {
        let folder = std::env::temp_dir().join(format!("coverslip-isolation-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let here = folder.join(PROGRAM);
        std::fs::write(&here, "").unwrap();
        let auto = Isolation { beside: Some(here.clone()), known: true, ..Isolation::unset() };
        let both = |isolation: &Isolation| [abi::ENGINE_CPU, abi::ENGINE_TENSORRT].map(|kind| isolation.isolates(kind));
        assert_eq!(both(&auto), [false, cfg!(any(target_os = "linux", windows))]);
        assert_eq!(both(&Isolation { known: false, ..auto.clone() }), [false; 2], "a host of 1.0");
        let elsewhere = Some(folder.join("nowhere"));
        assert_eq!(both(&Isolation { named: elsewhere.clone(), ..auto.clone() }), [false; 2], "what is named counts");
        assert_eq!(both(&Isolation { beside: None, ..auto.clone() }), [false; 2]);
        assert_eq!(both(&Isolation { mode: abi::ISOLATION_NEVER, ..auto.clone() }), [false; 2]);
        let always = Isolation { mode: abi::ISOLATION_ALWAYS, named: elsewhere, known: false, ..auto };
        assert_eq!(both(&always), [true; 2]);
        let loss = always.program().unwrap_err();
        assert_eq!((loss.reason, loss.error.code), (abi::REASON_NO_WORKER, abi::ENGINE_UNAVAILABLE));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
