//! Hosts that treat children, descriptors and signals as they like, and what a worker has of theirs.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use coverslip::fault::{Fault, arm, disarm};
use coverslip_plugin_abi::*;

use crate::support::host::{Picture, TestRuntime, lines, listen};
use crate::system::{held, is_alive, send, stop};
use crate::{TILES, apart, bundle, by_column, child, folder, played, row, wait_until};

fn all_done(runtime: &TestRuntime) {
    let picture = Picture::tissue(TILES * crate::SIDE, crate::SIDE, 1);
    assert!(played(runtime, &picture).iter().all(|tile| tile.record.status == TILE_DONE));
}

/// A slide in the middle of which the worker is killed.
fn killed_in_the_middle(runtime: &TestRuntime) {
    let picture = Picture::tissue(TILES * crate::SIDE, crate::SIDE, 1);
    let (slide, half) = (row(runtime), TILES / 2 * crate::SIDE);
    let before = runtime.stats().worker_restarts;
    slide.submit(&picture.frame(0, 0, half, crate::SIDE)).expect("room");
    send(runtime.info().worker_process_id, libc::SIGKILL);
    slide.submit(&picture.frame(half, 0, half, crate::SIDE)).expect("room");
    assert!(by_column(slide.results()).iter().all(|tile| tile.record.status == TILE_DONE));
    assert_eq!(runtime.stats().worker_restarts, before + 1);
}

#[test]
fn a_host_may_reap_its_children_or_ignore_them() {
    child("hosts::reaps_every_child", &[]);
    child("hosts::ignores_its_children", &[]);
}

#[test]
#[ignore = "run by a_host_may_reap_its_children_or_ignore_them"]
fn reaps_every_child() {
    static OVER: AtomicBool = AtomicBool::new(false);
    static REAPED: AtomicU32 = AtomicU32::new(0);
    let reaper = std::thread::spawn(|| {
        while !OVER.load(Ordering::Acquire) {
            if unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {
                REAPED.fetch_add(1, Ordering::AcqRel);
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    // Whoever the system wakes first reaps: at least twice it must have been the host.
    for round in 0..20 {
        if round >= 2 && REAPED.load(Ordering::Acquire) >= 2 {
            break;
        }
        let runtime = apart(bundle(), |_| ()).expect("a worker");
        killed_in_the_middle(&runtime);
        all_done(&runtime);
        runtime.close(10_000).expect("every thread ends");
    }
    OVER.store(true, Ordering::Release);
    reaper.join().unwrap();
    let reaped = REAPED.load(Ordering::Acquire);
    assert!(reaped >= 2, "{reaped} children: the library reaps what it can, and the host the rest");
}

#[test]
#[ignore = "run by a_host_may_reap_its_children_or_ignore_them"]
fn ignores_its_children() {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    killed_in_the_middle(&runtime);
    // The worker has its own disposition: a driver waits for the programs that it starts.
    let status = status_of(runtime.info().worker_process_id);
    assert_eq!(mask(&status, "SigIgn"), 1 << (libc::SIGPIPE - 1), "{status}");
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn no_write_raises_sigpipe_in_the_host() {
    child("hosts::dies_of_sigpipe", &[]);
}

#[test]
#[ignore = "run by no_write_raises_sigpipe_in_the_host"]
fn dies_of_sigpipe() {
    // As a program in C begins; Rust's programs ignore it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    for _ in 0..2 {
        let process = runtime.info().worker_process_id;
        send(process, libc::SIGKILL);
        wait_until("the end of the worker", || !is_alive(process));
        // The connection is dead before the write.
        all_done(&runtime);
    }
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn a_host_may_close_descriptors_that_are_not_its_own() {
    child("hosts::closes_every_descriptor", &[]);
}

/// What is opened then gets the numbers of the library's descriptors: nothing may be written to them, and none closed.
#[test]
#[ignore = "run by a_host_may_close_descriptors_that_are_not_its_own"]
fn closes_every_descriptor() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    all_done(&runtime);
    let process = runtime.info().worker_process_id;
    unsafe { libc::close_range(3, u32::MAX, 0) };
    // Sockets too: what is meant for the worker would go wherever the host is connected to.
    let place = folder("not-the-librarys");
    let mut ends = Vec::new();
    let mut files = Vec::new();
    for i in 0..16 {
        files.push(std::fs::File::create(place.with_extension(i.to_string())).unwrap());
        ends.push(std::os::unix::net::UnixStream::pair().unwrap());
    }
    all_done(&runtime);
    assert_ne!(runtime.info().worker_process_id, process);
    runtime.close(10_000).expect("every thread ends");
    wait_until("the end of the first worker, whose connections are closed", || !is_alive(process));
    for (here, there) in &mut ends {
        for end in [here, there] {
            end.set_nonblocking(true).expect("still open");
            assert!(end.read(&mut [0; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "nothing came");
        }
    }
    assert!(files.iter().all(|file| file.metadata().expect("still open").len() == 0));
}

/// As when the host's own files, or cameras, have taken what the system gives to a process.
#[test]
fn a_host_without_a_free_descriptor_buries_its_worker() {
    child("hosts::has_no_free_descriptor", &[]);
}

#[test]
#[ignore = "run by a_host_without_a_free_descriptor_buries_its_worker"]
fn has_no_free_descriptor() {
    // The close waits a moment for a worker that it kills, and one that ends later is left to the host.
    let buries = || {
        let before = held().children;
        close_without_a_free_descriptor();
        held().children == before
    };
    assert!((0..3).any(|_| buries()), "no worker of three is reaped");
}

fn close_without_a_free_descriptor() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    all_done(&runtime);
    let process = runtime.info().worker_process_id;
    stop(process);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let set = |limit: &libc::rlimit| assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }, 0);
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    set(&libc::rlimit { rlim_cur: 3, ..limit });
    assert!(std::fs::File::open("/dev/null").is_err());
    let closed = runtime.close(200);
    set(&limit);
    closed.expect("the worker is killed");
    wait_until("the end of the worker", || !is_alive(process));
}

/// A child that does not exec has copies of the connections.
#[test]
fn a_worker_ends_by_itself_whatever_children_the_host_has() {
    child("hosts::has_a_child", &[]);
}

#[test]
#[ignore = "run by a_worker_ends_by_itself_whatever_children_the_host_has"]
fn has_a_child() {
    listen();
    let runtime = apart(bundle(), |desc| desc.worker_timeout_ms = 2_000).expect("a worker");
    all_done(&runtime);
    let mut children = vec![sleeping_child()];
    // Who is killed does not keep what its engine has compiled.
    arm("kill a worker", Fault::Fail, usize::MAX);
    // One that is left behind, and goes on later.
    let first = runtime.info().worker_process_id;
    stop(first);
    all_done(&runtime);
    send(first, libc::SIGCONT);
    wait_until("the end of the first worker", || !is_alive(first));
    let second = runtime.info().worker_process_id;
    assert!(second != 0 && second != first);
    children.push(sleeping_child());
    runtime.close(20_000).expect("every thread ends");
    let lines = lines();
    assert!(!is_alive(second) && !lines.iter().any(|(_, line)| line.contains("is killed")), "{lines:?}");
    disarm();
    for child in children {
        unsafe { (libc::kill(child, libc::SIGKILL), libc::waitpid(child, std::ptr::null_mut(), 0)) };
    }
}

/// A child of this process's, for longer than any test waits.
fn sleeping_child() -> i32 {
    let child = unsafe { libc::fork() };
    if child == 0 {
        // Not the pipes of the test.
        unsafe {
            libc::close(1);
            libc::close(2);
            libc::sleep(150);
            libc::_exit(0)
        }
    }
    child
}

/// A host without standard streams, as services are started: what its libraries print must not go to the worker.
#[test]
fn no_connection_is_a_standard_stream() {
    child("hosts::has_no_streams", &[]);
}

#[test]
#[ignore = "run by no_connection_is_a_standard_stream"]
fn has_no_streams() {
    // The other one is the test's.
    let streams = [0, 2];
    for stream in streams {
        unsafe { libc::close(stream) };
    }
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    let expect_none = || {
        for stream in streams {
            let found = std::fs::read_link(format!("/proc/self/fd/{stream}"));
            assert!(found.is_err(), "{stream}: {found:?}");
            assert_eq!(unsafe { libc::write(stream, b"a warning\n".as_ptr().cast(), 10) }, -1);
        }
    };
    expect_none();
    all_done(&runtime);
    assert_eq!(runtime.stats().worker_restarts, 0);
    killed_in_the_middle(&runtime);
    expect_none();
    runtime.close(10_000).expect("every thread ends");
}

#[test]
fn a_worker_has_nothing_of_the_hosts() {
    child("hosts::has_secrets", &[("HOSTS_SECRET", "x"), ("LD_PRELOAD", ""), ("CUDA_CACHE_DISABLE", "1")]);
}

#[test]
#[ignore = "run by a_worker_has_nothing_of_the_hosts"]
fn has_secrets() {
    // A pipe that programs inherit, as careless hosts have them; and blocked and ignored signals.
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let [reads, writes] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    assert_eq!(unsafe { libc::fcntl(writes.as_raw_fd(), libc::F_GETFD) }, 0, "inherited");
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    let process = runtime.info().worker_process_id;
    drop(writes);
    let mut left = Vec::new();
    std::fs::File::from(reads).read_to_end(&mut left).expect("the pipe's end: the worker has no copy of it");
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap();
    let names: Vec<String> = environment
        .split(|byte| *byte == 0)
        .map(|variable| String::from_utf8_lossy(variable).split('=').next().unwrap_or("").to_owned())
        .collect();
    assert!(
        names.iter().any(|name| name == "PATH") && names.iter().any(|name| name == "CUDA_CACHE_DISABLE"),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name == "HOSTS_SECRET" || name == "LD_PRELOAD"), "{names:?}");
    // What is listed may be gone when it is read, descriptors and threads alike.
    let targets: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let strange = targets.iter().filter(|target| {
        !["/dev/null", "socket:", "anon_inode:[pidfd]", "pidfd:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]"]
            .iter()
            .any(|known| target.starts_with(known))
    });
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<&String>::new());
    let status = status_of(process);
    assert_eq!((mask(&status, "SigBlk"), mask(&status, "SigIgn")), (0, 1 << (libc::SIGPIPE - 1)), "{status}");
    let lanes = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().filter(|task| {
        let status = std::fs::read_to_string(task.as_ref().unwrap().path().join("status")).unwrap_or_default();
        status.contains("coverslip-lane") && status.contains("NoNewPrivs:\t1")
    });
    assert_eq!(lanes.count(), 2, "what runs tiles gains no rights by starting a program");
    assert_eq!(std::fs::read_link(format!("/proc/{process}/cwd")).unwrap(), std::path::Path::new("/"));
    assert_eq!(unsafe { libc::getpgid(process as i32) }, process as i32, "a group of its own");
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")?.split_whitespace().next());
    // Where the hard limit is 0, only root raises it.
    let mut own = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut own) }, 0);
    assert!(core == Some("1") || own.rlim_max == 0 && core == Some("0"), "{limits}");
    all_done(&runtime);
    runtime.close(10_000).expect("every thread ends");
}

fn status_of(process: u64) -> String {
    std::fs::read_to_string(format!("/proc/{process}/status")).unwrap()
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:\t"))).unwrap();
    // Numbers 32 and 33 are the C library's own, and keep what they inherit.
    u64::from_str_radix(line, 16).unwrap() & !(0b11 << 31)
}

#[test]
fn an_idle_worker_wakes_nobody() {
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    all_done(&runtime);
    let slide = row(&runtime);
    let process = runtime.info().worker_process_id;
    let switches = || {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let of = |status: String| {
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
        };
        tasks
            .map(|task| of(std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default()))
            .sum::<u64>()
    };
    // Threads that have just finished settle.
    std::thread::sleep(Duration::from_millis(500));
    // What ends late spoils a look or two; what wakes again and again leaves no two seconds quiet.
    let look = || {
        let before = (switches(), runtime.stats().wake_ups);
        std::thread::sleep(Duration::from_secs(2));
        (before, (switches(), runtime.stats().wake_ups))
    };
    let mut looks = Vec::new();
    while looks.last().is_none_or(|(before, after)| before != after) {
        assert!(looks.len() < 10, "switches and wake-ups at both ends of two seconds: {looks:?}");
        looks.push(look());
    }
    drop(slide);
}
