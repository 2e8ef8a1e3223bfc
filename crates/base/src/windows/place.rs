//! Where a thread runs on Windows, and how urgently.
//!
//! Windows hands neither on to the threads that a thread starts: each takes its place itself.

#![allow(unsafe_code)]

use std::ptr::null_mut;

use windows_sys::Win32::System::SystemInformation::GROUP_AFFINITY;
use windows_sys::Win32::System::Threading::{
    GetActiveProcessorCount, GetActiveProcessorGroupCount, GetCurrentThread, SetThreadGroupAffinity, SetThreadPriority,
    THREAD_PRIORITY_BELOW_NORMAL,
};

/// Below the host's threads of normal priority.
pub(crate) fn give_way() {
    // SAFETY: the handle stands for the calling thread, and no pointer is given.
    unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_BELOW_NORMAL) };
}

/// Keeps the calling thread on these logical processors, which are counted through the groups of at most 64 that Windows
/// makes of them. A thread runs in one group: that of the first.
pub(crate) fn run_on(cpus: &[u32]) {
    // SAFETY: reads a number.
    let groups = unsafe { GetActiveProcessorGroupCount() };
    // SAFETY: reads the number of a group's processors, 0 where there is no such group.
    let counts: Vec<u32> = (0..groups).map(|group| unsafe { GetActiveProcessorCount(group) }).collect();
    if let Some((group, mask)) = group_and_mask(cpus, &counts) {
        let affinity = GROUP_AFFINITY { Mask: mask, Group: group, Reserved: [0; 3] };
        // SAFETY: the handle stands for the calling thread; the struct is read, and nothing is written.
        unsafe { SetThreadGroupAffinity(GetCurrentThread(), &affinity, null_mut()) };
    }
}

/// The group of the first processor that there is, and which of its processors are among `cpus`.
fn group_and_mask(cpus: &[u32], counts: &[u32]) -> Option<(u16, usize)> {
    let place = |cpu: u32| {
        let mut left = cpu;
        counts.iter().enumerate().find_map(|(group, count)| {
            if left < *count {
                return Some((group as u16, left));
            }
            left -= count;
            None
        })
    };
    let places: Vec<(u16, u32)> = cpus.iter().filter_map(|cpu| place(*cpu)).collect();
    let group = places.first()?.0;
    let bits = places.iter().filter(|place| place.0 == group).map(|place| 1_usize.checked_shl(place.1).unwrap_or(0));
    Some((group, bits.fold(0, |mask, bit| mask | bit)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use windows_sys::Win32::System::Threading::{GetThreadGroupAffinity, GetThreadPriority};

    use super::*;
    use crate::sync::Arc;
    use crate::thread::{Placement, spawn};

    #[test]
    fn processors_are_counted_through_the_groups() {
        assert_eq!(group_and_mask(&[0, 2], &[4]), Some((0, 0b101)));
        assert_eq!(group_and_mask(&[5, 4, 1], &[4, 4]), Some((1, 0b11)), "the group of the first");
        assert_eq!(group_and_mask(&[9, 1], &[4, 4]), Some((0, 0b10)), "one that there is not counts for nothing");
        assert_eq!(group_and_mask(&[63], &[64]), Some((0, 1 << 63)));
        assert_eq!(group_and_mask(&[8], &[4, 4]), None);
        assert_eq!(group_and_mask(&[], &[4]), None);
    }

    /// Priority and processors of a thread with this placement.
    fn found(placement: Placement) -> (i32, usize) {
        let (tell, told) = channel();
        let thread = spawn("placed".into(), &Arc::new(placement), move || {
            let mut affinity = GROUP_AFFINITY::default();
            // SAFETY: the handle stands for the calling thread; one struct is written.
            let priority = unsafe {
                assert_ne!(GetThreadGroupAffinity(GetCurrentThread(), &mut affinity), 0);
                GetThreadPriority(GetCurrentThread())
            };
            tell.send((priority, affinity.Mask)).unwrap();
        });
        thread.unwrap().join().unwrap();
        told.recv().unwrap()
    }

    #[test]
    fn a_thread_has_the_priority_and_the_processors_that_it_was_given() {
        let (priority, every) = found(Placement::default());
        assert_eq!(priority, THREAD_PRIORITY_BELOW_NORMAL);
        assert_eq!(found(Placement { normal_priority: true, ..Placement::default() }).0, 0);
        let last = every.ilog2();
        assert_eq!(found(Placement { cpus: vec![last], ..Placement::default() }).1, 1 << last);
    }
}
