//! One thread that calls at random.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every call gets null or memory as long as it states, which is what this test is about"
)]

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use coverslip_plugin_abi::*;

use super::Shared;
use super::dice::Dice;
use super::frames::ROOM;
use super::guarded::Guarded;

pub(crate) const NAMES: [&str; 19] = [
    "runtime_open",
    "runtime_info",
    "feature_info",
    "runtime_stats",
    "runtime_set_budget",
    "runtime_close",
    "slide_begin",
    "slide_submit",
    "slide_submit_wait",
    "slide_finish",
    "slide_cancel",
    "slide_poll",
    "slide_wait",
    "slide_interrupt",
    "slide_alerts",
    "slide_summary",
    "slide_end",
    "slide_report_json",
    "get_extension",
];

/// The longest text.
const LONG: usize = 100_000;
/// The largest buffer for a report.
pub(crate) const REPORT: usize = 65_536;
/// The place of the runtimes that have a profile.
pub(crate) const PROFILED: usize = 2;

pub(crate) struct Caller<'s> {
    pub(super) shared: &'s Shared,
    pub(super) thread: usize,
    pub(super) dice: Dice,
    error: Guarded,
    pub(super) input: Guarded,
    pub(super) output: Guarded,
    /// Of each plane.
    pub(super) pixels: [Guarded; 3],
    pub(super) mask: Guarded,
    pub(super) table: Guarded,
    pub(super) report: Guarded,
    pub(super) records: Guarded,
    features: Guarded,
    embeddings: Guarded,
    texts: [Guarded; 3],
}

/// A host's progress callback; a user that is not null stops the opening.
unsafe extern "C" fn progress(user: *mut c_void, _: *const Progress) -> i32 {
    i32::from(!user.is_null())
}

impl<'s> Caller<'s> {
    pub(crate) fn new(shared: &'s Shared, thread: u64, seed: u64) -> Caller<'s> {
        Caller {
            shared,
            thread: thread as usize,
            dice: Dice::new(seed),
            error: Guarded::new(size_of::<Error>()),
            input: Guarded::new(4096),
            output: Guarded::new(4096),
            pixels: [(); 3].map(|()| Guarded::new(ROOM)),
            mask: Guarded::new(ROOM),
            table: Guarded::new(65_536),
            report: Guarded::new(REPORT),
            records: Guarded::new(64 * size_of::<TileResult>()),
            features: Guarded::new(4096 * size_of::<Feature>()),
            embeddings: Guarded::new(4096 * 4),
            texts: [(); 3].map(|()| Guarded::new(LONG + 1)),
        }
    }

    /// Opens the first runtimes, so that there is something to begin slides on.
    pub(crate) fn open_all(&mut self) {
        if self.thread == 0 {
            (0..self.shared.runtimes.len()).for_each(|place| self.open(place));
        }
    }

    pub(crate) fn call(&mut self) {
        self.dice.turn();
        match self.dice.roll(1000) {
            0 => {
                let place = self.place(3);
                self.open(place);
            }
            1 => self.close(),
            2..40 => self.begin(),
            40..44 => self.end(),
            44..480 => self.submit(false),
            480..560 => self.submit(true),
            560..680 => self.take(false),
            680..760 => self.take(true),
            760..768 => self.finish(),
            768..850 => {
                let slide = self.slide();
                self.answer(13, |api, error| unsafe { (api.slide_interrupt)(slide, error) });
            }
            850..930 => self.summary(),
            _ => self.ask(),
        }
    }

    // -- what every call needs ----------------------------------------------------------------------------------------

    /// Calls a function with an error struct that is now and then missing or short, and checks what it answers.
    pub(super) fn answer(&mut self, what: usize, f: impl FnOnce(&Api, *mut Error) -> i32) -> i32 {
        let size = match if self.dice.odd(4) { self.dice.roll(3) } else { 3 } {
            0 => None,
            1 => Some(self.dice.roll(9) as usize),
            2 => Some(8 + self.dice.roll(size_of::<Error>() as u64 - 8) as usize),
            _ => Some(size_of::<Error>()),
        };
        let stated = Error { struct_size: size.unwrap_or(0) as u32, ..Error::init() };
        let error = size.map_or(null_mut(), |size| self.error.put(&stated, size, 0));
        let (since, call) = &self.shared.since[self.thread];
        call.store(what as u64, Ordering::Relaxed);
        since.store(1 + self.shared.start.elapsed().as_millis() as u64, Ordering::Relaxed);
        let code = f(self.shared.api, error);
        since.store(0, Ordering::Relaxed);
        let name = NAMES[what];
        self.expect((OK..=SIGNATURE_INVALID).contains(&code), || format!("{name} answered {code}"));
        self.shared.codes[code as usize].fetch_add(1, Ordering::Relaxed);
        if code != OK && size == Some(size_of::<Error>()) {
            // SAFETY: the whole struct is there.
            let said = unsafe { error.read() };
            let end = said.message.iter().position(|&c| c == 0);
            let text: String = said.message.iter().take_while(|&&c| c != 0).map(|&c| char::from(c as u8)).collect();
            self.expect(said.code == code && end.is_some_and(|end| end > 0), || {
                format!("{name}: {code}, said {said:?}")
            });
            self.expect(code != INTERNAL, || format!("{name}: a defect was caught: {text}"));
        }
        self.expect(code != INTERNAL, || format!("{name}: a defect was caught"));
        code
    }

    #[track_caller]
    pub(super) fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.shared.over.store(true, Ordering::Relaxed);
            panic!("{}", what());
        }
    }

    pub(super) fn place(&mut self, of: usize) -> usize {
        self.dice.roll(of as u64) as usize
    }

    /// A handle: mostly an open one, else one that was closed, or none at all.
    fn handle(&mut self, of: &[AtomicU64]) -> u64 {
        let open = of[self.place(of.len())].load(Ordering::Relaxed);
        let stale = self.shared.stale[self.place(32)].load(Ordering::Relaxed);
        match if self.dice.odd(4) { self.dice.roll(3) } else { 3 } {
            0 | 1 => stale,
            2 => self.dice.number(1, 0),
            _ => open,
        }
    }

    pub(super) fn runtime(&mut self) -> u64 {
        let shared = self.shared;
        self.handle(&shared.runtimes)
    }

    pub(super) fn slide(&mut self) -> u64 {
        let shared = self.shared;
        self.handle(&shared.slides)
    }

    /// A slide, and the place of the camera that most likely is its own.
    pub(super) fn slide_and_place(&mut self) -> (u64, usize) {
        let (shared, place) = (self.shared, self.place(12));
        (self.handle(&shared.slides[place..=place]), place)
    }

    pub(super) fn retire(&mut self, handle: u64) {
        let place = self.place(32);
        self.shared.stale[place].store(handle, Ordering::Relaxed);
    }

    /// A text for one of the host's strings, at the edge of memory.
    pub(super) fn text(&mut self, place: usize, usual: &[u8]) -> *const c_char {
        let text = match if self.dice.odd(16) { self.dice.roll(5) } else { 5 } {
            0 => return null(),
            1 => b"",
            2 => &b"\xff\xfe"[..],
            3 => &[b'x'; LONG][..],
            4 => "Präparat 🔬\u{1b}[2J".as_bytes(),
            _ => usual,
        };
        self.texts[place].text(text)
    }

    // -- runtimes -----------------------------------------------------------------------------------------------------

    fn open(&mut self, place: usize) {
        let (cpus, shared) = ([0u32, 1, 77], self.shared);
        let dice = &mut self.dice;
        let mut desc = RuntimeDesc {
            struct_size: dice.size_of::<RuntimeDesc>(6) as u32,
            engine: dice.number(20, ENGINE_CPU as u64) as i32,
            flags: dice.number(16, 0) as u32,
            max_threads: dice.roll(4) as u32,
            max_slides: dice.number(8, 16) as u32,
            fallback: dice.number(20, 0) as i32,
            precision: dice.number(20, 0) as i32,
            memory_limit: dice.number(8, 512 << 20),
            max_batch: dice.number(20, 0) as u32,
            isolation: dice.number(40, 0) as i32,
            cpu_precision: dice.number(40, 0) as i32,
            ..RuntimeDesc::init()
        };
        if dice.once_in(8) {
            (desc.cpus, desc.cpu_count) = (cpus.as_ptr(), dice.roll(4) as u32);
        }
        let (stops, nothing) = (dice.odd(8), dice.odd(16));
        desc.bundle_path = self.text(0, shared.bundle.as_bytes());
        if place == PROFILED || self.dice.odd(8) {
            let path = if self.dice.odd(8) { &b"/nonexistent"[..] } else { shared.profile.as_bytes() };
            desc.profile_path = self.text(1, path);
        }
        let size = desc.struct_size as usize;
        let desc: *const RuntimeDesc = if nothing { null() } else { self.input.put(&desc, size, 0) };
        let user = if stops { std::ptr::without_provenance_mut(1) } else { null_mut() };
        let mut handle = 0;
        let code =
            self.answer(0, |api, error| unsafe { (api.runtime_open)(desc, Some(progress), user, &mut handle, error) });
        self.expect((code == OK) == (handle != 0), || format!("runtime_open answered {code} and {handle:#x}"));
        if code == OK {
            let before = shared.runtimes[place].swap(handle, Ordering::Relaxed);
            self.close_runtime(before);
        }
    }

    /// Closes a runtime under its slides, and opens another.
    fn close(&mut self) {
        let place = self.place(3);
        let handle = self.shared.runtimes[place].swap(0, Ordering::Relaxed);
        self.close_runtime(handle);
        // The next opening may be refused, as it may ask for what there is not.
        while self.shared.runtimes[place].load(Ordering::Relaxed) == 0 {
            self.dice.turn();
            self.open(place);
        }
    }

    fn close_runtime(&mut self, handle: u64) {
        let timeout = self.dice.pick(&[0, 500, 60_000]);
        self.answer(5, |api, error| unsafe { (api.runtime_close)(handle, timeout, error) });
        self.retire(handle);
    }

    /// What only asks.
    fn ask(&mut self) {
        let runtime = self.runtime();
        match self.dice.roll(6) {
            0 => {
                let out = self.out::<RuntimeInfo>();
                self.answer(1, |api, error| unsafe { (api.runtime_info)(runtime, out, error) });
            }
            1 => {
                let (out, index) = (self.out::<FeatureInfo>(), self.dice.number(8, 7) as u32);
                self.answer(2, |api, error| unsafe { (api.feature_info)(runtime, index, out, error) });
            }
            2 => self.stats(runtime),
            3 => {
                let percent = self.dice.number(4, 80) as u32;
                self.answer(4, |api, error| unsafe { (api.runtime_set_budget)(runtime, percent, error) });
            }
            4 => {
                let name = self.text(0, b"coverslip.x/1");
                // SAFETY: a text with its NUL, or null.
                let found = unsafe { (self.shared.api.get_extension)(name) };
                self.expect(found.is_null(), || "an extension that does not exist".into());
            }
            _ => self.alerts_and_report(),
        }
    }

    /// An output struct, of a stated size.
    pub(super) fn out<T: AbiStruct + Copy>(&mut self) -> *mut T {
        let size = self.dice.size_of::<T>(8);
        let place = self.output.last(size.max(8), 0xA5);
        // SAFETY: eight bytes at least.
        unsafe { place.cast::<u32>().write(size as u32) };
        if self.dice.odd(20) { null_mut() } else { place.cast() }
    }

    fn stats(&mut self, runtime: u64) {
        let mut stats = RuntimeStats::init();
        let out = self.output.put(&stats, size_of::<RuntimeStats>(), 0);
        if self.answer(3, |api, error| unsafe { (api.runtime_stats)(runtime, out, error) }) == OK {
            // SAFETY: the struct is whole.
            stats = unsafe { out.read() };
            let sum: u64 = stats.results[1..].iter().sum();
            self.expect(stats.results[0] == sum, || format!("{stats:?}"));
        }
    }

    fn take(&mut self, waits: bool) {
        let slide = self.slide();
        let dice = &mut self.dice;
        let (records, features, floats) = (dice.roll(40), dice.pick(&[0, 1, 40, 4000]), dice.pick(&[0, 0, 1, 2000]));
        let shorter = size_of::<TileResult>() as u64 - 8 * dice.roll(8);
        let record = if dice.odd(8) { dice.number(2, shorter) as u32 } else { size_of::<TileResult>() as u32 };
        let fits = record as usize <= size_of::<TileResult>();
        let mut batch = ResultBatch {
            struct_size: dice.size_of::<ResultBatch>(6) as u32,
            record_size: record,
            // A record of more bytes than this host has would be written past its memory, as it asked for.
            record_capacity: if fits { records as u32 } else { 0 },
            feature_capacity: features as u32,
            embedding_capacity: floats as u32,
            ..ResultBatch::init()
        };
        let (size, timeout) = (batch.struct_size as usize, dice.roll(6) as u32);
        let timeout = if dice.once_in(200) { NO_TIMEOUT } else { timeout };
        let (nothing, blank) = (dice.odd(20), dice.odd(20));
        let one = if fits { record as usize } else { 0 };
        batch.records = self.records.last(records as usize * one, 0xA5).cast();
        batch.features = self.features.last(features as usize * size_of::<Feature>(), 0xA5).cast();
        batch.embeddings = self.embeddings.last(floats as usize * 4, 0xA5).cast();
        if blank {
            batch.records = null_mut();
        }
        let place: *mut ResultBatch = if nothing { null_mut() } else { self.input.put(&batch, size, 0) };
        let code = if waits {
            self.answer(12, |api, error| unsafe { (api.slide_wait)(slide, place, timeout, error) })
        } else {
            self.answer(11, |api, error| unsafe { (api.slide_poll)(slide, place, error) })
        };
        if code == OK && size >= size_of::<ResultBatch>() && one == size_of::<TileResult>() {
            // SAFETY: the struct is whole.
            let found = unsafe { place.read() };
            self.expect_results(&batch, &found);
        }
    }

    fn expect_results(&self, asked: &ResultBatch, found: &ResultBatch) {
        let fit = found.record_count <= asked.record_capacity
            && found.feature_count <= asked.feature_capacity
            && found.embedding_count <= asked.embedding_capacity;
        self.expect(fit, || format!("more than there is room for: {found:?}"));
        for i in 0..found.record_count as usize {
            // SAFETY: as many records as the call has counted, in memory of that size.
            let record = unsafe { asked.records.add(i).read() };
            let within = |offset: u32, count: u32, of: u32| u64::from(offset) + u64::from(count) <= u64::from(of);
            self.expect(
                (TILE_DONE..=TILE_FAILED).contains(&record.status)
                    && within(record.feature_offset, record.feature_count, found.feature_count)
                    && within(record.embedding_offset, record.embedding_count, found.embedding_count),
                || format!("{record:?} of {found:?}"),
            );
        }
        for i in 0..found.feature_count as usize {
            // SAFETY: as above.
            let feature = unsafe { asked.features.add(i).read() };
            self.expect(feature.value.is_finite(), || format!("{feature:?}"));
        }
        self.shared.results.fetch_add(found.record_count.into(), Ordering::Relaxed);
    }
}
