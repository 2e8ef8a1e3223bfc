//! What runs on the CPU is in the runtime's information and in every receipt, and the host chooses its precision.

mod support {
    pub(crate) mod host;
}

use std::path::{Path, PathBuf};

use coverslip_bundle::{Bundle, Int8Gate, Int8Mix, Precision};
use coverslip_plugin_abi::*;
use coverslip_profile::Arithmetic;
use coverslip_vit::{Choice, Family};
use support::host::{Picture, TestRuntime, open_with};

fn bundle(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    coverslip_testkit::bundle(&folder);
    folder
}

fn text(chars: &[std::ffi::c_char]) -> String {
    chars.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect()
}

/// Plays a tile, so that a receipt is of a run.
fn receipt(runtime: &TestRuntime) -> SlideSummary {
    let slide = runtime.begin(|_| ());
    let picture = Picture::tissue(32, 32, 1);
    slide.submit_wait(&picture.frame(0, 0, 32, 32), NO_TIMEOUT).expect("room");
    slide.finish(NO_TIMEOUT).expect("the tile ends");
    assert!(slide.drain().iter().all(|tile| tile.record.status == TILE_DONE));
    slide.summary()
}

#[test]
fn the_kernels_are_those_of_the_table() {
    let folder = bundle("kernels-float32");
    let runtime = open_with(&folder, |_| ()).expect("the bundle opens");
    let info = runtime.info();
    let expected = Family::best(false).map_or("", Family::name);
    assert_eq!(text(&info.cpu_kernels), expected);
    assert_eq!((info.cpu_precision, info.precision), (CPU_PRECISION_FLOAT32, PRECISION_FLOAT32));
    assert!(info.self_check_error < 1e-9, "{}", info.self_check_error);
    let summary = receipt(&runtime);
    assert_eq!((text(&summary.cpu_kernels), summary.precision), (expected.to_owned(), PRECISION_FLOAT32));
}

#[test]
fn half_runs_where_the_table_has_it_and_is_refused_elsewhere() {
    let folder = bundle("kernels-half");
    let half = |desc: &mut RuntimeDesc| desc.cpu_precision = CPU_PRECISION_HALF;
    let Some(family) = Family::best(true) else {
        let refused = open_with(&folder, half).err().expect("no kernels");
        assert_eq!(refused.code, UNSUPPORTED, "{}", refused.message);
        assert!(refused.message.contains("cpu_precision"), "{}", refused.message);
        return;
    };
    let precision = match family.precision() {
        Precision::BFloat16 => PRECISION_BFLOAT16,
        Precision::Float16 => PRECISION_FLOAT16,
        other => panic!("{other} is not half precision"),
    };
    let runtime = open_with(&folder, half).expect("the bundle opens");
    let info = runtime.info();
    assert_eq!(text(&info.cpu_kernels), family.name());
    assert_eq!((info.cpu_precision, info.precision), (CPU_PRECISION_HALF, precision));
    assert!(info.self_check_error > 1e-9 && info.self_check_error < 1e-3, "{}", info.self_check_error);
    assert_eq!(receipt(&runtime).precision, precision);
    let float32 = open_with(&folder, |_| ()).expect("the bundle opens").info();
    assert_ne!(info.configuration_digest, float32.configuration_digest);
}

/// The bundle with every layer in int8, and these figures of its gate.
fn with_int8(name: &str, overlap: f64) -> PathBuf {
    let from = bundle(&format!("{name}-from"));
    let opened = Bundle::open(&from).expect("the bundle opens");
    let mix = Int8Mix::everything(opened.manifest());
    let gate = Int8Gate {
        slides: 2,
        tiles: 40,
        overlap,
        overlap_low: 0.95,
        value_overlap: 0.99,
        flags_changed: 0.0,
        kernels: String::new(),
    };
    let folder = from.with_file_name(name);
    coverslip_bundle::build::with_int8(&from, folder.as_path(), &mix, gate, true).expect("a bundle");
    folder
}

#[test]
fn int8_runs_a_mix_that_passes_its_gate_and_refuses_others_by_name() {
    let int8 = |desc: &mut RuntimeDesc| desc.cpu_precision = CPU_PRECISION_INT8;
    let refused = |folder: &Path, why: &str| {
        let refused = open_with(folder, int8).err().expect("refused");
        assert_eq!(refused.code, UNSUPPORTED, "{}", refused.message);
        assert!(refused.message.contains(why) && refused.message.contains("cpu_precision"), "{}", refused.message);
    };
    let passes = with_int8("kernels-int8", 0.96);
    let Some(choice) = Choice::int8() else {
        return refused(&passes, "no products of int8");
    };
    refused(&bundle("kernels-no-int8"), "bundle quantise");
    refused(
        &with_int8("kernels-int8-fails", 0.94),
        "the mean overlap of the reported features with float32's is 0.940",
    );
    let runtime = open_with(&passes, int8).expect("the bundle opens");
    let info = runtime.info();
    assert_eq!(text(&info.cpu_kernels), choice.to_string());
    assert_eq!((info.cpu_precision, info.precision), (CPU_PRECISION_INT8, PRECISION_INT8));
    assert!(info.self_check_error > 1e-9 && info.self_check_error < 1e-2, "{}", info.self_check_error);
    let summary = receipt(&runtime);
    assert_eq!((text(&summary.cpu_kernels), summary.precision), (choice.to_string(), PRECISION_INT8));
    // The same bundle runs in float32 as it did.
    let float32 = open_with(&passes, |_| ()).expect("the bundle opens").info();
    assert!(float32.self_check_error < 1e-9);
    assert_ne!(info.configuration_digest, float32.configuration_digest);
}

#[test]
fn a_profile_of_another_precision_is_said() {
    let folder = bundle("kernels-profile");
    let opened = Bundle::open(&folder).expect("the bundle opens");
    let mut profile = coverslip_profile::synthetic::profile(opened.manifest(), opened.digest(), &["A"], 99);
    let said = |profile: &coverslip_profile::Profile, scanner: &'static std::ffi::CStr| {
        let place = folder.with_file_name("kernels-profile-of");
        coverslip_profile::write(profile, place.as_path(), true).expect("a profile");
        let path = std::ffi::CString::new(place.to_str().expect("UTF-8")).expect("no NUL");
        let runtime = open_with(&folder, |desc| desc.profile_path = path.as_ptr()).expect("both open");
        let slide = runtime.begin(|desc| desc.scanner_id = scanner.as_ptr());
        let alerts = slide.alerts();
        let of_precision = alerts.iter().filter(|alert| alert.code == ALERT_PROFILE_PRECISION);
        let pairs = of_precision.map(|alert| (alert.strength as i32, alert.threshold as i32)).collect::<Vec<_>>();
        (runtime.info().profile_precision, pairs)
    };
    assert_eq!(said(&profile, c"A"), (0, vec![]), "not known");
    profile.provenance.precision = Some(Arithmetic::Float32);
    assert_eq!(said(&profile, c"A"), (PRECISION_FLOAT32, vec![]));
    profile.provenance.precision = Some(Arithmetic::Int8);
    assert_eq!(said(&profile, c"A"), (PRECISION_INT8, vec![(PRECISION_INT8, PRECISION_FLOAT32)]));
    assert_eq!(said(&profile, c"another"), (PRECISION_INT8, vec![]), "nothing is calibrated");
}

#[test]
fn a_tuning_file_overrides_the_table_and_stands_in_the_digest() {
    let folder = bundle("kernels-tuned");
    let place = folder.with_file_name("kernels.tuning");
    let open = |text: &str| {
        std::fs::write(&place, text).expect("a file");
        let path = std::ffi::CString::new(place.to_str().expect("UTF-8")).expect("no NUL");
        open_with(&folder, |desc| desc.cpu_tuning_path = path.as_ptr())
    };
    let plain = open_with(&folder, |_| ()).expect("the bundle opens").info();
    let tuned = open("coverslip cpu tuning 1\nfloat32=plain\n").expect("the plain kernels run anywhere").info();
    assert_eq!(text(&tuned.cpu_kernels), "plain");
    assert_ne!(tuned.configuration_digest, plain.configuration_digest);
    // Without a line the table's, and still in the digest: the host named a file.
    let empty = open("coverslip cpu tuning 1\n").expect("nothing is overridden").info();
    assert_eq!(text(&empty.cpu_kernels), text(&plain.cpu_kernels));
    assert_ne!(empty.configuration_digest, tuned.configuration_digest);
    let refused = open("coverslip cpu tuning 1\nfloat32=best\n").err().expect("refused");
    assert_eq!(refused.code, INVALID_ARGUMENT, "{}", refused.message);
    assert!(refused.message.contains("cpu_tuning_path") && refused.message.contains("best"), "{}", refused.message);
    if Family::best(true).is_none() {
        let refused = open_with(&folder, |desc| desc.cpu_precision = CPU_PRECISION_HALF).err().expect("refused");
        assert_eq!(refused.code, UNSUPPORTED);
    }
}
