//! What plugin and worker say to each other: neither side believes the other.

use coverslip_base::error::Error;
use coverslip_base::thread::Placement;
use coverslip_engine::config::{EngineConfig, GpuConfig};
use coverslip_engine::{About, Loss, TileOutput};
use coverslip_plugin_abi::{ENGINE_CPU, Feature, REASON_DEVICE_LOST, STAGE_ENGINE};
use coverslip_wire::batch::{Shape, read_outputs, read_ready, read_shared, write_outputs, write_ready, write_shared};
use coverslip_wire::control::{Hello, LogLine, Open, Opened, Progress, read_loss, write_loss};
use coverslip_wire::frame::{Announced, CONTROL_BUDGET, HEADER, Kind, header};

use crate::input::Seeds;

/// The outputs that are expected of a batch of two tiles.
const SHAPE: Shape = Shape { tile: 12, embedding: 3, features: 4, feature_count: 64 };
const TILES: usize = 2;

/// A stream of frames, each read as its kind says; true if all of them are taken. A connection hears the same frames.
pub(crate) fn wire(data: &[u8]) -> bool {
    let (frames, rest) = frames(data);
    #[cfg(target_os = "linux")]
    crate::link::heard(data, &frames);
    // Each is read, also behind one that is refused.
    let taken = frames.iter().filter(|(kind, payload)| message(*kind, payload)).count();
    taken > 0 && taken == frames.len() && rest.is_empty()
}

/// The whole frames at the start of a stream, and what follows them.
fn frames(data: &[u8]) -> (Vec<(Kind, &[u8])>, &[u8]) {
    let (mut rest, mut frames) = (data, Vec::new());
    while let Some((head, more)) = rest.split_first_chunk::<HEADER>() {
        let Ok(announced) = Announced::read(head, CONTROL_BUDGET) else { break };
        let Some((payload, more)) = more.split_at_checked(announced.length) else { break };
        if announced.check(payload).is_err() {
            break;
        }
        frames.push((announced.kind, payload));
        rest = more;
    }
    (frames, rest)
}

/// What is read is written again, and must be the same.
fn message(kind: Kind, payload: &[u8]) -> bool {
    let again = match kind {
        Kind::Hello => Hello::read(payload).map(|read| read.write()),
        Kind::Open => Open::read(payload).map(|read| read.write()),
        Kind::Progress => Progress::read(payload).map(|read| read.write()),
        Kind::Opened => Opened::read(payload).map(|read| read.write()),
        // What is out of its range is put into it.
        Kind::Log => return LogLine::read(payload).is_ok(),
        Kind::Refused | Kind::Failed | Kind::Lost => return read_loss(payload).is_ok(),
        Kind::Outputs => return outputs(payload),
        Kind::Lane | Kind::Close => return payload.is_empty(),
        Kind::Ready => read_ready(payload).map(|read| write_ready(read).to_vec()),
        Kind::RunShared => read_shared(payload, TILES).map(|read| {
            assert!((1..=TILES).contains(&read), "tiles that the memory has");
            write_shared(read).to_vec()
        }),
        Kind::Run => return payload.len() == size_of::<u32>() + TILES * SHAPE.tile,
    };
    again.is_ok_and(|again| {
        assert_eq!(again, payload, "{kind:?} is written as it was read");
        true
    })
}

fn outputs(payload: &[u8]) -> bool {
    let mut found = vec![TileOutput::default(); TILES];
    if read_outputs(payload, &SHAPE, &mut found).is_err() {
        return false;
    }
    let mut again = Vec::new();
    write_outputs(&found, &mut again).expect("memory");
    assert_eq!(again, payload, "outputs are written as they were read");
    true
}

pub(crate) fn seeds() -> Seeds {
    let loss = Loss { reason: REASON_DEVICE_LOST, error: Error::new(22, format_args!("the GPU failed")) };
    let gpu = GpuConfig {
        library: Some("/opt/libnvinfer.so.11".into()),
        search: false,
        uuid: Some("GPU-1".into()),
        plans: Some("/var/plans".into()),
        plan_digest: Some([1; 32]),
        prebuilt_only: true,
        precision: 2,
        max_batch: 32,
        memory_limit: 1 << 30,
        private_plans: false,
    };
    let engine = EngineConfig {
        kind: ENGINE_CPU,
        fallback: 0,
        cpu_lanes: 2,
        cpu_precision: 0,
        cpu_kernels: None,
        cpu_tuned: false,
        placement: Placement { cpus: vec![0, 1], normal_priority: false },
        gpu,
    };
    let open = Open { bundle: "/bundle".into(), digest: [2; 32], engine };
    let about = About {
        kind: ENGINE_CPU,
        version: "rten 0.27".into(),
        max_batch: 1,
        lanes: 2,
        precision: 1,
        cpu_kernels: "avx2".into(),
        ..About::default()
    };
    let output = TileOutput {
        embedding: vec![0.5; SHAPE.embedding],
        features: vec![Feature { index: 7, value: 1.0 }; SHAPE.features],
        active_count: 4,
        reconstruction_error: 0.1,
        ..TileOutput::default()
    };
    let mut outputs = Vec::new();
    write_outputs(&vec![output; TILES], &mut outputs).expect("memory");
    let run = vec![2; size_of::<u32>() + TILES * SHAPE.tile];
    let hello = Hello { build: "0.1.0 unknown".into(), process: 7 }.write();
    let progress = Progress { stage: STAGE_ENGINE, part: 0.5 }.write();
    let opened = Opened { about, worst: 1e-7 }.write();
    let line = LogLine::write(2, b"a line");
    let frame = |kind, payload: &[u8]| [&header(kind, &[payload])[..], payload].concat();
    let all = [
        ("hello", frame(Kind::Hello, &hello)),
        ("open", frame(Kind::Open, &open.write())),
        ("progress", frame(Kind::Progress, &progress)),
        ("log", frame(Kind::Log, &line)),
        ("opened", frame(Kind::Opened, &opened)),
        ("refused", frame(Kind::Refused, &write_loss(&loss))),
        ("lane", frame(Kind::Lane, &[])),
        ("ready", frame(Kind::Ready, &write_ready(true))),
        ("run", frame(Kind::Run, &run)),
        ("run_shared", frame(Kind::RunShared, &write_shared(TILES))),
        ("outputs", frame(Kind::Outputs, &outputs)),
        ("lost", frame(Kind::Lost, &write_loss(&loss))),
    ];
    let talk = all.iter().flat_map(|(_, frame)| frame.clone()).collect();
    // The third is heard where no descriptor belongs.
    let lanes = frame(Kind::Lane, &[]).repeat(3);
    let single = all.into_iter().map(|(name, frame)| (name.to_owned(), frame));
    single.chain([("talk".to_owned(), talk), ("lanes".to_owned(), lanes)]).collect()
}
