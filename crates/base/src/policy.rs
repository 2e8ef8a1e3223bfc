//! The scheduling policy of a thread, which it inherits from the one that starts it.

#![allow(unsafe_code)]

/// Makes the calling thread an ordinary one if it is one of real time. That lowers it, which every process may. A sandbox
/// may refuse, which is not worth failing for.
pub(crate) fn leave_real_time() {
    // SAFETY: 0 is the calling thread, and a number is returned.
    let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
    if [libc::SCHED_FIFO, libc::SCHED_RR].contains(&policy) {
        let ordinary = libc::sched_param { sched_priority: 0 };
        // SAFETY: as above; the parameter is read during the call.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &ordinary) };
    }
}
