//! An engine in a process of its own, the worker. Nothing of CUDA's is loaded here.
//!
//! `process` starts, ends and buries a worker, `post` keeps one at work and starts the next, `lane` runs batches on it and
//! runs again what was lost with one, `crashes` counts. Everything here happens on threads of the plugin.

mod crashes;
mod lane;
mod post;
mod process;

use std::path::PathBuf;
use std::time::Duration;

use coverslip_base::error::Result;
use coverslip_base::log::Log;
use coverslip_base::memory::with_room;
use coverslip_base::sync::Arc;
use coverslip_bundle::{Bundle, Manifest};
use coverslip_engine::load::Checked;
use coverslip_engine::{About, Engine, Failure, Lane, Loss, Tell};
use coverslip_wire::batch::Shape;
use coverslip_wire::control::Open;

use self::lane::RemoteLane;
use self::post::Post;
use crate::restarts::Restarts;

/// What a worker is started with, every time.
pub(super) struct Order {
    /// The worker's program.
    pub(super) program: PathBuf,
    /// The time for one batch; None: any.
    pub(super) timeout: Option<Duration>,
    pub(super) open: Open,
    pub(super) shape: Shape,
    pub(super) log: Arc<Log>,
    pub(super) restarts: Arc<Restarts>,
}

/// What the outputs of a bundle look like.
pub(super) fn shape(manifest: &Manifest) -> Shape {
    Shape {
        tile: 3 * manifest.side * manifest.side,
        embedding: manifest.taps.iter().map(|tap| manifest.tap_width(tap)).sum(),
        features: manifest.sae.features_per_tile(),
        feature_count: manifest.sae.features(),
    }
}

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

/// The digest of the bundle that the worker must find.
pub(super) fn digest(bundle: &Bundle) -> [u8; 32] {
    bundle.digest().0
}
