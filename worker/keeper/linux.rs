//! The end of the connection and the end of the host's process are waited for together.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};

use coverslip_base::thread::STACK;
use coverslip_wire::Link;

use crate::serve::serve;

/// Serves until the host, or its runtime, has ended.
pub(crate) fn keep(control: OwnedFd) -> ! {
    // A child that the host forks has a copy of its end of the connection, and may outlive it: the connection alone would
    // not tell.
    let host = getppid();
    let process = host.and_then(|host| pidfd_open(host, PidfdFlags::empty()).ok());
    let watched = control.try_clone();
    let link = Link::new(control).ok();
    let serving = link.map(|link| {
        std::thread::Builder::new().name("coverslip-serve".into()).stack_size(STACK).spawn(move || serve(link))
    });
    if let (Ok(watched), Some(Ok(_))) = (watched, serving) {
        wait(&watched, process.as_ref(), host);
    }
    // Whatever runs, in a driver or not: no thread is asked, and no destructor runs.
    let _ = kill_process(getpid(), Signal::KILL);
    crate::inherited::end()
}

/// Returns when the connection or the host has ended. Wakes for nothing else.
fn wait(control: &OwnedFd, process: Option<&OwnedFd>, host: Option<Pid>) {
    // It had ended before its descriptor was made.
    if getppid() != host {
        return;
    }
    loop {
        let hung_up = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut events = vec![PollFd::new(control, PollFlags::RDHUP)];
        events.extend(process.map(|process| PollFd::new(process, PollFlags::IN)));
        if poll(&mut events, None).is_ok() {
            let connection = events[0].revents().intersects(hung_up);
            if connection || events.iter().skip(1).any(|event| !event.revents().is_empty()) {
                return;
            }
        }
    }
}
