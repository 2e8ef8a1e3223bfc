//! What the host does with a slide: frames, and the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{Exit, Slide};
use crate::gate::WaitEnd;
use crate::tiles::assembler::is_busy;
use crate::tiles::frame::{Frame, FrameBytes, FrameHeader};
use coverslip_base::error::{Error, Result, error};
use coverslip_base::fault;

impl Slide {
    /// Takes a frame or refuses it at once; a refused one is remembered.
    pub(crate) fn submit(self: &Arc<Self>, header: &FrameHeader, bytes: FrameBytes<'_>) -> Result<()> {
        self.offer(&header.over(bytes)?, true)
    }

    /// The same, but waits up to `timeout` (None: without end) for free slots. A frame is remembered as refused only
    /// when that time has passed.
    pub(crate) fn submit_wait(
        self: &Arc<Self>,
        header: &FrameHeader,
        bytes: FrameBytes<'_>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let frame = header.over(bytes)?;
        let ready = || match self.offer(&frame, false) {
            Err(e) if is_busy(&e) => None,
            result => Some(result),
        };
        match self.gate.wait(timeout, ready) {
            Ok(result) => result,
            Err(WaitEnd::Interrupted) => Err(self.interrupted()),
            Err(WaitEnd::TimedOut) => self.offer(&frame, true),
        }
    }

    fn offer(self: &Arc<Self>, frame: &Frame<'_>, remember: bool) -> Result<()> {
        let start = Instant::now();
        let mut assembler = self.assembler();
        if self.standing.is_poisoned() {
            return Err(error!(INTERNAL, "the slide is poisoned by an earlier defect: end it and begin another"));
        }
        if self.standing.is_closed() {
            return Err(error!(WRONG_STATE, "a frame after slide_finish or slide_cancel: begin another slide"));
        }
        fault::point("submit");
        let mut exit = Exit(self);
        let result = assembler.submit(frame, start, &mut exit);
        if remember && result.as_ref().is_err_and(is_busy) {
            assembler.remember_refused(frame, &mut exit);
        }
        let wants_care = assembler.wants_care();
        drop(assembler);
        if wants_care {
            self.nudge();
        }
        self.add_submit_time(start.elapsed());
        result
    }

    /// Closes, and waits until every tile has its result.
    pub(crate) fn finish(self: &Arc<Self>, timeout: Option<Duration>) -> Result<()> {
        fault::point("finish");
        self.close();
        self.nudge();
        match self.gate.wait(timeout, || self.standing.is_finished().then_some(())) {
            Ok(()) if self.standing.is_poisoned() => {
                Err(error!(INTERNAL, "the slide is poisoned by a defect: its remaining tiles have failed"))
            }
            Ok(()) => Ok(()),
            Err(WaitEnd::Interrupted) => Err(self.interrupted()),
            Err(WaitEnd::TimedOut) => {
                let counts = self.published.snapshot();
                Err(error!(
                    TIMEOUT,
                    "{} tiles are on their way, {} results wait to be polled: poll them and call slide_finish again",
                    counts.in_flight(),
                    counts.unpolled()
                ))
            }
        }
    }

    /// Closes; every tile without a result ends as cancelled.
    pub(crate) fn cancel(self: &Arc<Self>) {
        if !self.standing.is_finished() {
            self.standing.cancel();
        }
        self.close();
        self.nudge();
    }

    /// Cancels; the host polls no more.
    pub(crate) fn end(self: &Arc<Self>) {
        self.standing.end();
        self.discard_results();
        self.cancel();
        self.gate.interrupt();
    }

    /// What a wait returns that was interrupted.
    pub(crate) fn interrupted(&self) -> Error {
        if self.standing.is_ended() {
            return error!(INTERRUPTED, "another thread has ended the slide, or closed its runtime");
        }
        error!(INTERRUPTED, "slide_interrupt was called")
    }
}
