//! What has to be the same for a run that was cut off to go on.

use std::path::PathBuf;

use coverslip_bundle::Digest;
use coverslip_plugin_abi as abi;
use serde_json::{Value, json};

use super::grid::Field;
use super::request::Request;
use crate::host::EngineChoice;
use crate::resume;

/// Of this command's keys.
const VERSION: u32 = 4;

/// The key of a run with the bundle of this digest.
pub(super) fn of(request: &Request, bundle: &[u8; 32]) -> String {
    let Request { cutting, naming, background, tokens, setup, .. } = request;
    // Where the engine runs changes no bit of what it computes.
    let EngineChoice { engine, tensorrt_library, isolation: _, plans, precision, cpu_precision, cpu_tuning, max_batch } =
        &setup.engine;
    let field = match cutting.field {
        Field::Grid => "grid",
        Field::Tile => "tile",
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let mut key = vec![
        ("bundle", json!(Digest(*bundle).to_string())),
        ("field", json!(field)),
        ("mpp", json!(cutting.mpp)),
        ("stretch", json!(cutting.stretch)),
        ("background", json!(background)),
        ("slide_separator", json!(naming.slide_separator)),
        ("scanner", json!(naming.scanner)),
        ("engine", engine_name(*engine)),
        ("tensorrt_library", json!(path(tensorrt_library))),
        ("plans", json!(path(plans))),
        ("precision", precision_name(*precision)),
        ("cpu_precision", cpu_precision_name(*cpu_precision)),
        ("max_batch", json!(max_batch)),
    ];
    // Without these options the key is that of runs from before there were any.
    key.extend(cpu_tuning.as_ref().map(|file| ("cpu_tuning", json!(file.display().to_string()))));
    key.extend(cutting.selection.reader.map(|reader| ("reader", json!(format!("{reader:?}")))));
    key.extend(cutting.selection.scene.map(|scene| ("scene", json!(scene))));
    if let Some(tokens) = tokens {
        key.push(("patch_tokens", json!(tokens.tap)));
        key.push(("tokens_per_tile", json!(tokens.per_tile)));
        key.push(("token_seed", json!(tokens.seed)));
    }
    resume::key(VERSION, &key)
}

fn engine_name(engine: i32) -> Value {
    match engine {
        abi::ENGINE_CPU => json!("cpu"),
        abi::ENGINE_AUTO => json!("auto"),
        abi::ENGINE_TENSORRT => json!("tensorrt"),
        other => json!(other),
    }
}

fn precision_name(precision: i32) -> Value {
    match precision {
        abi::PRECISION_FLOAT32 => json!("float32"),
        abi::PRECISION_FLOAT16 => json!("float16"),
        abi::PRECISION_BFLOAT16 => json!("bfloat16"),
        other => json!(other),
    }
}

fn cpu_precision_name(precision: i32) -> Value {
    match precision {
        abi::CPU_PRECISION_FLOAT32 => json!("float32"),
        abi::CPU_PRECISION_HALF => json!("half"),
        abi::CPU_PRECISION_INT8 => json!("int8"),
        other => json!(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::embedder::Naming;
    use super::super::grid::Cutting;
    use super::super::rows::TokensAsked;
    use super::*;
    use crate::host::Setup;
    use coverslip_slides::{ReaderKind, Selection};

    /// The key is in the journals of runs that were cut off. Where this text has to change, so has its version.
    #[test]
    fn the_key_is_the_one_of_its_version() {
        let mut request = Request {
            inputs: vec!["a.svs".into()],
            out: "e.parquet".into(),
            force: true,
            cutting: Cutting { selection: Selection::default(), field: Field::Grid, mpp: None, stretch: false },
            background: false,
            naming: Naming { slide_separator: None, scanner: String::new() },
            tokens: None,
            setup: Setup {
                engine: EngineChoice {
                    engine: abi::ENGINE_CPU,
                    precision: abi::PRECISION_FLOAT16,
                    ..EngineChoice::default()
                },
                ..Setup::default()
            },
        };
        let bundle = "ab".repeat(32);
        assert_eq!(
            of(&request, &[0xab; 32]),
            format!(
                "v4: bundle=\"{bundle}\", field=\"grid\", mpp=null, stretch=false, background=false, \
                 slide_separator=null, scanner=\"\", engine=\"cpu\", tensorrt_library=null, plans=null, \
                 precision=\"float16\", cpu_precision=\"float32\", max_batch=0"
            )
        );
        request.cutting =
            Cutting { selection: Selection::default(), field: Field::Tile, mpp: Some(0.25), stretch: true };
        request.background = true;
        request.naming = Naming { slide_separator: Some("_".into()), scanner: "lab, 1".into() };
        request.setup.engine = EngineChoice {
            engine: abi::ENGINE_TENSORRT,
            tensorrt_library: Some("/lib/libnvinfer.so.11".into()),
            plans: Some("/plans".into()),
            isolation: abi::ISOLATION_ALWAYS,
            precision: abi::PRECISION_BFLOAT16,
            cpu_tuning: None,
            cpu_precision: abi::CPU_PRECISION_HALF,
            max_batch: 64,
        };
        assert_eq!(
            of(&request, &[0xab; 32]),
            format!(
                "v4: bundle=\"{bundle}\", field=\"tile\", mpp=0.25, stretch=true, background=true, \
                 slide_separator=\"_\", scanner=\"lab, 1\", engine=\"tensorrt\", \
                 tensorrt_library=\"/lib/libnvinfer.so.11\", plans=\"/plans\", precision=\"bfloat16\", \
                 cpu_precision=\"half\", max_batch=64"
            )
        );
        let before = of(&request, &[0xab; 32]);
        request.setup.engine.cpu_tuning = Some("/tuning".into());
        assert_eq!(of(&request, &[0xab; 32]), format!("{before}, cpu_tuning=\"/tuning\""));
        request.setup.engine.cpu_tuning = None;
        request.cutting.selection = Selection { reader: Some(ReaderKind::Own), scene: Some(2) };
        assert_eq!(of(&request, &[0xab; 32]), before.clone() + ", reader=\"Own\", scene=2");
        request.cutting.selection = Selection::default();
        request.tokens = Some(TokensAsked { tap: "last".into(), per_tile: 16, seed: 7 });
        let tokens = ", patch_tokens=\"last\", tokens_per_tile=16, token_seed=7";
        assert_eq!(of(&request, &[0xab; 32]), before + tokens);
    }
}
