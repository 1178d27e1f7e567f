//! A message channel between two guests, through fake sysfs trees.
#![cfg(target_os = "linux")]

mod common;

use std::thread;
use std::time::Duration;

use common::wire::Wire;
use crossvm_guest::channel::{Broken, Config, Error as Failed, Side};
use crossvm_guest::{DataportIndex, Error, GuestChannel};

const MESSAGES: u32 = 500;

fn timeout() -> Option<Duration> {
    Some(Duration::from_secs(60))
}

#[test]
fn messages_go_both_ways_between_two_guests() {
    let wire = Wire::new("bulk", 4096);
    thread::scope(|scope| {
        let echo = scope.spawn(|| {
            let endpoint = wire.guests[1].system().endpoint("bulk").unwrap();
            let mut channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::B)).unwrap().timeout(timeout());
            channel.connect().unwrap();
            let mut buffer = vec![0; channel.max_message()];
            loop {
                match channel.recv(&mut buffer) {
                    Ok(length) => channel.send(&buffer[..length]).unwrap(),
                    Err(error) => return error,
                }
            }
        });
        let endpoint = wire.guests[0].system().endpoint("bulk").unwrap();
        let mut channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A)).unwrap().timeout(timeout());
        channel.connect().unwrap();
        let mut buffer = vec![0; channel.max_message()];
        for number in 0..MESSAGES {
            let message = vec![number.to_le_bytes()[0]; number as usize % (channel.max_message() + 1)];
            channel.send(&message).unwrap();
            let length = channel.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], message);
        }
        drop(channel);
        assert!(matches!(echo.join().unwrap(), Failed::Broken(Broken::Closed)));
    });
}

#[test]
fn a_peer_that_never_comes_is_a_timeout() {
    let wire = Wire::new("bulk", 4096);
    let endpoint = wire.guests[0].system().endpoint("bulk").unwrap();
    let channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A)).unwrap();
    assert!(matches!(channel.timeout(Some(Duration::from_millis(50))).connect(), Err(Failed::TimedOut)));
}

#[test]
fn one_process_at_a_time_and_only_where_both_rights_are_there() {
    let wire = Wire::new("bulk", 4096);
    let endpoint = wire.guests[0].system().endpoint("bulk").unwrap();
    let open = || GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A));
    let first = open().unwrap();
    assert!(matches!(open(), Err(Error::Busy { .. })));
    drop(first);
    let small = Wire::new("small", 1024);
    let endpoint = small.guests[0].system().endpoint("small").unwrap();
    assert!(matches!(GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A)), Err(Error::TooSmall { size: 1024 })));
}
