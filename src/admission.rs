//! Whether a slide may begin, and its beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coverslip_plugin_abi as abi;

use crate::config::slide::SlidePlan;
use crate::judge::docket::Docket;
use crate::judge::event::Event;
use crate::pipeline::shared::Shared;
use crate::slide::config::SlideConfig;
use crate::slide::state::{Downstream, Slide};
use coverslip_base::error::{Result, error};
use coverslip_base::fault;
use coverslip_base::memory::{self, Boxed, expect_room, refused};
use coverslip_pixels::tone::Tone;

/// The longest that a slide waits for the memory of those that have ended.
const LEAVING: Duration = Duration::from_secs(1);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Begins a slide: reserves its memory, adds it to the runtime's slides, and gives its docket to the judge.
pub(crate) fn admit(shared: &Shared, plan: SlidePlan) -> Result<Arc<Slide>> {
    fault::point("begin");
    shared.slides.expect_share(&plan.config)?;
    expect_room_soon(shared, &plan.config)?;
    if let Err(loss) = shared.duty.expect_manned() {
        let why = loss.map(|loss| loss.error);
        let why = why.as_ref().map_or("the runtime is being closed", |why| why.text());
        return Err(error!(ENGINE_UNAVAILABLE, "no engine runs any more: {why}; close this runtime, open another"));
    }
    let queues: Arc<dyn Downstream> = shared.queues.clone();
    let tone = memory::shared(Tone::new(&plan.config.tone).map_err(refused)?)?;
    let slide = Slide::begin(shared.slides.number(), plan.config, tone, Arc::downgrade(&queues))?;
    let fallback = shared.duty.loss().map(|loss| loss.reason);
    let precision = shared.duty.about().precision;
    let docket = Boxed::new(Docket::new(slide.clone(), plan.rules, fallback, precision)?)?;
    // What the engine takes for a tile must be left.
    expect_room("the engine's runs", shared.duty.about().all_runs())?;
    // Again: another thread may have begun one meanwhile.
    shared.slides.add(&slide, || shared.is_stopping())?;
    if !shared.queues.tell(Event::Begun(docket)) {
        slide.standing.poison();
    }
    Ok(slide)
}

/// Refuses a slide for which there is no room. A host begins the next slide as soon as it has ended one, and the judge, which
/// has the priority of a worker, lets that go a moment later.
fn expect_room_soon(shared: &Shared, config: &SlideConfig) -> Result<()> {
    let end = Instant::now() + LEAVING;
    loop {
        let refused = match shared.slides.expect_room(config) {
            Err(refused) if refused.code == abi::OUT_OF_MEMORY => refused,
            answer => return answer,
        };
        if shared.is_stopping() || !shared.slides.hurry_leavers() || Instant::now() >= end {
            return Err(refused);
        }
        std::thread::sleep(PAUSE);
    }
}
