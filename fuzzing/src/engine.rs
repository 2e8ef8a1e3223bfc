//! Loading the CPU engine of a stranger's bundle, which runs its reference tiles.

// Errors lie in place: see `coverslip_base::error`.
#![allow(clippy::result_large_err)]

use std::sync::{Arc, OnceLock};

use coverslip_base::error::Error;
use coverslip_base::log::Log;
use coverslip_base::thread::Placement;
use coverslip_bundle::Bundle;
use coverslip_engine::config::{EngineConfig, GpuConfig};
use coverslip_engine::load::Loader;
use coverslip_plugin_abi::{CPU_PRECISION_FLOAT32, CPU_PRECISION_INT8, ENGINE_CPU, FALLBACK_NONE, SELF_CHECK_FAILED};
use coverslip_vit::{Choice, Family, Int8Family};

/// Most operations of a tile that is run: a slow model is no finding.
const MOST_OPERATIONS: u128 = 1 << 28;

/// Loads the engine of each precision that the bundle is offered in; whether all of them ran. Outputs that differ from the
/// reference's are no fault of the engine.
pub(crate) fn loaded(bundle: Bundle) -> bool {
    let manifest = bundle.manifest();
    if manifest.flops_per_tile() > MOST_OPERATIONS {
        return false;
    }
    let offered = bundle.int8().is_some() && manifest.int8.as_ref().is_some_and(|int8| int8.gate.refusal().is_none());
    let precisions = [Some(CPU_PRECISION_FLOAT32), offered.then_some(CPU_PRECISION_INT8)];
    let ran = precisions.into_iter().flatten().map(|precision| load(&bundle, precision));
    ran.fold(true, |all, loaded| all & loaded.map_or_else(|error| error.code == SELF_CHECK_FAILED, |()| true))
}

fn load(bundle: &Bundle, precision: i32) -> Result<(), Error> {
    let config = config(precision);
    let log = Arc::new(Log::new(None));
    let loader = Loader { config: &config, bundle, log: &log, tell: &|_, _| Ok(()) };
    loader.cpu().map(|checked| assert!(checked.worst.is_finite(), "a self-check that passed has a figure"))
}

/// The kernels of floats and of int8 that a host gets. Where the processor has none of its own the plain ones run.
fn kernels() -> [Choice; 2] {
    // To choose them is to compare them with the plain ones, which takes longer than an input.
    static KERNELS: OnceLock<[Choice; 2]> = OnceLock::new();
    let plain = Choice::from(Family::Plain);
    let int8 = Choice { int8: Some(Int8Family::Plain), ..plain };
    *KERNELS.get_or_init(|| [Choice::floats(false).unwrap_or(plain), Choice::int8().unwrap_or(int8)])
}

/// What a host gets that asks for the CPU and this precision.
fn config(cpu_precision: i32) -> EngineConfig {
    let [floats, int8] = kernels();
    let kernels = if cpu_precision == CPU_PRECISION_INT8 { int8 } else { floats };
    EngineConfig {
        kind: ENGINE_CPU,
        fallback: FALLBACK_NONE,
        cpu_lanes: 1,
        cpu_precision,
        cpu_kernels: Some(kernels),
        cpu_tuned: false,
        placement: Placement { cpus: Vec::new(), normal_priority: true },
        gpu: GpuConfig {
            library: None,
            search: false,
            uuid: None,
            plans: None,
            plan_digest: None,
            prebuilt_only: true,
            precision: 0,
            max_batch: 0,
            memory_limit: 0,
            private_plans: false,
        },
    }
}
