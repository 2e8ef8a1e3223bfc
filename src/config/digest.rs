//! The configuration digests: sha256 of a text that names its version and then every field on a line of its own, in a
//! fixed order. Nothing here follows from the names of types or fields in the code, so that renaming one of them changes
//! no digest. A field that is added, dropped or written in another way is a new version. What a host of version 1.0 of
//! the contract cannot set is written only where it is set, so that such a host keeps its digest.

use std::fmt::{Arguments, Display, Write};

use coverslip_bundle::Digest;
use coverslip_bundle::signature::{PublicKey, Trust};
use coverslip_pixels::tone::ToneSpec;
use coverslip_plugin_abi::{CPU_PRECISION_FLOAT32, ISOLATION_AUTO, STAIN_UNKNOWN};
use sha2::{Digest as _, Sha256};

use super::request::SlideRequest;
use super::runtime::RuntimeConfig;
use crate::engine::isolation::Isolation;
use crate::slide::config::SlideConfig;
use crate::tiles::content::NotScanned;
use coverslip_base::thread::Placement;
use coverslip_engine::config::{EngineConfig, GpuConfig};

/// Text that is hashed as it is made, and kept nowhere.
#[derive(Default)]
pub(super) struct Hashed(Sha256);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl Hashed {
    pub(super) fn add(&mut self, text: Arguments<'_>) {
        // Hashing does not fail.
        let _ = self.write_fmt(text);
    }

    pub(super) fn sha256(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The fields, one after the other. Tests look at them as text.
struct Fields<W>(W);

impl<W: Write> Fields<W> {
    fn new(mut to: W, title: &str) -> Fields<W> {
        // Neither hashing nor a String fails.
        let _ = writeln!(to, "{title}");
        Fields(to)
    }

    fn number(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}={value}");
    }

    fn flag(&mut self, name: &str, value: bool) {
        self.number(name, u8::from(value));
    }

    /// With its length in bytes, so that no text can pass for a field. `-`: none.
    fn text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(text) => self.number(name, format_args!("{}:{text}", text.len())),
            None => self.number(name, '-'),
        }
    }

    fn digest(&mut self, name: &str, value: Option<&[u8; 32]>) {
        match value {
            Some(&digest) => self.number(name, Digest(digest)),
            None => self.number(name, '-'),
        }
    }
}

pub(crate) fn of_runtime(config: &RuntimeConfig) -> [u8; 32] {
    runtime_fields(Hashed::default(), config).sha256()
}

fn runtime_fields<W: Write>(to: W, config: &RuntimeConfig) -> W {
    // Taken apart, so that a new field does not compile until it is decided here whether it counts.
    let RuntimeConfig { bundle, bundle_digest, profile, trust, engine, isolation, max_slides, memory_limit } = config;
    let EngineConfig { kind, fallback, cpu_lanes, cpu_precision, cpu_kernels, cpu_tuned, placement, gpu } = engine;
    let Placement { cpus, normal_priority } = placement;
    let Trust { keys, required } = trust;
    let signed = !keys.is_empty() || *required;
    // Kernels that the table chose for float32 are not the host's wish: see docs/decisions/explicit-digests.md.
    let narrow = *cpu_precision != CPU_PRECISION_FLOAT32 || *cpu_tuned;
    let Isolation { mode, named, timeout, .. } = isolation;
    let apart = *mode != ISOLATION_AUTO || named.is_some() || *timeout != Isolation::DEFAULT_TIMEOUT;
    let version = match signed || narrow || apart {
        false => "coverslip runtime configuration v2",
        true => "coverslip runtime configuration v3",
    };
    let mut fields = Fields::new(to, version);
    fields.text("bundle", bundle.to_str());
    fields.digest("bundle_digest", bundle_digest.as_ref());
    fields.text("profile", profile.as_ref().and_then(|profile| profile.path.to_str()));
    fields.digest("profile_digest", profile.as_ref().and_then(|profile| profile.digest.as_ref()));
    fields.number("engine", kind);
    fields.number("fallback", fallback);
    fields.number("cpu_lanes", cpu_lanes);
    let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
    fields.number("cpus", cpus.join(","));
    fields.flag("normal_priority", *normal_priority);
    gpu_fields(&mut fields, gpu);
    fields.number("max_slides", max_slides);
    fields.number("memory_limit", memory_limit);
    if signed {
        // In which order the host names them changes nothing.
        let mut keys: Vec<String> = keys.iter().map(PublicKey::to_string).collect();
        keys.sort();
        fields.number("trusted_keys", keys.join(","));
        fields.flag("require_signature", *required);
    }
    if narrow {
        fields.number("cpu_precision", cpu_precision);
        let kernels = cpu_kernels.map(|choice| choice.to_string());
        fields.text("cpu_kernels", kernels.as_deref());
    }
    if apart {
        fields.number("isolation", mode);
        fields.text("worker", named.as_ref().and_then(|path| path.to_str()));
        match timeout {
            Some(timeout) => fields.number("worker_timeout_ms", timeout.as_millis()),
            None => fields.number("worker_timeout_ms", '-'),
        }
    }
    fields.0
}

fn gpu_fields(fields: &mut Fields<impl Write>, gpu: &GpuConfig) {
    let GpuConfig {
        library,
        search,
        uuid,
        plans,
        plan_digest,
        prebuilt_only,
        precision,
        max_batch,
        memory_limit,
        // Follows from require_signature.
        private_plans: _,
    } = gpu;
    fields.text("tensorrt_library", library.as_ref().and_then(|path| path.to_str()));
    fields.flag("library_search", *search);
    fields.text("gpu_uuid", uuid.as_deref());
    fields.text("plans", plans.as_ref().and_then(|path| path.to_str()));
    fields.digest("plan_digest", plan_digest.as_ref());
    fields.flag("prebuilt_only", *prebuilt_only);
    fields.number("precision", precision);
    fields.number("max_batch", max_batch);
    fields.number("gpu_memory_limit", memory_limit);
}

/// `stability_interval` as it was asked for: the slide's configuration has none without a profile.
pub(super) fn of_slide(
    config: &SlideConfig,
    request: &SlideRequest<'_>,
    stability_interval: u32,
    runtime: &[u8; 32],
) -> [u8; 32] {
    slide_fields(Hashed::default(), config, request, stability_interval, runtime).sha256()
}

fn slide_fields<W: Write>(
    to: W,
    config: &SlideConfig,
    request: &SlideRequest<'_>,
    stability_interval: u32,
    runtime: &[u8; 32],
) -> W {
    let SlideConfig {
        grid,
        shape,
        slots,
        max_tiles,
        max_unpolled,
        limits,
        rules,
        tone,
        result_deadline,
        alpha,
        embeddings,
        analyse_background,
        // What follows from the other fields, the profile and the engine, which have digests of their own.
        flag_alpha: _,
        unknown_scanner: _,
        tile_mm: _,
        stability: _,
        engine_epoch: _,
        digest: _,
        memory_bytes: _,
    } = config;
    let captured = *tone != ToneSpec::default() || rules.not_scanned != NotScanned::default();
    let stated = request.desc.stain != STAIN_UNKNOWN || rules.white.is_some();
    let version = match (stated, captured) {
        (false, false) => "coverslip slide configuration v2",
        (false, true) => "coverslip slide configuration v3",
        (true, _) => "coverslip slide configuration v4",
    };
    let mut fields = Fields::new(to, version);
    fields.digest("runtime", Some(runtime));
    fields.text("scanner", Some(request.scanner));
    fields.text("slide", Some(request.slide));
    fields.text("color_name", request.color_name);
    fields.number("color_state", request.desc.color_state);
    fields.number("origin", format_args!("{},{}", grid.origin.0, grid.origin.1));
    fields.number("tile", format_args!("{},{}", grid.tile_width, grid.tile_height));
    match grid.extent {
        Some(extent) => fields.number("extent", format_args!("{},{}", extent.x1 - extent.x0, extent.y1 - extent.y0)),
        None => fields.number("extent", '-'),
    }
    fields.number("side", shape.side);
    fields.number("features", shape.features);
    fields.number("embedding", shape.embedding);
    fields.number("slots", slots);
    fields.number("max_tiles", max_tiles);
    fields.number("max_unpolled", max_unpolled);
    fields.number("max_frame", format_args!("{},{}", limits.width, limits.height));
    fields.number("assembly_timeout_ms", rules.timeout.map_or(0, |timeout| timeout.as_millis()));
    fields.number("min_coverage", rules.min_coverage);
    fields.number("result_deadline_ms", result_deadline.map_or(0, |deadline| deadline.as_millis()));
    fields.number("alpha", alpha);
    fields.flag("embeddings", *embeddings);
    fields.flag("analyse_background", *analyse_background);
    fields.number("stability_interval", stability_interval);
    if captured || stated {
        capture_fields(&mut fields, tone, &rules.not_scanned);
    }
    if stated {
        fields.number("stain", request.desc.stain);
        match rules.white {
            Some([r, g, b]) => fields.number("white_reference", format_args!("{r},{g},{b}")),
            None => fields.number("white_reference", '-'),
        }
    }
    fields.0
}

/// What a camera's levels become, and which of its pixels were not scanned.
fn capture_fields(fields: &mut Fields<impl Write>, tone: &ToneSpec, not_scanned: &NotScanned) {
    let ToneSpec { black, white, gamma, table, balance, matrix } = tone;
    let NotScanned { alpha, value } = not_scanned;
    fields.number("tone", format_args!("{black},{white},{gamma}"));
    fields.number("tone_table", format_args!("{}:{}", table.len(), Digest(Sha256::digest(table).into())));
    fields.number("white_balance", format_args!("{balance:?}"));
    fields.number("color_matrix", format_args!("{matrix:?}"));
    fields.flag("alpha_is_validity", *alpha);
    match value {
        Some([r, g, b]) => fields.number("not_scanned", format_args!("{r},{g},{b}")),
        None => fields.number("not_scanned", '-'),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use coverslip_plugin_abi::{AbiStruct, SlideDesc};

    use super::super::runtime::ProfileConfig;
    use coverslip_vit::Family;

    use super::*;
    use crate::tiles::assembler::AssemblyRules;
    use crate::tiles::frame::FrameLimits;
    use crate::tiles::grid::{Grid, Rect};
    use crate::tiles::slot::SlotShape;

    fn hex(digest: [u8; 32]) -> String {
        Digest(digest).to_string()
    }

    fn runtime() -> RuntimeConfig {
        RuntimeConfig {
            bundle: PathBuf::from("/opt/bundles/demo"),
            bundle_digest: Some([0xab; 32]),
            profile: Some(ProfileConfig { path: PathBuf::from("/opt/profile µ"), digest: None }),
            trust: Trust::default(),
            engine: EngineConfig {
                kind: 1,
                fallback: 2,
                cpu_lanes: 3,
                cpu_precision: CPU_PRECISION_FLOAT32,
                cpu_kernels: None,
                cpu_tuned: false,
                placement: Placement { cpus: vec![0, 2, 4], normal_priority: true },
                gpu: GpuConfig {
                    library: None,
                    search: true,
                    uuid: Some("GPU-1".into()),
                    plans: None,
                    plan_digest: None,
                    prebuilt_only: false,
                    precision: 0,
                    max_batch: 32,
                    memory_limit: 0,
                    private_plans: false,
                },
            },
            isolation: Isolation::unset(),
            max_slides: 4,
            memory_limit: 1 << 32,
        }
    }

    fn slide() -> SlideConfig {
        SlideConfig {
            grid: Grid {
                origin: (-5, 7),
                tile_width: 448,
                tile_height: 447,
                extent: Some(Rect { x0: -5, y0: 7, x1: 995, y1: 807 }),
            },
            shape: SlotShape { width: 448, height: 447, side: 224, features: 32, embedding: 0 },
            slots: 99,
            max_tiles: 6,
            max_unpolled: 65_536,
            limits: FrameLimits { width: 512, height: 256 },
            rules: AssemblyRules {
                timeout: Some(Duration::from_millis(250)),
                min_coverage: 0.5,
                not_scanned: NotScanned::default(),
                white: None,
            },
            tone: ToneSpec::default(),
            result_deadline: None,
            alpha: 0.01,
            flag_alpha: [0.0; 16],
            embeddings: false,
            analyse_background: true,
            unknown_scanner: false,
            tile_mm: 0.112,
            stability: None,
            engine_epoch: 1,
            digest: [0; 32],
            memory_bytes: 1,
        }
    }

    /// Hosts compare these values with those that they logged: a change here is a new version.
    #[test]
    fn a_runtimes_digest_is_that_of_these_lines() {
        let text = runtime_fields(String::new(), &runtime());
        let expected = "coverslip runtime configuration v2
bundle=17:/opt/bundles/demo
bundle_digest=abababababababababababababababababababababababababababababababab
profile=15:/opt/profile µ
profile_digest=-
engine=1
fallback=2
cpu_lanes=3
cpus=0,2,4
normal_priority=1
tensorrt_library=-
library_search=1
gpu_uuid=5:GPU-1
plans=-
plan_digest=-
prebuilt_only=0
precision=0
max_batch=32
gpu_memory_limit=0
max_slides=4
memory_limit=4294967296
";
        assert_eq!(text, expected);
        assert_eq!(hex(of_runtime(&runtime())), "5b9f78e9f0e56250b15ed7589942403fa2b73b7b5adf3a3b3206644dabd88b88");
    }

    #[test]
    fn half_is_written_with_its_kernels_and_only_where_it_is_asked_for() {
        let engine =
            EngineConfig { cpu_precision: 1, cpu_kernels: Some(Family::Avx512Bf16.into()), ..runtime().engine };
        let half = runtime_fields(String::new(), &RuntimeConfig { engine, ..runtime() });
        let plain = runtime_fields(String::new(), &runtime());
        assert_eq!(half, format!("{}cpu_precision=1\ncpu_kernels=11:avx512-bf16\n", plain.replace("v2", "v3")));
        let engine = EngineConfig { cpu_kernels: Some(Family::Avx2.into()), ..runtime().engine };
        assert_eq!(
            runtime_fields(String::new(), &RuntimeConfig { engine: engine.clone(), ..runtime() }),
            plain,
            "as in 1.0"
        );
        let tuned = RuntimeConfig { engine: EngineConfig { cpu_tuned: true, ..engine }, ..runtime() };
        let tuned = runtime_fields(String::new(), &tuned);
        assert_eq!(tuned, format!("{}cpu_precision=0\ncpu_kernels=4:avx2\n", plain.replace("v2", "v3")));
    }

    #[test]
    fn where_the_engine_runs_is_written_only_where_the_host_says_it() {
        let plain = runtime_fields(String::new(), &runtime());
        let with = |isolation| runtime_fields(String::new(), &RuntimeConfig { isolation, ..runtime() });
        let lines = |lines: &str| format!("{}{lines}", plain.replace("v2", "v3"));
        let never = Isolation { mode: 1, ..Isolation::unset() };
        assert_eq!(with(never), lines("isolation=1\nworker=-\nworker_timeout_ms=30000\n"));
        let named = Isolation { named: Some("/opt/w".into()), timeout: None, ..Isolation::unset() };
        assert_eq!(with(named), lines("isolation=0\nworker=6:/opt/w\nworker_timeout_ms=-\n"));
        // Whether there is a worker, and whether the host knows of it, is not what the host says.
        assert_eq!(with(Isolation { known: true, beside: Some("/lib".into()), ..Isolation::unset() }), plain);
    }

    #[test]
    fn keys_are_written_in_one_order_and_only_where_there_are_some() {
        let keys = [
            "RWSvCtVwzqSrWkTbvWPoyGBrtZPfnLbXZqmRLVCvFmEPKCgqr6RDkSqR",
            "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
        ];
        let trusting = |order: [usize; 2]| {
            let keys = order.map(|i| PublicKey::parse(keys[i]).unwrap()).to_vec();
            RuntimeConfig { trust: Trust { keys, required: true }, ..runtime() }
        };
        let lines = |config: &RuntimeConfig| runtime_fields(String::new(), config);
        let (plain, fields) = (lines(&runtime()), lines(&trusting([0, 1])));
        let expected =
            format!("{}trusted_keys={},{}\nrequire_signature=1\n", plain.replace("v2", "v3"), keys[1], keys[0]);
        assert_eq!(fields, expected);
        assert_eq!(of_runtime(&trusting([0, 1])), of_runtime(&trusting([1, 0])));
        let optional = RuntimeConfig { trust: Trust { required: false, ..trusting([0, 1]).trust }, ..runtime() };
        assert!(lines(&optional).ends_with("require_signature=0\n"));
    }

    #[test]
    fn a_slides_digest_is_that_of_these_lines() {
        let desc = SlideDesc { color_state: 3, ..SlideDesc::init() };
        let request = SlideRequest { desc: &desc, scanner: "S 1", slide: "L\n2", color_name: None, tone_table: &[] };
        let text = slide_fields(String::new(), &slide(), &request, 64, &[1; 32]);
        let expected = "coverslip slide configuration v2
runtime=0101010101010101010101010101010101010101010101010101010101010101
scanner=3:S 1
slide=3:L
2
color_name=-
color_state=3
origin=-5,7
tile=448,447
extent=1000,800
side=224
features=32
embedding=0
slots=99
max_tiles=6
max_unpolled=65536
max_frame=512,256
assembly_timeout_ms=250
min_coverage=0.5
result_deadline_ms=0
alpha=0.01
embeddings=0
analyse_background=1
stability_interval=64
";
        assert_eq!(text, expected);
        assert_eq!(
            hex(of_slide(&slide(), &request, 64, &[1; 32])),
            "51ccd6fd19aa8658a31f01499cd1cb79c8dbc639d1b47d2ed7d2902c7e2e047a"
        );
    }
}
