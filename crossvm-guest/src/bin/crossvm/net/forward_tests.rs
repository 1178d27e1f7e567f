use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use crossvm_guest::channel::{Config, Protocol, Side, Statistics, Violation, spec};
use crossvm_guest::{DataportIndex, Endpoint};
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::session::NET;

#[path = "../../../../tests/common/mod.rs"]
mod common;

use common::{Tree, wire::Wire};

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A VM with a forwarder in a thread. A socket stands for its network device: what is sent to it the device has, and what it gets is what
/// the device was given.
struct Host {
    network: UnixDatagram,
    news: Receiver<News>,
    stop: OwnedFd,
    thread: JoinHandle<(Result<(), Ended>, Counts, Statistics)>,
}

impl Host {
    fn start(guest: &Tree, side: Side, settings: Settings) -> Self {
        let (network, device) = UnixDatagram::pair().unwrap();
        device.set_nonblocking(true).unwrap();
        network.set_read_timeout(Some(PATIENCE)).unwrap();
        network.set_write_timeout(Some(PATIENCE)).unwrap();
        let stop = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (system, stopped, (sender, news)) = (guest.system(), stop.try_clone().unwrap(), channel());
        let thread = thread::spawn(move || {
            let endpoint = system.endpoint("net").unwrap();
            let mut forwarder = Forwarder::new(device, open(&endpoint, side, NET), settings);
            let ended = forwarder.run(&stopped, |news| sender.send(news).unwrap());
            (ended, forwarder.counts(), forwarder.channel().channel().statistics())
        });
        Self { network, news, stop, thread }
    }

    fn hears(&self, news: News) {
        assert_eq!(self.news.recv_timeout(PATIENCE), Ok(news));
    }

    fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0; 2000];
        let length = self.network.recv(&mut packet).unwrap();
        packet.truncate(length);
        packet
    }

    /// Stops it, and asks what it has counted.
    fn stop(self) -> (Counts, Statistics) {
        rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).unwrap();
        let (ended, counts, statistics) = self.thread.join().unwrap();
        ended.unwrap();
        (counts, statistics)
    }
}

fn open(endpoint: &Endpoint, side: Side, protocol: Protocol) -> GuestChannel<'_> {
    let channel = GuestChannel::open(endpoint, DataportIndex::FIRST, Config::new(side).protocol(protocol)).unwrap();
    channel.timeout(Some(PATIENCE))
}

/// A packet that cannot be taken for another.
fn packet(number: u32, length: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(length.max(4)).collect()
}

#[test]
fn packets_go_both_ways_whole_and_in_order_even_where_the_ring_is_smaller_than_a_burst() {
    // Room for two of the longest packets in each direction.
    let wire = Wire::new("net", 4096);
    let hosts = [Side::A, Side::B].map(|side| Host::start(&wire.guests[usize::from(side == Side::B)], side, Settings::default()));
    hosts.iter().for_each(|host| host.hears(News::Connected));
    let length = |number: u32| (number as usize * 37) % 700;
    let ways: Vec<_> = [(0, 1), (1, 0)]
        .into_iter()
        .map(|(from, to)| {
            let (sender, receiver) = [from, to].map(|host: usize| hosts[host].network.try_clone().unwrap()).into();
            let (took, taken) = channel();
            let sending = thread::spawn(move || {
                for number in 0..300 {
                    // No more than the socket that stands for the other device has room for.
                    if number >= 8 {
                        taken.recv_timeout(PATIENCE).unwrap();
                    }
                    sender.send(&packet(number, length(number))).unwrap();
                }
            });
            let receiving = thread::spawn(move || {
                let mut buffer = [0; 2000];
                for number in 0..300 {
                    let got = receiver.recv(&mut buffer).unwrap();
                    assert_eq!(buffer[..got], packet(number, length(number)), "packet {number}");
                    let _ = took.send(());
                }
            });
            [sending, receiving]
        })
        .collect();
    ways.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    for (counts, statistics) in hosts.map(Host::stop) {
        assert_eq!(counts.dropped, Dropped::default());
        assert_eq!((counts.sessions, statistics.sent.messages, statistics.received.messages), (1, 300, 300));
        assert!(counts.sleeps > 0 && statistics.doorbells() <= 600);
    }
}

#[test]
fn what_the_device_does_not_take_is_dropped_and_counted() {
    let wire = Wire::new("net", 65536);
    let a = Host::start(&wire.guests[0], Side::A, Settings::default());
    let b = Host::start(&wire.guests[1], Side::B, Settings::default());
    a.hears(News::Connected);
    b.hears(News::Connected);
    // Far more than a socket's queue.
    for number in 0..1000 {
        a.network.send(&packet(number, 4)).unwrap();
    }
    let last = packet(u32::MAX, 8);
    let mut read = 0;
    b.network.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    'arrived: loop {
        // It may be dropped, too.
        a.network.send(&last).unwrap();
        let mut buffer = [0; 16];
        while let Ok(length) = b.network.recv(&mut buffer) {
            read += 1;
            if buffer[..length] == last {
                break 'arrived;
            }
        }
    }
    b.network.set_nonblocking(true).unwrap();
    let network = b.network.try_clone().unwrap();
    let (counts, statistics) = b.stop();
    while network.recv(&mut [0; 16]).is_ok() {
        read += 1;
    }
    assert!(counts.dropped.refused > 0, "{counts:?}");
    assert_eq!(statistics.received.messages, read + counts.dropped.refused);
}

#[test]
fn after_a_peer_has_left_the_next_one_is_met_and_what_was_sent_meanwhile_is_dropped() {
    let wire = Wire::new("net", 65536);
    let a = Host::start(&wire.guests[0], Side::A, Settings::default());
    for number in 1..=3 {
        let b = Host::start(&wire.guests[1], Side::B, Settings::default());
        a.hears(News::Connected);
        b.hears(News::Connected);
        // What waited in the device when the peer came goes before it, and may leave no room in the socket that stands for the other device.
        b.network.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (expected, mut buffer) = (packet(number, 100), [0; 2000]);
        'arrived: loop {
            a.network.send(&expected).unwrap();
            while let Ok(length) = b.network.recv(&mut buffer) {
                if buffer[..length] == expected {
                    break 'arrived;
                }
            }
        }
        b.network.send(&packet(number, 50)).unwrap();
        assert_eq!(a.packet(), packet(number, 50));
        b.stop();
        a.hears(News::Lost(Broken::Closed));
        // More than the socket has room for: most of them must be read before the next peer can come.
        for number in 1000..2000 {
            a.network.send(&packet(number, 10)).unwrap();
        }
    }
    let (counts, statistics) = a.stop();
    assert_eq!((counts.sessions, statistics.received.messages), (3, 3));
    assert!(statistics.sent.messages >= 3 && counts.dropped.no_peer > 0, "{counts:?}");
}

#[test]
fn a_peer_that_restarts_or_breaks_the_protocol_costs_the_session_and_no_more() {
    let wire = Wire::new("net", 1 << 20);
    let a = Host::start(&wire.guests[0], Side::A, Settings { spins: 100, timeout: None });
    let endpoint = wire.guests[1].system().endpoint("net").unwrap();
    let mut peer = open(&endpoint, Side::B, NET);
    peer.connect().unwrap();
    a.hears(News::Connected);

    // No packets: one longer than any is, and one of no length.
    for message in [vec![1; LONGEST + 1], Vec::new(), packet(7, 1000)] {
        peer.send(&message).unwrap();
    }
    assert_eq!(a.packet(), packet(7, 1000), "the next good one arrives");

    peer.reopen();
    peer.connect().unwrap();
    a.hears(News::Lost(Broken::Restarted));
    a.hears(News::Connected);

    let dataport = wire.guests[1].path().join("sys/bus/pci/devices/0000:00:01.0/resource1_wc");
    let tail = u64::from(spec::SIDE + spec::OF_TAIL);
    OpenOptions::new().write(true).open(dataport).unwrap().write_all_at(&u32::MAX.to_le_bytes(), tail).unwrap();
    endpoint.emit(EventCount::ONE).unwrap();
    a.hears(News::Lost(Broken::Violated(Violation::Tail)));
    peer.reopen();
    peer.connect().unwrap();
    a.hears(News::Connected);
    peer.send(&packet(8, 20)).unwrap();
    assert_eq!(a.packet(), packet(8, 20));

    // Another program at the other end is no reason to end, either: the right one may come back.
    drop(peer);
    a.hears(News::Lost(Broken::Closed));
    let mut other = open(&endpoint, Side::B, Protocol::named(*b"else"));
    assert!(other.connect().is_err());
    assert!(matches!(a.news.recv_timeout(PATIENCE), Ok(News::Lost(Broken::Incompatible(_)))));
    drop(other);
    let mut peer = open(&endpoint, Side::B, NET);
    peer.connect().unwrap();
    a.hears(News::Connected);
    drop(peer);
    a.hears(News::Lost(Broken::Closed));

    let (counts, _) = a.stop();
    assert_eq!((counts.sessions, counts.dropped.length, counts.dropped.refused), (4, 2, 0));
}

#[test]
fn packets_longer_than_a_message_can_be_are_dropped_and_counted() {
    let wire = Wire::new("net", 4096);
    let a = Host::start(&wire.guests[0], Side::A, Settings::default());
    let b = Host::start(&wire.guests[1], Side::B, Settings::default());
    b.hears(News::Connected);
    a.hears(News::Connected);
    a.network.send(&packet(1, 761)).unwrap();
    a.network.send(&packet(2, 760)).unwrap();
    assert_eq!(b.packet(), packet(2, 760));
    assert_eq!(a.stop().0.dropped, Dropped { length: 1, ..Dropped::default() });
    b.stop();
}

#[test]
fn without_a_peer_it_gives_up_when_it_was_told_to_and_with_another_program_at_once() {
    let wire = Wire::new("net", 4096);
    let a = Host::start(&wire.guests[0], Side::A, Settings { spins: 0, timeout: Some(Duration::from_millis(200)) });
    a.network.send(&packet(1, 10)).unwrap();
    let (ended, counts, _) = a.thread.join().unwrap();
    assert!(matches!(ended, Err(Ended::Channel(ChannelError::TimedOut))), "{ended:?}");
    assert_eq!((counts.sessions, counts.dropped.no_peer), (0, 1));

    let endpoint = wire.guests[1].system().endpoint("net").unwrap();
    let mut other = open(&endpoint, Side::B, Protocol::named(*b"else"));
    let a = Host::start(&wire.guests[0], Side::A, Settings::default());
    assert!(other.connect().is_err());
    let (ended, ..) = a.thread.join().unwrap();
    assert!(matches!(ended, Err(Ended::Channel(ChannelError::Broken(Broken::Incompatible(_))))), "{ended:?}");
}
