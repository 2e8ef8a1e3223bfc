//! On Windows a program has the handles that it was given, and no others. It was started with standard streams that lead
//! nowhere, in the system's folder.

use coverslip_wire::{HANDLES, Link};

use crate::itself;

/// What the library has given to this process.
pub(crate) struct Kept {
    pub(crate) control: Link,
    /// Nothing comes here but the end of the host.
    pub(crate) leash: Link,
}

/// Takes the connections, whose handles the arguments name; None: nobody of ours has started this process.
pub(crate) fn leave() -> Option<Kept> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != HANDLES {
        return None;
    }
    itself::fault_in_silence();
    let mut link = || Link::adopt(arguments.next()?.parse().ok()?).ok();
    Some(Kept { control: link()?, leash: link()? })
}

/// Nothing: the job of this process ends with the host, and Windows ends no process to have memory.
pub(crate) fn give_way() {}

/// Nothing: what a driver needs of this process's rights is not known.
pub(crate) fn drop_rights() {}

/// Ends this process as a failure. An abort would be reported, with what its memory holds.
pub(crate) fn fail() -> ! {
    itself::end(1)
}

/// Ends this process without what vendors' libraries do at an exit.
pub(crate) fn end() -> ! {
    itself::end(0)
}
