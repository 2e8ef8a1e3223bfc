//! The job ends this process with the host. Where the system allowed none, and where a runtime ends and its host goes on,
//! the end of the leash says so.

use crate::inherited::Kept;
use crate::serve::serve;

/// Serves until the host, or its runtime, has ended.
pub(crate) fn keep(kept: Kept) -> ! {
    let Kept { control, mut leash } = kept;
    let serving = std::thread::Builder::new().name("coverslip-serve".into()).spawn(move || serve(control));
    if serving.is_ok() {
        leash.await_end();
    }
    // Whatever runs, in a driver or not: no thread is asked, and no destructor runs.
    crate::inherited::end()
}
