//! The kernels of the CPU engine: what the host's tuning names, else what the table has for this processor.

use std::path::Path;

use coverslip_bundle::verified::read_file;
use coverslip_plugin_abi as abi;
use coverslip_vit::{Choice, Tuning};

use coverslip_base::error::{Result, error};

/// The largest tuning file, bytes: it has a few lines.
const MOST: u64 = 4096;

/// The kernels for this precision. Without float32 kernels there is rten; without narrower ones there is nothing.
pub(super) fn chosen(cpu_precision: i32, tuning: Option<&str>) -> Result<Option<Choice>> {
    let tuning = tuning.map(read).transpose()?.unwrap_or_default();
    let (named, table, lacking) = match cpu_precision {
        abi::CPU_PRECISION_HALF => (
            tuning.half,
            Choice::floats(true),
            "quick products of half precision: expected AVX512-FP16, NEON with fp16, or AVX512-BF16 as AMD has it",
        ),
        abi::CPU_PRECISION_INT8 => {
            (tuning.int8, Choice::int8(), "products of int8: expected AVX512-VNNI, AVX-VNNI, or NEON with dotprod")
        }
        _ => (tuning.float32, Choice::floats(false), ""),
    };
    if let Some(choice) = named.filter(|choice| !choice.runs_here()) {
        return Err(error!(
            UNSUPPORTED,
            "this processor lacks instructions of `{choice}`, which the file of runtime_desc.cpu_tuning_path names: it was \
             made on another; run `coverslip engine tune` here"
        ));
    }
    if let Some(fault) = named.and_then(Choice::fault) {
        return Err(error!(
            UNSUPPORTED,
            "{fault}; the file of runtime_desc.cpu_tuning_path names them: run `coverslip engine tune` again"
        ));
    }
    match named.or(table) {
        None if cpu_precision != abi::CPU_PRECISION_FLOAT32 => Err(error!(
            UNSUPPORTED,
            "this processor has no {lacking}; set runtime_desc.cpu_precision to COVERSLIP_CPU_PRECISION_FLOAT32"
        )),
        found => Ok(found),
    }
}

fn read(path: &str) -> Result<Tuning> {
    let refused = |why: String| error!(INVALID_ARGUMENT, "the file of runtime_desc.cpu_tuning_path, {why}");
    let bytes = read_file(Path::new(path), MOST).map_err(|e| refused(e.within(path).to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| refused(format!("{path}: {e}")))?;
    text.parse().map_err(|why: String| refused(format!("{path}: {why}")))
}
