//! Which tensors are the vision transformer's: under which prefix they lie, whose names they have, and what is left
//! out because no embedding needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Checkpoint;
use super::conventions::{ANCHORS, Convention, Meaning, is_head};
use super::unknown;
use coverslip_bundle::layout::listed;
use coverslip_bundle::tensors::Element;
use coverslip_bundle::{BundleError, fail};

/// A vision transformer's tensors by our names (see [`super::conventions`]).
#[derive(Debug)]
pub(super) struct Found {
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) convention: Convention,
    prefix: String,
    /// Our name, and the file's.
    tensors: BTreeMap<String, String>,
    /// The file's names of what is left out.
    pub(super) left_out: Vec<String>,
    /// What was recognised.
    pub(super) notes: Vec<String>,
}

/// What training frameworks keep beside a model.
const TRAINING: [&str; 17] = [
    "optimizer",
    "optimizers",
    "optimizer_states",
    "optimizer_state_dict",
    "scheduler",
    "schedulers",
    "lr_scheduler",
    "lr_schedulers",
    "callbacks",
    "loops",
    "scaler",
    "fp16_scaler",
    "loss",
    "dino_loss",
    "ibot_loss",
    "ibot_patch_loss",
    "koleo_loss",
];

/// Finds the model in a file.
///
/// # Errors
/// `Unsupported`, by name, for other conventions and for parts that this version does not do; `Invalid` for unknown
/// tensors.
pub(super) fn read(checkpoint: &Arc<Checkpoint>) -> Result<Found, BundleError> {
    let (prefix, convention) = prefix(checkpoint)?;
    let mut found = Found {
        checkpoint: checkpoint.clone(),
        convention,
        prefix,
        tensors: BTreeMap::new(),
        left_out: Vec::new(),
        notes: Vec::new(),
    };
    let (mut students, mut chunks, mut unknown) = (0, false, Vec::new());
    for name in checkpoint.names() {
        let Some(own) = name.strip_prefix(&found.prefix) else {
            let rest = outside(&found.prefix, name);
            let module = rest.split('.').next().unwrap_or_default();
            if module == "student" {
                students += 1;
            } else if !is_head(rest) && !TRAINING.contains(&module) {
                unknown.push(name);
                continue;
            }
            found.left_out.push(name.to_owned());
            continue;
        };
        match convention.meaning(own)? {
            Meaning::Head => found.left_out.push(name.to_owned()),
            Meaning::Unknown => unknown.push(name),
            Meaning::Part { name: ours, chunked } => {
                chunks |= chunked;
                if let Some(other) = found.tensors.insert(ours, name.to_owned()) {
                    fail!(Invalid, "tensors `{other}` and `{name}` mean the same; expected one of them");
                }
            }
        }
    }
    unknown::refuse(&unknown)?;
    found.recognise_dinov2();
    found.note_prefix(students, chunks);
    Ok(found)
}

/// What comes before the model's tensors. Where a teacher and a student lie there, the teacher is the model.
fn prefix(checkpoint: &Checkpoint) -> Result<(String, Convention), BundleError> {
    let mut prefixes: Vec<(String, Convention)> = Vec::new();
    for (anchor, convention) in ANCHORS {
        let before = checkpoint.names().filter_map(|name| name.strip_suffix(anchor));
        let whole = before.filter(|prefix| prefix.is_empty() || prefix.ends_with('.'));
        prefixes.extend(whole.map(|prefix| (prefix.to_owned(), convention)));
    }
    let is_teacher = |prefix: &str| prefix.split('.').any(|part| part == "teacher");
    if prefixes.iter().any(|(prefix, _)| is_teacher(prefix)) {
        prefixes.retain(|(prefix, _)| is_teacher(prefix));
    }
    match &prefixes[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown::no_model(checkpoint)),
        several => {
            let names: Vec<String> = several.iter().map(|(prefix, _)| format!("`{prefix}`")).collect();
            fail!(
                Unsupported,
                "not supported in this version: several models in one file, under {}; expected one, or a teacher and \
                 a student; save the tensors of one of them",
                listed(&names)
            )
        }
    }
}

/// A name without the modules that it shares with `prefix`.
fn outside<'a>(prefix: &str, name: &'a str) -> &'a str {
    let mut rest = name;
    for module in prefix.split_terminator('.') {
        let Some(inner) = rest.strip_prefix(module).and_then(|rest| rest.strip_prefix('.')) else { break };
        rest = inner;
    }
    rest
}

impl Found {
    /// The file's name of our tensor `name`, also when it is not there.
    pub(super) fn file_name(&self, name: &str) -> String {
        let occurs = |part: &str| {
            let named =
                |theirs: &String| theirs[self.prefix.len()..].starts_with(part) || theirs.contains(&format!(".{part}"));
            self.tensors.values().any(named)
        };
        match self.tensors.get(name) {
            Some(theirs) => theirs.clone(),
            None => format!("{}{}", self.prefix, self.convention.theirs(name, occurs)),
        }
    }

    /// Whether our tensor `name` is there.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The first block's tensor `part` that is there, by our name.
    pub(super) fn in_a_block(&self, part: &str) -> Option<String> {
        (0..self.depth()).map(|index| format!("blocks.{index}.{part}")).find(|name| self.contains(name))
    }

    /// The shape of our tensor `name`.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.shape(self.tensors.get(name)?)
    }

    /// The element type of our tensor `name`.
    pub(super) fn element(&self, name: &str) -> Option<Element> {
        self.checkpoint.element(self.tensors.get(name)?)
    }

    /// Our names of the tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Blocks, counted by the largest number.
    pub(super) fn depth(&self) -> usize {
        let index = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
        self.names().filter_map(index).max().map_or(0, |last| last + 1)
    }

    /// DINOv2's own names differ from timm's in a few places only; its mask token has two dimensions, others three.
    fn recognise_dinov2(&mut self) {
        let own = |part: &str| self.checkpoint.names().any(|name| name.strip_prefix(&self.prefix) == Some(part));
        let mask = self.checkpoint.shape(&format!("{}mask_token", self.prefix));
        let packed = self.names().any(|name| name.contains(".mlp.w12."));
        let has = own("register_tokens") || packed || mask.is_some_and(|shape| shape.len() == 2);
        if self.convention == Convention::Timm && has {
            self.convention = Convention::Dinov2;
        }
    }

    fn note_prefix(&mut self, students: usize, chunks: bool) {
        if !self.prefix.is_empty() {
            self.notes.push(format!("the model lies under `{}`", self.prefix.trim_end_matches('.')));
        }
        if students > 0 {
            self.notes.push(format!("the teacher is taken, {students} tensors of the student are left out"));
        }
        if chunks {
            self.notes.push("its blocks lie in chunks and were numbered through".to_owned());
        }
    }
}
