//! A runtime whose description is the input's, with a profile and a choice of kernels that may be a stranger's.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};

use coverslip_plugin_abi::*;
use coverslip_testkit::Scratch;

use super::host::{Given, api, call, constant, number, small, text};
use crate::bundle::{vit, written};
use crate::input::{Input, joined};
use crate::profile_files::{changed, put};

fn c_path(path: &Path) -> CString {
    CString::new(path.to_str().expect("a path in UTF-8")).expect("no NUL")
}

/// Opens a runtime on a tiny bundle, sometimes with a profile and a choice of kernels of which the input has a file. Without
/// input it opens as it should.
pub(super) fn opened(input: &mut Input) -> Option<Runtime> {
    let scratch = Scratch::new("fuzz");
    let [path, profile, tuning] = ["bundle", "profile", "tuning"].map(|name| c_path(&scratch.join(name)));
    for folder in ["bundle", "profile"] {
        fs::create_dir(scratch.join(folder)).expect("a scratch folder");
    }
    written(vit(), &scratch.join("bundle"));
    let mut desc =
        RuntimeDesc { engine: ENGINE_CPU, bundle_path: path.as_ptr(), max_threads: 2, ..RuntimeDesc::init() };
    let (cpus, digest) = ([0u32, 1, 77], [0u8; 32]);
    if input.byte() & 1 != 0 {
        desc.engine = constant(input, &[ENGINE_CPU, ENGINE_AUTO, ENGINE_CPU]);
        desc.profile_path = if input.once_in(8) { text(input, c"/nowhere") } else { null() };
        (desc.cpus, desc.cpu_count) = if input.once_in(4) { (cpus.as_ptr(), small(input, 2) % 4) } else { (null(), 0) };
        desc.flags = if input.once_in(4) { small(input, 0) } else { 0 };
        (desc.max_threads, desc.max_slides) = (small(input, 2).min(8), small(input, 4));
        desc.fallback = constant(input, &[0, 1, 2]);
        desc.precision = constant(input, &[0, 1, 2, 3, 4]);
        (desc.memory_limit, desc.max_batch) = (number(input, 0), small(input, 0));
        desc.bundle_digest = if input.once_in(8) { digest.as_ptr() } else { null() };
        desc.isolation = constant(input, &[0, 1, 2]);
        desc.cpu_precision = constant(input, &[0, 1, 2]);
        (desc.worker_timeout_ms, desc.reserved) = (small(input, 0), small(input, 0));
        if input.once_in(6) {
            desc.bundle_path = text(input, c"/nowhere");
        }
        if input.once_in(3)
            && let Some(files) = changed(input.byte() & 3, input.part())
        {
            put(&files, &scratch.join("profile"));
            desc.profile_path = profile.as_ptr();
        }
        if input.once_in(3) {
            fs::write(scratch.join("tuning"), input.part()).expect("a scratch file");
            desc.cpu_tuning_path = tuning.as_ptr();
        }
    }
    let (given, _) = Given::of(input, desc, |desc, size| desc.struct_size = size);
    let mut handle = u64::MAX;
    // SAFETY: the struct is as long as it says or null, and what it points to outlives the call.
    let code =
        call(input, |error| unsafe { (api().runtime_open)(given.pointer(), None, null_mut(), &mut handle, error) });
    assert_eq!(code == OK, handle != u64::MAX, "the handle is written on success only");
    (code == OK).then_some(handle)
}

/// Choices of a runtime's description up to the profile, all of them the usual ones.
const USUAL: usize = 21;

/// A runtime's description with a file of a profile and one of kernels, and a whole struct behind it.
pub(super) fn described() -> Vec<u8> {
    let profile = joined(3, &[b"scanner.0.effects f32 8 0.5\n"], &[]);
    let tuning = joined(2, &[b"coverslip cpu tuning 1\n"], &[]);
    [&[1][..], &[0; USUAL], &[2], &profile, &tuning, &[0; 3]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slide of the seed finds a runtime in any case: that of every sequence, where its own was refused.
    #[test]
    fn the_described_runtime_has_its_profile() {
        let runtime = opened(&mut Input::new(&described())).expect("it opens");
        let mut info = RuntimeInfo::init();
        // SAFETY: the struct is whole, and null is allowed for the error.
        assert_eq!(unsafe { (api().runtime_info)(runtime, &mut info, null_mut()) }, OK);
        assert_ne!(info.profile_digest, [0; 32]);
        // SAFETY: null is allowed for the error.
        assert_eq!(unsafe { (api().runtime_close)(runtime, 60_000, null_mut()) }, OK);
    }
}
