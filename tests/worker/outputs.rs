//! What a worker computes, and what the host is told of it.

use coverslip_plugin_abi::*;

use crate::support::host::{Picture, call, open, open_with};
use crate::system::{NO_WORKER, is_alive, kill, stop};
use crate::{apart, bundle, expect_same, folder, played, program, text, wait_until};

#[test]
fn a_worker_computes_what_the_plugin_does_to_the_last_bit() {
    let graph = folder("graph");
    coverslip_testkit::onnx_bundle(&graph);
    for bundle in [bundle(), &graph] {
        let here = open(bundle);
        let picture = Picture::tissue(crate::TILES * here.info().side, here.info().side, 1);
        let expected = played(&here, &picture);
        assert!(expected.iter().all(|tile| tile.record.status == TILE_DONE));
        assert_eq!(here.info().worker_process_id, 0);
        let runtime = apart(bundle, |_| ()).expect("a worker");
        expect_same(&played(&runtime, &picture), &expected);
        let (info, known) = (runtime.info(), here.info());
        let of = |info: &RuntimeInfo| (info.engine, info.lanes, info.max_batch, info.precision, info.engine_version);
        assert_eq!(of(&info), of(&known));
        assert_eq!((info.cpu_kernels, info.self_check_error), (known.cpu_kernels, known.self_check_error));
        let process = info.worker_process_id;
        assert!(is_alive(process) && process != u64::from(std::process::id()));
        let stats = runtime.stats();
        assert_eq!((stats.worker_process_id, stats.worker_restarts, stats.batches_retried), (process, 0, 0));
        runtime.close(10_000).expect("every thread ends");
        assert!(!is_alive(process), "the worker ends with its runtime");
    }
}

#[test]
fn the_host_says_where_the_engine_runs() {
    let process = |runtime: crate::TestRuntime| runtime.info().worker_process_id;
    let named = |desc: &mut RuntimeDesc| desc.worker_path = program().as_ptr();
    assert_eq!(process(open_with(bundle(), named).expect("AUTO")), 0, "the CPU engine stays here");
    let never = |desc: &mut RuntimeDesc| (named(desc), desc.isolation = ISOLATION_NEVER).1;
    assert_eq!(process(open_with(bundle(), never).expect("NEVER")), 0);
    assert_ne!(process(apart(bundle(), |_| ()).expect("ALWAYS")), 0);

    let refused = |code: i32, part: &str, change: &dyn Fn(&mut RuntimeDesc)| {
        let refusal = apart(bundle(), change).err().expect("a refusal");
        assert_eq!(refusal.code, code, "{}", refusal.message);
        assert!(refusal.message.contains(part), "{}", refusal.message);
    };
    refused(INVALID_ARGUMENT, "absolute", &|desc| desc.worker_path = c"coverslip-worker".as_ptr());
    refused(INVALID_ARGUMENT, "isolation", &|desc| desc.isolation = 3);
    let nowhere = text(&folder("nowhere").join("worker"));
    refused(ENGINE_UNAVAILABLE, nowhere.to_str().unwrap(), &|desc| desc.worker_path = nowhere.as_ptr());
    // Beside this program, which links the library, there is none.
    let beside = std::path::Path::new("deps").join("coverslip-worker");
    refused(ENGINE_UNAVAILABLE, beside.to_str().unwrap(), &|desc| desc.worker_path = std::ptr::null());
    let other = text(NO_WORKER.as_ref());
    refused(ENGINE_UNAVAILABLE, "does not answer as one", &|desc| desc.worker_path = other.as_ptr());
    refused(ENGINE_UNAVAILABLE, "it ended with code", &|desc| desc.worker_path = other.as_ptr());
}

/// Windows' programs end at 260 characters unless they take care.
#[test]
fn a_worker_starts_from_any_path() {
    let mut place = folder("путь").join("路径 with blanks");
    if crate::support::wine::is_here() {
        coverslip_testkit::note("left out: Wine starts no program from a path beyond 260 characters");
    } else {
        while place.as_os_str().len() < 300 {
            place.push("a folder whose name alone has fifty letters, nearly");
        }
    }
    std::fs::create_dir_all(&place).unwrap();
    let copy = place.join("worker.exe");
    std::fs::copy(program().to_str().unwrap(), &copy).unwrap();
    let copy = text(&copy);
    let runtime = apart(bundle(), |desc| desc.worker_path = copy.as_ptr()).expect("a worker");
    let picture = Picture::tissue(crate::TILES * crate::SIDE, crate::SIDE, 1);
    assert!(played(&runtime, &picture).iter().all(|tile| tile.record.status == TILE_DONE));
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn a_refusal_in_the_worker_is_the_hosts() {
    let damaged = folder("damaged");
    coverslip_testkit::bundle(&damaged);
    let runtime = apart(&damaged, |_| ()).expect("whole");
    // What a worker that is started again would find.
    let weights = std::fs::read_dir(&damaged).unwrap().map(|entry| entry.unwrap().path());
    let weights = weights.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
    let before = runtime.info().worker_process_id;
    let slide = crate::row(&runtime);
    kill(before);
    let picture = Picture::tissue(crate::TILES * 32, 32, 1);
    slide.submit(&picture.frame(0, 0, crate::TILES * 32, 32)).expect("room");
    let tiles = crate::by_column(slide.results());
    assert!(tiles.iter().all(|tile| tile.record.status == TILE_FAILED), "another model than the one that was opened");
    let alerts = slide.alerts();
    assert!(alerts.iter().any(|alert| alert.code == ALERT_ENGINE_FALLBACK), "{alerts:?}");
    assert_eq!(runtime.begin_with(|_| ()).err().expect("no engine").code, ENGINE_UNAVAILABLE);
    drop(slide);
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn a_runtime_closes_while_its_worker_hangs() {
    let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = NO_TIMEOUT).expect("a worker");
    let (slide, process) = (crate::row(&runtime), runtime.info().worker_process_id);
    stop(process);
    let picture = Picture::tissue(crate::TILES * 32, 32, 1);
    slide.submit(&picture.frame(0, 0, crate::TILES * 32, 32)).expect("room");
    // SAFETY: no pointer but the error's.
    call(|error| unsafe { (slide.api.slide_end)(slide.handle, error) }).expect("ends");
    std::mem::forget(slide);
    runtime.close(200).expect("no lane is left behind: the worker is killed");
    wait_until("the end of the worker", || !is_alive(process));
}
