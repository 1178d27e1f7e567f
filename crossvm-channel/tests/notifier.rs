//! A VM monitor's notifiers as the doorbells of a channel.

use std::sync::atomic::AtomicU64;

use crossvm_channel::{Armed, Channel, Config, Interest, Notified, Shared, Side};
use crossvm_core::EventId;
use crossvm_testkit::Doorbell;

#[test]
fn a_native_component_wakes_its_peer_through_the_monitors_notifier() {
    let words: Vec<_> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let (of_a, of_b, event) = (Doorbell::default(), Doorbell::default(), EventId::new(3).unwrap());
    let mut a = Channel::open(Shared::of(&words), Notified(of_b.notifier(event)), Config::new(Side::A)).unwrap();
    let mut b = Channel::open(Shared::of(&words), Notified(of_a.notifier(event)), Config::new(Side::B)).unwrap();
    while !(a.poll_connect().unwrap() & b.poll_connect().unwrap()) {}
    assert!(of_a.take().contains(event) && of_b.take().contains(event), "each is told that the other has come");
    a.try_send(b"to one that is awake").unwrap();
    assert!(of_b.take().is_empty());
    drop(b.peek().unwrap());
    assert_eq!(b.arm(Interest::Message), Ok(Armed::Sleep));
    a.try_send(b"to one that sleeps").unwrap();
    assert!(of_b.take().contains(event));
}
