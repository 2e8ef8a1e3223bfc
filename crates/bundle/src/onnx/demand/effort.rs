//! What the inference itself may cost. Every rule reaches a node's numbers, shapes and attributes through its call, which
//! counts them here, so that no graph makes the inference longer than this however its rules are written.

use std::cell::Cell;

use crate::budget::{MAX_INFERENCE_NUMBERS, MAX_INFERENCE_STEPS};

/// What is left of a walk's budget.
pub(super) struct Effort {
    steps: Cell<u64>,
    numbers: Cell<u64>,
}

impl Effort {
    pub(super) fn new() -> Effort {
        Effort { steps: Cell::new(MAX_INFERENCE_STEPS), numbers: Cell::new(MAX_INFERENCE_NUMBERS) }
    }

    /// Whether there is room for so many steps more.
    pub(super) fn spend(&self, steps: u64) -> bool {
        taken(&self.steps, steps)
    }

    /// Whether there is room for so many numbers more, which are kept until the walk ends.
    pub(super) fn keep(&self, numbers: usize) -> bool {
        taken(&self.numbers, numbers as u64)
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> (u64, u64) {
        (MAX_INFERENCE_STEPS - self.steps.get(), MAX_INFERENCE_NUMBERS - self.numbers.get())
    }
}

fn taken(from: &Cell<u64>, count: u64) -> bool {
    let left = from.get().checked_sub(count);
    from.set(left.unwrap_or(0));
    left.is_some()
}
