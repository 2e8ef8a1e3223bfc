//! A worker never outlives its host, whatever either of them is doing.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use coverslip_plugin_abi::*;

use crate::system::is_alive;
use crate::{apart, bundle, row, wait_until};

/// What is going on when the host dies, and the poison of a tile.
const HOWS: &[(&str, &str)] = if cfg!(windows) {
    &[
        ("idle", ""),
        // In the middle of a batch that hangs.
        ("hangs", "1,2,3:hang"),
        // No thread of the worker runs: the job alone can end it.
        ("stopped", ""),
        // The system allowed no job: the worker sees the end by itself.
        ("jobless", "1,2,3:hang"),
        // The host is in a job of its own.
        ("in a job", "1,2,3:hang"),
    ]
} else {
    // A child of the host's has copies of the connection.
    &[("idle", ""), ("hangs", "1,2,3:hang"), ("forks", "1,2,3:hang")]
};

#[test]
fn a_worker_never_outlives_its_host() {
    for (how, poison) in HOWS {
        let mut host = Command::new(std::env::current_exe().unwrap());
        host.args(["--exact", "outliving::is_killed", "--ignored", "--nocapture", "--test-threads=1"]);
        host.env("HOW", how).env("COVERSLIP_WORKER_POISON", poison).stdout(Stdio::piped());
        let mut host = host.spawn().unwrap();
        let (mut said, mut byte) = (String::new(), [0; 1]);
        let output = host.stdout.as_mut().unwrap();
        while !said.contains("worker ready\n") && output.read(&mut byte).unwrap() > 0 {
            said.push(byte[0] as char);
        }
        let number = said.split("worker ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or("");
        let process: u64 = number.parse().unwrap_or_else(|_| panic!("{how}: {said}"));
        assert!(is_alive(process), "{how}");
        host.kill().unwrap();
        host.wait().unwrap();
        wait_until(&format!("the end of the worker, {how}"), || !is_alive(process));
    }
}

#[test]
#[ignore = "run and killed by a_worker_never_outlives_its_host"]
#[allow(clippy::print_stdout, reason = "the test that kills this one reads it")]
fn is_killed() {
    let how = std::env::var("HOW").unwrap();
    #[cfg(windows)]
    match &*how {
        "jobless" => coverslip::fault::arm("a worker's job", coverslip::fault::Fault::Fail, usize::MAX),
        "in a job" => enter_a_job(),
        _ => {}
    }
    let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = NO_TIMEOUT).expect("a worker");
    let slide = row(&runtime);
    let process = runtime.info().worker_process_id;
    println!("worker {process}");
    match &*how {
        "idle" => {}
        "stopped" => crate::system::stop(process),
        _ => {
            let picture = crate::poisoned([1, 2, 3], &[0, 1]);
            slide.submit(&picture.frame(0, 0, picture.width, picture.height)).expect("room");
            // Until both lanes hang, or are about to.
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    #[cfg(unix)]
    if how == "forks" && unsafe { libc::fork() } == 0 {
        // Has the host's end of the connection for longer than the host lives; not those of the tests' pipes, of which
        // one is read to its end.
        unsafe { libc::close(1) };
        unsafe { libc::close(2) };
        std::thread::sleep(Duration::from_secs(100));
        unsafe { libc::_exit(0) };
    }
    println!("worker ready");
    std::thread::sleep(Duration::from_secs(100));
}

/// As services and build systems start programs.
#[cfg(windows)]
fn enter_a_job() {
    use windows_sys::Win32::System::JobObjects::{AssignProcessToJobObject, CreateJobObjectW};
    use windows_sys::Win32::System::Threading::GetCurrentProcess;
    unsafe {
        let job = CreateJobObjectW(std::ptr::null(), std::ptr::null());
        assert_ne!(AssignProcessToJobObject(job, GetCurrentProcess()), 0);
    }
}

/// A handle that the host's programs inherit is not the worker's.
#[cfg(windows)]
#[test]
fn a_worker_has_no_handle_of_the_hosts() {
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};

    let (reads, writes) = std::io::pipe().unwrap();
    let inherited = unsafe { SetHandleInformation(writes.as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) };
    assert_ne!(inherited, 0);
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    assert!(is_alive(runtime.info().worker_process_id));
    drop(writes);
    // On a thread of its own: with a copy in the worker there is no end. Programs that other tests start meanwhile have one for
    // as long as they live.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send({ reads }.read_to_end(&mut Vec::new())));
    let read = told.recv_timeout(Duration::from_secs(120)).expect("the pipe's end: the worker has no copy of it");
    assert_eq!(read.expect("a pipe"), 0);
    runtime.close(10_000).expect("every thread ends");
}
