//! Machines on which TensorRT does not run: AUTO runs on the CPU and says why, TENSORRT is refused.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use coverslip_plugin_abi::*;

use crate::folder;
use crate::support::host::{Answer, TestRuntime, open_with};

fn open(engine: i32, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
    let bundle = folder("matrix-bundle");
    if !bundle.exists() {
        coverslip_testkit::bundle(&bundle);
    }
    open_with(&bundle, |desc| {
        desc.engine = engine;
        change(desc);
    })
}

fn expect(reason: i32, part: &str, change: impl Fn(&mut RuntimeDesc)) {
    let runtime = open(ENGINE_AUTO, &change).expect("the CPU runs instead");
    let info = runtime.info();
    let message: Vec<u8> = info.fallback_message.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    let message = String::from_utf8(message).unwrap();
    assert_eq!((info.engine, info.fallback_reason), (ENGINE_CPU, reason), "{message}");
    assert!(message.contains(part), "{message}");
    let slide = runtime.begin(|_| ());
    let alerts = slide.alerts();
    let codes: Vec<_> = alerts.iter().map(|alert| (alert.code, alert.strength as i32)).collect();
    assert_eq!(codes, [(ALERT_ENGINE_FALLBACK, reason)]);
    drop((slide, runtime));
    for (engine, fallback) in [(ENGINE_TENSORRT, FALLBACK_AT_OPEN), (ENGINE_AUTO, FALLBACK_NONE)] {
        let refusal = open(engine, |desc| {
            change(desc);
            desc.fallback = fallback;
        });
        let refusal = refusal.err().expect("TensorRT or an error");
        assert_eq!(refusal.code, ENGINE_UNAVAILABLE);
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
}

fn library() -> CString {
    let path: OsString = std::env::var_os("FAKE").unwrap();
    CString::new(path.into_vec()).unwrap()
}

#[test]
#[ignore = "run by without_a_gpu_the_cpu_runs_and_says_why"]
fn no_driver() {
    let library = library();
    let drivers = std::env::var("LD_LIBRARY_PATH").unwrap();
    let part = match drivers.rsplit('/').next().unwrap() {
        "nothing" => "no NVIDIA driver is installed",
        "stub" => "stub",
        "broken" => "does not start",
        _ => "sees no GPU",
    };
    expect(REASON_NO_DRIVER, part, |desc| desc.tensorrt_library = library.as_ptr());
}

#[test]
#[ignore = "run by without_a_gpu_the_cpu_runs_and_says_why"]
fn no_library() {
    let library = library();
    let name = library.to_str().unwrap().rsplit('/').next().unwrap();
    let part = match name {
        "decoy.so" => "cannot be loaded",
        "libcuda.so.1" => "is not TensorRT",
        _ => "there is no",
    };
    expect(REASON_NO_LIBRARY, part, |desc| desc.tensorrt_library = library.as_ptr());
}

#[test]
#[ignore = "run by without_a_gpu_the_cpu_runs_and_says_why"]
fn wrong_version() {
    let library = library();
    expect(REASON_UNSUPPORTED_VERSION, "TensorRT 8.6.1", |desc| desc.tensorrt_library = library.as_ptr());
}

#[test]
#[ignore = "run by without_a_gpu_the_cpu_runs_and_says_why"]
fn nothing_is_named() {
    expect(REASON_NO_LIBRARY, "tensorrt_library", |_| ());
    expect(REASON_NO_LIBRARY, "libnvinfer.so.11", |desc| desc.flags = RUNTIME_ALLOW_LIBRARY_SEARCH);
}
