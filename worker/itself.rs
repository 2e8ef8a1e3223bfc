//! What a worker process does to itself on Windows. It stands here, and not beside what the library calls of Windows, so that
//! no host loads a library that could change how its process faults.

#![allow(unsafe_code)]

use windows_sys::Win32::System::Diagnostics::Debug::{
    EXCEPTION_POINTERS, SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX, SetErrorMode,
    SetUnhandledExceptionFilter,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};

/// From now on an exception that nobody handles ends this process at once. It opens no window, starts no debugger, and is not
/// reported to Windows Error Reporting, which would write the process's memory to the disk. What fails fast (a corrupted
/// heap, `abort`) goes past this. No disk that is missing is asked for.
pub(crate) fn fault_in_silence() {
    // SAFETY: numbers, and a function that lives as long as the process.
    unsafe {
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
        SetUnhandledExceptionFilter(Some(last));
    }
}

/// Ends this process with the exception's code, as the system would in the end.
unsafe extern "system" fn last(exception: *const EXCEPTION_POINTERS) -> i32 {
    // SAFETY: the system passes what lives until this returns, which it does not.
    end(unsafe { (*(*exception).ExceptionRecord).ExceptionCode } as u32)
}

/// Ends this process now: no thread is asked, and no library runs what it does at an exit.
pub(crate) fn end(code: u32) -> ! {
    // SAFETY: stands for this process, of which nothing runs afterwards.
    unsafe { TerminateProcess(GetCurrentProcess(), code) };
    std::process::abort()
}

/// Reads where nothing is, as a driver with a defect does. For tests.
#[cfg(debug_assertions)]
pub(crate) fn violate() {
    let nowhere = std::hint::black_box(8_usize) as *const u8;
    // SAFETY: none; this is the fault that is asked for, and ends the process.
    unsafe { nowhere.read_volatile() };
}
