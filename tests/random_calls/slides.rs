//! Slides: how they begin and end, and what is told of them.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every call gets null or memory as long as it states, which is what this test is about"
)]

use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering;

use coverslip_plugin_abi::*;

use super::caller::{Caller, PROFILED, REPORT};
use super::camera::Camera;
use super::dice::Dice;
use super::frames::{BOTTOM, FRAME};

impl Caller<'_> {
    pub(super) fn begin(&mut self) {
        let (runtime, place) = (self.runtime(), self.place(12));
        let (scanner, name) = (self.text(0, b"scanner"), self.text(1, b"slide"));
        let known = runtime == self.shared.runtimes[PROFILED].load(Ordering::Relaxed);
        let camera = Camera::draw(&mut self.dice).with_profile(known);
        let mut desc = slide_desc(&mut self.dice);
        (desc.scanner_id, desc.slide_id) = (scanner, name);
        camera.state(&mut desc, &mut self.dice);
        let table = camera.table(&mut self.dice);
        if table > 0 {
            let rises = self.dice.once_in(2);
            let place = self.table.bytes(table, 128);
            // SAFETY: as many bytes are there.
            let entries = unsafe { std::slice::from_raw_parts_mut(place, table) };
            entries.iter_mut().enumerate().filter(|_| rises).for_each(|(at, to)| *to = (255 * at / table) as u8);
            (desc.tone_table, desc.tone_table_size) = (place, table as u32);
        }
        if self.dice.odd(40) {
            // Less memory than there is, or none at all.
            (desc.tone_table_size, desc.tone_table) = (self.dice.roll(2) as u32, null());
        }
        let (size, nothing) = (desc.struct_size as usize, self.dice.odd(20));
        let whole = size >= size_of::<SlideDesc>();
        let desc: *const SlideDesc = if nothing { null() } else { self.input.put(&desc, size, 0) };
        let mut handle = 0;
        let code = self.answer(6, |api, error| unsafe { (api.slide_begin)(runtime, desc, &mut handle, error) });
        self.expect((code == OK) == (handle != 0), || format!("slide_begin answered {code} and {handle:#x}"));
        if code == OK {
            // A slide that is stated shorter has nothing of version 1.1.
            let camera = if whole { camera } else { camera.without_traits() };
            self.shared.cameras[place].store(camera.0, Ordering::Relaxed);
            self.shared.swaths[place].iter().for_each(|swath| swath.store(0, Ordering::Relaxed));
            let before = self.shared.slides[place].swap(handle, Ordering::Relaxed);
            self.end_slide(before);
        }
    }

    /// Ends a slide that others may be using.
    pub(super) fn end(&mut self) {
        let place = self.place(12);
        let handle = if self.dice.once_in(2) {
            self.shared.slides[place].swap(0, Ordering::Relaxed)
        } else {
            self.shared.slides[place].load(Ordering::Relaxed)
        };
        self.end_slide(handle);
    }

    pub(super) fn end_slide(&mut self, handle: u64) {
        self.answer(16, |api, error| unsafe { (api.slide_end)(handle, error) });
        self.retire(handle);
    }

    pub(super) fn finish(&mut self) {
        let (slide, timeout) = (self.slide(), self.dice.roll(20) as u32);
        if self.dice.once_in(3) {
            self.answer(10, |api, error| unsafe { (api.slide_cancel)(slide, error) });
        } else {
            self.answer(9, |api, error| unsafe { (api.slide_finish)(slide, timeout, error) });
        }
    }

    /// The account of a slide's tiles.
    pub(super) fn summary(&mut self) {
        let slide = self.slide();
        if self.dice.once_in(8) {
            let out = self.out::<SlideSummary>();
            self.answer(15, |api, error| unsafe { (api.slide_summary)(slide, out, error) });
            return;
        }
        let out = self.output.put(&SlideSummary::init(), size_of::<SlideSummary>(), 0);
        if self.answer(15, |api, error| unsafe { (api.slide_summary)(slide, out, error) }) != OK {
            return;
        }
        // SAFETY: the struct is whole.
        let summary = unsafe { out.read() };
        let sum: u64 = summary.results[1..].iter().sum();
        let holds = summary.results[0] == sum && summary.opened == sum + summary.in_flight && summary.unpolled <= sum;
        self.expect(holds, || format!("the account does not hold: {summary:?}"));
        self.expect(summary.poisoned == 0, || format!("poisoned without a fault: {summary:?}"));
        self.shared.summaries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn alerts_and_report(&mut self) {
        if self.dice.once_in(3) {
            return self.report();
        }
        let slide = self.slide();
        let count = self.dice.roll(8) as u32;
        let records = self.records.last(count as usize * size_of::<Alert>(), 0xA5).cast();
        let batch = AlertBatch {
            struct_size: self.dice.size_of::<AlertBatch>(8) as u32,
            record_size: size_of::<Alert>() as u32,
            records,
            record_capacity: count,
            ..AlertBatch::init()
        };
        let size = batch.struct_size as usize;
        let place = self.input.put(&batch, size, 0);
        self.answer(14, |api, error| unsafe { (api.slide_alerts)(slide, place, error) });
    }

    /// The report is written as a whole, with its NUL, or not at all.
    fn report(&mut self) {
        let slide = self.slide();
        let capacity = self.dice.pick(&[0, 1, 100, 4000, REPORT]);
        let (unasked, nowhere) = (self.dice.odd(4), self.dice.odd(8) || capacity == 0 && self.dice.once_in(2));
        let buffer = self.report.bytes(capacity, 0xA5);
        let place = if nowhere { null_mut() } else { buffer.cast() };
        let mut found = 0;
        let needed = if unasked { null_mut() } else { &raw mut found };
        let code = self
            .answer(17, |api, error| unsafe { (api.slide_report_json)(slide, place, capacity as u64, needed, error) });
        // SAFETY: as many bytes are there.
        let written = unsafe { std::slice::from_raw_parts(buffer, capacity) };
        let untouched = written.iter().all(|byte| *byte == 0xA5);
        let end = written.iter().position(|byte| *byte == 0).map_or(0, |at| at as u64 + 1);
        let holds = match code {
            OK => end > 0 && (unasked || found == end),
            BUFFER_TOO_SMALL => untouched && (unasked || found > capacity as u64),
            _ => untouched,
        };
        self.expect(holds, || {
            format!("the report: {code}, {found} bytes of {capacity} needed, the text ends at {end}")
        });
    }
}

/// A slide as in version 1.0, without its texts.
fn slide_desc(dice: &mut Dice) -> SlideDesc {
    let (known, spread) = (!dice.once_in(6), if dice.once_in(8) { 64 } else { 0 });
    SlideDesc {
        struct_size: dice.size_of::<SlideDesc>(6) as u32,
        color_state: dice.number(12, 0) as i32,
        mpp_x: dice.real(24, 0.5),
        mpp_y: dice.real(24, 0.5),
        extent_x: dice.number(24, 0) as i64,
        extent_width: if known { dice.number(24, 480) } else { 0 },
        extent_height: if known { dice.number(24, BOTTOM.into()) } else { 0 },
        max_frame_width: dice.number(24, FRAME as u64) as u32,
        max_frame_height: dice.number(24, FRAME as u64) as u32,
        spread_width: 7 * spread,
        spread_height: spread,
        max_tiles: dice.number(24, 0) as u32,
        max_unpolled: 1 + dice.roll(200) as u32,
        assembly_timeout_ms: dice.roll(10) as u32,
        result_deadline_ms: if dice.once_in(2) { 1 + dice.roll(30) as u32 } else { 0 },
        min_coverage: dice.real(24, 0.5),
        alpha: dice.real(24, 0.01),
        flags: dice.pick(&[0, SLIDE_EMBEDDINGS, SLIDE_ANALYSE_BACKGROUND, 3]),
        stability_interval: dice.number(24, 0) as u32,
        ..SlideDesc::init()
    }
}
