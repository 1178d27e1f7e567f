//! Memory and signals between two processes, of which the other may mean harm. Needs no KVM.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossvm_core::{Dataport, Error, ErrorKind, EventId, EventSet, FrameSize, Notifier};
use crossvm_kvm::{EventNotifier, Memfd, MemfdDataport, MemfdError, NotifierError};
use crossvm_testkit::conformance::notifier::{self, Wires};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_getfl, fcntl_setfl, ftruncate, memfd_create};
use rustix::io::Errno;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

const BYTES: u64 = 1 << 20;

/// The variable that makes this program the other process.
const OTHER: &str = "CROSSVM_KVM_OTHER_PROCESS";

fn send(socket: &UnixStream, fd: &impl AsFd) {
    assert_eq!(socket.send_with_fd(&b"x"[..], fd.as_fd().as_raw_fd()).unwrap(), 1);
}

fn receive(socket: &UnixStream) -> OwnedFd {
    let mut byte = [0];
    let (count, file) = socket.recv_with_fd(&mut byte).unwrap();
    assert_eq!(count, 1);
    file.unwrap().into()
}

fn dataport(memfd: Memfd) -> MemfdDataport {
    MemfdDataport::new(Arc::new(memfd), FrameSize::KIB_4).unwrap()
}

/// Waits until the peer signals.
fn wait(notifier: &EventNotifier) -> u64 {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match notifier.take().unwrap() {
            0 if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            count => return count,
        }
    }
}

/// The other process, where the test below starts this program again; nothing otherwise.
#[test]
fn the_other_process() {
    if std::env::var_os(OTHER).is_none() {
        return;
    }
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let dataport = dataport(Memfd::from_fd(receive(&socket), BYTES).unwrap());
    let (to_us, to_peer) = (EventNotifier::from_fd(receive(&socket)).unwrap(), EventNotifier::from_fd(receive(&socket)).unwrap());
    let bytes = dataport.bytes().unwrap();
    loop {
        assert_ne!(wait(&to_us), 0, "the peer is gone");
        let value = bytes[0].load(Ordering::Acquire);
        bytes[bytes.len() - 1].store(value.wrapping_add(1), Ordering::Release);
        to_peer.notify().unwrap();
    }
}

#[test]
fn a_dataport_and_its_signals_reach_another_process_and_outlive_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_other_process", "--nocapture"])
        .env(OTHER, "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let dataport = dataport(Memfd::create("shared", BYTES).unwrap());
    let (to_other, to_us) = (EventNotifier::new().unwrap(), EventNotifier::new().unwrap());
    send(&ours, dataport.memfd().as_ref());
    send(&ours, &to_other);
    send(&ours, &to_us);
    let bytes = dataport.bytes().unwrap();
    for value in 1..100 {
        bytes[0].store(value, Ordering::Release);
        to_other.notify().unwrap();
        assert_ne!(wait(&to_us), 0, "round {value}");
        assert_eq!(bytes[bytes.len() - 1].load(Ordering::Acquire), value + 1);
    }
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(bytes[bytes.len() - 1].load(Ordering::Acquire), 100, "the memory outlives the peer");
    to_other.notify().unwrap();
}

#[test]
fn the_size_is_sealed_for_good() {
    let memfd = Memfd::create("sealed", BYTES).unwrap();
    assert_eq!(memfd.bytes(), BYTES);
    for size in [0, BYTES - 4096, BYTES + 4096] {
        assert_eq!(ftruncate(&memfd, size), Err(Errno::PERM), "{size}");
    }
    // Nor can a peer take the right to write from us.
    assert_eq!(fcntl_add_seals(&memfd, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
}

fn file(seals: SealFlags, bytes: u64) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, bytes).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn what_could_be_cut_short_is_refused() {
    const GOOD: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);
    assert!(Memfd::from_fd(file(GOOD, BYTES), BYTES).is_ok());
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::SHRINK | SealFlags::GROW, SealFlags::GROW | SealFlags::SEAL] {
        let error = Memfd::from_fd(file(seals, BYTES), BYTES).unwrap_err();
        assert_eq!((error, error.kind()), (MemfdError::Seals { found: seals.bits() }, ErrorKind::Denied));
    }
    for seals in [SealFlags::WRITE, SealFlags::FUTURE_WRITE] {
        let error = Memfd::from_fd(file(GOOD | seals, BYTES), BYTES).unwrap_err();
        assert_eq!(error, MemfdError::Seals { found: (GOOD | seals).bits() });
    }
    for found in [0, 4096, BYTES - 1, BYTES + 4096] {
        let error = Memfd::from_fd(file(GOOD, found), BYTES).unwrap_err();
        assert_eq!((error, error.kind()), (MemfdError::Size { expected: BYTES, found }, ErrorKind::OutOfRange));
    }
    // Sealing is not allowed for this one, which says `F_SEAL_SEAL`.
    let unsealable = memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&unsealable, BYTES).unwrap();
    assert!(matches!(Memfd::from_fd(unsealable, BYTES), Err(MemfdError::Seals { .. })));
    let (socket, _) = UnixStream::pair().unwrap();
    let others: [OwnedFd; 3] = [socket.into(), File::open("/proc/self/exe").unwrap().into(), File::open("/dev/zero").unwrap().into()];
    for other in others {
        // A program in a RAM disk is a file that cannot be sealed.
        let refused = Memfd::from_fd(other, BYTES).map(drop);
        assert!(matches!(refused, Err(MemfdError::NoMemfd | MemfdError::Seals { .. })), "{refused:?}");
    }
}

#[test]
fn huge_pages_which_can_run_out_under_a_mapping_are_refused() {
    let huge = match memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB) {
        Ok(huge) => huge,
        Err(errno) => {
            let _ = std::io::stderr()
                .write_all(format!("SKIPPED: a memfd of huge pages is refused: this kernel makes none: {errno}\n").as_bytes());
            return;
        }
    };
    ftruncate(&huge, 2 << 20).unwrap();
    fcntl_add_seals(&huge, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
    assert_eq!(Memfd::from_fd(huge, 2 << 20).map(drop), Err(MemfdError::NoMemfd));
}

#[test]
fn sizes_that_are_none_are_refused() {
    for bytes in [0, u64::MAX, 1 << 63] {
        assert_eq!(Memfd::create("none", bytes).map(drop), Err(MemfdError::Size { expected: bytes, found: 0 }));
    }
    let odd = Arc::new(Memfd::create("odd", 4097).unwrap());
    assert_eq!(MemfdDataport::new(odd, FrameSize::KIB_4).unwrap_err().kind(), ErrorKind::Misaligned);
}

#[test]
fn frames_lie_one_behind_the_other_in_the_file() {
    let memfd = Arc::new(Memfd::create("frames", 64 << 10).unwrap());
    for (size, count) in [(FrameSize::KIB_4, 16), (FrameSize::KIB_16, 4), (FrameSize::KIB_64, 1)] {
        let dataport = MemfdDataport::new(Arc::clone(&memfd), size).unwrap();
        assert_eq!((dataport.frame_size(), dataport.frames().len()), (size, count));
        for (index, frame) in (0..).zip(dataport.frames()) {
            assert_eq!((frame.offset(), frame.size()), (index * size.bytes(), size));
        }
    }
}

/// Eventfds, each with an event of its own.
struct Eventfds(Vec<(EventId, EventNotifier)>);

impl Eventfds {
    fn new() -> Self {
        Self([0, 1, 13, 63].map(|bit| (EventId::new(bit).unwrap(), EventNotifier::new().unwrap())).into())
    }
}

impl Wires for Eventfds {
    type Notifier = EventNotifier;

    fn notifiers(&self) -> &[(EventId, EventNotifier)] {
        &self.0
    }

    fn receive(&self) -> EventSet {
        self.0.iter().filter(|(_, notifier)| notifier.take().unwrap() > 0).map(|(event, _)| *event).collect()
    }
}

#[test]
fn eventfds_keep_the_contract_of_notifiers() {
    notifier::all(Eventfds::new);
    notifier::between_threads(Eventfds::new);
}

#[test]
fn signals_add_up_and_a_full_counter_is_one_that_waits() {
    let notifier = EventNotifier::new().unwrap();
    assert_eq!(notifier.take().unwrap(), 0);
    (0..7).for_each(|_| notifier.notify().unwrap());
    assert_eq!([notifier.take().unwrap(), notifier.take().unwrap()], [7, 0]);
    notifier.event().write(u64::MAX - 1).unwrap();
    notifier.notify().unwrap();
    assert_eq!(notifier.take().unwrap(), u64::MAX - 1);
}

#[test]
fn taking_does_not_block_whatever_the_peer_does_to_the_descriptor() {
    let notifier = EventNotifier::new().unwrap();
    let flags = fcntl_getfl(&notifier).unwrap();
    fcntl_setfl(&notifier, flags.difference(OFlags::NONBLOCK)).unwrap();
    assert_eq!(notifier.take().unwrap(), 0);
    // And a descriptor that is taken in does not block.
    let taken = EventNotifier::from_fd(notifier.as_fd().try_clone_to_owned().unwrap()).unwrap();
    assert!(fcntl_getfl(&taken).unwrap().contains(OFlags::NONBLOCK));
}

#[test]
fn what_is_no_eventfd_is_refused() {
    let (mut socket, peer) = UnixStream::pair().unwrap();
    let error = EventNotifier::from_fd(peer.into()).unwrap_err();
    assert_eq!((error, error.kind()), (NotifierError::NoEventFd, ErrorKind::Denied));
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "it was closed");
    assert!(matches!(EventNotifier::from_fd(File::open("/dev/zero").unwrap().into()), Err(NotifierError::NoEventFd)));
}
