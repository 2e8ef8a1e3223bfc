//! The real lean and dispatch runtimes of TensorRT 11 and 10. `COVERSLIP_TENSORRT_LEAN` names `libnvinfer_lean.so.11`,
//! `COVERSLIP_TENSORRT_DISPATCH` `libnvinfer_dispatch.so.11`, and `COVERSLIP_TENSORRT_10_LEAN` and
//! `COVERSLIP_TENSORRT_10_DISPATCH` those of 10, for instance of PyPI's `tensorrt-lean-cu13-libs`,
//! `tensorrt-dispatch-cu13-libs` and their `cu12` siblings; without them these tests are left out and say so.

mod common;

use common::library;
use coverslip_tensorrt::{Builder, Error, Flavor, Library, Runtime};

/// Every library that is named, with its generation.
fn each(test: impl Fn(Library, i32)) {
    for (variable, major) in [
        ("COVERSLIP_TENSORRT_LEAN", 11),
        ("COVERSLIP_TENSORRT_DISPATCH", 11),
        ("COVERSLIP_TENSORRT_10_LEAN", 10),
        ("COVERSLIP_TENSORRT_10_DISPATCH", 10),
    ] {
        if let Some(library) = library(variable) {
            test(library, major);
        }
    }
}

#[test]
fn the_library_says_what_it_is() {
    each(|library, major| {
        assert_eq!(library.flavor(), Flavor::Enterprise);
        assert_eq!(library.version().major, major);
        assert!(library.version().to_string().starts_with(&format!("{major}.")));
        assert!(library.is_known() && !library.has_builder());
    });
}

#[test]
fn it_cannot_build() {
    each(|library, _| {
        let error = Builder::new(library).err().expect("a lean runtime has no builder");
        assert!(matches!(error, Error::Unsupported { what: "builder", .. }), "{error}");
        assert!(error.to_string().contains("libnvinfer"), "{error}");
    });
}

/// The library answers 0x228 here, and any call on that is a segmentation fault.
#[test]
fn without_a_driver_there_is_no_runtime() {
    each(|library, _| match (library.driver(), Runtime::new(library)) {
        (Err(_), Err(Error::NoDriver(why))) => assert!(why.to_string().contains("driver"), "{why}"),
        (Ok(_), Ok(runtime)) => {
            let error = runtime.deserialize(&[0; 4096]).err().expect("zeros are no plan");
            assert!(matches!(error, Error::PlanRefused { .. }), "{error}");
        }
        (driver, runtime) => panic!("{driver:?}: {:?}", runtime.err()),
    });
}
