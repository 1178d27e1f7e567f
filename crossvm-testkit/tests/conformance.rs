//! The contracts, against every backend that runs on this machine.

use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::conformance::{guest_memory, irq_allocator, pci_space};
use crossvm_testkit::{FakeBus, FakeIrqs, FakeMemory, RAM, WINDOW, range};

#[test]
fn fake_irqs_keep_the_contract() {
    irq_allocator::all(|| FakeIrqs::new(32..40));
}

#[test]
fn fake_bus_keeps_the_contract() {
    // One function for each device number: it never shares a line.
    pci_space::all(|| FakeBus::new(range(WINDOW)));
}

#[test]
fn pci_bus_keeps_the_contract() {
    pci_space::all(|| PciBus::<8>::new(HostBridge::default(), range(WINDOW)));
}

#[test]
fn fake_memory_keeps_the_contract() {
    guest_memory::all(|| FakeMemory::new([range(RAM)]));
}
