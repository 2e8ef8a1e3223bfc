//! The transport over a pipe of Windows'. Another connection goes with a frame as the value that its handle has in the
//! process that gets it: the one that starts the other has made it there.

use coverslip_base::windows::pipe::{End, Fault};
use coverslip_base::windows::process::Child;
use coverslip_base::windows::running::Running;
use coverslip_base::windows::section::Section;

use crate::field::{Malformed, resize};
use crate::frame::{Announced, HEADER, Kind, header};
use crate::memory::Memory;
use crate::transport::{Broken, Due, Transport};

/// The argument of a program that is started with connections: the values of their handles follow.
pub const HANDLES: &str = "--handles";
/// Bytes of a handle's value.
const VALUE: usize = size_of::<u64>();

/// One end of a connection.
#[derive(Debug)]
pub struct Pipe {
    end: End,
}

/// What a frame carries beside its bytes: a connection, and the memory that goes with it.
pub type Passed = (Pipe, Option<Memory>);

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        match fault {
            Fault::Ended => Broken::Ended,
            Fault::Late => Broken::Late,
            Fault::System(code) => Broken::System(code),
        }
    }
}

fn system(error: std::io::Error) -> Broken {
    Fault::from(error).into()
}

impl Pipe {
    /// Two ends, neither of which a program inherits that this process starts.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn pair() -> Result<(Pipe, Pipe), Broken> {
        let (here, there) = End::pair().map_err(system)?;
        Ok((Pipe { end: here }, Pipe { end: there }))
    }

    /// Takes an end whose handle has this value, by the word of the process that has made it.
    ///
    /// # Errors
    /// It is no pipe's.
    pub fn adopt(value: u64) -> Result<Pipe, Broken> {
        Ok(Pipe { end: End::adopt(value).map_err(system)? })
    }

    /// Another handle of the same end, for another thread.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn try_clone(&self) -> Result<Pipe, Broken> {
        Ok(Pipe { end: self.end.try_clone().map_err(system)? })
    }

    /// The end, for a program that is started.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// From now on the end of this process is the connection's.
    pub fn watch(&mut self, other: Running) {
        self.end.watch(other);
    }

    /// Sends a frame, and another connection and its memory, which `to` gets, with it.
    ///
    /// # Errors
    /// As [`Transport::send`].
    pub fn send_link(&mut self, kind: Kind, (link, memory): &Passed, to: &Child, due: Due) -> Result<(), Broken> {
        let Ok(link) = to.give(&link.end) else { return Err(Broken::Ended) };
        // 0 is no handle: there is no memory, or none that it can have. Then tiles go over the connection.
        let memory = memory.as_ref().and_then(|memory| to.give_memory(&memory.0).ok()).unwrap_or(0);
        self.send(kind, &[&link.to_le_bytes(), &memory.to_le_bytes()], due)
    }

    /// As [`Transport::receive`], with the connection that came with the frame, if it is of the kind that has one.
    ///
    /// # Errors
    /// As [`Transport::receive`].
    pub fn receive_link(
        &mut self,
        payload: &mut Vec<u8>,
        most: usize,
        due: Due,
    ) -> Result<(Kind, Option<Passed>), Broken> {
        let kind = self.receive(payload, most, due)?;
        if kind != Kind::Lane {
            return Ok((kind, None));
        }
        let none = || Malformed("a connection is none");
        let values = payload.as_chunks::<VALUE>();
        let (&[link, memory], []) = values else { return Err(none().into()) };
        let link = Pipe::adopt(u64::from_le_bytes(link)).map_err(|_| none())?;
        let memory = match u64::from_le_bytes(memory) {
            0 => None,
            value => Some(Memory::of(Section::adopt(value).map_err(|_| Malformed("memory is none"))?)),
        };
        Ok((kind, Some((link, memory))))
    }

    /// A frame that is already there; None: there is none yet.
    ///
    /// # Errors
    /// As [`Transport::receive`].
    pub fn receive_ready(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Option<Kind>, Broken> {
        if self.end.is_ready()? { self.receive(payload, most, due).map(Some) } else { Ok(None) }
    }

    /// Waits for the end of the other side, which sends nothing here.
    pub fn await_end(&mut self) {
        while self.end.read(&mut [0; 16], None).is_ok() {}
    }

    /// Writes what may be no frame.
    ///
    /// # Errors
    /// As [`Transport::send`].
    pub fn send_raw(&mut self, mut bytes: &[u8], due: Due) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let sent = self.end.write(bytes, due)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8], due: Due) -> Result<(), Broken> {
        let mut have = 0;
        while have < bytes.len() {
            have += self.end.read(&mut bytes[have..], due)?;
        }
        Ok(())
    }
}

impl Transport for Pipe {
    fn send(&mut self, kind: Kind, parts: &[&[u8]], due: Due) -> Result<(), Broken> {
        self.send_raw(&header(kind, parts), due)?;
        parts.iter().try_for_each(|part| self.send_raw(part, due))
    }

    fn receive(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Kind, Broken> {
        let mut bytes = [0; HEADER];
        self.fill(&mut bytes, due)?;
        let announced = Announced::read(&bytes, most)?;
        resize(payload, announced.length).map_err(Broken::Memory)?;
        self.fill(payload, due)?;
        announced.check(payload)?;
        Ok(announced.kind)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use coverslip_base::windows::process::Start;

    use super::*;

    fn due(milliseconds: u64) -> Due {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    #[test]
    fn frames_larger_than_the_pipe_holds_arrive_in_order() {
        let (mut here, mut there) = Pipe::pair().unwrap();
        let pixels: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        let mut parts: Vec<&[u8]> = pixels.chunks(7_001).collect();
        parts.insert(3, &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                here.send(Kind::Run, &parts, due(10_000)).unwrap();
                here.send(Kind::Close, &[], due(10_000)).unwrap();
            });
            let mut payload = Vec::new();
            assert_eq!(there.receive(&mut payload, 3_000_000, due(10_000)).unwrap(), Kind::Run);
            assert!(payload == pixels);
            assert_eq!(there.receive(&mut payload, 0, due(10_000)).unwrap(), Kind::Close);
        });
    }

    #[test]
    fn nobody_waits_beyond_what_is_due() {
        let (mut here, mut there) = Pipe::pair().unwrap();
        let mut payload = Vec::new();
        assert!(matches!(here.receive(&mut payload, 9, due(5)), Err(Broken::Late)));
        assert!(matches!(here.receive_ready(&mut payload, 9, due(5)), Ok(None)));
        let large = vec![0; 4 << 20];
        assert!(matches!(here.send(Kind::Run, &[&large], due(5)), Err(Broken::Late)));
        assert!(matches!(there.receive(&mut payload, 9, due(5)), Err(Broken::Nonsense(_))), "more than it may be");
        drop(there);
        assert!(matches!(here.receive(&mut payload, 9, due(5)), Err(Broken::Ended)));
        assert!(matches!(here.send(Kind::Close, &[], due(5)), Err(Broken::Ended)));
    }

    #[test]
    fn a_lane_without_a_connection_is_nonsense() {
        let (mut here, mut there) = Pipe::pair().unwrap();
        let mut payload = Vec::new();
        for value in [&[][..], &[0; 8], &[0xff; 8], &[0; 16], &[0xff; 16], &[7; 17]] {
            here.send(Kind::Lane, &[value], due(100)).unwrap();
            assert!(matches!(there.receive_link(&mut payload, 99, due(100)), Err(Broken::Nonsense(_))), "{value:?}");
        }
    }

    /// As a host that starts another program in the moment in which the worker is started: that one has the worker's end.
    #[test]
    fn the_end_of_the_process_is_the_end_of_its_connection_whoever_has_a_handle_of_it() {
        let (mut here, there) = Pipe::pair().unwrap();
        let system = PathBuf::from(std::env::var_os("SystemRoot").unwrap()).join("system32");
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let start = |program: &Path| {
            let ends = [there.end()];
            Start { program, first: HANDLES, environment: &environment, ends: &ends, jobless: false }.start()
        };
        // Ends at once, whatever it makes of its arguments.
        let child = start(&system.join("hostname.exe")).unwrap();
        here.watch(child.running().clone());
        assert!(matches!(here.receive(&mut Vec::new(), 9, due(60_000)), Err(Broken::Ended)));
        assert!(child.running().exit_code().is_some());
        drop(there);
    }
}
