//! The judge and its hosts in every order of their steps: the real slide and the real docket. Prep and lanes are left
//! out, so that a tile comes back as soon as it departs, and the queue is a lock and a list, since loom cannot look into
//! crossbeam's.

use std::collections::VecDeque;

use super::*;
use crate::every_order::{every_order, spawn};
use crate::gate::WaitEnd;
use crate::judge::rules::Rules;
use crate::outbox::Room;
use crate::slide::fixture;
use crate::slide::state::{Downstream, Work};
use crate::tiles::slot::Outcome;
use coverslip_base::sync::{Condvar, Mutex, Weak, thread};

#[derive(Default)]
struct Queue {
    events: Mutex<VecDeque<Event>>,
    came: Condvar,
}

impl Queue {
    fn tell(&self, event: Event) {
        self.events.lock().unwrap().push_back(event);
        self.came.notify_all();
    }

    fn next(&self) -> Event {
        let mut events = self.events.lock().unwrap();
        loop {
            match events.pop_front() {
                Some(event) => return event,
                None => events = self.came.wait(events).unwrap(),
            }
        }
    }
}

impl Downstream for Queue {
    fn depart(&self, mut work: Work) {
        self.tell(Event::Departed(work.slide.clone(), work.slot.id, work.slot.identity));
        work.slot.outcome = Outcome::Background;
        work.end_if_over();
        self.tell(Event::Returned(work));
    }

    fn look(&self, slide: Arc<Slide>) {
        self.tell(Event::Look(slide));
    }
}

/// A slide that has begun, and the judge's thread, which ends with [`Site::close`].
struct Site {
    slide: Arc<Slide>,
    queue: Arc<Queue>,
    judge: thread::JoinHandle<()>,
}

impl Site {
    fn begin(slots: usize, max_unpolled: usize) -> Site {
        let queue = Arc::new(Queue::default());
        let weak: Weak<dyn Downstream> = Arc::<Queue>::downgrade(&queue);
        let slide = fixture::slide(slots, max_unpolled, weak);
        let judge = spawn({
            let (queue, slide, slides) = (queue.clone(), slide.clone(), Arc::new(Registry::new(1, 1 << 30)));
            move || {
                let rules = Rules { reconstruction_error: None, he: false, calibrated: None };
                let docket = Docket::new(slide, rules, None, 0).unwrap();
                let mut judge =
                    Judge::new(crossbeam_channel::never(), slides, Arc::new(Log::new(None)), Arc::default());
                judge.attend(Event::Begun(Boxed::new(docket).unwrap()), Instant::now());
                loop {
                    match queue.next() {
                        Event::Stop => return judge.look_at_all(Instant::now()),
                        event => judge.attend(event, Instant::now()),
                    }
                }
            }
        });
        Site { slide, queue, judge }
    }

    fn close(self) {
        self.queue.tell(Event::Stop);
        self.judge.join().unwrap();
    }
}

/// Waits as slide_wait does, until the end of the results; the number of results.
fn poll_all(slide: &Arc<Slide>) -> usize {
    let room = Room { records: 9, features: None, embeddings: None };
    let mut all = 0;
    loop {
        let take = || {
            let end = slide.is_exhausted();
            match slide.take(room, &mut |_, _, _| ()).ok().unwrap() {
                0 => end.then_some(0),
                taken => Some(taken),
            }
        };
        match slide.gate.wait(None, take).unwrap() {
            0 => return all,
            taken => all += taken,
        }
        slide.nudge_when_parked();
    }
}

#[test]
fn a_slide_without_tiles_finishes() {
    every_order(Some(3), || {
        let site = Site::begin(1, 1);
        assert!(site.slide.finish(None).is_ok());
        site.close();
    });
}

#[test]
fn finish_sees_the_result_of_every_tile() {
    every_order(Some(3), || {
        let site = Site::begin(2, 9);
        fixture::submit(&site.slide, 0, (1, 1)).unwrap();
        assert!(site.slide.finish(None).is_ok());
        let (_, counts) = site.slide.snapshot();
        assert_eq!((counts.intake.opened, counts.unpolled(), counts.in_flight()), (1, 1, 0));
        site.close();
    });
}

#[test]
fn results_that_wait_for_room_come_when_there_is_some() {
    every_order(Some(2), || {
        let site = Site::begin(2, 1);
        fixture::submit(&site.slide, 0, (2, 1)).unwrap();
        site.slide.close();
        site.slide.nudge();
        assert_eq!(poll_all(&site.slide), 2);
        site.close();
    });
}

#[test]
fn a_refused_tile_has_its_result_when_the_slide_is_finished() {
    every_order(Some(3), || {
        let site = Site::begin(1, 9);
        assert!(fixture::submit(&site.slide, 0, (2, 1)).is_err());
        assert!(site.slide.finish(None).is_ok());
        assert_eq!(site.slide.snapshot().1.unpolled(), 2);
        site.close();
    });
}

#[test]
fn an_end_beside_a_wait_leaves_nobody_waiting() {
    every_order(Some(2), || {
        let site = Site::begin(1, 1);
        let waiter = spawn({
            let slide = site.slide.clone();
            move || slide.gate.wait(None, || slide.is_exhausted().then_some(()))
        });
        site.slide.end();
        assert!([Ok(()), Err(WaitEnd::Interrupted)].contains(&waiter.join().unwrap()));
        site.close();
    });
}

#[test]
fn a_tile_beside_a_cancel_ends_once() {
    every_order(Some(2), || {
        let site = Site::begin(1, 9);
        let canceller = spawn({
            let slide = site.slide.clone();
            move || slide.cancel()
        });
        let taken = fixture::submit(&site.slide, 0, (1, 1)).is_ok();
        canceller.join().unwrap();
        assert!(site.slide.finish(None).is_ok());
        let (_, counts) = site.slide.snapshot();
        assert_eq!((counts.judged.results[0], counts.in_flight()), (u64::from(taken), 0));
        site.close();
    });
}
