//! A run allocates nothing and starts no thread; a model and a lane hold what they say.

use std::sync::Arc;

use coverslip_bundle::synthetic::{self, SyntheticSpec};
use coverslip_bundle::{InputStep, Mlp, SaeArchitecture};
use coverslip_testkit::{Counting, Fixture};
use coverslip_vit::{Choice, Family, Lane, Model};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Norms, biases of the SAE and lists, in bytes.
const SMALL: i64 = 16 << 10;

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Makes a value that says how many bytes it holds, beside small parts.
#[track_caller]
fn held<T>(make: impl FnOnce() -> T, says: impl FnOnce(&T) -> usize) -> T {
    let before = Counting::in_use();
    let value = make();
    let (took, said) = (Counting::in_use() - before, says(&value) as i64);
    assert!((said..said + SMALL).contains(&took), "{took} bytes are held, {said} are said");
    value
}

#[test]
fn a_run_allocates_nothing_and_starts_no_thread() {
    let input = vec![InputStep::Standardize, InputStep::LayerNorm];
    for sae_arch in [SaeArchitecture::TopK, SaeArchitecture::GroupMax, SaeArchitecture::Gated] {
        for mlp in [Mlp::Gelu, Mlp::SwiGlu] {
            let spec = SyntheticSpec { mlp, sae_arch, input: input.clone(), ..Default::default() };
            let bundle = Fixture::with(&spec).open().unwrap();
            let tile = synthetic::tiles(&spec, 1);
            let families =
                Choice::here().into_iter().filter(|choice| choice.int8.is_none()).map(|choice| choice.floats);
            for family in families.chain([Family::Plain]) {
                let model = held(|| Arc::new(Model::open(&bundle, family).unwrap()), |model| model.bytes());
                let mut lane = held(|| Lane::new(&model).unwrap(), Lane::bytes);
                let running = threads();
                let before = Counting::allocations();
                assert!(before > 0, "the counter counts");
                for _ in 0..3 {
                    assert!(lane.run(&tile).embeddings.iter().all(|value| value.is_finite()));
                }
                let allocated = Counting::allocations() - before;
                assert_eq!((allocated, threads()), (0, running), "{} {sae_arch:?} {mlp:?}", family.name());
            }
        }
    }
}
