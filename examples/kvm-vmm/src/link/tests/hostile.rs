//! Processes that mean harm, or are of another time.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crossvm_manifest::Topology;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::process::{PATIENCE, Task};
use crate::link::channel::tests::{event, pair};
use crate::link::channel::{Channel, ChannelError, Until};
use crate::link::handshake::{HandshakeError, Plan, Role};
use crate::link::join::{Link, LinkError, Patience};
use crate::link::message::{Generation, Hello, LONGEST, MAGIC, Message, MessageError, VERSION};
use crate::link::share::tests::{names, topology};
use crate::link::share::{Share, digest};
use crate::link::wires::tests::unsealed;
use crate::link::wires::{WireError, Wires};

fn plan(role: Role) -> Plan {
    let task = Task::new(Path::new(""), 2, &[]);
    let topology = Arc::new(topology(2, &task.connections()));
    let digest = digest(&topology);
    let [own, other] = if role == Role::Listener { ["vm0", "vm1"] } else { ["vm1", "vm0"] }.map(str::to_owned);
    Plan { topology, digest, own, other, role, connections: vec![0, 1] }
}

/// The hello that fits to `plan`, from the other side.
fn answer(plan: &Plan) -> Hello {
    let holds = None;
    Hello { magic: MAGIC.into(), version: VERSION, manifest: plan.digest.clone(), from: plan.other.clone(), to: plan.own.clone(), holds }
}

/// What a handshake says to a peer that does `harm`, and how long it took; and how many descriptors it left open.
fn meet(plan: &Plan, harm: impl FnOnce(&Channel) + Send) -> HandshakeError {
    let ((own, other), stop) = (pair(), event());
    let held = OnceLock::new();
    let start = Instant::now();
    let error = std::thread::scope(|scope| {
        // It keeps its end open until this side has given up.
        let harm = scope.spawn(move || {
            harm(&other);
            other
        });
        let result = plan.shake(&own, &held, Until::within(Duration::from_millis(700), stop.as_fd()));
        drop(harm.join().unwrap());
        result.unwrap_err()
    });
    assert!(held.get().is_none() || plan.role == Role::Listener, "nothing is kept of it: {error}");
    assert!(start.elapsed() < PATIENCE);
    error
}

fn say(channel: &Channel, packet: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let stop = event();
    channel.send(packet, descriptors, Until::within(PATIENCE, stop.as_fd())).unwrap();
}

const BOTH: [Role; 2] = [Role::Listener, Role::Connector];

#[test]
fn one_that_says_nothing_is_not_waited_for() {
    for role in BOTH {
        assert_eq!(meet(&plan(role), |_| ()), HandshakeError::Channel(ChannelError::Timeout));
        let plan = plan(role);
        let hello = Hello { holds: Some(Generation::new([1; 16])), ..answer(&plan) };
        assert_eq!(meet(&plan, |peer| say(peer, &hello.encode(), &[])), HandshakeError::Channel(ChannelError::Timeout), "and then nothing");
    }
}

#[test]
fn garbage_is_told_from_another_version_and_another_manifest() {
    for role in BOTH {
        let plan = plan(role);
        let say_hello = |change: &dyn Fn(&mut Hello)| {
            let mut hello = answer(&plan);
            change(&mut hello);
            let packet = hello.encode();
            meet(&plan, move |peer| say(peer, &packet, &[]))
        };
        assert_eq!(say_hello(&|hello| hello.version = 7), HandshakeError::Message(MessageError::Version(7)));
        assert_eq!(say_hello(&|hello| hello.manifest.push('0')), HandshakeError::Manifest);
        assert!(matches!(say_hello(&|hello| hello.from = "vm\u{7}".into()), HandshakeError::Names { from, .. } if from == "vm?"));
        assert!(matches!(say_hello(&|hello| hello.to = "x".repeat(3000)), HandshakeError::Names { .. }));
        assert!(matches!(say_hello(&|hello| hello.magic = "SSH".into()), HandshakeError::Message(MessageError::Foreign(_))));
        for packet in [&b"\0"[..], &[0xff; LONGEST], b"{\"refuse\":{}}", &b"{\"a\":".repeat(800)] {
            let packet = packet.to_vec();
            assert!(matches!(meet(&plan, move |peer| say(peer, &packet, &[])), HandshakeError::Message(MessageError::Foreign(_))));
        }
        assert_eq!(meet(&plan, |peer| say(peer, &[b' '; LONGEST + 1], &[])), HandshakeError::Channel(ChannelError::TooLong));
        let refusal = Message::Refuse { reason: "\u{1b}[31mno".into() }.encode();
        assert_eq!(meet(&plan, move |peer| say(peer, &refusal, &[])), HandshakeError::Message(MessageError::Refused("?[31mno".into())));
    }
}

#[test]
fn a_refusal_says_why() {
    for (version, expected) in [(VERSION + 1, "speaks version 2"), (VERSION, "different manifests")] {
        let plan = plan(Role::Listener);
        let hello = Hello { version, manifest: String::new(), ..answer(&plan) }.encode();
        let told = Mutex::new(None);
        meet(&plan, |peer| {
            let stop = event();
            say(peer, &hello, &[]);
            let until = Until::within(PATIENCE, stop.as_fd());
            Hello::decode(&peer.receive(until).unwrap().0).unwrap();
            *told.lock().unwrap() = Some(Message::decode(&peer.receive(until).unwrap().0).unwrap_err());
        });
        let told = told.into_inner().unwrap().unwrap();
        assert!(matches!(&told, MessageError::Refused(reason) if reason.contains(expected)), "{told}");
    }
}

#[test]
fn memory_that_could_shrink_and_what_is_no_event_is_refused() {
    let plan = plan(Role::Connector);
    let made = Wires::create(&plan.topology, &plan.connections).unwrap();
    let first = made.iter().next().unwrap();
    let hello = Hello { holds: Some(made.generation().clone()), ..answer(&plan) }.encode();
    let give = |index: usize, name: &str, descriptors: Vec<OwnedFd>| {
        let message = Message::Connection { index, name: name.into() }.encode();
        let hello = hello.clone();
        meet(&plan, move |peer| {
            say(peer, &hello, &[]);
            say(peer, &message, &descriptors.iter().map(AsFd::as_fd).collect::<Vec<_>>());
        })
    };
    let right = || first.descriptors().into_iter().map(|descriptor| descriptor.try_clone_to_owned().unwrap()).collect::<Vec<_>>();
    let with = |place: usize, descriptor: OwnedFd| {
        let mut descriptors = right();
        descriptors[place] = descriptor;
        give(0, "c0", descriptors)
    };
    let dataport = |error: &HandshakeError, number: usize| matches!(error, HandshakeError::Wire(WireError::Dataport { dataport, .. }) if *dataport == number);
    for (place, descriptor) in [(0, unsealed(64 << 10)), (1, unsealed(4 << 10)), (1, right().remove(0)), (0, event())] {
        let error = with(place, descriptor);
        assert!(dataport(&error, place), "{error}");
    }
    assert!(matches!(with(2, unsealed(4096)), HandshakeError::Wire(WireError::Counts { .. })));
    assert!(matches!(with(3, unsealed(8)), HandshakeError::Wire(WireError::Event { .. })));
    assert!(matches!(give(0, "c0", Vec::new()), HandshakeError::Wire(WireError::Count { found: 0, .. })));
    assert!(matches!(
        give(0, "c0", right().into_iter().chain([event()]).collect()),
        HandshakeError::Wire(WireError::Count { found: 6, .. })
    ));
    for (index, name) in [(1, "c0"), (0, "c1"), (1, "c1"), (usize::MAX, "c0")] {
        assert_eq!(give(index, name, right()), HandshakeError::Order);
    }
    assert_eq!(give(0, "c0", right()), HandshakeError::Channel(ChannelError::Timeout), "right, but not all");
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    let plan = plan(Role::Connector);
    let open = || {
        let targets = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("marked-by-test")).count()
    };
    let marked = rustix::fs::memfd_create("marked-by-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let hello = answer(&plan).encode();
    for count in [1, 6, 7, 200] {
        let (hello, marked) = (&hello, &marked);
        meet(&plan, move |peer| {
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let many = vec![marked.as_fd(); count];
            assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
            sendmsg(peer, &[IoSlice::new(hello)], &mut control, SendFlags::empty()).unwrap();
        });
        assert_eq!(open(), 1, "our own, of {count}");
    }
}

#[test]
fn one_that_holds_other_memory_stays_apart() {
    let ((one, other), stop) = (pair(), event());
    let until = Until::within(PATIENCE, stop.as_fd());
    let plans = BOTH.map(plan);
    let held = [(); 2].map(|()| OnceLock::from(Arc::new(Wires::create(&plans[0].topology, &[0, 1]).unwrap())));
    let results = std::thread::scope(|scope| {
        let listener = scope.spawn(|| plans[0].shake(&one, &held[0], until));
        [plans[1].shake(&other, &held[1], until), listener.join().unwrap()]
    });
    assert_eq!(results, [Err(HandshakeError::Generations), Err(HandshakeError::Generations)]);
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    (folder, socket)
}

/// Joins as `name`; says what it was told.
fn join(topology: &Topology, socket: &Path, name: &str, patience: Patience) -> (Result<Link, LinkError>, Vec<String>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let share = Share::new(topology, &names(&[name])).unwrap();
    let tell = told.clone();
    let notice =
        Arc::new(move |own: &str, other: &str, what: &dyn std::fmt::Display| tell.lock().unwrap().push(format!("{own} {other} {what}")));
    let result = Link::join(topology, &share, socket, patience, notice);
    let told = told.lock().unwrap().clone();
    (result, told)
}

#[test]
fn one_that_lives_and_does_not_answer_is_named_in_the_end() {
    let topology = topology(2, &Task::new(Path::new(""), 2, &[]).connections());
    let (_folder, socket) = socket();
    let _lock = crate::link::lock::VmLock::take(&socket, "vm1").unwrap();
    let patience = Patience { start: Duration::ZERO, handshake: Duration::from_millis(100), answer: Duration::from_millis(300) };
    let (result, _) = join(&topology, &socket, "vm0", patience);
    let error = result.unwrap_err().to_string();
    assert_eq!(error, format!("the process of `vm1` ({}) lives, but: it did not answer in time", std::process::id()));
}

#[test]
fn strangers_keep_a_listener_from_nothing() {
    let topology = topology(2, &Task::new(Path::new(""), 2, &[]).connections());
    let (_folder, socket) = socket();
    let patience = Patience { start: PATIENCE, ..Patience::default() };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| join(&topology, &socket, "vm0", patience));
        let path = socket.with_extension("sock.0-1");
        let start = Instant::now();
        let stranger = loop {
            assert!(start.elapsed() < PATIENCE);
            match Channel::connect(&path).unwrap() {
                Some(channel) => break channel,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        // One is silent, one speaks of something else.
        let other = Channel::connect(&path).unwrap().unwrap();
        say(&other, b"GET / HTTP/1.1", &[]);
        let (second, _) = join(&topology, &socket, "vm1", Patience { start: PATIENCE, handshake: PATIENCE, answer: PATIENCE });
        let (second, (first, told)) = (second.unwrap(), first.join().unwrap());
        let first = first.unwrap();
        assert!(told.iter().any(|line| line.contains("it did not answer in time")), "{told:?}");
        assert!(told.iter().any(|line| line.contains("no message of this protocol")), "{told:?}");
        drop(stranger);
        // A third one, while both are there, is told so.
        let stop = event();
        let late = Channel::connect(&path).unwrap().unwrap();
        let (packet, _) = late.receive(Until::within(PATIENCE, stop.as_fd())).unwrap();
        assert_eq!(Hello::decode(&packet), Err(MessageError::Refused("`vm1` is connected with `vm0` already".into())));
        assert_eq!((first.ends(0).count(), second.ends(1).count(), first.ends(1).count()), (2, 2, 0));
    });
}
