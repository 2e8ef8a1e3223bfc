//! The fakes in this process, and a site that opens runtimes on them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coverslip_plugin_abi::*;
use libloading::Library;

use crate::support::host::{Answer, TestRuntime, open_with};
use crate::{computed, folder};

/// The fake libraries of this process, and a bundle that the fake computes.
pub(crate) struct Site {
    driver: Library,
    tensorrt: Library,
    pub(crate) bundle: PathBuf,
    pub(crate) plans: PathBuf,
    library: CString,
}

/// Calls a function of a fake.
macro_rules! ask {
    ($library:expr, $name:literal, ($($argument:expr => $type:ty),*) $(-> $answer:ty)?) => {{
        let function: libloading::Symbol<'_, unsafe extern "C" fn($($type),*) $(-> $answer)?> =
            unsafe { $library.get($name) }.unwrap();
        unsafe { function($($argument),*) }
    }};
}

impl Site {
    /// A new bundle and no plans, for the part `name`. From here on the fake driver counts its calls on this thread, the host's.
    pub(crate) fn new(name: &str) -> Site {
        let path = PathBuf::from(std::env::var_os("FAKE").unwrap());
        let flavor = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let (bundle, plans) = (folder(&format!("{name}-{flavor}-bundle")), folder(&format!("{name}-{flavor}-plans")));
        coverslip_testkit::bundle(&bundle);
        let _ = std::fs::remove_dir_all(&plans);
        let site = Site {
            driver: unsafe { Library::new("libcuda.so.1") }.unwrap(),
            tensorrt: unsafe { Library::new(&path) }.unwrap(),
            bundle,
            plans,
            library: c_path(&path),
        };
        computed::stand_in(&site.tensorrt, &site.bundle);
        ask!(site.driver, "fake_forbid_thread", ());
        site
    }

    /// Runs on the thread that waits for a run, before it is computed.
    pub(crate) fn before_each_run(&self, before: Option<computed::Before>) {
        computed::before_each_run(before);
    }

    pub(crate) fn lie(&self, lie: bool) {
        computed::lie(lie);
    }

    /// Opens with TENSORRT, the fake library and this site's plans; `change` sees the desc before.
    pub(crate) fn open(&self, change: impl FnOnce(&mut RuntimeDesc)) -> Answer<TestRuntime> {
        let plans = c_path(&self.plans);
        open_with(&self.bundle, |desc| {
            desc.engine = ENGINE_TENSORRT;
            desc.tensorrt_library = self.library.as_ptr();
            desc.plan_cache_path = plans.as_ptr();
            change(desc);
        })
    }

    /// After `skip` more calls, this function of the driver fails with `code`. Code 0 ends that.
    pub(crate) fn fail(&self, call: &str, skip: i32, code: i32) {
        let call = CString::new(call).unwrap();
        ask!(self.driver, "fake_fail", (call.as_ptr() => *const std::ffi::c_char, skip => i32, code => i32));
    }

    /// After `left` more runs TensorRT fails and logs this text; -1: never.
    pub(crate) fn fail_runs(&self, left: i32, text: &str) {
        let text = CString::new(text).unwrap();
        ask!(self.tensorrt, "fake_fail_runs", (left => i32, text.as_ptr() => *const std::ffi::c_char));
    }

    pub(crate) fn slow_build(&self, milliseconds: i32) {
        ask!(self.tensorrt, "fake_slow_build", (milliseconds => i32));
    }

    /// TensorRT-RTX does not build for this one.
    pub(crate) fn refuse_capability(&self, capability: i32) {
        ask!(self.tensorrt, "fake_refuse_capability", (capability => i32));
    }

    pub(crate) fn set_capability(&self, major: i32, minor: i32) {
        ask!(self.driver, "fake_set_capability", (major => i32, minor => i32));
    }

    pub(crate) fn set_free_memory(&self, bytes: u64) {
        ask!(self.driver, "fake_set_free_memory", (bytes => u64));
    }

    pub(crate) fn refuse_capture(&self, refuse: bool) {
        ask!(self.driver, "fake_refuse_capture", (i32::from(refuse) => i32));
    }

    pub(crate) fn builds(&self) -> i32 {
        ask!(self.tensorrt, "fake_builds", () -> i32)
    }

    pub(crate) fn runs(&self) -> i32 {
        ask!(self.tensorrt, "fake_runs", () -> i32)
    }

    pub(crate) fn launches(&self) -> i32 {
        ask!(self.driver, "fake_launches", () -> i32)
    }

    pub(crate) fn write_combined(&self) -> i32 {
        ask!(self.driver, "fake_write_combined", () -> i32)
    }

    /// Checks that no object of CUDA or TensorRT is left and that no CUDA function was called on the host's thread.
    #[track_caller]
    pub(crate) fn expect_clean(&self) {
        assert_eq!(ask!(self.tensorrt, "fake_objects", () -> i32), 0, "engines and contexts");
        assert_eq!(ask!(self.driver, "fake_live", () -> i32), 0, "streams, events, memory, graphs, devices");
        assert_eq!(ask!(self.driver, "fake_trespasses", () -> i32), 0, "CUDA on the host's thread");
        assert_eq!(ask!(self.driver, "fake_wrong_priority", () -> i32), 0, "streams of the lowest priority");
    }
}

pub(crate) fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The text in a fixed array of the contract.
pub(crate) fn text(array: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8(bytes).unwrap()
}

/// Checks that opening was refused with this code and a message that contains `part`.
#[track_caller]
pub(crate) fn refused(answer: Answer<TestRuntime>, code: i32, part: &str) {
    let refusal = answer.err().expect("a refusal");
    assert_eq!(refusal.code, code, "{}", refusal.message);
    assert!(refusal.message.contains(part), "{}", refusal.message);
}
