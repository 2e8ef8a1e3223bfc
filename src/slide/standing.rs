//! Where a slide stands: its phase, and what has happened to it. One word, read by every thread that has a tile of the
//! slide.

use coverslip_base::sync::{AtomicU8, Ordering};

/// A slide goes from one phase to the next and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes frames.
    Open,
    /// Takes no more frames; some tiles have no result yet.
    Draining,
    /// Every tile has its result, and the slide as a whole has been judged.
    Finished,
}

const CLOSED: u8 = 1;
const FINISHED: u8 = 2;
const CANCELLED: u8 = 4;
const POISONED: u8 = 8;
const ENDED: u8 = 16;
const LOOK: u8 = 32;

#[derive(Default)]
pub(crate) struct Standing(AtomicU8);

impl Standing {
    fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Acquire) & bit != 0
    }

    /// Sets a bit; false where it was set before.
    fn set(&self, bit: u8) -> bool {
        self.0.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            bits if bits & FINISHED != 0 => Phase::Finished,
            bits if bits & CLOSED != 0 => Phase::Draining,
            _ => Phase::Open,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.has(CLOSED)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.has(FINISHED)
    }

    /// Open becomes draining; false where the slide was closed before.
    pub(crate) fn close(&self) -> bool {
        self.set(CLOSED)
    }

    /// Draining becomes finished: the judge has said all there is to say of the slide.
    pub(crate) fn finish(&self) {
        self.set(FINISHED);
    }

    /// The host wants no more of its tiles analysed.
    pub(crate) fn cancel(&self) {
        self.set(CANCELLED);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.has(CANCELLED)
    }

    /// A defect was caught in the slide's work. Only who looks at the slide next sees it: see `Slide::poison`.
    pub(crate) fn poison(&self) {
        self.set(POISONED);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.has(POISONED)
    }

    /// The host has let go of the slide.
    pub(crate) fn end(&self) {
        self.set(ENDED);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.has(ENDED)
    }

    /// The host has let go of it, and the judge has nothing more to say.
    pub(crate) fn is_over(&self) -> bool {
        self.is_ended() && self.is_finished()
    }

    /// Asks for a look of the judge; false where one is asked for already and has not begun.
    pub(crate) fn ask_for_look(&self) -> bool {
        self.set(LOOK)
    }

    /// The judge begins to look: what changes from here on wants another look.
    pub(crate) fn begin_look(&self) {
        self.0.fetch_and(!LOOK, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_whatever_happens_beside() {
        let standing = Standing::default();
        standing.poison();
        assert_eq!(standing.phase(), Phase::Open);
        assert!(standing.close() && !standing.close());
        standing.cancel();
        assert_eq!(standing.phase(), Phase::Draining);
        standing.finish();
        standing.end();
        assert_eq!(standing.phase(), Phase::Finished);
        assert!(standing.is_cancelled() && standing.is_poisoned() && standing.is_ended());
    }

    #[test]
    fn looks_are_asked_for_one_at_a_time() {
        let standing = Standing::default();
        assert!(standing.ask_for_look() && !standing.ask_for_look());
        standing.begin_look();
        assert!(standing.ask_for_look());
    }
}
