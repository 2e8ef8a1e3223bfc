//! Plan files: the header that says what a GPU's plan is for.

use std::fs;

use coverslip_bundle::{COMPOSER, Digest, PlanFile, PlanKey, Precision};
use coverslip_testkit::Scratch;

use crate::input::{Input, Seeds, joined};

/// What stands before the header's length.
const MAGIC: &[u8] = b"coverslip.plan/1\n";

/// A plan file; with an odd first byte, a header within one whose lengths fit.
pub(crate) fn plan(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let framed = input.byte() & 1 != 0;
    let rest = input.rest();
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("model.plan");
    let bytes =
        if framed { [MAGIC, &(rest.len() as u32).to_le_bytes(), rest, b"plan"].concat() } else { rest.to_vec() };
    fs::write(&path, bytes).expect("a scratch file");
    let key = PlanFile::read_key(&path);
    if let Ok(key) = &key {
        let _ = (key.misfit(&self::key()), key.digest());
    }
    PlanFile::read(&path).is_ok() || framed && key.is_ok()
}

fn key() -> PlanKey {
    PlanKey {
        bundle: Digest([7; 32]),
        composer: COMPOSER,
        precision: Precision::Float16,
        flavor: "TensorRT-RTX".to_owned(),
        version: "1.7.1.116".to_owned(),
        min_batch: 1,
        opt_batch: 16,
        max_batch: 64,
        targets: vec!["sm86".to_owned(), "sm89".to_owned()],
        gpu: None,
    }
}

pub(crate) fn seeds() -> Seeds {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("model.plan");
    PlanFile::write(&path, &key(), b"plan").expect("a plan");
    let bytes = fs::read(&path).expect("the plan");
    let header = &bytes[MAGIC.len() + 4..bytes.len() - 4];
    vec![("whole".to_owned(), joined(0, &[], &bytes)), ("header".to_owned(), joined(1, &[], header))]
}
