//! A VM on the fakes with connections, for the tests beside this folder.

use crossvm_core::device::Name;
use crossvm_core::{Bdf, ConfigAccess, Connection, CrossVm, EventId, FrameSize, InterruptMode, Parts, PciSpace, Rights, Width};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, RAM, WINDOW, range};

pub(crate) type Vm = Parts<FakeMemory, PciBus<8>, FakeIrqs, FakeInterrupts>;
pub(crate) type Connections = CrossVm<Vm, FakeDataport, FakeNotifier, 8>;

pub(crate) fn vm() -> Vm {
    Parts {
        memory: FakeMemory::new([range(RAM)]),
        pci: PciBus::new(HostBridge::default(), range(WINDOW)),
        irqs: FakeIrqs::new(32..64),
        interrupts: FakeInterrupts::default(),
    }
}

pub(crate) fn event(bit: u8) -> EventId {
    EventId::new(bit).unwrap()
}

/// Connections of 12 KiB, of 1 MiB (one large frame), with two dataports, and without any; the last two share a line.
pub(crate) fn four<K>(notifier: impl Fn(EventId) -> K) -> Vec<Connection<FakeDataport, K>> {
    let with = |name: &str, bit: u8| Connection::new(Name::new(name).unwrap()).with_emit(notifier(event(bit))).with_event(event(bit));
    let large = FakeDataport::of_frames(FrameSize::from_bytes(1 << 20).unwrap(), 1);
    vec![
        with("small", 0).with_dataport(FakeDataport::new(12 << 10), Rights::ReadWrite).unwrap(),
        with("large", 1).with_dataport(large, Rights::ReadWrite).unwrap(),
        with("pair", 2)
            .with_dataport(FakeDataport::new(4 << 10), Rights::Read)
            .unwrap()
            .with_dataport(FakeDataport::new(8 << 10), Rights::ReadWrite)
            .unwrap()
            .with_interrupt(InterruptMode::SharedLine),
        with("bell", 3).with_interrupt(InterruptMode::SharedLine),
    ]
}

/// A VM with [`four`] connections that emit to the doorbell.
#[allow(dead_code, reason = "not every test starts from an installed VM")]
pub(crate) fn installed() -> (Vm, Connections, Doorbell) {
    let (mut vm, mut connections, doorbell) = (vm(), Connections::new(crossvm_core::Config::default()), Doorbell::default());
    connections.install(&mut vm, four(|event| doorbell.notifier(event))).unwrap();
    (vm, connections, doorbell)
}

/// Offset of the MSI-X capability, as a guest finds it.
#[allow(dead_code, reason = "not every test looks for it")]
pub(crate) fn msix_capability<P: PciSpace>(pci: &P, bdf: Bdf) -> u16 {
    let byte = |offset| u16::try_from(pci.read(bdf, ConfigAccess { offset, width: Width::U8 })).unwrap();
    let list = std::iter::successors(Some(byte(0x34)), |at| Some(byte(at + 1)));
    list.take_while(|at| *at != 0).take(48).find(|at| byte(*at) == 0x11).expect("an MSI-X capability")
}
