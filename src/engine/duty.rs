//! Which engine is on duty, which one takes over when it is lost, and which lanes have work.

use coverslip_base::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coverslip_engine::{About, Engine, Loss};

/// The engines of one runtime. An engine that was lost never comes back.
pub(crate) struct Duty {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// None after a loss with no spare, and after the end.
    engine: Option<Arc<dyn Engine>>,
    about: Arc<About>,
    spare: Option<(Arc<dyn Engine>, Arc<About>)>,
    /// Counts the engines that have been on duty, from 1.
    epoch: u64,
    /// Why the engine that was asked for does not run.
    loss: Option<Loss>,
    ended: bool,
}

/// The engine on duty.
#[derive(Clone)]
pub(crate) struct OnDuty {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) epoch: u64,
}

impl Duty {
    /// `loss`: why `engine` runs instead of another.
    pub(crate) fn new(engine: Arc<dyn Engine>, spare: Option<Arc<dyn Engine>>, loss: Option<Loss>) -> Duty {
        let about = Arc::new(engine.about().clone());
        let spare = spare.map(|spare| {
            let about = Arc::new(spare.about().clone());
            (spare, about)
        });
        let state = State { engine: Some(engine), about, spare, epoch: 1, loss, ended: false };
        Duty { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine on duty, or why there is none.
    pub(crate) fn current(&self) -> Result<OnDuty, Option<Loss>> {
        let state = self.lock();
        match &state.engine {
            Some(engine) => Ok(OnDuty { engine: engine.clone(), epoch: state.epoch }),
            None => Err(state.loss.clone()),
        }
    }

    /// Refuses when no engine is on duty. For a host's thread, which must never hold an engine: whoever lets go of it
    /// last drops it.
    pub(crate) fn expect_manned(&self) -> Result<(), Option<Loss>> {
        let state = self.lock();
        if state.engine.is_some() { Ok(()) } else { Err(state.loss.clone()) }
    }

    /// What runs, or ran last.
    pub(crate) fn about(&self) -> Arc<About> {
        self.lock().about.clone()
    }

    /// Bytes that the engine on duty and the one that stands by hold, or take in their runs; 0: not known.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let state = self.lock();
        let spare = state.spare.as_ref().map_or(0, |(_, about)| about.memory_bytes);
        if state.engine.is_none() || state.about.memory_bytes == 0 {
            spare
        } else {
            state.about.memory_bytes.saturating_add(spare)
        }
    }

    /// The number of the engine on duty, or of the last.
    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Why not the engine that was asked for, or why none.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.lock().loss.clone()
    }

    /// Threads that the engines need: the larger number of lanes.
    pub(crate) fn threads(&self) -> usize {
        let state = self.lock();
        let spare = state.spare.as_ref().map_or(0, |(_, about)| about.lanes);
        state.about.lanes.max(spare)
    }

    /// The engine of this epoch was lost: the spare takes over, if there is one. Returns true for the first caller.
    pub(crate) fn lose(&self, epoch: u64, loss: Loss) -> bool {
        let mut state = self.lock();
        if state.epoch != epoch || state.engine.is_none() {
            return false;
        }
        state.loss = Some(loss);
        // The lost engine ends with the last lane that holds it, on that lane's thread.
        state.engine = None;
        if let Some((engine, about)) = state.spare.take() {
            (state.engine, state.about) = (Some(engine), about);
            state.epoch += 1;
        }
        self.changed.notify_all();
        true
    }

    /// Waits until the engine has a lane of this number (0, 1, …). Returns None at the end.
    pub(crate) fn wait_turn(&self, place: usize) -> Option<Arc<About>> {
        let mut state = self.lock();
        while state.about.lanes <= place {
            if state.ended {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(state.about.clone())
    }

    /// Ends all waits for a turn.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// The process of the engine on duty; 0: this one.
    pub(crate) fn process(&self) -> u64 {
        self.lock().engine.as_ref().map_or(0, |engine| engine.process())
    }

    /// Makes lanes that hang return, where that can be done: whether it is.
    pub(crate) fn abort(&self) -> bool {
        let state = self.lock();
        let engines = state.engine.iter().chain(state.spare.iter().map(|(engine, _)| engine));
        engines.filter(|engine| engine.abort()).count() > 0
    }

    /// Hands out the engines, to be dropped on a thread that may do so; for their end there is so much time.
    pub(crate) fn retire(&self, time: Option<Duration>) -> Vec<Arc<dyn Engine>> {
        let mut state = self.lock();
        let engines = [state.engine.take(), state.spare.take().map(|(engine, _)| engine)];
        let engines: Vec<_> = engines.into_iter().flatten().collect();
        time.into_iter().for_each(|time| engines.iter().for_each(|engine| engine.hurry(time)));
        engines
    }
}

#[cfg(test)]
mod tests {
    use coverslip_plugin_abi::{REASON_DEVICE_LOST, REASON_OUT_OF_MEMORY};

    use super::*;
    use coverslip_base::error::error;
    use coverslip_engine::{Failure, Lane};

    struct Named(About);

    impl Engine for Named {
        fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
            Err(error!(INTERNAL, "has no lanes").into())
        }
        fn about(&self) -> &About {
            &self.0
        }
    }

    pub(super) fn engine(lanes: usize) -> Arc<dyn Engine> {
        Arc::new(Named(About { lanes, ..About::default() }))
    }

    pub(super) fn loss(reason: i32) -> Loss {
        Loss { reason, error: error!(INTERNAL, "lost") }
    }

    #[test]
    fn the_spare_takes_over_once_and_wakes_the_lanes_it_needs() {
        let duty = Arc::new(Duty::new(engine(2), Some(engine(4)), None));
        assert_eq!((duty.threads(), duty.epoch()), (4, 1));
        let waiting = std::thread::spawn({
            let duty = duty.clone();
            move || duty.wait_turn(3).map(|about| about.lanes)
        });
        assert!(duty.lose(1, loss(REASON_DEVICE_LOST)));
        assert!(!duty.lose(1, loss(REASON_OUT_OF_MEMORY)), "the other lane saw the same loss");
        assert_eq!(waiting.join().unwrap(), Some(4));
        assert_eq!((duty.current().ok().map(|on| on.epoch), duty.loss().map(|l| l.reason)), (Some(2), Some(8)));
        assert!(duty.lose(2, loss(REASON_OUT_OF_MEMORY)), "nobody is left");
        assert!(duty.current().is_err());
        assert_eq!((duty.epoch(), duty.about().lanes), (2, 4), "what ran last");
    }

    #[test]
    fn the_end_wakes_lanes_without_work_and_leaves_the_others_theirs() {
        let duty = Duty::new(engine(1), None, None);
        duty.end();
        assert!(duty.wait_turn(1).is_none());
        assert!(duty.wait_turn(0).is_some(), "its queue still has tiles");
        assert_eq!(duty.retire(None).len(), 1);
    }
}

#[cfg(loom)]
#[cfg(test)]
mod models {
    use coverslip_plugin_abi::REASON_DEVICE_LOST;

    use super::tests::{engine, loss};
    use super::*;
    use crate::every_order::every_order;
    use coverslip_base::sync::thread;

    #[test]
    fn a_loss_wakes_the_lanes_that_the_spare_needs() {
        every_order(None, || {
            let duty = Arc::new(Duty::new(engine(1), Some(engine(2)), None));
            let idle = thread::spawn({
                let duty = duty.clone();
                move || duty.wait_turn(1).map(|about| about.lanes)
            });
            assert!(duty.lose(1, loss(REASON_DEVICE_LOST)));
            assert_eq!(idle.join().unwrap(), Some(2));
        });
    }

    #[test]
    fn the_end_wakes_a_lane_that_has_no_turn() {
        every_order(None, || {
            let duty = Arc::new(Duty::new(engine(1), None, None));
            let idle = thread::spawn({
                let duty = duty.clone();
                move || duty.wait_turn(1).is_none()
            });
            duty.end();
            assert!(idle.join().unwrap());
        });
    }

    #[test]
    fn of_two_lanes_that_see_one_loss_one_tells_it() {
        every_order(Some(3), || {
            let duty = Arc::new(Duty::new(engine(2), Some(engine(2)), None));
            let lanes = [(); 2].map(|()| {
                let duty = duty.clone();
                thread::spawn(move || {
                    let epoch = duty.current().ok().map(|on| on.epoch)?;
                    // Whoever comes after the change sees the spare, and has lost nothing.
                    (epoch == 1).then(|| duty.lose(epoch, loss(REASON_DEVICE_LOST)))
                })
            });
            let told = lanes.map(|lane| lane.join().unwrap());
            assert_eq!(told.iter().filter(|told| **told == Some(true)).count(), 1);
            assert_eq!((duty.epoch(), duty.current().ok().map(|on| on.epoch)), (2, Some(2)));
        });
    }

    #[test]
    fn a_loss_at_the_end_leaves_no_lane_waiting() {
        every_order(Some(3), || {
            let duty = Arc::new(Duty::new(engine(1), Some(engine(2)), None));
            let idle = thread::spawn({
                let duty = duty.clone();
                move || duty.wait_turn(1)
            });
            let lane = thread::spawn({
                let duty = duty.clone();
                move || duty.lose(1, loss(REASON_DEVICE_LOST))
            });
            duty.end();
            assert!(lane.join().unwrap());
            let _ = idle.join().unwrap();
            assert_eq!(duty.retire(None).len(), 1);
        });
    }
}
