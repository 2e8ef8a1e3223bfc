use std::ffi::c_void;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{
    CreateRemoteThread, GetCurrentProcess, GetCurrentProcessId, GetProcessHandleCount, OpenProcess, PROCESS_ALL_ACCESS,
    TerminateProcess, WaitForSingleObject,
};

use super::Held;

/// What an error says of a worker that `kill` has ended, and of one that `crash` has.
pub(crate) const KILLED: &str = "with code 99";
pub(crate) const CRASHED: &str = "by an access violation, 0xC0000005";
/// A program that is no worker.
pub(crate) const NO_WORKER: &str = r"C:\windows\system32\hostname.exe";

#[link(name = "ntdll")]
unsafe extern "system" {
    fn NtSuspendProcess(process: HANDLE) -> i32;
}

#[repr(C)]
#[derive(Default)]
struct ThreadEntry {
    size: u32,
    usage: u32,
    thread: u32,
    owner: u32,
    rest: [u32; 3],
}

#[link(name = "kernel32")]
unsafe extern "system" {
    fn CreateToolhelp32Snapshot(flags: u32, process: u32) -> HANDLE;
    fn Thread32First(snapshot: HANDLE, entry: *mut ThreadEntry) -> i32;
    fn Thread32Next(snapshot: HANDLE, entry: *mut ThreadEntry) -> i32;
}

/// Does something with a process; None: there is none of this number.
fn with<T>(process: u64, what: impl FnOnce(HANDLE) -> T) -> Option<T> {
    let handle = unsafe { OpenProcess(PROCESS_ALL_ACCESS, 0, process as u32) };
    let found = (!handle.is_null()).then(|| what(handle));
    unsafe { CloseHandle(handle) };
    found
}

/// As somebody ends it.
#[track_caller]
pub(crate) fn kill(process: u64) {
    assert!(process > 1, "there is a worker");
    with(process, |handle| unsafe { TerminateProcess(handle, 99) });
}

/// As a driver with a defect ends it: a thread of it runs where no code is.
#[track_caller]
pub(crate) fn crash(process: u64) {
    assert!(process > 1, "there is a worker");
    let nowhere: unsafe extern "system" fn(*mut c_void) -> u32 = unsafe { std::mem::transmute(0x10_usize) };
    with(process, |handle| unsafe {
        CloseHandle(CreateRemoteThread(handle, null(), 0, Some(nowhere), null(), 0, null_mut()))
    });
}

/// None of its threads runs any more.
#[track_caller]
pub(crate) fn stop(process: u64) {
    assert!(process > 1, "there is a worker");
    assert_eq!(with(process, |handle| unsafe { NtSuspendProcess(handle) }), Some(0));
}

/// Whether there is a process of this number that has not ended.
pub(crate) fn is_alive(process: u64) -> bool {
    with(process, |handle| unsafe { WaitForSingleObject(handle, 0) == WAIT_TIMEOUT }) == Some(true)
}

/// What this process holds.
pub(crate) fn held() -> Held {
    const THREADS: u32 = 4;
    let (mut handles, mut threads) = (0, 0);
    unsafe {
        assert_ne!(GetProcessHandleCount(GetCurrentProcess(), &mut handles), 0);
        let snapshot = CreateToolhelp32Snapshot(THREADS, 0);
        let mut entry = ThreadEntry { size: size_of::<ThreadEntry>() as u32, ..ThreadEntry::default() };
        let mut more = Thread32First(snapshot, &mut entry);
        while more != 0 {
            threads += usize::from(entry.owner == GetCurrentProcessId());
            more = Thread32Next(snapshot, &mut entry);
        }
        CloseHandle(snapshot);
    }
    // Nobody has to reap a process here, and a section that is mapped keeps a handle.
    Held { threads, descriptors: handles as usize, children: 0, memory: 0 }
}

/// Nobody can see it from outside: which memory a process maps that the library has made for tiles.
pub(crate) fn memory_of(_: u64) -> std::collections::BTreeSet<String> {
    std::collections::BTreeSet::new()
}
