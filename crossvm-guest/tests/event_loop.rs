//! Waiters as descriptors of an event loop, whichever driver there is, on fake sysfs trees.
#![cfg(target_os = "linux")]

mod common;

use common::{Device, Stand, Tree};
use crossvm_guest::{Endpoint, EndpointWaiter, EventCount, Prepared, spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const NOTHING: Option<EventCount> = None;

fn readable(waiter: &EndpointWaiter<'_>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(waiter, PollFlags::IN)], Some(&at_once)).unwrap() > 0
}

fn prepare(waiter: &mut EndpointWaiter<'_>) -> Prepared {
    waiter.prepare(EventCount::MAX).unwrap()
}

fn take(waiter: &mut EndpointWaiter<'_>) -> Option<EventCount> {
    waiter.take(EventCount::MAX).unwrap()
}

/// The device takes what was acknowledged off COUNT, which no file does by itself.
fn settle(device: &Device) {
    device.poke_u32(spec::COUNT, 0);
}

#[test]
fn the_stock_driver() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    let endpoint = tree.system().endpoint("ping").unwrap();
    let mut waiter = endpoint.waiter().unwrap();
    device.poke("config", 5, &[4]);
    device.poke_u32(spec::COUNT, 2);
    assert_eq!(prepare(&mut waiter), Prepared::Ready(EventCount::new(2)));
    assert!(device.intx_disabled(), "who does not sleep needs no interrupt");
    settle(&device);
    assert_eq!(prepare(&mut waiter), Prepared::Armed);
    assert!(!device.intx_disabled() && !readable(&waiter));

    device.poke_u32(spec::COUNT, 3);
    device.interrupt();
    assert!(readable(&waiter));
    assert_eq!(waiter.take(EventCount::new(2)).unwrap(), Some(EventCount::new(2)));
    assert_eq!(device.peek_u32(spec::ACK), 2);
    assert!(!readable(&waiter), "taken once, told once");
    device.poke_u32(spec::COUNT, 1);
    assert_eq!(prepare(&mut waiter), Prepared::Ready(EventCount::ONE), "what was left over");
    settle(&device);
    assert_eq!(prepare(&mut waiter), Prepared::Armed);
    device.interrupt();
    assert_eq!(take(&mut waiter), NOTHING, "a shared line");
    assert_eq!(take(&mut waiter), NOTHING, "taking does not sleep");
}

#[test]
fn our_own_driver() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.node(&device, "ping", &[], Stand::Fifo);
    let endpoint = tree.system().endpoint("ping").unwrap();
    let mut waiter = endpoint.waiter().unwrap();
    assert_eq!(prepare(&mut waiter), Prepared::Armed);
    assert!(!readable(&waiter));
    // The FIFO gives back what was written.
    endpoint.emit(EventCount::new(7)).unwrap();
    assert!(readable(&waiter));
    assert_eq!(take(&mut waiter), Some(EventCount::new(7)));
    assert!(!readable(&waiter));
    assert_eq!(take(&mut waiter), NOTHING);
    endpoint.emit(EventCount::ONE).unwrap();
    assert_eq!(prepare(&mut waiter), Prepared::Ready(EventCount::ONE));
}

#[test]
fn a_driver_that_answers_interrupts_itself() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    let endpoint = tree.system().endpoint("ping").unwrap();
    assert!(matches!(endpoint, Endpoint::Uio(_)));
    device.becomes_fifo();
    device.interrupts(1);
    let mut waiter = endpoint.waiter().unwrap();
    assert!(!readable(&waiter));
    assert_eq!(prepare(&mut waiter), Prepared::Ready(EventCount::ONE), "it came before the descriptor was there");
    assert_eq!(prepare(&mut waiter), Prepared::Armed);
    device.report(3);
    assert!(readable(&waiter));
    assert_eq!(take(&mut waiter), Some(EventCount::new(2)));
    assert!(!readable(&waiter));
    assert_eq!(take(&mut waiter), NOTHING);
    assert_eq!(prepare(&mut waiter), Prepared::Armed);
}
