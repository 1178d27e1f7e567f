//! Two independent guests' libraries, `pci_types` and `virtio-drivers`, enumerate our bus through each mechanism: both find what is there.

mod pci_common;

use std::cell::RefCell;

use crossvm_core::device::Name;
use crossvm_core::{
    BarIndex, BarWidth, Bdf, Config, ConfigEffect, Connection, CrossVm, GuestAddr, GuestRange, InterruptMode, Mapping, MsixControl, Parts,
    PciSpace, Rights, Width,
};
use crossvm_pci::{Cam, ConfigPorts, Ecam, PciBus};
use crossvm_testkit::{FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, RAM, range};
use pci_common::{bar, bus, function, read};
use pci_types::capability::PciCapability;
use pci_types::{ConfigRegionAccess, EndpointHeader, PciAddress, PciHeader};
use virtio_drivers::transport::pci::bus::{
    BarInfo, Cam as VirtioCam, ConfigurationAccess, DeviceFunction, HeaderType, MemoryBarType, PciRoot,
};

/// Devices of one bus, and where the mechanisms are in the guest's memory.
const DEVICES: u8 = 32;
const REGION: u64 = 0x40_1000_0000;

/// Dataports of a connection: true size, and whether its BAR has 64 bits.
type Layout = &'static [(u64, BarWidth)];

const LAYOUTS: [Layout; 6] = [
    &[(12 << 10, BarWidth::Bits32)],
    &[(64 << 10, BarWidth::Bits32), (4 << 10, BarWidth::Bits32)],
    &[(64 << 10, BarWidth::Bits64)],
    &[],
    &[(4 << 10, BarWidth::Bits32), (8 << 10, BarWidth::Bits32), (4 << 10, BarWidth::Bits32)],
    &[(100 << 10, BarWidth::Bits64), (4 << 10, BarWidth::Bits32)],
];

type Vm = Parts<FakeMemory, PciBus<64>, FakeIrqs, FakeInterrupts>;

/// A VM as its guest reaches it.
struct Machine {
    vm: Vm,
    connections: CrossVm<Vm, FakeDataport, FakeNotifier, 64>,
    ecam: Ecam,
    cam: Cam,
    ports: ConfigPorts,
}

impl Machine {
    fn new() -> Self {
        let vm =
            Parts { memory: FakeMemory::new([range(RAM)]), pci: bus(), irqs: FakeIrqs::new(32..64), interrupts: FakeInterrupts::default() };
        let (ecam, cam) = (Ecam::new(GuestAddr::new(REGION), 1).unwrap(), Cam::new(GuestAddr::new(REGION), 1).unwrap());
        Self { vm, connections: CrossVm::new(Config::default()), ecam, cam, ports: ConfigPorts::new() }
    }

    /// With 40 connections, 12 of which share a line, and so three device numbers.
    fn with_forty() -> Self {
        let mut machine = Self::new();
        for index in 0..40 {
            let mut connection = Connection::new(Name::new(&format!("connection {index}")).unwrap());
            for (size, width) in layout(index) {
                let dataport = FakeDataport::new(*size);
                connection = match width {
                    BarWidth::Bits32 => connection.with_dataport(dataport, Rights::ReadWrite).unwrap(),
                    BarWidth::Bits64 => connection.with_wide_dataport(dataport, Rights::ReadWrite).unwrap(),
                };
            }
            let mode = if index < 28 { InterruptMode::OwnLine } else { InterruptMode::SharedLine };
            machine.connections.install(&mut machine.vm, [connection.with_interrupt(mode)]).unwrap();
        }
        machine
    }

    fn mappings(&self) -> Vec<(GuestRange, Mapping)> {
        self.vm.memory.mappings().collect()
    }

    /// What the VMM knows of its functions, in the order of their numbers.
    fn own_view(&self) -> Vec<Found> {
        let mut functions: Vec<Found> = self.connections.connections().map(|id| self.connection_view(id)).collect();
        functions.push(Found { id: (0x1b36, 0x0008), class: (6, 0, 0), ..Found::at(Bdf::from_requester_id(0)) });
        functions.sort_by_key(|found| found.bdf);
        functions
    }

    fn connection_view(&self, id: crossvm_core::ConnectionId) -> Found {
        let status = self.connections.status(id).unwrap();
        let index: usize = status.name.as_str().strip_prefix("connection ").unwrap().parse().unwrap();
        let dataports = layout(index);
        let bars = status.bars.iter().enumerate().map(|(position, bar)| FoundBar {
            slot: bar.bar.get(),
            at: self.vm.pci.decoded(status.bdf, bar.bar).unwrap().get(),
            size: bar.size.bytes(),
            // The event registers, the dataports, and MSI-X.
            wide: position.checked_sub(1).and_then(|dataport| dataports.get(dataport)).is_some_and(|(_, width)| *width == BarWidth::Bits64),
            prefetchable: bar.bar != BarIndex::ALL[5],
        });
        let vendor_bytes = u8::try_from(4 + 16 + 8 * dataports.len()).unwrap();
        let mut body = vec![u32::from_le_bytes(*b"xvm1"), 1, 0b11, u32::try_from(dataports.len()).unwrap()];
        body.extend(dataports.iter().flat_map(|(size, _)| [u32::try_from(*size).unwrap(), 0]));
        Found {
            id: (0x1af4, 0xa111),
            class: (5, 0, 0),
            bars: bars.collect(),
            capabilities: vec![(0x09, 0x40), (0x11, 0x40 + vendor_bytes)],
            vendor_specific: body,
            ..Found::at(status.bdf)
        }
    }
}

fn layout(index: usize) -> Layout {
    LAYOUTS[index % LAYOUTS.len()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Ecam,
    Cam,
    Ports,
}

const MECHANISMS: [By; 3] = [By::Ecam, By::Cam, By::Ports];

/// A guest's way to configuration space.
#[derive(Clone, Copy)]
struct Guest<'a> {
    machine: &'a RefCell<Machine>,
    by: By,
}

impl Guest<'_> {
    /// `offset`: of the register in the region, where the mechanism is one.
    fn load(&self, offset: u64, requester: u16, register: u16) -> u32 {
        let machine = &mut *self.machine.borrow_mut();
        let at = GuestAddr::new(REGION + offset);
        let value = match self.by {
            By::Ecam => machine.ecam.read(&machine.vm.pci, at, Width::U32),
            By::Cam => machine.cam.read(&machine.vm.pci, at, Width::U32),
            By::Ports => {
                let address = 1 << 31 | u32::from(requester) << 8 | u32::from(register);
                assert_eq!(machine.ports.write(&mut machine.vm.pci, 0xcf8, Width::U32, address), None);
                machine.ports.read(&machine.vm.pci, 0xcfc, Width::U32).map(u64::from)
            }
        };
        u32::try_from(value.expect("it is ours")).unwrap()
    }

    fn store(&self, offset: u64, requester: u16, register: u16, value: u32) {
        let machine = &mut *self.machine.borrow_mut();
        let at = GuestAddr::new(REGION + offset);
        let effect: Option<ConfigEffect> = match self.by {
            By::Ecam => machine.ecam.write(&mut machine.vm.pci, at, Width::U32, value.into()),
            By::Cam => machine.cam.write(&mut machine.vm.pci, at, Width::U32, value.into()),
            By::Ports => {
                let address = 1 << 31 | u32::from(requester) << 8 | u32::from(register);
                assert_eq!(machine.ports.write(&mut machine.vm.pci, 0xcf8, Width::U32, address), None);
                machine.ports.write(&mut machine.vm.pci, 0xcfc, Width::U32, value)
            }
        };
        if let Some(effect) = effect {
            machine.connections.apply(&mut machine.vm, effect).unwrap();
        }
    }

    /// A region's offset by the text of its binding: bus, device, function and register side by side.
    fn offset(&self, requester: u16, register: u16) -> u64 {
        let bits = if self.by == By::Cam { 8 } else { 12 };
        u64::from(requester) << bits | u64::from(register)
    }

    /// The same as `virtio-drivers` works it out.
    fn virtio_offset(&self, function: DeviceFunction, register: u8) -> u64 {
        let cam = if self.by == By::Cam { VirtioCam::MmioCam } else { VirtioCam::Ecam };
        cam.cam_offset(function, register).into()
    }
}

fn requester(function: DeviceFunction) -> u16 {
    Bdf::new(function.bus, function.device, function.function).unwrap().requester_id()
}

fn requester_of(address: PciAddress) -> u16 {
    Bdf::new(address.bus(), address.device(), address.function()).unwrap().requester_id()
}

impl ConfigRegionAccess for Guest<'_> {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        let id = requester_of(address);
        self.load(self.offset(id, offset), id, offset)
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let id = requester_of(address);
        self.store(self.offset(id, offset), id, offset, value);
    }
}

impl ConfigurationAccess for Guest<'_> {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        self.load(self.virtio_offset(function, register), requester(function), register.into())
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        self.store(self.virtio_offset(function, register), requester(function), register.into(), data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FoundBar {
    slot: usize,
    at: u64,
    size: u64,
    wide: bool,
    prefetchable: bool,
}

/// A function as an enumerator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    bdf: Bdf,
    id: (u16, u16),
    class: (u8, u8, u8),
    bars: Vec<FoundBar>,
    /// Ids and offsets.
    capabilities: Vec<(u8, u8)>,
    /// Body of the vendor-specific capability.
    vendor_specific: Vec<u32>,
}

impl Found {
    fn at(bdf: Bdf) -> Self {
        Self { bdf, id: (0, 0), class: (0, 0, 0), bars: vec![], capabilities: vec![], vendor_specific: vec![] }
    }
}

/// Every function of bus 0, by the rule of the specification: 1 to 7 only where function 0 says so.
fn by_pci_types(guest: Guest<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for device in 0..DEVICES {
        let header = |function| PciHeader::new(PciAddress::new(0, 0, device, function));
        if header(0).id(guest).0 == 0xffff {
            continue;
        }
        let functions = if header(0).has_multiple_functions(guest) { 8 } else { 1 };
        let present = (0..functions).filter(|function| header(*function).id(guest).0 != 0xffff);
        found.extend(present.map(|function| function_by_pci_types(guest, header(function))));
    }
    found
}

fn function_by_pci_types(guest: Guest<'_>, header: PciHeader) -> Found {
    let address = header.address();
    let (id, (_, base, sub, interface)) = (header.id(guest), header.revision_and_class(guest));
    let endpoint = EndpointHeader::from_header(header, guest).expect("a header of type 0");
    let mut found =
        Found { id, class: (base, sub, interface), ..Found::at(Bdf::new(address.bus(), address.device(), address.function()).unwrap()) };
    let mut slot = 0;
    while slot < 6 {
        let bar = endpoint.bar(slot, guest).map(|bar| match bar {
            pci_types::Bar::Memory32 { address, size, prefetchable } => (u64::from(address), u64::from(size), prefetchable, false),
            pci_types::Bar::Memory64 { address, size, prefetchable } => (address, size, prefetchable, true),
            pci_types::Bar::Io { .. } => panic!("no BAR of ours is I/O"),
        });
        let position = usize::from(slot);
        slot += 1 + u8::from(bar.is_some_and(|bar| bar.3));
        found.bars.extend(bar.map(|(at, size, prefetchable, wide)| FoundBar { slot: position, at, size, wide, prefetchable }));
    }
    for capability in endpoint.capabilities(guest) {
        let place = capability.address();
        let offset = u8::try_from(place.offset).unwrap();
        // SAFETY: these are registers of plain data.
        let dword = |at: u16| unsafe { ConfigRegionAccess::read(&guest, place.address, place.offset + at) };
        match capability {
            PciCapability::Vendor(_) => {
                found.capabilities.push((0x09, offset));
                found.vendor_specific = (4..u16::from(dword(0).to_le_bytes()[2])).step_by(4).map(dword).collect();
            }
            PciCapability::MsiX(msix) => {
                found.capabilities.push((0x11, offset));
                assert_eq!((msix.table_size(), msix.table_bar(), msix.table_offset()), (1, 5, 0));
                assert_eq!((msix.pba_bar(), msix.pba_offset()), (5, 0x800));
            }
            other => panic!("{other:?}"),
        }
    }
    found
}

fn by_virtio(guest: Guest<'_>) -> Vec<Found> {
    let mut root = PciRoot::new(guest);
    let functions: Vec<_> = root.enumerate_bus(0).collect();
    let mut all = Vec::new();
    for (function, info) in functions {
        assert_eq!(info.header_type, HeaderType::Standard);
        let mut found = Found {
            id: (info.vendor_id, info.device_id),
            class: (info.class, info.subclass, info.prog_if),
            ..Found::at(Bdf::from_requester_id(requester(function)))
        };
        let bars = root.bars(function).unwrap();
        found.bars = (0..)
            .zip(bars)
            .filter_map(|(slot, bar)| match bar? {
                BarInfo::Memory { address_type, prefetchable, address, size } => {
                    Some(FoundBar { slot, at: address, size, wide: address_type == MemoryBarType::Width64, prefetchable })
                }
                BarInfo::IO { .. } => panic!("no BAR of ours is I/O"),
            })
            .collect();
        for capability in root.capabilities(function) {
            found.capabilities.push((capability.id, capability.offset));
            if capability.id == 0x09 {
                let length = capability.private_header.to_le_bytes()[0];
                found.vendor_specific = (4..length).step_by(4).map(|at| guest.read_word(function, capability.offset + at)).collect();
            } else {
                assert_eq!((capability.id, capability.private_header), (0x11, 0), "one vector, neither enabled nor masked");
            }
        }
        all.push(found);
    }
    all
}

#[test]
fn both_find_forty_connections_through_each_mechanism() {
    for by in MECHANISMS {
        let machine = RefCell::new(Machine::with_forty());
        let guest = Guest { machine: &machine, by };
        let (expected, mapped) = (machine.borrow().own_view(), machine.borrow().mappings());
        assert_eq!(expected.len(), 41, "with the bridge");
        assert!(expected.iter().any(|found| found.bdf.function() == 3), "device numbers are shared");
        assert!(expected.iter().flat_map(|found| &found.bars).any(|bar| bar.wide && bar.at >= 1 << 32));
        assert_eq!(by_pci_types(guest), expected, "{by:?}");
        assert_eq!(by_virtio(guest), expected, "{by:?}");
        assert_eq!(machine.borrow().mappings(), mapped, "{by:?}: every BAR is back where it was");
    }
}

#[test]
fn both_find_the_others_where_function_0_is_removed() {
    for by in MECHANISMS {
        let machine = RefCell::new(Machine::with_forty());
        let guest = Guest { machine: &machine, by };
        let shared = machine.borrow().own_view().into_iter().find(|found| found.bdf.function() == 3).unwrap().bdf;
        let zero = Bdf::new(0, shared.device(), 0).unwrap();
        {
            let machine = &mut *machine.borrow_mut();
            let mut ids = machine.connections.connections();
            let id = ids.find(|id| machine.connections.status(*id).unwrap().bdf == zero).unwrap();
            drop(ids);
            machine.connections.remove(&mut machine.vm, id).unwrap().unwrap().uncovered.unwrap();
        }
        let mut expected = machine.borrow().own_view();
        expected.push(Found { id: (0x1b36, 0x0008), class: (0xff, 0, 0), ..Found::at(zero) });
        expected.sort_by_key(|found| found.bdf);
        assert_eq!(expected.len(), 41);
        assert_eq!(by_pci_types(guest), expected, "{by:?}");
        assert_eq!(by_virtio(guest), expected, "{by:?}");
    }
}

#[test]
fn pci_types_switches_msix_through_each_mechanism() {
    for by in MECHANISMS {
        let machine = RefCell::new(Machine::with_forty());
        let guest = Guest { machine: &machine, by };
        let functions: Vec<Bdf> = machine.borrow().vm.pci.functions().collect();
        for bdf in functions {
            let control = || machine.borrow().vm.pci.msix(bdf);
            let header = PciHeader::new(PciAddress::new(0, bdf.bus(), bdf.device(), bdf.function()));
            let endpoint = EndpointHeader::from_header(header, guest).unwrap();
            let mut capabilities = endpoint.capabilities(guest);
            let Some(PciCapability::MsiX(mut msix)) = capabilities.find(|found| matches!(found, PciCapability::MsiX(_))) else {
                panic!("{bdf} has no MSI-X");
            };
            for (enabled, masked) in [(false, true), (true, true), (true, false), (false, false)] {
                msix.set_function_mask(masked, guest);
                msix.set_enabled(enabled, guest);
                assert_eq!(control(), MsixControl { enabled, masked }, "{by:?} {bdf}");
                assert_eq!((msix.enabled(guest), msix.function_mask(guest)), (enabled, masked), "{by:?} {bdf}");
            }
        }
    }
}

/// A bus with one function that has one BAR, in a window that is as large as BARs of its width can be.
fn with_one_bar(width: BarWidth, bytes: u64) -> Machine {
    let below = GuestRange::new(GuestAddr::new(1 << 31), 1 << 31).unwrap();
    let pci = PciBus::new(Default::default(), below).with_window(pci_common::high_window()).unwrap();
    let mut machine = Machine::new();
    machine.vm.pci = pci;
    machine.vm.pci.insert(function(32, [None, bar(width, bytes), None, None, None, None])).unwrap();
    machine
}

#[test]
fn both_size_every_bar_there_can_be_through_each_mechanism() {
    let narrow = (12..=31).map(|exponent| (BarWidth::Bits32, exponent));
    let wide = (12..=39).map(|exponent| (BarWidth::Bits64, exponent));
    for ((width, exponent), by) in narrow.chain(wide).flat_map(|kind| MECHANISMS.map(|by| (kind, by))) {
        let machine = RefCell::new(with_one_bar(width, 1 << exponent));
        let guest = Guest { machine: &machine, by };
        let bdf = Bdf::new(0, 1, 0).unwrap();
        let at = machine.borrow().vm.pci.decoded(bdf, BarIndex::ALL[1]).unwrap().get();
        let wide = width == BarWidth::Bits64;
        let expected = vec![FoundBar { slot: 1, at, size: 1 << exponent, wide, prefetchable: true }];
        assert_eq!(by_virtio(guest)[1].bars, expected, "{by:?}");
        // pci_types 0.10 works the size of a BAR of 64 bits out in 32 bits with a sign, and gets 2 GiB wrong.
        if !(wide && exponent == 31) {
            assert_eq!(by_pci_types(guest)[1].bars, expected, "{by:?}");
        }
        assert_eq!(machine.borrow().vm.pci.decoded(bdf, BarIndex::ALL[1]).map(GuestAddr::get), Some(at), "{by:?}: back where it was");
        assert_eq!(read(&machine.borrow().vm.pci, bdf, 4, Width::U16), 2);
    }
}
