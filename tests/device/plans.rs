//! Plans: built, kept, found again, refused.

use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr::null_mut;

use coverslip_bundle::{Digest, PlanFile};
use coverslip_files::Claim;
use coverslip_plugin_abi::*;

use crate::fake::{Site, c_path, refused, text};

/// The files of the cache that end so.
fn files(site: &Site, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&site.plans).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn plans_are_kept_and_never_trusted() {
    let site = Site::new("plans");
    let built = |change: &dyn Fn(&mut RuntimeDesc)| {
        let before = site.builds();
        let runtime = site.open(change).expect("opens");
        (site.builds() - before, runtime.info().plan_digest)
    };
    let (builds, digest) = built(&|_| ());
    assert_eq!(builds, 1);
    let plan = files(&site, "plan").remove(0);
    let whole = std::fs::read(&plan).unwrap();
    assert_eq!(digest, Digest::of(&whole).0);
    assert_eq!(files(&site, "cache").len(), 1, "what RTX compiled is kept");
    assert_eq!(built(&|_| ()), (0, digest), "found again");
    let in_float32 = built(&|desc| desc.precision = PRECISION_FLOAT32);
    assert_eq!((in_float32.0, files(&site, "plan").len()), (1, 2), "another precision is another plan");

    // Not trusted: cut off, damaged, TensorRT's refusal, another graph's.
    std::fs::write(&plan, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(built(&|_| ()).0, 1);
    std::fs::write(&plan, "garbage").unwrap();
    assert_eq!(built(&|_| ()).0, 1);
    let key = PlanFile::read(&plan).unwrap().0.key;
    for stranger in [&[b' '; 64][..], b"32 pixels u 32\nembedding_other f 7\n                              "] {
        PlanFile::write(&plan, &key, stranger).unwrap();
        assert_eq!(built(&|_| ()).0, 1);
    }
    assert_eq!(std::fs::read(&plan).unwrap(), whole, "the same plan again");

    // Never built: by digest, as one file, or not at all.
    let prebuilt = |desc: &mut RuntimeDesc| desc.flags = RUNTIME_PREBUILT_ONLY;
    assert_eq!(built(&prebuilt).0, 0);
    assert_eq!(built(&|desc| desc.plan_digest = digest.as_ptr()), (0, digest));
    let single = c_path(&plan);
    assert_eq!(built(&|desc| desc.plan_cache_path = single.as_ptr()), (0, digest));
    let before = site.builds();
    let other = [7u8; 32];
    refused(site.open(|desc| desc.plan_digest = other.as_ptr()), DIGEST_MISMATCH, "its digest is");
    refused(site.open(|desc| (prebuilt(desc), desc.max_batch = 64).1), ENGINE_UNAVAILABLE, "batches of 1 to 32");
    let empty = c"/no/such/folder";
    let nowhere = |desc: &mut RuntimeDesc| (prebuilt(desc), desc.plan_cache_path = empty.as_ptr()).1;
    refused(site.open(nowhere), ENGINE_UNAVAILABLE, "coverslip engine build");
    let runtime = site.open(|desc| (nowhere(desc), desc.engine = ENGINE_AUTO).1).expect("the CPU runs instead");
    assert_eq!((runtime.info().engine, runtime.info().fallback_reason), (ENGINE_CPU, REASON_PLAN_REFUSED));
    drop(runtime);
    std::fs::write(&plan, &whole[..40]).unwrap();
    refused(site.open(|desc| desc.plan_cache_path = single.as_ptr()), ENGINE_UNAVAILABLE, "build it again");
    assert_eq!(site.builds(), before);

    // Another process builds it: this one does too, without waiting, and keeps nothing.
    std::fs::remove_file(&plan).unwrap();
    let other = Claim::beside(&plan).unwrap();
    assert_eq!(built(&|_| ()), (1, [0; 32]));
    assert!(!plan.exists());
    drop(other);
    assert_eq!(built(&|_| ()), (1, digest), "kept again");

    // Nowhere to keep it.
    let runtime = site.open(|desc| desc.plan_cache_path = std::ptr::null()).expect("opens");
    assert_eq!(runtime.info().plan_digest, [0; 32]);
    drop(runtime);
    site.expect_clean();
}

#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_build_reports_and_can_be_cancelled() {
    unsafe extern "C" fn listen(user: *mut c_void, progress: *const Progress) -> i32 {
        // SAFETY: the test passes these, the library a Progress.
        let (heard, progress) = unsafe { (&mut *user.cast::<(f64, Vec<(i32, f64)>)>(), &*progress) };
        heard.1.push((progress.stage, progress.fraction));
        i32::from(progress.stage == STAGE_ENGINE && progress.fraction >= heard.0)
    }
    let site = Site::new("progress");
    site.slow_build(120);
    let open = |stop_at: f64| {
        let mut heard: (f64, Vec<(i32, f64)>) = (stop_at, Vec::new());
        let (bundle, library, plans) =
            (c_path(&site.bundle), c_path(&PathBuf::from(std::env::var_os("FAKE").unwrap())), c_path(&site.plans));
        let desc = RuntimeDesc {
            engine: ENGINE_AUTO,
            bundle_path: bundle.as_ptr(),
            tensorrt_library: library.as_ptr(),
            plan_cache_path: plans.as_ptr(),
            ..RuntimeDesc::init()
        };
        let (api, mut handle, mut error) = (crate::support::host::api(), 0, Error::init());
        let user = (&raw mut heard).cast();
        // SAFETY: all pointers are to live objects.
        let code = unsafe { (api.runtime_open)(&desc, Some(listen), user, &mut handle, &mut error) };
        if code == OK {
            // SAFETY: null is allowed for the error.
            unsafe { (api.runtime_close)(handle, 10_000, null_mut()) };
        }
        (code, text(&error.message), heard.1)
    };
    let (code, message, heard) = open(0.3);
    assert_eq!(code, CANCELLED, "AUTO does not take a cancel for a failure: {message}");
    assert!(heard.last().is_some_and(|&(stage, part)| stage == STAGE_ENGINE && part < 1.0), "{heard:?}");
    assert!(!site.plans.exists() || files(&site, "plan").is_empty(), "nothing is kept");
    let (code, message, heard) = open(2.0);
    assert_eq!(code, OK, "{message}");
    let parts: Vec<f64> = heard.iter().filter(|(stage, _)| *stage == STAGE_ENGINE).map(|(_, part)| *part).collect();
    assert!(parts.iter().any(|part| (0.2..0.9).contains(part)), "{parts:?}");
    let rising = heard.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 <= pair[1].1);
    assert!(rising, "{heard:?}");
    site.expect_clean();
}

/// A plan is code and is not signed: where a signature is required, it counts only where nobody else can put one.
#[test]
#[ignore = "run by slides_on_a_fake_gpu"]
fn a_plan_is_no_way_around_the_signature() {
    use std::os::unix::fs::PermissionsExt;

    let site = Site::new("private");
    let signer = coverslip_testkit::Signer::new();
    signer.sign(&site.bundle.join(coverslip_bundle::MANIFEST_FILE), "");
    let key = std::ffi::CString::new(signer.public()).unwrap();
    let keys = [key.as_ptr()];
    let signed = |desc: &mut RuntimeDesc| {
        (desc.trusted_keys, desc.trusted_key_count, desc.flags) = (keys.as_ptr(), 1, RUNTIME_REQUIRE_SIGNATURE);
    };
    let mode = |mode: u32| {
        std::fs::set_permissions(&site.plans, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let digest = site.open(signed).expect("opens").info().plan_digest;
    assert_eq!(site.plans.metadata().unwrap().permissions().mode() & 0o777, 0o700, "made for this user alone");
    assert_eq!(site.open(signed).expect("found again").info().plan_digest, digest);
    assert_eq!(site.builds(), 1);

    mode(0o777);
    let plan = c_path(&files(&site, "plan").remove(0));
    refused(site.open(signed), ENGINE_UNAVAILABLE, "can be written by others (mode 777)");
    // Not by naming the plan either: what RTX has compiled lies beside it.
    let named = |desc: &mut RuntimeDesc| {
        signed(desc);
        (desc.plan_cache_path, desc.plan_digest) = (plan.as_ptr(), digest.as_ptr());
    };
    refused(site.open(named), ENGINE_UNAVAILABLE, "can be written by others");
    let runtime = site.open(|desc| (signed(desc), desc.engine = ENGINE_AUTO).1).expect("the CPU runs instead");
    assert_eq!((runtime.info().engine, runtime.info().fallback_reason), (ENGINE_CPU, REASON_PLAN_REFUSED));
    drop(runtime);
    site.open(|_| ()).expect("a host that requires no signature decides by itself whom it trusts");
    mode(0o755);
    site.open(named).expect("opens");

    // Another bundle's plan does not fit, whoever put it there: the key has the bundle's digest.
    let found = PlanFile::read_key(&files(&site, "plan")[0]).unwrap();
    assert_eq!(found.bundle, coverslip_bundle::Bundle::open(&site.bundle).unwrap().digest());
    site.expect_clean();
}
