//! One lane, with a way of its own to the worker. A batch whose worker ends is run again on the next one, and halved
//! until the tile is found that ends a worker twice, alone.

use std::time::Instant;

use coverslip_base::error::error;
use coverslip_base::memory::{grow, reserve};
use coverslip_base::sync::{Arc, PoisonError};
use coverslip_engine::{Failure, Lane, Loss, TileOutput};
use coverslip_plugin_abi::LOG_ERROR;
use coverslip_wire::Broken;
use coverslip_wire::batch::read_outputs;
use coverslip_wire::control::read_loss;
use coverslip_wire::frame::{CONTROL_BUDGET, Kind};

use super::loss::broken;
use super::post::{Post, Trouble};
use super::way::Way;

/// Workers that a batch may end in a row before it is the engine that is to blame: more than halving 256 tiles takes.
const IN_VAIN: u32 = 12;

pub(super) struct RemoteLane {
    post: Arc<Post>,
    way: Option<Way>,
    payload: Vec<u8>,
}

impl RemoteLane {
    pub(super) fn new(post: &Arc<Post>) -> Result<RemoteLane, Failure> {
        let mut lane = RemoteLane { post: post.clone(), way: None, payload: Vec::new() };
        match post.connect() {
            Ok(way) => lane.way = Some(way),
            // The first batch sees to it.
            Err(Trouble::Died(number, loss)) => {
                post.bury(number, loss, true);
            }
            Err(Trouble::Lost(loss)) => return Err(Failure::Lost(loss)),
            Err(Trouble::Batch(error)) => return Err(error.into()),
        }
        Ok(lane)
    }

    /// Runs a batch on the worker of now.
    fn once(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Trouble> {
        let post = self.post.clone();
        let way = self.way.take().filter(|way| post.is_at_work(way.worker));
        let mut way = way.map_or_else(|| post.connect(), Ok)?;
        let number = way.worker;
        // Whatever is wrong with what it says, it is of no use.
        post.hear(number).map_err(|e| Trouble::Died(number, broken(e, "was heard")))?;
        let died = |e| match e {
            // The place in the stream is lost, but the worker is not to blame.
            Broken::Memory(error) => Trouble::Batch(error),
            e => Trouble::Died(number, broken(e, "ran a batch")),
        };
        let due = post.order.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        way.send(tiles, due).map_err(died)?;
        let most = post.order.shape.output_bytes(tiles.len()).max(CONTROL_BUDGET);
        let answer = way.receive(&mut self.payload, most, due).map_err(died)?;
        let refused = || read_loss(&self.payload).map_err(|malformed| died(Broken::Nonsense(malformed)));
        match answer {
            Kind::Outputs => read_outputs(&self.payload, &post.order.shape, outputs).map_err(died)?,
            Kind::Failed => {
                let failure = Trouble::Batch(refused()?.error);
                self.way = Some(way);
                return Err(failure);
            }
            Kind::Lost => return Err(Trouble::Died(number, refused()?)),
            _ => return Err(died(Broken::System(0))),
        }
        post.succeeded();
        self.way = Some(way);
        Ok(())
    }

    /// Runs again what was lost with a worker, while no other lane runs: what ends the next one is in this batch.
    fn recover(&mut self, first: u64, tiles: &[&[u8]], outputs: &mut [TileOutput], last: Loss) -> Result<(), Failure> {
        let post = self.post.clone();
        let _alone = post.floor.write().unwrap_or_else(PoisonError::into_inner);
        post.order.restarts.add_retried();
        outputs.iter_mut().for_each(|output| output.retried = true);
        let mut hunt = Hunt { lane: self, ended: reserve(2 * IN_VAIN as usize)?, in_vain: 0, guilty: false, last };
        hunt.ended.push(first);
        let found = hunt.run(tiles, outputs);
        post.settle(&hunt.ended, hunt.guilty, &hunt.last);
        found
    }
}

impl Lane for RemoteLane {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        let post = self.post.clone();
        let together = post.floor.read().unwrap_or_else(PoisonError::into_inner);
        let found = self.once(tiles, outputs);
        drop(together);
        match found {
            Ok(()) => Ok(()),
            Err(Trouble::Batch(error)) => Err(Failure::Batch(error)),
            Err(Trouble::Lost(loss)) => Err(Failure::Lost(loss)),
            Err(Trouble::Died(number, loss)) => {
                let loss = post.bury(number, loss, true);
                self.recover(number, tiles, outputs, loss)
            }
        }
    }
}

/// The search for the tile that ends workers.
struct Hunt<'l> {
    lane: &'l mut RemoteLane,
    /// The numbers of the workers that have ended.
    ended: Vec<u64>,
    /// How many of them since a batch ran or a tile was found.
    in_vain: u32,
    guilty: bool,
    last: Loss,
}

impl Hunt<'_> {
    fn run(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<(), Failure> {
        if self.survives(tiles, outputs)? {
            return Ok(());
        }
        if tiles.len() > 1 {
            let (first, second) = outputs.split_at_mut(tiles.len() / 2);
            self.run(&tiles[..first.len()], first)?;
            return self.run(&tiles[first.len()..], second);
        }
        if !self.survives(tiles, outputs)? {
            outputs.iter_mut().for_each(|output| output.failed = true);
            (self.guilty, self.in_vain) = (true, 0);
            let post = &self.lane.post;
            let text = self.last.error.text();
            post.order.log.write(LOG_ERROR, format_args!("a tile ended two workers by itself, and fails: {text}"));
            if !post.convict() {
                return Err(self.hopeless());
            }
        }
        Ok(())
    }

    /// Whether the worker of now, or the next, runs these tiles.
    fn survives(&mut self, tiles: &[&[u8]], outputs: &mut [TileOutput]) -> Result<bool, Failure> {
        match self.lane.once(tiles, outputs) {
            Ok(()) => {
                self.in_vain = 0;
                Ok(true)
            }
            // A part that fails by itself fails alone.
            Err(Trouble::Batch(error)) => {
                let text = error.text();
                self.lane.post.order.log.write(LOG_ERROR, format_args!("{} tiles failed: {text}", tiles.len()));
                outputs.iter_mut().for_each(|output| output.failed = true);
                Ok(true)
            }
            Err(Trouble::Lost(loss)) => Err(Failure::Lost(loss)),
            Err(Trouble::Died(number, loss)) => {
                self.last = self.lane.post.bury(number, loss, false);
                // Where there is no memory for it, its end stays unexplained.
                let one_more = self.ended.len() + 1;
                if grow(&mut self.ended, one_more).is_ok() {
                    self.ended.push(number);
                }
                self.in_vain += 1;
                if self.in_vain > IN_VAIN { Err(self.hopeless()) } else { Ok(false) }
            }
        }
    }

    /// Whatever is run ends the worker.
    fn hopeless(&self) -> Failure {
        let error = error!(
            ENGINE_UNAVAILABLE,
            "every worker ends, whatever tiles it runs, the last one so: {}",
            self.last.error.text()
        );
        Failure::Lost(Loss { reason: self.last.reason, error })
    }
}
