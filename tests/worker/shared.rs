//! The memory through which tiles go to a worker, and what is done where there is none.

use std::process::Command;

use coverslip_plugin_abi::*;

use crate::support::host::{Picture, lines, listen, open};
use crate::{CONNECTION_ALONE, SIDE, TILES, apart, bundle, child, expect_same, played};

pub(crate) const THROUGH_MEMORY: &str = "go to the worker through shared memory";
const OVER_THE_CONNECTION: &str = "over its connection, not through memory";

fn picture() -> Picture {
    Picture::tissue(TILES * SIDE, SIDE, 1)
}

/// Every lane says at open, and again in a worker that is started again, which way its tiles go.
#[track_caller]
fn expect_lines(level: i32, part: &str, count: usize, other: &str) -> Vec<(i32, String)> {
    let lines = lines();
    let of = |part: &str| lines.iter().filter(|(_, line)| line.contains(part)).count();
    assert_eq!((of(part), of(other)), (count, 0), "{lines:?}");
    assert!(lines.iter().all(|(found, line)| !line.contains(part) || *found == level), "{lines:?}");
    lines
}

/// All tests of the worker once more, in a process in which the system has no such memory.
#[test]
fn without_shared_memory_everything_is_as_with_it() {
    if std::env::var_os(CONNECTION_ALONE).is_some() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.env(CONNECTION_ALONE, "1").args(["--skip", "shared::"]).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("test result: ok"), "{text}");
    child("shared::over_the_connection", &[(CONNECTION_ALONE, "1")]);
}

#[test]
#[ignore = "run by without_shared_memory_everything_is_as_with_it"]
fn over_the_connection() {
    listen();
    let runtime = apart(bundle(), |_| ()).expect("a worker");
    expect_lines(LOG_WARN, OVER_THE_CONNECTION, 2, THROUGH_MEMORY);
    expect_same(&played(&runtime, &picture()), &played(&open(bundle()), &picture()));
    runtime.close(10_000).expect("every thread ends");
}

#[cfg(target_os = "linux")]
mod on_linux {
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Stdio};

    use coverslip_base::own::Own;
    use coverslip_base::thread::Placement;
    use coverslip_bundle::Bundle;
    use coverslip_engine::config::{EngineConfig, GpuConfig};
    use coverslip_wire::batch::{read_ready, write_shared};
    use coverslip_wire::control::{Hello, Open};
    use coverslip_wire::frame::Kind;
    use coverslip_wire::{Broken, Link, Memory, Transport};
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;
    use crate::system::{kill, mappings_of, memory_of};
    use crate::{program, wait_until};

    #[test]
    fn a_worker_reads_what_only_the_host_can_write() {
        if std::env::var_os(CONNECTION_ALONE).is_none() {
            child("shared::on_linux::reads_only", &[]);
        }
    }

    #[test]
    #[ignore = "run by a_worker_reads_what_only_the_host_can_write"]
    fn reads_only() {
        listen();
        let own = u64::from(std::process::id());
        let runtime = apart(bundle(), |_| ()).expect("a worker");
        expect_lines(LOG_INFO, THROUGH_MEMORY, 2, OVER_THE_CONNECTION);
        let expect_mapped = || {
            let worker = runtime.info().worker_process_id;
            let ways = |process| mappings_of(process).into_iter().map(|(way, _)| way).collect::<Vec<_>>();
            assert_eq!((ways(own), ways(worker)), (vec!["rw-s".to_owned(); 2], vec!["r--s".to_owned(); 2]));
            assert_eq!((memory_of(own).len(), memory_of(own)), (2, memory_of(worker)), "of each lane one");
            for process in [own, worker] {
                let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
                let names = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
                assert!(!names.into_iter().any(|name| name.to_string_lossy().contains("coverslip-tiles")));
            }
            memory_of(own)
        };
        let first = expect_mapped();
        expect_same(&played(&runtime, &picture()), &played(&open(bundle()), &picture()));
        assert_eq!(expect_mapped(), first);
        // The next worker has other memory, and the host nothing of the last.
        kill(runtime.info().worker_process_id);
        expect_same(&played(&runtime, &picture()), &played(&open(bundle()), &picture()));
        wait_until("the second lane", || {
            memory_of(runtime.info().worker_process_id).len() == 2 || {
                played(&runtime, &picture());
                false
            }
        });
        assert!(expect_mapped().is_disjoint(&first));
        runtime.close(10_000).expect("every thread ends");
        assert!(memory_of(own).is_empty());
    }

    /// A system that lets nobody make a memfd, as a sandbox may, gives the same results, and says how.
    #[test]
    fn a_sandbox_without_memfd_is_told_and_costs_no_tile() {
        child("shared::on_linux::sandboxed", &[]);
    }

    #[test]
    #[ignore = "run by a_sandbox_without_memfd_is_told_and_costs_no_tile"]
    fn sandboxed() {
        refuse_memfd();
        assert!(memfd_create("x", MemfdFlags::empty()).is_err());
        listen();
        let runtime = apart(bundle(), |_| ()).expect("a worker");
        expect_lines(LOG_WARN, OVER_THE_CONNECTION, 2, THROUGH_MEMORY);
        expect_same(&played(&runtime, &picture()), &played(&open(bundle()), &picture()));
        kill(runtime.info().worker_process_id);
        expect_same(&played(&runtime, &picture()), &played(&open(bundle()), &picture()));
        runtime.close(10_000).expect("every thread ends");
    }

    /// For this thread, and for what it starts from here on.
    fn refuse_memfd() {
        const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
        let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
        let mut steps = [
            // The call's number is the first word of what a filter sees.
            step(LOAD, 0, 0, 0),
            step(JUMP, 0, 1, libc::SYS_memfd_create as u32),
            step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        let mode = libc::SECCOMP_MODE_FILTER;
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter), 0);
        }
    }

    /// A host whose files may not be larger than a page is sent no signal.
    #[test]
    fn a_limit_of_files_is_no_signal() {
        child("shared::on_linux::limited", &[]);
    }

    #[test]
    #[ignore = "run by a_limit_of_files_is_no_signal"]
    fn limited() {
        let expected = played(&open(bundle()), &picture());
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) }, 0);
        // Who is not root cannot raise the other one.
        limit.rlim_cur = 1024;
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
        listen();
        let runtime = apart(bundle(), |_| ()).expect("a worker");
        expect_lines(LOG_WARN, OVER_THE_CONNECTION, 2, THROUGH_MEMORY);
        expect_same(&played(&runtime, &picture()), &expected);
        runtime.close(10_000).expect("every thread ends");
    }

    // -- a worker, spoken to by hand ------------------------------------------------------------------------------

    struct ByHand {
        worker: Child,
        control: Link,
        bundle: Bundle,
        payload: Vec<u8>,
    }

    impl ByHand {
        /// A worker that has opened the bundle on the CPU.
        fn new() -> ByHand {
            let (here, there) = UnixStream::pair().unwrap();
            let mut command = Command::new(program().to_str().unwrap());
            command.env_clear().stdin(Stdio::from(std::os::fd::OwnedFd::from(there)));
            let worker = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            drop(command);
            let bundle = Bundle::open(bundle()).unwrap();
            let (control, payload) = (Link::new(here.into()).unwrap(), Vec::new());
            let mut host = ByHand { worker, control, bundle, payload };
            let gpu = GpuConfig {
                library: None,
                search: false,
                uuid: None,
                plans: None,
                plan_digest: None,
                prebuilt_only: false,
                precision: 0,
                max_batch: 0,
                memory_limit: 0,
                private_plans: false,
            };
            let engine = EngineConfig {
                kind: ENGINE_CPU,
                fallback: FALLBACK_NONE,
                cpu_lanes: 1,
                cpu_precision: CPU_PRECISION_FLOAT32,
                cpu_kernels: None,
                cpu_tuned: false,
                placement: Placement::default(),
                gpu,
            };
            let open = Open { bundle: crate::bundle().to_owned(), digest: host.bundle.digest().0, engine };
            let hello = Hello { build: String::new(), process: std::process::id() };
            host.control.send(Kind::Hello, &[&hello.write()], None).unwrap();
            host.control.send(Kind::Open, &[&open.write()], None).unwrap();
            while host.control.receive(&mut host.payload, 1 << 20, None).unwrap() != Kind::Opened {}
            host
        }

        fn tile(&self) -> usize {
            3 * self.bundle.manifest().side * self.bundle.manifest().side
        }

        /// A lane with this memory, and whether the worker reads it.
        fn lane(&mut self, memory: Option<Memory>) -> (Link, bool) {
            let (mut here, there) = Link::pair().unwrap();
            self.control.send_link(Kind::Lane, &(there, memory), None).unwrap();
            assert_eq!(here.receive(&mut self.payload, 1 << 20, None).unwrap(), Kind::Ready);
            (here, read_ready(&self.payload).unwrap())
        }

        /// What the worker answers to a tile that is sent over the connection; None: it ends it.
        fn ask(&mut self, lane: &mut Link, kind: Kind, parts: &[&[u8]]) -> Option<Vec<u8>> {
            lane.send(kind, parts, None).unwrap();
            match lane.receive(&mut self.payload, 1 << 20, None) {
                Ok(Kind::Outputs) => Some(self.payload.clone()),
                Err(Broken::Ended) => None,
                other => panic!("{other:?}"),
            }
        }
    }

    impl Drop for ByHand {
        fn drop(&mut self) {
            let _ = (self.worker.kill(), self.worker.wait());
        }
    }

    #[test]
    fn a_worker_reads_only_memory_that_fits_and_batches_that_fit_it() {
        let mut host = ByHand::new();
        let bytes = host.tile();
        let tile: Vec<u8> = (0..bytes).map(|i| (i * 31 / 7) as u8).collect();
        let one = 1u32.to_le_bytes();
        let (mut lane, reads) = host.lane(None);
        assert!(!reads);
        let expected = host.ask(&mut lane, Kind::Run, &[&one, &tile]).expect("outputs");
        assert_eq!(host.ask(&mut lane, Kind::RunShared, &[&write_shared(1)]), None, "there is no memory");

        let (mut outgoing, memory) = Memory::new(bytes).unwrap();
        let (mut lane, reads) = host.lane(Some(memory));
        assert!(reads && outgoing.write(&[&tile]));
        assert_eq!(host.ask(&mut lane, Kind::RunShared, &[&write_shared(1)]).as_ref(), Some(&expected));
        // Over the connection too, where a batch does not fit the memory.
        assert!(outgoing.write(&[&vec![0; bytes]]));
        assert_eq!(host.ask(&mut lane, Kind::Run, &[&one, &tile]).as_ref(), Some(&expected));
        assert_ne!(host.ask(&mut lane, Kind::RunShared, &[&write_shared(1)]).as_ref(), Some(&expected));
        assert_eq!(host.ask(&mut lane, Kind::RunShared, &[&write_shared(2)]), None, "more than a batch");
        for payload in [&write_shared(0)[..], &[], &[1], &[1, 0, 0, 0, 0]] {
            let (mut lane, reads) = host.lane(Some(Memory::new(bytes).unwrap().1));
            assert!(reads);
            assert_eq!(host.ask(&mut lane, Kind::RunShared, &[payload]), None, "{payload:?}");
        }

        // Too small, or no memory: the worker says no, and runs what comes over the connection.
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        for memory in [Memory::new(bytes - 1).unwrap().1, Memory::of(Own::new(file.into()).unwrap())] {
            let (mut lane, reads) = host.lane(Some(memory));
            assert!(!reads);
            assert_eq!(host.ask(&mut lane, Kind::Run, &[&one, &tile]).as_ref(), Some(&expected));
            assert_eq!(host.ask(&mut lane, Kind::RunShared, &[&write_shared(1)]), None);
        }
        assert!(host.worker.try_wait().unwrap().is_none(), "a lane that breaks the protocol ends alone");
    }
}
