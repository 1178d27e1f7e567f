//! The contracts of the traits that the backend implements.

use crossvm_core::{Error, ErrorKind, EventId, EventSet, Notifier};
use crossvm_sel4::kernel::{CPtr, Kernel, Object};
use crossvm_sel4::{BadgeSet, NotificationNotifier, Objects};
use crossvm_testkit::conformance::guest_memory;
use crossvm_testkit::conformance::notifier::{self, Wires};
use crossvm_testkit::sel4::{Arch, SimKernel};

use crate::machine::{ALL, Machine, pool};

#[test]
fn address_spaces_keep_the_contract() {
    for space in ALL {
        guest_memory::all(|| Machine::new(space));
    }
}

/// A notification, with a capability for each of some events.
struct Signals {
    kernel: SimKernel,
    notification: CPtr,
    notifiers: Vec<(EventId, NotificationNotifier<SimKernel>)>,
}

impl Signals {
    fn new(arch: Arch) -> Self {
        let (kernel, mut pool) = pool(arch);
        let notification = pool.allocate_slots(1).unwrap();
        pool.create(Object::Notification, notification).unwrap();
        let mint = |bit| {
            let (slot, event) = ((&*pool).allocate_slots(1).unwrap(), EventId::new(bit).unwrap());
            (event, NotificationNotifier::mint(kernel.clone(), notification, slot, event).unwrap())
        };
        Self { notifiers: [0, 1, 13, 27].map(mint).into(), kernel, notification }
    }
}

impl Wires for Signals {
    type Notifier = NotificationNotifier<SimKernel>;

    fn notifiers(&self) -> &[(EventId, NotificationNotifier<SimKernel>)] {
        &self.notifiers
    }

    fn receive(&self) -> EventSet {
        BadgeSet::ALL.events(self.kernel.poll(self.notification))
    }
}

#[test]
fn notifications_keep_the_contract_of_notifiers() {
    for arch in [Arch::X86_64_5_0_0, Arch::X86_64, Arch::Aarch64] {
        notifier::all(|| Signals::new(arch));
    }
}

#[test]
fn an_event_that_the_kernels_badges_have_no_bit_for_is_refused() {
    for (arch, last) in [(Arch::X86_64_5_0_0, 27), (Arch::X86_64, 63), (Arch::Aarch64, 63)] {
        let (kernel, mut pool) = pool(arch);
        let slots = pool.allocate_slots(2).unwrap();
        pool.create(Object::Notification, slots).unwrap();
        let mint = |bit| NotificationNotifier::mint(kernel.clone(), slots, slots.offset(1), EventId::new(bit).unwrap());
        if last < 63 {
            assert_eq!(mint(last + 1).err().map(|error| error.kind()), Some(ErrorKind::OutOfRange));
            assert!(kernel.is_empty(slots.offset(1)));
        }
        mint(last).unwrap().notify().unwrap();
        assert_eq!(kernel.poll(slots).value(), 1 << last);
    }
}
