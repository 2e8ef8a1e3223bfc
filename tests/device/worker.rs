//! TensorRT in a process of its own, on the fakes. This process loads neither them nor CUDA.

use std::ffi::CString;
use std::path::PathBuf;

use coverslip_plugin_abi::*;

use crate::fake::c_path;
use crate::play::{TILES, expect_same, played, row};
use crate::support::host::{Answer, Picture, TestRuntime, by_status, lines, listen, open_with};
use crate::{computed, folder};

/// The tiles of the slides here.
fn tiles(picture: &Picture) -> Vec<Vec<u8>> {
    let line = |tile: u32, y: u32| {
        let start = 3 * (y * picture.width + tile * 32) as usize;
        &picture.rgb[start..start + 3 * 32]
    };
    (0..TILES).map(|tile| (0..32).flat_map(|y| line(tile, y)).copied().collect()).collect()
}

struct Site {
    bundle: PathBuf,
    plans: PathBuf,
    library: CString,
    worker: CString,
    sabotage: PathBuf,
}

impl Site {
    /// What the fake computes is in a file, which the worker's environment names.
    fn new(name: &str) -> Site {
        let folder = |part: &str| folder(&format!("worker-{name}-{part}"));
        let site = Site {
            bundle: folder("bundle"),
            plans: folder("plans"),
            library: CString::new(std::env::var("FAKE").unwrap()).unwrap(),
            worker: CString::new(env!("CARGO_BIN_EXE_coverslip-worker")).unwrap(),
            sabotage: std::env::var_os("COVERSLIP_FAKE_SABOTAGE").unwrap().into(),
        };
        coverslip_testkit::bundle(&site.bundle);
        let _ = (std::fs::remove_dir_all(&site.plans), std::fs::remove_file(&site.sabotage));
        let picture = Picture::tissue(TILES * 32, 32, 1);
        let table = computed::table_with(&site.bundle, &tiles(&picture));
        std::fs::write(std::env::var_os("COVERSLIP_FAKE_TABLE").unwrap(), table).unwrap();
        site
    }

    fn open(&self, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        let plans = c_path(&self.plans);
        open_with(&self.bundle, |desc| {
            (desc.engine, desc.max_batch) = (ENGINE_TENSORRT, 8);
            (desc.tensorrt_library, desc.plan_cache_path) = (self.library.as_ptr(), plans.as_ptr());
            (desc.worker_path, desc.worker_timeout_ms) = (self.worker.as_ptr(), 5_000);
            change(desc);
        })
    }
}

/// The reasons of the restarts that a slide was told of.
fn reasons(alerts: &[Alert]) -> Vec<i32> {
    alerts.iter().filter(|alert| alert.code == ALERT_WORKER_RESTARTED).map(|alert| alert.reason).collect()
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_fault_of_the_gpu_is_the_workers() {
    let site = Site::new("faults");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    // AUTO: the worker is there, and this host speaks 1.1.
    let runtime = site.open(|_| ()).expect("the fake GPU");
    let info = runtime.info();
    assert_eq!((info.engine, info.lanes, info.max_batch), (ENGINE_TENSORRT, 2, 8));
    assert_ne!(info.worker_process_id, 0);
    expect_same(&played(&runtime), &expected);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("libcuda") && !maps.contains("libtensorrt") && !maps.contains("libnvinfer"), "{maps}");
    // The second end within a minute is the last that is mended: each fault has a runtime of its own.
    drop(runtime);
    for (fault, reason) in
        [("segv", REASON_WORKER_CRASHED), ("fault", REASON_DEVICE_LOST), ("hang", REASON_WORKER_HUNG)]
    {
        let runtime = site.open(|_| ()).expect("the fake GPU");
        let (slide, picture) = row(&runtime);
        std::fs::write(&site.sabotage, fault).unwrap();
        slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
        let mut found = slide.results();
        found.sort_by_key(|tile| tile.record.column);
        expect_same(&found, &expected);
        assert_eq!(reasons(&slide.alerts()), [reason], "{fault}");
        let (summary, stats) = (slide.summary(), runtime.stats());
        assert_eq!(
            (summary.engine, summary.fallback_reason, summary.worker_restarts),
            (ENGINE_TENSORRT, REASON_NONE, 1)
        );
        assert!(summary.tiles_retried >= stats.batches_retried && stats.batches_retried >= 1);
        drop(slide);
        runtime.close(10_000).expect("every thread ends");
    }
    let never = site.open(|desc| desc.isolation = ISOLATION_NEVER).expect("the fake GPU");
    assert_eq!(never.info().worker_process_id, 0);
}

/// The driver copies tiles from where the host has written them; where it cannot, the worker copies them first.
#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn tiles_are_read_from_the_shared_memory() {
    const BY_ITSELF: &str = "the device reads a lane's tiles from shared memory by itself";
    let site = Site::new("shared");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    listen();
    for pins in [true, false] {
        if !pins {
            unsafe { std::env::set_var("COVERSLIP_FAKE_PINS_NOTHING", "1") };
        }
        let runtime = site.open(|_| ()).expect("the fake GPU");
        for _ in 0..2 {
            expect_same(&played(&runtime), &expected);
        }
        let process = runtime.info().worker_process_id as i32;
        unsafe { libc::kill(process, libc::SIGKILL) };
        expect_same(&played(&runtime), &expected);
        assert_eq!(runtime.stats().worker_restarts, 1);
        runtime.close(10_000).expect("every thread ends");
        let said = lines().iter().filter(|(level, line)| *level == LOG_DEBUG && line.contains(BY_ITSELF)).count();
        assert!(
            if pins { (3..=4).contains(&said) } else { said == 0 },
            "two lanes, and those of the next worker: {said}"
        );
    }
}

/// Kills and crashes in the driver at random moments; `COVERSLIP_KILLS` says how many.
#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
#[allow(clippy::print_stdout, reason = "says what was done")]
fn faults_at_random() {
    let site = Site::new("random");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    let kills = std::env::var("COVERSLIP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let (mut state, mut restarts) = (1u64, 0);
    let mut dice = |sides: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % sides
    };
    // Two of each runtime: the third within a minute would be the last.
    for _ in 0..kills / 2 {
        let runtime = site.open(|_| ()).expect("the fake GPU");
        for _ in 0..2 {
            let (slide, picture) = row(&runtime);
            let process = runtime.info().worker_process_id;
            slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
            std::thread::sleep(std::time::Duration::from_micros(dice(3_000)));
            match dice(3) {
                0 if process > 1 => drop(unsafe { libc::kill(process as i32, libc::SIGKILL) }),
                1 => std::fs::write(&site.sabotage, "fault").unwrap(),
                _ => std::fs::write(&site.sabotage, "segv").unwrap(),
            }
            let mut found = slide.results();
            found.sort_by_key(|tile| tile.record.column);
            assert_eq!(found.len(), TILES as usize, "one result for each tile");
            expect_same(&found, &expected);
        }
        restarts += runtime.stats().worker_restarts;
        runtime.close(10_000).expect("every thread ends");
        let _ = std::fs::remove_file(&site.sabotage);
    }
    println!("{kills} kills, crashes in the driver and lost contexts: {restarts} restarts");
    assert!(restarts >= kills / 3);
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn the_third_loss_hands_over_to_the_cpu() {
    let site = Site::new("hands-over");
    let expected = played(&open_with(&site.bundle, |_| ()).expect("the CPU"));
    // Where the CPU stands by: in this process, or in another worker.
    for isolation in [ISOLATION_AUTO, ISOLATION_ALWAYS] {
        let change = |desc: &mut RuntimeDesc| (desc.fallback, desc.isolation) = (FALLBACK_ON_CPU, isolation);
        let runtime = site.open(change).expect("the fake GPU");
        let gpu = runtime.info().worker_process_id;
        for _ in 0..3 {
            std::fs::write(&site.sabotage, "segv").unwrap();
            expect_same(&played(&runtime), &expected);
        }
        // What was run again ran; the next batch is the CPU's.
        let found = played(&runtime);
        expect_same(&found, &expected);
        assert!(found.iter().all(|tile| tile.record.engine_epoch == 2));
        let info = runtime.info();
        assert_eq!((info.engine, info.fallback_reason), (ENGINE_CPU, REASON_WORKER_CRASHED));
        assert_eq!((info.worker_process_id != 0, info.worker_restarts), (isolation == ISOLATION_ALWAYS, 3));
        assert!(gpu != 0 && info.worker_process_id != gpu);
        runtime.close(10_000).expect("every thread ends");
    }
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_tile_in_a_batch_is_found() {
    let site = Site::new("poison");
    let runtime = site.open(|desc| desc.max_batch = 32).expect("the fake GPU");
    let (slide, mut picture) = row(&runtime);
    let guilty = [3i32, 40, 41];
    for tile in guilty {
        let at = 3 * 32 * tile as usize;
        picture.rgb[at..at + 3].copy_from_slice(&[1, 2, 3]);
    }
    slide.submit(&picture.frame(0, 0, TILES * 32, 32)).expect("room");
    let mut found = slide.results();
    found.sort_by_key(|tile| tile.record.column);
    let failed: Vec<i32> = found.iter().filter(|t| t.record.status == TILE_FAILED).map(|t| t.record.column).collect();
    assert_eq!(failed, guilty);
    assert_eq!(by_status(&found)[TILE_DONE as usize], TILES as usize - guilty.len());
    let info = runtime.info();
    assert_eq!((info.engine, info.fallback_reason), (ENGINE_TENSORRT, REASON_NONE));
    drop(slide);
    runtime.close(10_000).expect("every thread ends");
}

/// The worker's own refusals come with their reasons: no driver, no library.
#[test]
#[ignore = "run by without_a_gpu_the_cpu_runs_and_says_why"]
fn reasons_come_through() {
    let site = Site::new("reasons");
    let runtime = site.open(|desc| desc.engine = ENGINE_AUTO).expect("the CPU runs instead");
    let info = runtime.info();
    assert_eq!((info.engine, info.fallback_reason), (ENGINE_CPU, REASON_NO_DRIVER));
    drop(runtime);
    let refusal = site.open(|_| ()).err().expect("no driver");
    assert!(refusal.code == ENGINE_UNAVAILABLE && refusal.message.contains("no NVIDIA driver"), "{}", refusal.message);
    // ALWAYS: the CPU too.
    let runtime = site.open(|desc| (desc.engine, desc.isolation) = (ENGINE_AUTO, ISOLATION_ALWAYS)).expect("the CPU");
    assert_ne!(runtime.info().worker_process_id, 0);
}
