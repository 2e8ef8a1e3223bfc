//! An engine in a process of its own, the worker. Nothing of CUDA's is loaded here.
//!
//! `order` says what a worker is started with, `process` starts, ends and buries one on each system, `control` greets it, has
//! it open the engine and hears its lines, `post` keeps one at work and starts the next, `way` carries a lane's batches, `lane`
//! runs them and runs again what was lost with a worker, `loss` says what has become of one, `crashes` counts. Everything here
//! happens on threads of the plugin.

mod control;
mod crashes;
mod lane;
mod loss;
pub(super) mod order;
mod post;
mod process;
mod way;

use std::time::Duration;

use coverslip_base::error::Result;
use coverslip_base::memory::with_room;
use coverslip_base::sync::Arc;
use coverslip_engine::load::Checked;
use coverslip_engine::{About, Engine, Failure, Lane, Loss, Tell};

use self::lane::RemoteLane;
use self::order::Order;
use self::post::Post;

/// Starts a worker, which opens the engine and checks it.
pub(super) fn open(order: Order, tell: &Tell<'_>) -> Result<Checked, Loss> {
    let (post, opened) = Post::open(order, tell)?;
    let engine = RemoteEngine { about: opened.about, post: Arc::new(post) };
    Ok(Checked { engine: Arc::new(engine), worst: opened.worst })
}

struct RemoteEngine {
    about: About,
    post: Arc<Post>,
}

impl Engine for RemoteEngine {
    fn lane(&self) -> Result<Box<dyn Lane>, Failure> {
        let lane = RemoteLane::new(&self.post)?;
        Ok(with_room("a lane", size_of::<RemoteLane>(), || -> Box<dyn Lane> { Box::new(lane) })?)
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn process(&self) -> u64 {
        self.post.process_number()
    }

    fn hurry(&self, time: Duration) {
        self.post.hurry(time);
    }

    fn abort(&self) -> bool {
        self.post.abort();
        true
    }
}

impl Drop for RemoteEngine {
    /// On a thread of the plugin, when no lane runs any more.
    fn drop(&mut self) {
        self.post.close();
    }
}
