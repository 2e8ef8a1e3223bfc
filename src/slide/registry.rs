//! The slides of a runtime: those that are open, and those that have ended but still have tiles on their way. Says
//! whether another fits, and adds up what all of them have counted.

use super::config::SlideConfig;
use super::state::Slide;
use coverslip_base::error::{Result, error};
use coverslip_base::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};

/// Slots of all slides together, at most: what the queues are made for.
pub(crate) const MAX_SLOTS: usize = 16_384;
/// The fewest slots that a slide has.
pub(crate) const LEAST_SLOTS: usize = 8;
/// Slides at a time, the ended ones among them: each holds at least [`LEAST_SLOTS`] of [`MAX_SLOTS`].
pub(crate) const MAX_HELD_SLIDES: usize = MAX_SLOTS / LEAST_SLOTS;

/// Totals of slides.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) frames_accepted: u64,
    pub(crate) frames_refused: u64,
    pub(crate) results: [u64; 8],
    pub(crate) in_flight: u64,
    pub(crate) submit_ns: u64,
}

impl Totals {
    fn add(&mut self, slide: &Slide) {
        let counts = slide.published.snapshot();
        self.frames_accepted += counts.intake.frames_accepted;
        self.frames_refused += counts.intake.frames_refused;
        self.in_flight += counts.in_flight();
        self.submit_ns += slide.submit_ns();
        for (total, count) in self.results.iter_mut().zip(counts.judged.results) {
            *total += count;
        }
    }
}

struct Held {
    slides: Vec<Arc<Slide>>,
    /// Of slides that are gone.
    past: Totals,
}

pub(crate) struct Registry {
    max_slides: usize,
    memory_limit: u64,
    next: AtomicU64,
    held: Mutex<Held>,
}

impl Registry {
    /// `max_slides` may be open at a time, `memory_limit` bytes be reserved by all of them.
    pub(crate) fn new(max_slides: usize, memory_limit: u64) -> Registry {
        let held = Held { slides: Vec::with_capacity(MAX_HELD_SLIDES), past: Totals::default() };
        Registry { max_slides, memory_limit, next: AtomicU64::new(0), held: Mutex::new(held) }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a slide.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses a slide that is too large for its share of the memory, however many others there are.
    pub(crate) fn expect_share(&self, config: &SlideConfig) -> Result<()> {
        let quota = self.memory_limit / self.max_slides as u64;
        if config.memory_bytes > quota {
            return Err(error!(
                OUT_OF_MEMORY,
                "the slide needs {} MiB ({} slots), its share of memory_limit is {} MiB: announce smaller frames, a \
                 smaller spread or fewer tiles, or raise memory_limit",
                config.memory_bytes >> 20,
                config.slots,
                quota >> 20
            ));
        }
        Ok(())
    }

    /// Refuses a slide for which there is no room beside the others.
    pub(crate) fn expect_room(&self, config: &SlideConfig) -> Result<()> {
        self.expect_place(&self.lock().slides, config)
    }

    /// Has the judge look at the slides that have ended; false where there are none.
    pub(crate) fn hurry_leavers(&self) -> bool {
        let held = self.lock();
        let ended = held.slides.iter().filter(|slide| slide.standing.is_ended());
        ended.map(Slide::nudge).count() > 0
    }

    fn expect_place(&self, slides: &[Arc<Slide>], config: &SlideConfig) -> Result<()> {
        let open = slides.iter().filter(|slide| !slide.standing.is_ended()).count();
        if open >= self.max_slides {
            return Err(error!(
                LIMIT_REACHED,
                "{open} slides are open and max_slides is {}: end one first, or raise max_slides", self.max_slides
            ));
        }
        let slots: usize = slides.iter().map(|slide| slide.config.slots).sum();
        let bytes: u64 = slides.iter().map(|slide| slide.config.memory_bytes).sum();
        if slots + config.slots.max(LEAST_SLOTS) > MAX_SLOTS || bytes + config.memory_bytes > self.memory_limit {
            return Err(error!(
                OUT_OF_MEMORY,
                "the slide needs {} slots and {} MiB; of {MAX_SLOTS} slots {slots} and of {} MiB {} are taken: end a \
                 slide first (one that has ended keeps its memory while the engine still works on it) or announce less",
                config.slots,
                config.memory_bytes >> 20,
                self.memory_limit >> 20,
                bytes >> 20
            ));
        }
        Ok(())
    }

    /// Adds a slide, unless its place was taken meanwhile or `closing` says that no more are welcome. `closing` is asked
    /// under the lock: a runtime that closes says so before it looks for slides to end.
    pub(crate) fn add(&self, slide: &Arc<Slide>, closing: impl FnOnce() -> bool) -> Result<()> {
        let mut held = self.lock();
        if closing() {
            return Err(error!(INVALID_HANDLE, "the runtime is being closed"));
        }
        self.expect_place(&held.slides, &slide.config)?;
        held.slides.push(slide.clone());
        Ok(())
    }

    /// Ends every slide.
    pub(crate) fn end_all(&self) {
        while let Some(slide) = self.first_unended() {
            slide.end();
        }
    }

    fn first_unended(&self) -> Option<Arc<Slide>> {
        self.lock().slides.iter().find(|slide| !slide.standing.is_ended()).cloned()
    }

    /// Lets go of a slide that has ended and has nothing on its way: one that only the registry and the judge's docket
    /// hold. A slot in a lane or a queue keeps its slide, whose memory is taken until then. The caller frees what it gets.
    pub(crate) fn forget_one(&self) -> Option<Arc<Slide>> {
        let mut held = self.lock();
        let over = |slide: &Arc<Slide>| slide.standing.is_over() && Arc::strong_count(slide) == 2;
        let at = held.slides.iter().position(over)?;
        let slide = held.slides.remove(at);
        held.past.add(&slide);
        Some(slide)
    }

    /// The totals of all slides that there ever were; `each` sees the slides that are held.
    pub(crate) fn totals(&self, each: impl FnMut(&Slide)) -> Totals {
        let held = self.lock();
        let mut totals = held.past;
        held.slides.iter().for_each(|slide| totals.add(slide));
        held.slides.iter().map(|slide| &**slide).for_each(each);
        totals
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use coverslip_plugin_abi::{TILE_DONE, TileResult};

    use super::*;
    use crate::every_order::every_order;
    use crate::slide::fixture;
    use crate::slide::state::{Downstream, Work};
    use crate::tiles::assembler::IntakeCounts;
    use coverslip_base::sync::{AtomicBool, Weak, thread};

    struct Nowhere;

    impl Downstream for Nowhere {
        fn depart(&self, _: Work) {}
        fn look(&self, _: Arc<Slide>) {}
    }

    #[test]
    fn a_slide_that_begins_while_the_runtime_closes_is_refused_or_ended() {
        every_order(None, || {
            let slides = Arc::new(Registry::new(4, 1 << 30));
            let stopping = Arc::new(AtomicBool::new(false));
            let slide = fixture::slide(1, 1, Weak::<Nowhere>::new());
            let host = thread::spawn({
                let (slides, slide, stopping) = (slides.clone(), slide.clone(), stopping.clone());
                move || slides.add(&slide, || stopping.load(Ordering::Acquire)).is_ok()
            });
            // As Runtime::close.
            stopping.store(true, Ordering::Release);
            slides.end_all();
            assert_eq!(host.join().unwrap(), slide.standing.is_ended());
        });
    }

    #[test]
    fn of_two_slides_one_gets_the_last_place() {
        every_order(Some(3), || {
            let slides = Arc::new(Registry::new(1, 1 << 30));
            let hosts = [(); 2].map(|()| {
                let slides = slides.clone();
                let slide = fixture::slide(1, 1, Weak::<Nowhere>::new());
                thread::spawn(move || slides.add(&slide, || false).is_ok())
            });
            assert_eq!(hosts.map(|host| usize::from(host.join().unwrap())).iter().sum::<usize>(), 1);
        });
    }

    #[test]
    fn totals_hold_while_a_slide_is_forgotten() {
        every_order(None, || {
            let slides = Arc::new(Registry::new(1, 1 << 30));
            let slide = fixture::slide(1, 1, Weak::<Nowhere>::new());
            slides.add(&slide, || false).unwrap();
            slide.published.set_intake(&IntakeCounts { opened: 1, ..IntakeCounts::default() });
            slide.put(TileResult { status: TILE_DONE, ..TileResult::default() }, &[], &[]);
            slide.standing.end();
            slide.standing.finish();
            let judge = thread::spawn({
                let slides = slides.clone();
                // The caller's and the registry's are the two that are left.
                move || slides.forget_one().is_some()
            });
            let mut held = 0;
            let totals = slides.totals(|_| held += 1);
            assert_eq!((totals.results[0], held <= 1), (1, true));
            judge.join().unwrap();
            assert_eq!(slides.totals(|_| ()).results[0], 1);
        });
    }
}
