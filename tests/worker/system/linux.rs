use std::collections::BTreeSet;

use super::Held;

/// What an error says of a worker that `kill` has ended, and of one that `crash` has.
pub(crate) const KILLED: &str = "by signal 9, SIGKILL";
pub(crate) const CRASHED: &str = "by signal 11, SIGSEGV";
/// A program that is no worker.
pub(crate) const NO_WORKER: &str = "/bin/true";

#[track_caller]
pub(crate) fn send(process: u64, signal: i32) {
    // 0 would be this process and all that it has started.
    assert!(process > 1, "there is a worker");
    unsafe { libc::kill(process as i32, signal) };
}

/// As somebody ends it.
#[track_caller]
pub(crate) fn kill(process: u64) {
    send(process, libc::SIGKILL);
}

/// As a driver with a defect ends it.
#[track_caller]
pub(crate) fn crash(process: u64) {
    send(process, libc::SIGSEGV);
}

/// None of its threads runs any more.
#[track_caller]
pub(crate) fn stop(process: u64) {
    send(process, libc::SIGSTOP);
    // Until a thread takes the signal, the others go on. It may end meanwhile.
    crate::wait_until("the stop of a process", || state_of(process).is_none_or(|state| "TZX".contains(state)));
}

/// As the system says it: R, S, T, Z, …
fn state_of(process: u64) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
}

/// Whether there is a process of this number that has not ended.
pub(crate) fn is_alive(process: u64) -> bool {
    state_of(process).is_some_and(|state| !"ZX".contains(state))
}

/// What this process holds.
pub(crate) fn held() -> Held {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()
    };
    let children = tasks.map(of).collect::<String>().split_whitespace().count();
    let memory = mappings_of(u64::from(std::process::id())).len();
    Held { threads: count("/proc/self/task"), descriptors: count("/proc/self/fd"), children, memory }
}

/// Which memory a process maps that the library has made for tiles.
pub(crate) fn memory_of(process: u64) -> BTreeSet<String> {
    mappings_of(process).into_iter().map(|(_, memory)| memory).collect()
}

/// Its mappings of such memory: what may be done with one, and which it is.
pub(crate) fn mappings_of(process: u64) -> Vec<(String, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        line.contains("/memfd:coverslip-tiles").then(|| (words[1].to_owned(), format!("{} {}", words[3], words[4])))
    };
    maps.lines().filter_map(of).collect()
}
