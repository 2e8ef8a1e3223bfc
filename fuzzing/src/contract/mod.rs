//! Sequences of calls of the contract. An input is the calls of one host: which function, with which handle, with which
//! arguments. Every summary is held against the account of tiles, and a slide that was finished and polled to its end must
//! have given each of its tiles one result.

mod accounts;
mod descs;
mod host;
mod judged;
mod memory;
mod opening;

use std::ptr::null_mut;
use std::sync::OnceLock;

use coverslip_plugin_abi::*;

use crate::input::{Input, Seeds};
use accounts::{account, check_record, check_summary};
use host::{Given, api, call, number, small};
pub(crate) use judged::judged;
use memory::Memory;
use opening::{described, opened};

/// Slides that a sequence keeps at a time.
const SLIDES: usize = 3;
/// Most calls of a sequence.
const CALLS: usize = 64;

/// A sequence of calls. Its first byte says whether it may open a runtime of its own, which takes longer than all else.
pub(crate) fn contract(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let opens = input.once_in(64);
    let mut sequence = Sequence { input, slides: Vec::new(), old: vec![0], opens, opened: None, results: false };
    for _ in 0..CALLS {
        if sequence.input.is_empty() {
            break;
        }
        sequence.step();
    }
    sequence.end();
    sequence.results
}

/// An open slide.
struct Open {
    handle: Slide,
    /// Results that were polled.
    polled: u64,
}

struct Sequence<'a> {
    input: Input<'a>,
    slides: Vec<Open>,
    /// Handles that are not valid any more.
    old: Vec<u64>,
    /// Whether a runtime may still be opened.
    opens: bool,
    /// A runtime that this sequence opened.
    opened: Option<Runtime>,
    /// Whether a slide ended with every result polled.
    results: bool,
}

/// The runtime of every sequence: two threads on a tiny bundle.
fn shared() -> Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    *RUNTIME.get_or_init(|| opened(&mut Input::new(&[])).expect("a bundle of our own opens"))
}

impl Sequence<'_> {
    fn step(&mut self) {
        match self.input.below(32) {
            0..=3 => self.begin(),
            4..=11 => self.submit(),
            12..=16 => self.poll(),
            17 | 18 => self.finish(),
            19 => self.cancel(),
            20 | 21 => self.interrupt(),
            22 | 23 => self.summary(),
            24 => self.alerts(),
            25 => self.end_one(),
            26 => self.info(),
            27 => self.feature(),
            28 => self.stats(),
            29 => self.budget(),
            30 => self.report(),
            _ => self.runtime(),
        }
    }

    /// A runtime, sometimes one that is not there.
    fn some_runtime(&mut self) -> Runtime {
        match self.input.below(16) {
            12 | 13 => self.opened.unwrap_or_else(shared),
            14 => self.old[self.input.below(self.old.len())],
            15 => number(&mut self.input, 1),
            _ => shared(),
        }
    }

    /// A slide and its place, sometimes one that is not there.
    fn some_slide(&mut self) -> (Slide, Option<usize>) {
        match self.input.below(16) {
            14 => (self.old[self.input.below(self.old.len())], None),
            15 => (number(&mut self.input, 1), None),
            at if !self.slides.is_empty() => {
                let at = at % self.slides.len();
                (self.slides[at].handle, Some(at))
            }
            _ => (0, None),
        }
    }

    fn begin(&mut self) {
        let runtime = self.some_runtime();
        let mut kept = Vec::new();
        let desc = descs::slide(&mut self.input, &mut kept);
        let (given, _) = Given::of(&mut self.input, desc, |desc, size| desc.struct_size = size);
        let mut handle = u64::MAX;
        // SAFETY: the struct is as long as it says or null, and what it points to outlives the call.
        let code =
            call(&mut self.input, |error| unsafe { (api().slide_begin)(runtime, given.pointer(), &mut handle, error) });
        assert_eq!(code == OK, handle != u64::MAX, "the handle is written on success only");
        if code == OK {
            self.slides.push(Open { handle, polled: 0 });
            if self.slides.len() > SLIDES {
                self.end_slide(0);
            }
        }
    }

    fn submit(&mut self) {
        let (slide, _) = self.some_slide();
        let mut kept = Vec::new();
        let frame = descs::frame(&mut self.input, &mut kept);
        let wait = self.input.byte();
        let (given, _) = Given::of(&mut self.input, frame, |frame, size| frame.struct_size = size);
        // SAFETY: the struct is as long as it says or null, and its planes are as long as it says.
        call(&mut self.input, |error| unsafe {
            match wait % 4 {
                0 => (api().slide_submit_wait)(slide, given.pointer(), u32::from(wait >> 6), error),
                _ => (api().slide_submit)(slide, given.pointer(), error),
            }
        });
    }

    fn poll(&mut self) {
        let (slide, place) = self.some_slide();
        let capacities = [self.input.below(40), self.input.below(256), 8 * self.input.below(64)];
        let [records, features, embeddings] = capacities;
        let buffers = [
            Memory::new(records * size_of::<TileResult>()),
            Memory::new(features * size_of::<Feature>()),
            Memory::new(embeddings * size_of::<f32>()),
        ];
        let whole = size_of::<TileResult>() as u32;
        let mut batch = ResultBatch {
            record_size: whole,
            records: buffers[0].pointer(),
            features: buffers[1].pointer(),
            embeddings: buffers[2].pointer(),
            record_capacity: records as u32,
            feature_capacity: features as u32,
            embedding_capacity: embeddings as u32,
            ..ResultBatch::init()
        };
        if self.input.once_in(16) {
            // Longer records find no room, and shorter ones have enough.
            batch.record_size = small(&mut self.input, whole);
            batch.record_capacity = if batch.record_size > whole { 0 } else { batch.record_capacity };
        }
        let (wait, timeout) = (self.input.byte() & 1 != 0, u32::from(self.input.byte() % 4));
        let (given, size) = Given::of(&mut self.input, batch, |batch, size| batch.struct_size = size);
        // SAFETY: the struct is as long as it says or null, and its buffers are as long as it says.
        let code = call(&mut self.input, |error| unsafe {
            match wait {
                true => (api().slide_wait)(slide, given.pointer(), timeout, error),
                false => (api().slide_poll)(slide, given.pointer(), error),
            }
        });
        let Some(taken) = given.whole::<ResultBatch>(size).filter(|_| code == OK) else {
            assert!(code != OK || size < ResultBatch::init().struct_size, "a poll without its struct");
            return;
        };
        let counts = [taken.record_count, taken.feature_count, taken.embedding_count].map(|count| count as usize);
        assert!(counts.iter().zip(capacities).all(|(count, capacity)| *count <= capacity), "counts beyond capacities");
        if let Some(at) = place {
            self.slides[at].polled += u64::from(taken.record_count);
        }
        if batch.record_size == whole {
            let features: Vec<Feature> = buffers[1].values(counts[1]);
            assert!(features.iter().all(|feature| feature.value.is_finite()), "a feature that is not finite");
            for record in buffers[0].values::<TileResult>(counts[0]) {
                check_record(&record, counts);
            }
        }
    }

    fn finish(&mut self) {
        let (slide, place) = self.some_slide();
        let timeout = u32::from(self.input.byte() % 16);
        // SAFETY: no pointer but the error's.
        let code = call(&mut self.input, |error| unsafe { (api().slide_finish)(slide, timeout, error) });
        if let Some(at) = place.filter(|_| code == OK) {
            assert_eq!(account(self.slides[at].handle).in_flight, 0, "a finished slide has nothing in flight");
        }
    }

    fn cancel(&mut self) {
        let (slide, place) = self.some_slide();
        // SAFETY: no pointer but the error's.
        let code = call(&mut self.input, |error| unsafe { (api().slide_cancel)(slide, error) });
        assert!(code == OK || place.is_none(), "cancel answers {code}");
    }

    fn interrupt(&mut self) {
        let (slide, place) = self.some_slide();
        // SAFETY: no pointer but the error's.
        let code = call(&mut self.input, |error| unsafe { (api().slide_interrupt)(slide, error) });
        assert!(code == OK || place.is_none(), "interrupt answers {code}");
    }

    fn summary(&mut self) {
        let (slide, place) = self.some_slide();
        let (given, size) = Given::of(&mut self.input, SlideSummary::init(), |out, size| out.struct_size = size);
        // SAFETY: the struct is as long as it says or null.
        let code = call(&mut self.input, |error| unsafe { (api().slide_summary)(slide, given.pointer(), error) });
        if let Some(summary) = given.whole(size).filter(|_| code == OK) {
            check_summary(&summary);
        }
        if let Some(at) = place {
            account(self.slides[at].handle);
        }
    }

    fn alerts(&mut self) {
        let (slide, _) = self.some_slide();
        let (capacity, whole) = (self.input.below(10), size_of::<Alert>() as u32);
        let buffer = Memory::new(capacity * size_of::<Alert>());
        let record_size = if self.input.once_in(8) { small(&mut self.input, whole) } else { whole };
        let batch = AlertBatch {
            record_size,
            records: buffer.pointer(),
            record_capacity: if record_size > whole { 0 } else { capacity as u32 },
            ..AlertBatch::init()
        };
        let (given, size) = Given::of(&mut self.input, batch, |batch, size| batch.struct_size = size);
        // SAFETY: the struct is as long as it says or null, and its buffer is as long as it says.
        let code = call(&mut self.input, |error| unsafe { (api().slide_alerts)(slide, given.pointer(), error) });
        if let Some(taken) = given.whole::<AlertBatch>(size).filter(|_| code == OK) {
            assert!(taken.record_count as usize <= capacity, "more alerts than there is room for");
        }
    }

    fn end_one(&mut self) {
        match self.some_slide() {
            (_, Some(at)) => self.end_slide(at),
            (slide, None) => {
                // SAFETY: no pointer but the error's.
                let code = call(&mut self.input, |error| unsafe { (api().slide_end)(slide, error) });
                assert!(code != OK, "a slide that is not there ends");
            }
        }
    }

    fn info(&mut self) {
        let runtime = self.some_runtime();
        let (given, _) = Given::of(&mut self.input, RuntimeInfo::init(), |out, size| out.struct_size = size);
        // SAFETY: the struct is as long as it says or null.
        call(&mut self.input, |error| unsafe { (api().runtime_info)(runtime, given.pointer(), error) });
    }

    fn feature(&mut self) {
        let runtime = self.some_runtime();
        let index = small(&mut self.input, 3);
        let (given, _) = Given::of(&mut self.input, FeatureInfo::init(), |out, size| out.struct_size = size);
        // SAFETY: the struct is as long as it says or null.
        call(&mut self.input, |error| unsafe { (api().feature_info)(runtime, index, given.pointer(), error) });
    }

    fn stats(&mut self) {
        let runtime = self.some_runtime();
        let (given, size) = Given::of(&mut self.input, RuntimeStats::init(), |out, size| out.struct_size = size);
        // SAFETY: the struct is as long as it says or null.
        let code = call(&mut self.input, |error| unsafe { (api().runtime_stats)(runtime, given.pointer(), error) });
        if let Some(stats) = given.whole::<RuntimeStats>(size).filter(|_| code == OK) {
            assert_eq!(stats.results[1..].iter().sum::<u64>(), stats.results[0], "the runtime's results");
        }
    }

    fn budget(&mut self) {
        let runtime = self.some_runtime();
        let percent = small(&mut self.input, 100);
        // SAFETY: no pointer but the error's.
        let code = call(&mut self.input, |error| unsafe { (api().runtime_set_budget)(runtime, percent, error) });
        assert!(code != OK || (1..=100).contains(&percent), "a budget of {percent} %");
        if code == OK {
            // What follows is not to be slow.
            // SAFETY: null is allowed for the error.
            unsafe { (api().runtime_set_budget)(runtime, 100, null_mut()) };
        }
    }

    fn report(&mut self) {
        let (slide, _) = self.some_slide();
        let capacity = if self.input.once_in(4) { 1 << 16 } else { self.input.below(64) };
        let (buffer, mut needed) = (Memory::new(capacity), 0u64);
        let place = if self.input.once_in(8) { null_mut() } else { buffer.pointer() };
        // SAFETY: the buffer is as long as it says or null.
        let code = call(&mut self.input, |error| unsafe {
            (api().slide_report_json)(slide, place, capacity as u64, &mut needed, error)
        });
        match code {
            OK => {
                let text = &buffer.bytes()[..needed as usize - 1];
                serde_json::from_slice::<serde_json::Value>(text).expect("a report in JSON");
            }
            _ => assert!(buffer.bytes().iter().all(|byte| *byte == 0), "{code}: the buffer is not touched"),
        }
    }

    /// Opens a runtime of the sequence's own, once, and closes it under its slides.
    fn runtime(&mut self) {
        if let Some(runtime) = self.opened.take() {
            let timeout = u32::from(self.input.byte()) * 4;
            // SAFETY: no pointer but the error's.
            call(&mut self.input, |error| unsafe { (api().runtime_close)(runtime, timeout, error) });
            self.old.push(runtime);
            self.slides.retain(|slide| is_open(slide.handle));
        } else if std::mem::take(&mut self.opens) {
            self.opened = opened(&mut self.input);
        }
    }

    /// Ends the slide at `at`; every second one after it was finished and polled to its end.
    fn end_slide(&mut self, at: usize) {
        let Open { handle, mut polled } = self.slides.remove(at);
        account(handle);
        if self.input.byte() & 1 == 0 {
            drain(handle, &mut polled);
            let summary = account(handle);
            assert_eq!((summary.opened, summary.in_flight), (summary.results[0], 0), "a finished slide's tiles");
            assert_eq!(polled, summary.results[0], "results that were polled");
            self.results |= polled > 0;
        }
        // SAFETY: null is allowed for the error.
        assert_eq!(unsafe { (api().slide_end)(handle, null_mut()) }, OK);
        self.old.push(handle);
    }

    fn end(&mut self) {
        while !self.slides.is_empty() {
            self.end_slide(0);
        }
        if let Some(runtime) = self.opened.take() {
            // SAFETY: null is allowed for the error.
            assert_eq!(unsafe { (api().runtime_close)(runtime, 60_000, null_mut()) }, OK);
        }
    }
}

/// Finishes a slide and polls it to its end.
fn drain(slide: Slide, polled: &mut u64) {
    let buffer = Memory::new(64 * size_of::<TileResult>());
    loop {
        let mut batch = ResultBatch {
            record_size: size_of::<TileResult>() as u32,
            records: buffer.pointer(),
            record_capacity: 64,
            ..ResultBatch::init()
        };
        // SAFETY: null is allowed for the error; the buffer is as long as stated.
        let codes =
            unsafe { [(api().slide_finish)(slide, 50, null_mut()), (api().slide_poll)(slide, &mut batch, null_mut())] };
        *polled += u64::from(batch.record_count);
        match codes {
            [_, END_OF_RESULTS] => return,
            [OK | TIMEOUT | INTERRUPTED | WRONG_STATE, OK] => {}
            codes => panic!("finish and poll answer {codes:?}"),
        }
    }
}

fn is_open(slide: Slide) -> bool {
    // SAFETY: null is allowed for the error.
    unsafe { (api().slide_summary)(slide, &mut SlideSummary::init(), null_mut()) == OK }
}

pub(crate) fn seeds() -> Seeds {
    // Zeros are the usual choice of everything, and a call is named by its first byte. Its choices follow.
    let begin = |runtime: u8| [&[0, runtime][..], &[0; 15]].concat();
    let submit = |x: u8, y: u8| [4, 0, 0, 0, 31, 31, 8 + x, 8 + y, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    let poll = [12, 0, 39, 255, 63, 0, 1, 3, 0, 0, 0];
    let (summary, finish, end) = ([22, 0, 0, 0, 0], [17, 0, 15, 0], [25, 0, 0]);
    let lived = [&[0], &begin(0)[..], &submit(0, 0), &submit(32, 0), &poll, &summary, &finish, &poll, &end].concat();
    let close = [31, 255, 0];
    let runtime = |description: &[u8]| [&[63, 31], description, &begin(12), &submit(16, 16), &end, &close].concat();
    vec![
        ("lived".to_owned(), lived),
        ("runtime".to_owned(), runtime(&[0; 4])),
        ("described".to_owned(), runtime(&described())),
    ]
}
