//! Results and alerts on their way to the host. The outbox is bounded: when it is full the judge keeps finished tiles
//! with their slots, and the slide slows down until the host polls. It holds records, never pixels.

use std::collections::VecDeque;

use coverslip_plugin_abi::{Alert, Feature, TileResult};

use coverslip_base::error::Result;
use coverslip_base::memory::reserve;
use coverslip_base::sync::{Mutex, MutexGuard, PoisonError};

/// Unread alerts that are kept, and alerts that the report lists; the oldest stay.
pub(crate) const MAX_ALERTS: usize = 1024;

/// What a caller's buffers hold. None leaves that part out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) records: usize,
    pub(crate) features: Option<usize>,
    pub(crate) embeddings: Option<usize>,
}

/// Why [`Outbox::take`] gave nothing although results wait: the next one needs this much room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooSmall {
    pub(crate) features: usize,
    pub(crate) embeddings: usize,
}

/// Takes a result with its features and its embedding.
pub(crate) type Put<'a> = dyn FnMut(TileResult, &mut dyn Iterator<Item = Feature>, &mut dyn Iterator<Item = f32>) + 'a;

#[derive(Default)]
struct Shelf {
    records: VecDeque<TileResult>,
    features: VecDeque<Feature>,
    embeddings: VecDeque<f32>,
    /// Not taken yet.
    alerts: VecDeque<Alert>,
    /// The first, taken or not.
    raised: Vec<Alert>,
    /// Nobody takes anything any more.
    closed: bool,
}

pub(crate) struct Outbox {
    shelf: Mutex<Shelf>,
    max_records: usize,
}

/// A queue with room for `count` items.
fn queue<T>(count: usize) -> Result<VecDeque<T>> {
    reserve(count).map(VecDeque::from)
}

impl Outbox {
    /// Reserves room for `max_records` results of up to `features` features and `embedding` floats each.
    pub(crate) fn new(max_records: usize, features: usize, embedding: usize) -> Result<Outbox> {
        let shelf = Shelf {
            records: queue(max_records)?,
            features: queue(max_records.saturating_mul(features))?,
            embeddings: queue(max_records.saturating_mul(embedding))?,
            alerts: queue(MAX_ALERTS)?,
            raised: reserve(MAX_ALERTS)?,
            closed: false,
        };
        Ok(Outbox { shelf: Mutex::new(shelf), max_records })
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that `max_records` results take.
    pub(crate) fn bytes(max_records: u64, features: u64, embedding: u64) -> u64 {
        let one = size_of::<TileResult>() as u64 + features * size_of::<Feature>() as u64 + 4 * embedding;
        max_records * one + 2 * (MAX_ALERTS * size_of::<Alert>()) as u64
    }

    /// Whether [`Outbox::put`] may be called. Only the judge puts, so that room which it has seen stays.
    pub(crate) fn has_room(&self) -> bool {
        let shelf = self.lock();
        shelf.closed || shelf.records.len() < self.max_records
    }

    /// Adds a result, for which there is room.
    pub(crate) fn put(&self, mut record: TileResult, features: &[Feature], embedding: &[f32]) {
        let mut shelf = self.lock();
        if shelf.closed {
            return;
        }
        debug_assert!(shelf.records.len() < self.max_records, "has_room was asked");
        record.feature_count = features.len() as u32;
        record.embedding_count = embedding.len() as u32;
        shelf.records.push_back(record);
        shelf.features.extend(features);
        shelf.embeddings.extend(embedding);
    }

    /// Takes the oldest results, as many as fit, and gives each to `each` with its features and embedding. `count` hears
    /// their number before anybody can see that they are gone.
    pub(crate) fn take(
        &self,
        room: Room,
        each: &mut Put<'_>,
        count: impl FnOnce(usize),
    ) -> std::result::Result<usize, TooSmall> {
        let mut shelf = self.lock();
        let (mut taken, mut features_left, mut embeddings_left) = (0, room.features, room.embeddings);
        while let Some(&record) = shelf.records.front() {
            let (features, embeddings) = (record.feature_count as usize, record.embedding_count as usize);
            let fits = |left: Option<usize>, needed: usize| left.is_none_or(|left| needed <= left);
            if taken == room.records {
                break;
            }
            if !fits(features_left, features) || !fits(embeddings_left, embeddings) {
                if taken == 0 {
                    return Err(TooSmall { features, embeddings });
                }
                break;
            }
            shelf.records.pop_front();
            let shelf = &mut *shelf;
            each(record, &mut shelf.features.drain(..features), &mut shelf.embeddings.drain(..embeddings));
            features_left = features_left.map(|left| left - features);
            embeddings_left = embeddings_left.map(|left| left - embeddings);
            taken += 1;
        }
        count(taken);
        Ok(taken)
    }

    /// No result waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().records.is_empty()
    }

    /// Adds an alert; beyond [`MAX_ALERTS`] unread ones it is not kept for the host, beyond as many in all not listed.
    pub(crate) fn alert(&self, alert: Alert) {
        let mut shelf = self.lock();
        if shelf.closed {
            return;
        }
        if shelf.alerts.len() < MAX_ALERTS {
            shelf.alerts.push_back(alert);
        }
        if shelf.raised.len() < MAX_ALERTS {
            shelf.raised.push(alert);
        }
    }

    /// How many alerts are listed.
    pub(crate) fn raised(&self) -> usize {
        self.lock().raised.len()
    }

    /// Copies listed alerts from the one at `from` on, as many as there is room for; what is listed never changes. Returns
    /// their number.
    pub(crate) fn copy_raised(&self, from: usize, room: &mut [Alert]) -> usize {
        let shelf = self.lock();
        let there = shelf.raised.get(from..).unwrap_or_default();
        let count = there.len().min(room.len());
        room[..count].copy_from_slice(&there[..count]);
        count
    }

    /// Takes the oldest alerts, at most `room`.
    pub(crate) fn take_alerts(&self, room: usize, mut each: impl FnMut(Alert)) -> usize {
        let mut shelf = self.lock();
        let count = room.min(shelf.alerts.len());
        shelf.alerts.drain(..count).for_each(&mut each);
        count
    }

    /// Drops what was not taken, and from here on what is put.
    pub(crate) fn close(&self) {
        *self.lock() = Shelf { closed: true, ..Shelf::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Room = Room { records: 9, features: Some(9), embeddings: Some(9) };

    fn put(outbox: &Outbox, sequence: u64) -> bool {
        let feature = Feature { index: sequence as u32, value: 1.0 };
        let room = outbox.has_room();
        if room {
            outbox.put(TileResult { sequence, ..Default::default() }, &[feature; 4], &[0.5; 2]);
        }
        room
    }

    #[test]
    fn a_full_outbox_refuses_until_polled() {
        let outbox = Outbox::new(1, 4, 2).unwrap();
        assert!(put(&outbox, 0));
        assert!(!put(&outbox, 1));
        assert_eq!(outbox.take(ALL, &mut |_, _, _| {}, |_| ()).ok(), Some(1));
        assert!(put(&outbox, 1));
    }

    #[test]
    fn what_does_not_fit_stays_and_what_is_left_out_is_dropped() {
        let outbox = Outbox::new(9, 4, 2).unwrap();
        for sequence in 0..3 {
            assert!(put(&outbox, sequence));
        }
        let small = Room { records: 9, features: Some(3), embeddings: None };
        assert_eq!(outbox.take(small, &mut |_, _, _| {}, |_| ()).err().map(|e| e.features), Some(4));
        let mut seen = Vec::new();
        let two = Room { records: 9, features: Some(9), embeddings: None };
        let mut each =
            |record: TileResult, features: &mut dyn Iterator<Item = Feature>, _: &mut dyn Iterator<Item = f32>| {
                seen.push((record.sequence, features.count()));
            };
        let taken = outbox.take(two, &mut each, |_| ());
        assert_eq!((taken.ok(), seen), (Some(2), vec![(0, 4), (1, 4)]));
        assert_eq!(outbox.lock().records.len(), 1);
    }

    /// Who sees an empty outbox and a finished slide says END_OF_RESULTS: by then nothing is unpolled.
    #[test]
    fn what_is_taken_is_counted_before_anybody_can_see_that_it_is_gone() {
        let outbox = Outbox::new(1, 4, 2).unwrap();
        assert!(put(&outbox, 0));
        let mut counted = 0;
        let count = |taken| {
            assert!(outbox.shelf.try_lock().is_err(), "others can look");
            counted += taken;
        };
        outbox.take(ALL, &mut |_, _, _| {}, count).unwrap();
        assert_eq!(counted, 1);
    }

    #[test]
    fn a_closed_outbox_takes_everything_and_keeps_nothing() {
        let outbox = Outbox::new(1, 4, 2).unwrap();
        assert!(put(&outbox, 0) && !put(&outbox, 1));
        outbox.close();
        assert!(put(&outbox, 1) && put(&outbox, 2) && outbox.is_empty());
        outbox.alert(Alert::default());
        assert_eq!((outbox.take_alerts(9, |_| ()), outbox.raised()), (0, 0));
    }

    #[test]
    fn alerts_are_listed_whether_they_are_taken_or_not() {
        let outbox = Outbox::new(1, 4, 2).unwrap();
        for sequence in 0..MAX_ALERTS as u64 + 5 {
            outbox.alert(Alert { sequence, ..Alert::default() });
            assert_eq!(outbox.take_alerts(1, |alert| assert_eq!(alert.sequence, sequence)), 1);
        }
        assert_eq!(outbox.raised(), MAX_ALERTS);
        let mut some = [Alert::default(); 3];
        assert_eq!((outbox.copy_raised(2, &mut some), some[0].sequence, some[2].sequence), (3, 2, 4));
        assert_eq!(
            (outbox.copy_raised(MAX_ALERTS - 1, &mut some), outbox.copy_raised(MAX_ALERTS + 1, &mut some)),
            (1, 0)
        );
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use super::*;
    use crate::every_order::every_order;
    use coverslip_base::sync::{Arc, thread};

    /// What the judge does with a tile; false where there is no room.
    fn put(outbox: &Outbox, sequence: u64) -> bool {
        let room = outbox.has_room();
        if room {
            let feature = Feature { index: sequence as u32, value: 1.0 };
            outbox.put(TileResult { sequence, ..Default::default() }, &[feature], &[]);
        }
        room
    }

    fn take(outbox: &Outbox) -> Vec<u64> {
        let (mut taken, room) = (Vec::new(), Room { records: 9, features: Some(9), embeddings: None });
        let mut each =
            |record: TileResult, features: &mut dyn Iterator<Item = Feature>, _: &mut dyn Iterator<Item = f32>| {
                assert!(
                    features.map(|feature| u64::from(feature.index)).eq([record.sequence]),
                    "a result has its features"
                );
                taken.push(record.sequence);
            };
        assert!(outbox.take(room, &mut each, |_| ()).is_ok());
        taken
    }

    #[test]
    fn what_is_put_is_taken_once_in_its_order() {
        every_order(None, || {
            let outbox = Arc::new(Outbox::new(1, 1, 0).unwrap());
            let judge = thread::spawn({
                let outbox = outbox.clone();
                move || (0..3).filter(|sequence| put(&outbox, *sequence)).collect::<Vec<_>>()
            });
            let mut taken = take(&outbox);
            taken.extend(take(&outbox));
            let put = judge.join().unwrap();
            taken.extend(take(&outbox));
            assert_eq!(taken, put);
        });
    }

    #[test]
    fn two_who_poll_share_what_there_is() {
        every_order(Some(3), || {
            let outbox = Arc::new(Outbox::new(2, 1, 0).unwrap());
            let pollers = [(); 2].map(|()| {
                let outbox = outbox.clone();
                thread::spawn(move || take(&outbox))
            });
            let put = (0..3).filter(|sequence| put(&outbox, *sequence)).collect::<Vec<_>>();
            let mut taken = pollers.map(|poller| poller.join().unwrap()).concat();
            taken.extend(take(&outbox));
            taken.sort_unstable();
            assert_eq!(taken, put);
        });
    }

    #[test]
    fn nothing_is_left_in_a_closed_outbox() {
        every_order(None, || {
            let outbox = Arc::new(Outbox::new(1, 1, 0).unwrap());
            let host = thread::spawn({
                let outbox = outbox.clone();
                move || outbox.close()
            });
            let _ = put(&outbox, 0);
            outbox.alert(Alert::default());
            host.join().unwrap();
            assert!(put(&outbox, 1) && outbox.is_empty());
            assert_eq!(outbox.take_alerts(9, |_| ()), 0);
        });
    }
}
