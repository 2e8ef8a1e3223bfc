//! The transport over a pair of connected sockets, which is a pair of pipes that can be told apart from files.
//!
//! A pipe would do, but for two things of the host's process. A write to a pipe whose reader has ended raises SIGPIPE,
//! whose default ends the host; a socket is written to without that. And where the host closes descriptors that are not
//! its own, the next file that it opens gets the number: a write to a file is refused here because it is no socket, and
//! every descriptor's identity is looked at before it is used or closed.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use coverslip_base::own::Own;
use coverslip_base::pidfd::Running;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketFlags, SocketType, recv, recvmsg, sendmsg, shutdown, socketpair,
};

use crate::field::{Malformed, resize};
use crate::frame::{Announced, HEADER, Kind, header};
use crate::memory::Memory;
use crate::transport::{Broken, Due, Transport};

/// One end of a connection.
pub struct Socket {
    own: Own,
    /// The process that has the other end.
    other: Option<Running>,
}

/// What a frame carries beside its bytes: a connection, and the memory that goes with it.
pub type Passed = (Socket, Option<Memory>);

fn system(errno: Errno) -> Broken {
    match errno {
        Errno::PIPE | Errno::CONNRESET => Broken::Ended,
        errno => Broken::System(errno.raw_os_error()),
    }
}

/// Of a descriptor.
fn refused(e: io::Error) -> Broken {
    Broken::System(e.raw_os_error().unwrap_or(0))
}

/// Pieces of a message that go to the kernel in one call.
const PIECES: usize = 64;

impl Socket {
    /// Takes a connected socket.
    ///
    /// # Errors
    /// It is no descriptor.
    pub fn new(descriptor: OwnedFd) -> Result<Socket, Broken> {
        Ok(Socket { own: Own::new(descriptor).map_err(refused)?, other: None })
    }

    /// Two ends, neither of which a program inherits that this process starts.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn pair() -> Result<(Socket, Socket), Broken> {
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let (here, there) = pair.map_err(system)?;
        Ok((Socket::new(here)?, Socket::new(there)?))
    }

    /// Another descriptor of the same end, for another thread.
    ///
    /// # Errors
    /// The system makes no more of them.
    pub fn try_clone(&self) -> Result<Socket, Broken> {
        let second = Socket::new(self.get()?.try_clone_to_owned().map_err(refused)?)?;
        Ok(Socket { other: self.other.clone(), ..second })
    }

    /// The descriptor, for a program that is started.
    ///
    /// # Errors
    /// It has been closed by somebody else.
    pub fn into_descriptor(self) -> Result<OwnedFd, Broken> {
        self.own.take().map_err(refused)
    }

    /// From now on the end of this process is the connection's, once what it has sent is read: a child that the host forks
    /// while a worker is given its end has a copy of it.
    pub fn watch(&mut self, other: Running) {
        self.other = Some(other);
    }

    /// Ends the connection, whoever has a copy of this end: a child that the host has forked may.
    pub fn hang_up(&mut self) {
        // An error: it is ended already, or nobody's.
        let _ = self.get().map(|own| shutdown(own, Shutdown::Both));
    }

    fn get(&self) -> Result<BorrowedFd<'_>, Broken> {
        self.own.get().map_err(refused)
    }

    /// Sends a frame without a payload, and the descriptors of another connection and of its memory with it.
    ///
    /// # Errors
    /// As [`Transport::send`].
    pub fn send_link(&mut self, kind: Kind, (link, memory): &Passed, due: Due) -> Result<(), Broken> {
        let bytes = header(kind, &[]);
        let link = link.get()?;
        let pair = [link, memory.as_ref().map_or(Ok(link), |memory| memory.0.get()).map_err(refused)?];
        let descriptors = if memory.is_some() { &pair[..] } else { &pair[..1] };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(descriptors));
        // The descriptors go with the first byte; a header is so short that it goes as a whole or not at all.
        let sent = self.when_ready(PollFlags::OUT, due, |own| {
            sendmsg(own, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
        })?;
        if sent == HEADER { Ok(()) } else { Err(Broken::Ended) }
    }

    /// As [`Transport::receive`], with the connection that came with the header, if one did.
    ///
    /// # Errors
    /// As [`Transport::receive`].
    pub fn receive_link(
        &mut self,
        payload: &mut Vec<u8>,
        most: usize,
        due: Due,
    ) -> Result<(Kind, Option<Passed>), Broken> {
        let (kind, [link, memory]) = self.receive_descriptors(payload, most, due)?;
        let Some(link) = link else { return Ok((kind, None)) };
        let memory = memory.map(|descriptor| Own::new(descriptor).map(Memory::of)).transpose().map_err(refused)?;
        Ok((kind, Some((Socket::new(link)?, memory))))
    }

    fn receive_descriptors(
        &mut self,
        payload: &mut Vec<u8>,
        most: usize,
        due: Due,
    ) -> Result<(Kind, [Option<OwnedFd>; 2]), Broken> {
        let (mut bytes, mut have, mut passed) = ([0; HEADER], 0, [None, None]);
        while have < HEADER {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let got = self.when_ready(PollFlags::IN, due, |own| {
                let mut place = [IoSliceMut::new(&mut bytes[have..])];
                recvmsg(own, &mut place, &mut control, RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC)
            })?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                    passed = [descriptors.next(), descriptors.next()];
                }
            }
            if got.bytes == 0 {
                return Err(Broken::Ended);
            }
            have += got.bytes;
        }
        let announced = Announced::read(&bytes, most)?;
        resize(payload, announced.length).map_err(Broken::Memory)?;
        self.fill(payload, due)?;
        announced.check(payload)?;
        Ok((announced.kind, passed))
    }

    /// A frame that is already there; None: there is none yet.
    ///
    /// # Errors
    /// As [`Transport::receive`].
    pub fn receive_ready(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Option<Kind>, Broken> {
        let mut first = [0; 1];
        match recv(self.get()?, &mut first, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
            Ok((_, 0)) => Err(Broken::Ended),
            Ok(_) => self.receive(payload, most, due).map(Some),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(system(errno)),
        }
    }

    /// Writes what may be no frame. For tests.
    ///
    /// # Errors
    /// As [`Transport::send`].
    #[cfg(debug_assertions)]
    pub fn send_raw(&mut self, bytes: &[u8], due: Due) -> Result<(), Broken> {
        self.when_ready(PollFlags::OUT, due, |own| {
            rustix::net::send(own, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
        })
        .map(drop)
    }

    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8], due: Due) -> Result<(), Broken> {
        let mut have = 0;
        while have < bytes.len() {
            let got = self.when_ready(PollFlags::IN, due, |own| {
                recv(own, &mut bytes[have..], RecvFlags::DONTWAIT).map(|(_, got)| got)
            })?;
            if got == 0 {
                return Err(Broken::Ended);
            }
            have += got;
        }
        Ok(())
    }

    /// Calls until the call does not want to wait, and sleeps between, until it is due or the other process has ended.
    fn when_ready<T>(
        &self,
        event: PollFlags,
        due: Due,
        mut call: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T, Broken> {
        let mut over = false;
        loop {
            let own = self.get()?;
            match call(own) {
                Ok(done) => return Ok(done),
                Err(Errno::INTR) => continue,
                // What it had sent before its end was there to be read.
                Err(Errno::AGAIN) if over => return Err(Broken::Ended),
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(system(errno)),
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Broken::Late);
            }
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let other = self.other.as_ref().and_then(Running::watched);
            let ends =
                PollFd::from_borrowed_fd(other.unwrap_or(own), if other.is_some() { PollFlags::IN } else { event });
            let mut events = [PollFd::from_borrowed_fd(own, event), ends];
            match poll(&mut events, timeout.as_ref()) {
                Ok(_) => over = other.is_some() && !events[1].revents().is_empty(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(system(errno)),
            }
        }
    }
}

impl Transport for Socket {
    fn send(&mut self, kind: Kind, parts: &[&[u8]], due: Due) -> Result<(), Broken> {
        let bytes = header(kind, parts);
        let all = || std::iter::once(&bytes[..]).chain(parts.iter().copied());
        // Where the next byte is: whole parts that are sent, and bytes of the next.
        let (mut whole, mut begun) = (0, 0);
        while whole <= parts.len() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (place, part) in pieces.iter_mut().zip(all().skip(whole)) {
                *place = IoSlice::new(if count == 0 { &part[begun..] } else { part });
                count += 1;
            }
            let mut sent = self.when_ready(PollFlags::OUT, due, |own| {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                sendmsg(own, &pieces[..count], &mut SendAncillaryBuffer::default(), flags)
            })?;
            for part in all().skip(whole) {
                if sent < part.len() - begun {
                    begun += sent;
                    break;
                }
                sent -= part.len() - begun;
                (whole, begun) = (whole + 1, 0);
            }
        }
        Ok(())
    }

    fn receive(&mut self, payload: &mut Vec<u8>, most: usize, due: Due) -> Result<Kind, Broken> {
        match self.receive_descriptors(payload, most, due)? {
            (kind, [None, None]) => Ok(kind),
            _ => Err(Malformed("a descriptor came where none belongs").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use coverslip_base::shared::Outgoing;

    use super::*;

    fn due(milliseconds: u64) -> Due {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    fn pair() -> (Socket, Socket) {
        Socket::pair().unwrap()
    }

    #[test]
    fn frames_larger_than_the_sockets_buffers_arrive_in_order() {
        let (mut here, mut there) = pair();
        let pixels: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        let parts: Vec<&[u8]> = pixels.chunks(7_001).collect();
        assert!(parts.len() > PIECES);
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
        let (mut here, mut there) = pair();
        let mut payload = Vec::new();
        assert!(matches!(here.receive(&mut payload, 9, due(5)), Err(Broken::Late)));
        assert!(matches!(here.receive_ready(&mut payload, 9, due(5)), Ok(None)));
        let large = vec![0; 4 << 20];
        assert!(matches!(here.send(Kind::Run, &[&large], due(5)), Err(Broken::Late)));
        assert!(matches!(there.receive(&mut payload, 9, due(5)), Err(Broken::Nonsense(_))), "more than it may be");
        drop(there);
        assert!(matches!(here.receive(&mut payload, 9, due(5)), Err(Broken::Ended)));
        assert!(matches!(here.send(Kind::Close, &[], due(5)), Err(Broken::Ended)), "and no signal");
    }

    /// As a host that forks in the moment in which the worker is given its end: the child has it too.
    #[test]
    fn the_end_of_the_process_is_the_end_of_its_connection_whoever_has_a_copy_of_it() {
        let (mut here, mut there) = pair();
        let mut child = std::process::Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        here.watch(Running::new(child.id()).unwrap());
        let mut payload = Vec::new();
        assert!(matches!(here.receive(&mut payload, 9, due(5)), Err(Broken::Late)), "it runs");
        there.send(Kind::Close, &[], due(100)).unwrap();
        child.kill().unwrap();
        assert_eq!(here.receive(&mut payload, 9, due(60_000)).unwrap(), Kind::Close, "what was sent before the end");
        assert!(matches!(here.receive(&mut payload, 9, due(60_000)), Err(Broken::Ended)));
        child.wait().unwrap();
        assert!(matches!(here.receive(&mut payload, 9, due(60_000)), Err(Broken::Ended)), "reaped or not");
        drop(there);
    }

    #[test]
    fn who_hangs_up_ends_the_connection_whoever_has_a_copy_of_the_end() {
        let (mut here, mut there) = pair();
        let copy = here.try_clone().unwrap();
        here.hang_up();
        drop(here);
        assert!(matches!(there.receive(&mut Vec::new(), 9, due(60_000)), Err(Broken::Ended)));
        drop(copy);
    }

    #[test]
    fn a_connection_comes_with_its_frame_and_its_memory() {
        let (mut here, mut there) = pair();
        let mut payload = Vec::new();
        for bytes in [None, Some(5000)] {
            let (outgoing, memory) = bytes.map(|bytes| Memory::new(bytes).unwrap()).unzip();
            let (mut kept, passed) = UnixStream::pair().unwrap();
            here.send_link(Kind::Lane, &(Socket::new(passed.into()).unwrap(), memory), due(100)).unwrap();
            let (kind, found) = there.receive_link(&mut payload, 9, due(100)).unwrap();
            let (link, memory) = found.unwrap();
            assert_eq!(kind, Kind::Lane);
            kept.write_all(b"x").unwrap();
            let mut byte = [0];
            UnixStream::from(link.into_descriptor().unwrap()).read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
            let written = outgoing.map(|mut outgoing: Outgoing| outgoing.write(&[b"tiles"]));
            let read = memory.map(|memory| memory.map(5000).unwrap().as_ref()[..5] == *b"tiles");
            assert_eq!((written, read), (bytes.map(|_| true), bytes.map(|_| true)));
            here.send_link(Kind::Lane, &(Socket::new(kept.into()).unwrap(), None), due(100)).unwrap();
            assert!(matches!(there.receive(&mut payload, 9, due(100)), Err(Broken::Nonsense(_))));
        }
    }
}
