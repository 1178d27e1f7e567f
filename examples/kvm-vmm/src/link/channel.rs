//! Packets with descriptors between two processes, over a UNIX socket: none is waited for without an end.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with,
};

use super::message::LONGEST;
use super::wires::BESIDE;

/// Most descriptors of one packet: those of one connection.
pub(crate) const DESCRIPTORS: usize = crossvm_manifest::MAX_DATAPORTS + BESIDE;
/// How many that connect can wait.
const BACKLOG: i32 = 8;

/// Why a packet did not come or go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelError {
    /// The other side has gone.
    Closed,
    /// It took too long.
    Timeout,
    /// This side was told to stop.
    Stopped,
    /// A packet was longer than any message.
    TooLong,
    /// It had more descriptors than any message has.
    TooManyDescriptors,
    /// A call failed.
    Call(&'static str, Errno),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it went away in the middle of the handshake"),
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::Stopped => f.write_str("this process leaves"),
            Self::TooLong => write!(f, "what it sent is longer than {LONGEST} bytes"),
            Self::TooManyDescriptors => write!(f, "it sent more than {DESCRIPTORS} descriptors at once"),
            Self::Call(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl std::error::Error for ChannelError {}

/// For how long to wait: until a moment, or until `stop` can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until<'a> {
    /// The moment; `None`: for ever.
    pub(crate) deadline: Option<Instant>,
    /// An eventfd that is written to when it is time to stop.
    pub(crate) stop: BorrowedFd<'a>,
}

impl<'a> Until<'a> {
    /// At most `time` from now.
    pub(crate) fn within(time: Duration, stop: BorrowedFd<'a>) -> Self {
        Self { deadline: Instant::now().checked_add(time), stop }
    }

    /// The same, but at most `time` from now.
    pub(crate) fn at_most(self, time: Duration) -> Self {
        let other = Self::within(time, self.stop).deadline;
        Self { deadline: self.deadline.map_or(other, |deadline| other.map(|other| deadline.min(other))), ..self }
    }

    /// Waits until one of `descriptors` is ready for its events, or has hung up; says which are.
    ///
    /// # Errors
    /// [`ChannelError::Timeout`], [`ChannelError::Stopped`], [`ChannelError::Call`].
    pub(crate) fn wait<const N: usize>(&self, descriptors: [(BorrowedFd<'_>, PollFlags); N]) -> Result<[bool; N], ChannelError> {
        loop {
            let left = match self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(ChannelError::Timeout),
                left => left.and_then(|left| Timespec::try_from(left).ok()),
            };
            let mut entries: Vec<PollFd<'_>> = descriptors.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
            entries.push(PollFd::from_borrowed_fd(self.stop, PollFlags::IN));
            match poll(&mut entries, left.as_ref()) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(ChannelError::Call("poll", errno)),
            }
            if entries.last().is_some_and(|stop| !stop.revents().is_empty()) {
                return Err(ChannelError::Stopped);
            }
            let mut ready = [false; N];
            ready.iter_mut().zip(&entries).for_each(|(ready, entry)| *ready = !entry.revents().is_empty());
            if ready.contains(&true) {
                return Ok(ready);
            }
        }
    }
}

/// One side of a socket that carries packets.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// To whoever listens at `path`. `None`: nobody does.
    ///
    /// # Errors
    /// [`ChannelError::Call`].
    pub(crate) fn connect(path: &Path) -> Result<Option<Self>, ChannelError> {
        let socket = new_socket()?;
        let address = SocketAddrUnix::new(path).map_err(|errno| ChannelError::Call("connect", errno))?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => return Ok(Some(Self(socket))),
                Err(Errno::INTR) => {}
                // The last one: too many wait to be accepted.
                Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(ChannelError::Call("connect", errno)),
            }
        }
    }

    /// Sends `packet` with `descriptors`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub(crate) fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>], until: Until<'_>) -> Result<(), ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if descriptors.len() > DESCRIPTORS || (!descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors))) {
            return Err(ChannelError::TooManyDescriptors);
        }
        loop {
            match sendmsg(&self.0, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => drop(until.wait([(self.0.as_fd(), PollFlags::OUT)])?),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(ChannelError::Call("sendmsg", errno)),
            }
        }
    }

    /// The next packet and its descriptors.
    ///
    /// # Errors
    /// [`ChannelError`]. The descriptors of a packet that is refused are closed.
    pub(crate) fn receive(&self, until: Until<'_>) -> Result<(Vec<u8>, Vec<OwnedFd>), ChannelError> {
        let mut packet = vec![0; LONGEST];
        loop {
            until.wait([(self.0.as_fd(), PollFlags::IN)])?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut packet)], &mut control, flags) {
                Ok(received) => received,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(ChannelError::Call("recvmsg", errno)),
            };
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(sent) = message {
                    descriptors.extend(sent);
                }
            }
            // The space has room for one more than it says, on some machines.
            if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > DESCRIPTORS {
                return Err(ChannelError::TooManyDescriptors);
            }
            if received.flags.contains(ReturnFlags::TRUNC) {
                return Err(ChannelError::TooLong);
            }
            if received.bytes == 0 {
                return Err(ChannelError::Closed);
            }
            packet.truncate(received.bytes);
            return Ok((packet, descriptors));
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A socket that others connect to. Its file is removed with it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. What is there already is removed: whoever calls holds a lock which says that nobody else listens there.
    ///
    /// # Errors
    /// [`ChannelError::Call`].
    pub(crate) fn new(path: &Path) -> Result<Self, ChannelError> {
        let socket = new_socket()?;
        let failed = |errno| ChannelError::Call("bind", errno);
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(ChannelError::Call("unlink", errno)),
        }
        bind(&socket, &address).map_err(failed)?;
        listen(&socket, BACKLOG).map_err(|errno| ChannelError::Call("listen", errno))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next that connects.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub(crate) fn accept(&self, until: Until<'_>) -> Result<Channel, ChannelError> {
        loop {
            until.wait([(self.socket.as_fd(), PollFlags::IN)])?;
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => return Ok(Channel(socket)),
                Err(Errno::INTR | Errno::AGAIN | Errno::CONNABORTED) => {}
                Err(errno) => return Err(ChannelError::Call("accept", errno)),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Under the same lock as it was bound: it is still ours. That it is gone already hurts nobody.
        let _ = rustix::fs::unlink(&self.path);
    }
}

fn new_socket() -> Result<OwnedFd, ChannelError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(|errno| ChannelError::Call("socket", errno))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    pub(crate) fn event() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
    }

    /// Two ends of one channel.
    pub(crate) fn pair() -> (Channel, Channel) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::new(&path).unwrap();
        let one = Channel::connect(&path).unwrap().unwrap();
        let stop = event();
        (one, listener.accept(Until::within(Duration::from_secs(60), stop.as_fd())).unwrap())
    }

    #[test]
    fn packets_arrive_with_their_descriptors() {
        let ((one, other), stop) = (pair(), event());
        let until = Until::within(Duration::from_secs(60), stop.as_fd());
        let sent = [event(), event()];
        one.send(b"first", &[sent[0].as_fd(), sent[1].as_fd()], until).unwrap();
        one.send(b"second", &[], until).unwrap();
        let (packet, descriptors) = other.receive(until).unwrap();
        assert_eq!((&packet[..], descriptors.len()), (&b"first"[..], 2));
        rustix::io::write(&descriptors[1], &5u64.to_ne_bytes()).unwrap();
        let mut count = [0; 8];
        rustix::io::read(&sent[1], &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 5);
        for descriptor in &descriptors {
            assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        let (packet, descriptors) = other.receive(until).unwrap();
        assert_eq!((&packet[..], descriptors.len()), (&b"second"[..], 0));
        drop(one);
        assert_eq!(other.receive(until).unwrap_err(), ChannelError::Closed);
        assert_eq!(other.send(b"x", &[], until), Err(ChannelError::Closed));
    }

    #[test]
    fn nothing_is_waited_for_without_an_end() {
        let ((one, other), stop) = (pair(), event());
        let soon = || Until::within(Duration::from_millis(30), stop.as_fd());
        assert_eq!(other.receive(soon()).unwrap_err(), ChannelError::Timeout);
        let full = (0..100_000).find_map(|_| one.send(&[0; LONGEST], &[], soon()).err());
        assert_eq!(full, Some(ChannelError::Timeout), "a receiver that does not read");
        rustix::io::write(&stop, &1u64.to_ne_bytes()).unwrap();
        assert_eq!(one.receive(Until { deadline: None, stop: stop.as_fd() }).unwrap_err(), ChannelError::Stopped);
    }

    #[test]
    fn packets_beyond_the_bounds_are_refused() {
        let ((one, other), stop) = (pair(), event());
        let until = Until::within(Duration::from_secs(60), stop.as_fd());
        one.send(&[0; LONGEST], &[], until).unwrap();
        assert_eq!(other.receive(until).unwrap().0.len(), LONGEST);
        one.send(&[0; LONGEST + 1], &[], until).unwrap();
        assert_eq!(other.receive(until).unwrap_err(), ChannelError::TooLong);
        let sent = event();
        assert_eq!(one.send(b"x", &[sent.as_fd(); DESCRIPTORS + 1], until), Err(ChannelError::TooManyDescriptors));
        // A peer without that bound.
        for count in [DESCRIPTORS + 1, DESCRIPTORS + 2, 253] {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let many = vec![sent.as_fd(); count];
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(&one.0, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
            assert_eq!(other.receive(until).unwrap_err(), ChannelError::TooManyDescriptors);
        }
    }

    #[test]
    fn a_socket_that_a_dead_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Channel::connect(&path).unwrap().is_none());
        let left = new_socket().unwrap();
        bind(&left, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(left);
        assert!(Channel::connect(&path).unwrap().is_none());
        let listener = Listener::new(&path).unwrap();
        assert!(Channel::connect(&path).unwrap().is_some());
        drop(listener);
        assert!(!path.exists());
        assert!(matches!(Listener::new(Path::new(&"x".repeat(200))), Err(ChannelError::Call("bind", Errno::NAMETOOLONG))));
    }
}
