//! The values of `crossvm-pci`.

use crossvm_core::{BarIndex, Bdf, ClassCode, Function, GuestAddr, GuestRange, PciSpace, Width};
use crossvm_pci::fdt::{ConfigRegion, InterruptParent, MessageController};
use crossvm_pci::spec::{
    ClassRegister, CommandRegister, ConfigAddress, HeaderRegister, InterruptRegister, MemoryBar, MsixHeader, MsixPlace, StatusRegister,
    VendorHeader,
};
use crossvm_pci::{Cam, ConfigPorts, Ecam, HostBridge, PciBus, PciError};

use crate::values::show;

const AT: GuestAddr = GuestAddr::new(0x3f00_0000);

/// Logs all of them.
pub(crate) fn log() {
    buses();
    mechanisms();
    registers();
    errors();
}

fn window() -> GuestRange {
    GuestRange::new(GuestAddr::new(0x1000_0000), 0x1000_0000).expect("not empty")
}

fn buses() {
    show(&HostBridge::default());
    let mut bus: PciBus<2> = PciBus::new(HostBridge::default(), window());
    let function = Function {
        vendor: 0x1af4,
        device: 0xa111,
        revision: 1,
        class: ClassCode { base: 5, sub: 0, interface: 0 },
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: None,
        bars: [None; 6],
        vendor_specific: Default::default(),
        msix: None,
    };
    bus.insert(function.clone()).expect("room for two");
    bus.insert(function).expect("room for two");
    show(&bus);
}

fn mechanisms() {
    let (ecam, cam) = (Ecam::new(AT, 16).expect("in range"), Cam::new(AT, 256).expect("in range"));
    show(&ecam);
    show(&cam);
    let mut bus: PciBus<2> = PciBus::new(HostBridge::default(), window());
    let mut ports = ConfigPorts::new();
    ports.write(&mut bus, 0xcf8, Width::U32, 0x8000_0810);
    show(&ports);
    show(&ConfigRegion::from(ecam));
    show(&ConfigRegion::from(cam));
    show(&InterruptParent { phandle: 1, address_cells: 2, specifier: |irq| [0, irq.number(), 4] });
    show(&MessageController { phandle: 3 });
}

fn registers() {
    show(&CommandRegister::new().with_memory_space(true));
    show(&StatusRegister::new().with_capabilities_list(true));
    show(&ClassRegister::new().with_base(5).with_revision(1));
    show(&HeaderRegister::new().with_multifunction(true));
    show(&MemoryBar::new().with_kind(2).with_prefetchable(true));
    show(&InterruptRegister::new().with_pin(1));
    show(&VendorHeader::new().with_id(9).with_length(28));
    show(&MsixHeader::new().with_id(0x11).with_enable(true));
    show(&MsixPlace::new().with_bar(5).with_offset_in_8_bytes(0x100));
    show(&ConfigAddress::new().with_enable(true).with_register(4));
}

fn errors() {
    let bar = BarIndex::ALL[1];
    let absent = Bdf::new(0, 1, 0).expect("in range");
    let all = [
        PciError::Capacity(8),
        PciError::NoNumber,
        PciError::NoAddress(bar),
        PciError::BadBar(bar),
        PciError::BadMsix,
        PciError::NotFound(absent),
        PciError::BadWindow(window()),
        PciError::LineTaken(3),
    ];
    for error in all {
        show(&error);
    }
}
