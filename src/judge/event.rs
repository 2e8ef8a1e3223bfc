//! What the judge hears of.

use std::sync::Arc;

use super::docket::Docket;
use crate::slide::state::{Slide, Work};
use crate::tiles::slot::Identity;
use coverslip_base::memory::Boxed;

pub(crate) enum Event {
    /// A slide has begun.
    Begun(Boxed<Docket>),
    /// A tile has left the assembler; its slot's number.
    Departed(Arc<Slide>, u32, Identity),
    /// A tile comes back with its outcome.
    Returned(Work),
    /// Something about this slide has changed: it was closed or cancelled, or its outbox has room again.
    Look(Arc<Slide>),
    /// Another engine runs from now on, or none: `COVERSLIP_REASON_*`.
    Fallback(i32),
    /// Workers were started again.
    Restarted,
    Stop,
}
