//! A program in a process of its own, and in a job: when the last handle of the job is closed, as it is when this process
//! ends in whatever way, the system ends the program with all that it has started.

#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, GENERIC_READ, GENERIC_WRITE, HANDLE};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{CreateFileW, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING};
use windows_sys::Win32::System::JobObjects::{
    CreateJobObjectW, JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Memory::FILE_MAP_READ;
use windows_sys::Win32::System::SystemInformation::GetSystemDirectoryW;
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_UNICODE_ENVIRONMENT, CreateProcessW,
    DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, InitializeProcThreadAttributeList,
    LPPROC_THREAD_ATTRIBUTE_LIST, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST,
    PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW, TerminateProcess, UpdateProcThreadAttribute,
};

use super::handle::{Kept, done, duplicate, inheritable, made, wide};
use super::pipe::End;
use super::running::Running;
use super::section::Section;

/// A path of this length is given to the system in its long form.
const SHORT: usize = 240;
/// What a killed process answers.
const KILLED: u32 = 1;

/// A process and its job.
#[derive(Debug)]
pub struct Child {
    running: Running,
    /// None: the host's own job allows none in it.
    job: Option<Kept>,
    number: u32,
}

/// What a program is started with.
pub struct Start<'s> {
    /// Its file.
    pub program: &'s Path,
    /// What its first argument is. The values of the handles of the ends follow.
    pub first: &'s str,
    /// All of its environment.
    pub environment: &'s [(OsString, OsString)],
    /// The ends that it gets, and nothing else of this process's.
    pub ends: &'s [&'s End],
    /// Without a job, as where the host's own allows none in it.
    pub jobless: bool,
}

impl Start<'_> {
    /// Starts it without a window, in the system's folder, with standard streams that lead nowhere.
    ///
    /// # Errors
    /// As the system says.
    pub fn start(&self) -> io::Result<Child> {
        let job = if self.jobless { None } else { Some(job()?) };
        match self.start_in(job) {
            // A job with limits for windows has no job in it. The program then sees the end of its host by itself.
            Err(e) if e.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) && !self.jobless => self.start_in(None),
            found => found,
        }
    }

    fn start_in(&self, job: Option<Kept>) -> io::Result<Child> {
        let nowhere = nowhere()?;
        let ends = self.ends.iter().map(|end| inheritable(end.as_handle())).collect::<io::Result<Vec<_>>>()?;
        let mut line = format!("coverslip-worker {}", self.first);
        ends.iter().for_each(|end| line.push_str(&format!(" {}", end.as_raw_handle() as usize)));
        let program = wide(long_form(self.program)?.as_os_str());
        let (mut line, environment, folder) = (wide(line.as_ref()), block(self.environment), system_folder()?);

        let inherited: Vec<HANDLE> = ends.iter().chain([&nowhere]).map(OwnedHandle::as_raw_handle).collect();
        let jobs: Vec<HANDLE> = job.iter().map(Kept::raw).collect();
        let mut attributes = Attributes::new(&inherited, &jobs)?;
        let mut startup = STARTUPINFOEXW { lpAttributeList: attributes.list(), ..STARTUPINFOEXW::default() };
        startup.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        startup.StartupInfo.hStdInput = nowhere.as_raw_handle();
        startup.StartupInfo.hStdOutput = nowhere.as_raw_handle();
        startup.StartupInfo.hStdError = nowhere.as_raw_handle();
        let flags =
            CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
        let mut found = PROCESS_INFORMATION::default();
        // SAFETY: texts that end with 0, of which the line may be written to; the environment ends with two; the list and
        // the handles in it live until the call returns, which fills one struct.
        done(unsafe {
            CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                null(),
                null(),
                1,
                flags,
                environment.as_ptr().cast(),
                folder.as_ptr(),
                (&raw const startup).cast(),
                &mut found,
            )
        })?;
        drop(made(found.hThread));
        let running = Running::new(made(found.hProcess)?);
        Ok(Child { running, job, number: found.dwProcessId })
    }
}

impl Child {
    /// As the system numbers it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The process, for those who wait for its end.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Ends it now; in a job, with all that it has started. Does not wait.
    pub fn kill(&self) {
        // SAFETY: live handles, and a number.
        unsafe {
            if let Some(job) = &self.job {
                TerminateJobObject(job.raw(), KILLED);
            }
            TerminateProcess(self.running.raw(), KILLED);
        }
    }

    /// Gives it an end. The value of the handle that it has then.
    ///
    /// # Errors
    /// It has ended.
    pub fn give(&self, end: &End) -> io::Result<u64> {
        Ok(duplicate(end.as_handle(), self.running.raw(), None, false)? as u64)
    }

    /// Gives it memory, to be read. The value of the handle that it has then.
    ///
    /// # Errors
    /// It has ended.
    pub fn give_memory(&self, section: &Section) -> io::Result<u64> {
        Ok(duplicate(section.as_handle(), self.running.raw(), Some(FILE_MAP_READ), false)? as u64)
    }
}

/// A job that ends all that is in it with its last handle, and asks nobody what to do about a crash.
fn job() -> io::Result<Kept> {
    // SAFETY: no pointer that is not null.
    let job = made(unsafe { CreateJobObjectW(null(), null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags =
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION;
    let size = size_of_val(&limits) as u32;
    // SAFETY: a live handle, and a struct with its size.
    done(unsafe {
        let limits = (&raw const limits).cast();
        SetInformationJobObject(job.as_raw_handle(), JobObjectExtendedLimitInformation, limits, size)
    })?;
    Ok(Kept::new(job))
}

/// What nothing is read from, and everything may be written to. Programs inherit it.
fn nowhere() -> io::Result<OwnedHandle> {
    let inherited = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        bInheritHandle: 1,
        ..Default::default()
    };
    let (name, access, share) =
        (wide("NUL".as_ref()), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE);
    // SAFETY: a name that ends with 0, and a struct with its size.
    made(unsafe { CreateFileW(name.as_ptr(), access, share, &inherited, OPEN_EXISTING, 0, null_mut()) })
}

/// Where every program may be: the host's folder may be on a disk that is to be taken out, and have libraries in it.
fn system_folder() -> io::Result<Vec<u16>> {
    let mut folder = vec![0; 300];
    // SAFETY: a buffer with its length.
    let length = unsafe { GetSystemDirectoryW(folder.as_mut_ptr(), folder.len() as u32) } as usize;
    if length == 0 || length >= folder.len() {
        return Err(io::Error::last_os_error());
    }
    folder.truncate(length + 1);
    Ok(folder)
}

/// Beyond 260 characters the system takes this form alone.
fn long_form(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let text = path.as_os_str();
    if text.len() < SHORT || text.as_encoded_bytes().starts_with(br"\\?\") {
        return Ok(path);
    }
    let mut long = OsString::from(r"\\?\");
    if text.as_encoded_bytes().starts_with(br"\\") {
        long.push("UNC");
        long.push(tail(text));
    } else {
        long.push(text);
    }
    Ok(long.into())
}

/// Without the first character, which is a slash.
fn tail(text: &OsStr) -> OsString {
    use std::os::windows::ffi::{OsStrExt, OsStringExt};
    OsString::from_wide(&text.encode_wide().skip(1).collect::<Vec<_>>())
}

/// An environment as the system takes it: sorted, without regard to case.
fn block(environment: &[(OsString, OsString)]) -> Vec<u16> {
    use std::os::windows::ffi::OsStrExt;
    let mut sorted: Vec<_> = environment.iter().collect();
    sorted.sort_by_key(|(name, _)| name.to_ascii_uppercase());
    let mut block = Vec::new();
    for (name, value) in sorted {
        block.extend(name.encode_wide().chain([u16::from(b'=')]).chain(value.encode_wide()).chain([0]));
    }
    // An empty one ends with two as well.
    block.extend(if block.is_empty() { &[0, 0][..] } else { &[0][..] });
    block
}

/// The list of what a process inherits, and of its jobs.
struct Attributes {
    place: Vec<usize>,
}

impl Attributes {
    /// The slices must live until the list is no longer used.
    fn new(inherited: &[HANDLE], jobs: &[HANDLE]) -> io::Result<Attributes> {
        let mut size = 0;
        // SAFETY: asks for the size alone, and writes it.
        unsafe { InitializeProcThreadAttributeList(null_mut(), 2, 0, &mut size) };
        let mut attributes = Attributes { place: vec![0; size.div_ceil(size_of::<usize>())] };
        // SAFETY: so much room, aligned.
        if let Err(e) = done(unsafe { InitializeProcThreadAttributeList(attributes.list(), 2, 0, &mut size) }) {
            attributes.place.clear();
            return Err(e);
        }
        for (what, handles) in [(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, inherited), (PROC_THREAD_ATTRIBUTE_JOB_LIST, jobs)]
        {
            if !handles.is_empty() {
                let (list, size) = (attributes.list(), size_of_val(handles));
                // SAFETY: a list that is made; the handles live for as long as it is used.
                done(unsafe {
                    UpdateProcThreadAttribute(list, 0, what as usize, handles.as_ptr().cast(), size, null_mut(), null())
                })?;
            }
        }
        Ok(attributes)
    }

    fn list(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.place.as_mut_ptr().cast()
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        if !self.place.is_empty() {
            // SAFETY: a list that is made.
            unsafe { DeleteProcThreadAttributeList(self.list()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Says that it runs, and ends by itself long after the test.
    #[test]
    #[ignore = "run by the others"]
    fn sleeps() {
        let end = std::env::args().next_back().and_then(|value| value.parse().ok());
        End::adopt(end.unwrap()).unwrap().write(b"x", None).unwrap();
        std::thread::sleep(Duration::from_secs(100));
    }

    fn start(program: &Path, first: &str, ends: &[&End], jobless: bool) -> io::Result<Child> {
        let root = ("SystemRoot".into(), std::env::var_os("SystemRoot").unwrap());
        let environment = [("zwei".into(), "2".into()), root, ("Eins".into(), "1".into())];
        Start { program, first, environment: &environment, ends, jobless }.start()
    }

    fn sleeping(jobless: bool) -> Child {
        let (mut here, there) = End::pair().unwrap();
        let first = "--exact windows::process::tests::sleeps --ignored";
        let child = start(&std::env::current_exe().unwrap(), first, &[&there], jobless).unwrap();
        let due = std::time::Instant::now() + Duration::from_secs(60);
        assert_eq!(here.read(&mut [0; 1], Some(due)), Ok(1), "it runs");
        assert_eq!(child.running().exit_code(), None);
        child
    }

    #[test]
    fn a_program_ends_with_the_last_handle_of_its_job() {
        let child = sleeping(false);
        let running = child.running().clone();
        drop(child);
        assert!(running.ended_within(Duration::from_secs(60)));
        let without = sleeping(true);
        let running = without.running().clone();
        assert!(without.job.is_none() && !running.ended_within(Duration::from_millis(200)));
        without.kill();
        assert!(running.ended_within(Duration::from_secs(60)));
    }

    #[test]
    fn a_program_that_is_killed_has_ended() {
        for jobless in [false, true] {
            let child = sleeping(jobless);
            child.kill();
            assert!(child.running().ended_within(Duration::from_secs(60)));
            assert_eq!(child.running().exit_code(), Some(KILLED));
            child.kill();
            let (end, _other) = End::pair().unwrap();
            assert!(child.give(&end).is_err(), "it takes nothing any more");
        }
    }

    #[test]
    fn a_program_has_this_environment_and_no_other() {
        let shell = Path::new(&std::env::var_os("SystemRoot").unwrap()).join("system32").join("cmd.exe");
        let said = std::env::temp_dir().join(format!("coverslip-environment-{}", std::process::id()));
        let child = start(&shell, &format!("/c set>{}", said.display()), &[], false).unwrap();
        assert!(child.running().ended_within(Duration::from_secs(60)));
        let text = coverslip_files::read_text(&said).unwrap();
        std::fs::remove_file(&said).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"Eins") && names.contains(&"zwei"), "{text}");
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !names.contains(&"CARGO_MANIFEST_DIR"), "{text}");
    }

    #[test]
    fn an_environment_is_sorted_and_ends_with_two() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let text = |block: Vec<u16>| String::from_utf16(&block).unwrap();
        assert_eq!(text(block(&[pair("b", "1"), pair("A", "x=y")])), "A=x=y\0b=1\0\0");
        assert_eq!(text(block(&[])), "\0\0");
    }

    #[test]
    fn long_paths_have_the_long_form() {
        let long = "x".repeat(300);
        let form = |path: &str| long_form(Path::new(path)).unwrap().to_str().unwrap().to_owned();
        assert_eq!(form(r"C:\a\b.exe"), r"C:\a\b.exe");
        assert_eq!(form(&format!(r"C:\{long}\b.exe")), format!(r"\\?\C:\{long}\b.exe"));
        assert_eq!(form(&format!("C:/{long}/b.exe")), format!(r"\\?\C:\{long}\b.exe"));
        assert_eq!(form(&format!(r"\\server\share\{long}")), format!(r"\\?\UNC\server\share\{long}"));
        assert_eq!(form(&format!(r"\\?\C:\{long}")), format!(r"\\?\C:\{long}"));
    }
}
