//! Every register of every kind of function, byte by byte: what it reads, which of its bits a guest can change, and what that changes besides.

mod pci_common;

use crossvm_core::device::{Name, Profile};
use crossvm_core::{
    BarIndex, BarWidth, Bdf, Config, ConfigAccess, ConfigEffect, Connection, CrossVm, GuestAddr, Messages, Parts, PciSpace, Rights, Width,
};
use crossvm_pci::PciBus;
use crossvm_testkit::{FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, RAM, range};
use pci_common::{DWORD, bar, bus, function, header, read};

type Bus = PciBus<64>;
type Vm = Parts<FakeMemory, Bus, FakeIrqs, FakeInterrupts>;

/// Bytes in which a function can have registers, and bytes of configuration space; those between read zero.
const USED: usize = 0x100;
const SPACE: usize = 0x1000;

/// Configuration space as bytes, and the bits of them that a guest can change.
#[derive(Clone)]
struct Registers {
    now: [u8; USED],
    writable: [u8; USED],
}

impl Registers {
    fn new(parts: &[(usize, &[u8], &[u8])]) -> Self {
        let mut registers = Self { now: [0; USED], writable: [0; USED] };
        for (at, bytes, mask) in parts {
            registers.now[*at..at + bytes.len()].copy_from_slice(bytes);
            registers.writable[*at..at + mask.len()].copy_from_slice(mask);
        }
        registers
    }

    /// A BAR of 32 or 64 bits: its address is the bus's choice.
    fn with_bar(mut self, bus: &Bus, bdf: Bdf, bar: usize, flags: u8, size: u64) -> Self {
        let bytes = if flags & 4 == 0 { 4 } else { 8 };
        let address = bus.decoded(bdf, BarIndex::ALL[bar]).expect("decoded at power-on").get();
        let at = 0x10 + 4 * bar;
        self.now[at..at + bytes].copy_from_slice(&(address | u64::from(flags)).to_le_bytes()[..bytes]);
        self.writable[at..at + bytes].copy_from_slice(&(!(size - 1)).to_le_bytes()[..bytes]);
        self
    }

    fn span(offset: u16, width: Width) -> Option<std::ops::Range<usize>> {
        let (at, bytes) = (usize::from(offset), usize::try_from(width.bytes()).unwrap());
        (bytes <= 4 && at % bytes == 0 && at < SPACE).then(|| at..at + bytes)
    }

    /// What no configuration cycle can express reads all ones.
    fn read(&self, offset: u16, width: Width) -> u32 {
        Self::span(offset, width)
            .map_or(u32::MAX, |span| span.rev().fold(0, |value, at| value << 8 | u32::from(self.now.get(at).copied().unwrap_or(0))))
    }

    fn write(&mut self, offset: u16, width: Width, value: u32) {
        for (at, byte) in Self::span(offset, width).filter(|span| span.end <= USED).into_iter().flatten().zip(value.to_le_bytes()) {
            self.now[at] = self.now[at] & !self.writable[at] | byte & self.writable[at];
        }
    }

    fn dwords(&self) -> Vec<u32> {
        self.now.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }
}

/// A bus with connections of each kind, and what their registers must be.
struct World {
    vm: Vm,
    kinds: Vec<(&'static str, Bdf, Registers)>,
}

const IDENTITY: [u8; 16] = [0xf4, 0x1a, 0x11, 0xa1, 0x02, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0];
/// The same with a list of capabilities.
const IDENTITY_WITH_LIST: [u8; 16] = [0xf4, 0x1a, 0x11, 0xa1, 0x02, 0, 0x10, 0, 1, 0, 0, 5, 0, 0, 0, 0];
/// Memory space, bus master and interrupt disable.
const COMMAND_MASK: [u8; 6] = [0, 0, 0, 0, 0x06, 0x04];
const PREFETCHABLE: u8 = 0x08;
const PREFETCHABLE_64: u8 = 0x0c;

impl World {
    fn new() -> Self {
        let vm =
            Parts { memory: FakeMemory::new([range(RAM)]), pci: bus(), irqs: FakeIrqs::new(32..96), interrupts: FakeInterrupts::default() };
        let mut world = Self { vm, kinds: Vec::new() };
        let bridge = Registers::new(&[(0, &[0x36, 0x1b, 0x08, 0, 0x02, 0, 0, 0, 0, 0, 0, 6], &[])]);
        world.kinds.push(("host bridge", Bdf::from_requester_id(0), bridge));
        world.add_reference();
        world.add_extended();
        world.add_without_messages();
        world.add_wide();
        world.add_wide_function();
        world
    }

    /// A connection with these dataports (true size and width).
    fn connect(&mut self, config: Config, name: &str, dataports: &[(u64, BarWidth)]) -> Bdf {
        let mut connections: CrossVm<Vm, FakeDataport, FakeNotifier, 1> = CrossVm::new(config);
        let mut connection = Connection::new(Name::new(name).unwrap());
        for (size, width) in dataports {
            let dataport = FakeDataport::new(*size);
            connection = match width {
                BarWidth::Bits32 => connection.with_dataport(dataport, Rights::ReadWrite).unwrap(),
                BarWidth::Bits64 => connection.with_wide_dataport(dataport, Rights::ReadWrite).unwrap(),
            };
        }
        // Each comes alone, in a guest of its own; the bus is one.
        self.vm.memory = FakeMemory::new([range(RAM)]);
        let id = connections.install(&mut self.vm, [connection]).unwrap()[0];
        connections.status(id).unwrap().bdf
    }

    fn add_reference(&mut self) {
        let config = Config { profile: Profile::Reference, ..Config::default() };
        let bdf = self.connect(config, "reference", &[(12 << 10, BarWidth::Bits32)]);
        let registers = Registers::new(&[(0, &IDENTITY, &COMMAND_MASK), (0x3c, &[0, 1], &[0xff])])
            .with_bar(&self.vm.pci, bdf, 0, PREFETCHABLE, 4 << 10)
            .with_bar(&self.vm.pci, bdf, 1, PREFETCHABLE, 16 << 10);
        self.kinds.push(("reference profile", bdf, registers));
    }

    fn add_extended(&mut self) {
        let bdf = self.connect(Config::default(), "extended", &[(12 << 10, BarWidth::Bits32)]);
        let vendor = [
            [0x09, 0x5c, 28, 0], // next: MSI-X
            *b"xvm1",
            [1, 0, 0, 0],
            [0b11, 0, 0, 0],    // ACK and MSI-X
            [1, 0, 0, 0],       // one dataport
            [0, 0x30, 0, 0],    // of 12 KiB
            [0, 0, 0, 0],       //
            [0x11, 0, 0, 0],    // one vector
            [0x05, 0, 0, 0],    // table: BAR5, 0
            [0x05, 0x08, 0, 0], // pending bits: BAR5, 0x800
        ];
        let list = vendor.concat();
        let parts: [(usize, &[u8], &[u8]); 5] = [
            (0, &IDENTITY_WITH_LIST, &COMMAND_MASK),
            (0x34, &[0x40], &[]),
            (0x3c, &[0, 1], &[0xff]),
            (0x40, &list, &[]),
            // Function mask and enable.
            (0x5f, &[0], &[0xc0]),
        ];
        let registers = Registers::new(&parts)
            .with_bar(&self.vm.pci, bdf, 0, PREFETCHABLE, 4 << 10)
            .with_bar(&self.vm.pci, bdf, 1, PREFETCHABLE, 16 << 10)
            .with_bar(&self.vm.pci, bdf, 5, 0, 4 << 10);
        self.kinds.push(("extended profile", bdf, registers));
    }

    fn add_without_messages(&mut self) {
        let config = Config { messages: Messages::Absent, ..Config::default() };
        let bdf = self.connect(config, "no messages", &[]);
        let list = [[0x09, 0, 20, 0], *b"xvm1", [1, 0, 0, 0], [0b01, 0, 0, 0], [0; 4]].concat();
        let parts: [(usize, &[u8], &[u8]); 4] =
            [(0, &IDENTITY_WITH_LIST, &COMMAND_MASK), (0x34, &[0x40], &[]), (0x3c, &[0, 1], &[0xff]), (0x40, &list, &[])];
        let registers = Registers::new(&parts).with_bar(&self.vm.pci, bdf, 0, PREFETCHABLE, 4 << 10);
        self.kinds.push(("extended profile without MSI-X", bdf, registers));
    }

    fn add_wide(&mut self) {
        let bdf = self.connect(Config::default(), "wide", &[(64 << 10, BarWidth::Bits64), (4 << 10, BarWidth::Bits32)]);
        let vendor =
            [[0x09, 0x64, 36, 0], *b"xvm1", [1, 0, 0, 0], [0b11, 0, 0, 0], [2, 0, 0, 0], [0, 0, 1, 0], [0; 4], [0, 0x10, 0, 0], [0; 4]];
        let list = [vendor.concat(), vec![0x11, 0, 0, 0, 0x05, 0, 0, 0, 0x05, 0x08, 0, 0]].concat();
        let parts: [(usize, &[u8], &[u8]); 5] = [
            (0, &IDENTITY_WITH_LIST, &COMMAND_MASK),
            (0x34, &[0x40], &[]),
            (0x3c, &[0, 1], &[0xff]),
            (0x40, &list, &[]),
            (0x67, &[0], &[0xc0]),
        ];
        let registers = Registers::new(&parts)
            .with_bar(&self.vm.pci, bdf, 0, PREFETCHABLE, 4 << 10)
            .with_bar(&self.vm.pci, bdf, 1, PREFETCHABLE_64, 64 << 10)
            .with_bar(&self.vm.pci, bdf, 3, PREFETCHABLE, 4 << 10)
            .with_bar(&self.vm.pci, bdf, 5, 0, 4 << 10);
        self.kinds.push(("a dataport behind 64 bits", bdf, registers));
    }

    /// No connection, but what the bus allows: no pin, a BAR whose lower half has no bits, another at the end of the header.
    fn add_wide_function(&mut self) {
        let mut description = function(32, [bar(BarWidth::Bits64, 1 << 33), None, None, None, bar(BarWidth::Bits64, 4 << 10), None]);
        description.interrupt = None;
        let bdf = self.vm.pci.insert(description).unwrap();
        let registers = Registers::new(&[(0, &IDENTITY, &COMMAND_MASK), (0x3c, &[0, 0], &[0xff])])
            .with_bar(&self.vm.pci, bdf, 0, PREFETCHABLE_64, 1 << 33)
            .with_bar(&self.vm.pci, bdf, 4, PREFETCHABLE_64, 4 << 10);
        self.kinds.push(("BARs of 64 bits alone", bdf, registers));
    }
}

impl World {
    /// The registers of all other functions.
    fn neighbours(&self, of: Bdf) -> Vec<(Bdf, Vec<u32>)> {
        let others = self.kinds.iter().map(|(_, bdf, _)| *bdf).filter(|bdf| *bdf != of);
        others.map(|bdf| (bdf, header(&self.vm.pci, bdf))).collect()
    }
}

/// Zero, ones, both patterns, and each bit alone set and alone clear.
fn values() -> impl Iterator<Item = u32> {
    let walking = (0..32).flat_map(|bit| [1u32 << bit, !(1u32 << bit)]);
    [0, u32::MAX, 0x5555_5555, 0xaaaa_aaaa].into_iter().chain(walking)
}

#[test]
fn every_offset_and_width_reads_what_is_defined() {
    let world = World::new();
    for (kind, bdf, registers) in &world.kinds {
        for offset in 0..=u16::MAX {
            for width in Width::ALL {
                let value = read(&world.vm.pci, *bdf, offset, width);
                assert_eq!(value, registers.read(offset, width), "{kind} at {offset:#x}, {width:?}");
            }
        }
    }
}

#[test]
fn a_write_changes_the_writable_bits_it_covers_and_nothing_else() {
    let mut world = World::new();
    for (kind, bdf, registers) in world.kinds.clone() {
        let expected_neighbours = world.neighbours(bdf);
        for (offset, width) in (0..0x100).flat_map(|offset| Width::ALL.map(|width| (offset, width))) {
            for value in values() {
                world.vm.pci.reset(bdf);
                let mut expected = registers.clone();
                expected.write(offset, width, value);
                let effect = world.vm.pci.write(bdf, ConfigAccess { offset, width }, value);
                let context = || format!("{kind}: {value:#x} at {offset:#x}, {width:?}");
                assert_eq!(header(&world.vm.pci, bdf), expected.dwords(), "{}", context());
                check_effect(effect, bdf, &registers, &expected, &context());
            }
            assert_eq!(world.neighbours(bdf), expected_neighbours, "{kind}: a neighbour changed by a write at {offset:#x}");
        }
        world.vm.pci.reset(bdf);
    }
}

#[test]
fn nothing_behind_the_first_256_bytes_can_be_written() {
    let mut world = World::new();
    for (kind, bdf, registers) in world.kinds.clone() {
        let neighbours = world.neighbours(bdf);
        for (offset, width) in (0x100..=u16::MAX).flat_map(|offset| Width::ALL.map(|width| (offset, width))) {
            for value in [0, u32::MAX] {
                assert_eq!(world.vm.pci.write(bdf, ConfigAccess { offset, width }, value), None, "{kind} at {offset:#x}");
            }
        }
        assert_eq!(header(&world.vm.pci, bdf), registers.dwords(), "{kind}");
        assert_eq!(world.neighbours(bdf), neighbours, "{kind}");
    }
}

/// The effect is there exactly where the command, the message control or a BAR changed, and says how.
fn check_effect(effect: Option<ConfigEffect>, bdf: Bdf, before: &Registers, after: &Registers, context: &str) {
    let range = |registers: &Registers, at: usize, bytes: usize| registers.now[at..at + bytes].to_vec();
    let differs = |at, bytes| range(before, at, bytes) != range(after, at, bytes);
    match effect {
        Some(ConfigEffect::Command { bdf: changed, before: was, after: is }) => {
            assert_eq!(changed, bdf, "{context}");
            let bits = |registers: &Registers| [registers.now[4] & 2 != 0, registers.now[4] & 4 != 0, registers.now[5] & 4 != 0];
            assert_eq!([was.memory_decode, was.bus_master, was.intx_disable], bits(before), "{context}");
            assert_eq!([is.memory_decode, is.bus_master, is.intx_disable], bits(after), "{context}");
            assert!(was != is, "{context}");
        }
        Some(ConfigEffect::BarMoved { bdf: changed, bar, from, to }) => {
            assert_eq!(changed, bdf, "{context}");
            let address = |registers: &Registers| {
                let at = 0x10 + 4 * bar.get();
                let half = |at| u64::from(registers.read(at, DWORD));
                let at = u16::try_from(at).unwrap();
                let wide = registers.now[usize::from(at)] & 4 != 0;
                (half(at) & !0xf) | if wide { half(at + 4) << 32 } else { 0 }
            };
            assert_eq!((from.get(), to.get()), (address(before), address(after)), "{context}");
            assert!(from != to, "{context}");
        }
        Some(ConfigEffect::Msix { bdf: changed, before: was, after: is }) => {
            assert_eq!(changed, bdf, "{context}");
            let control = (0x40..0x100).find(|at| before.writable[*at] != 0).expect("it has MSI-X");
            let bits = |registers: &Registers| [registers.now[control] & 0x80 != 0, registers.now[control] & 0x40 != 0];
            assert_eq!([was.enabled, was.masked], bits(before), "{context}");
            assert_eq!([is.enabled, is.masked], bits(after), "{context}");
            assert!(was != is, "{context}");
        }
        None => assert!(!differs(0x04, 2) && !differs(0x10, 24) && !differs(0x40, 0xc0), "{context}: a change without an effect"),
        other => panic!("{context}: {other:?}"),
    }
}

/// The address of a BAR as the guest reads it.
fn address(bus: &Bus, bdf: Bdf, offset: u16) -> u64 {
    let low = u64::from(read(bus, bdf, offset, DWORD));
    let high = if low & 4 != 0 { u64::from(read(bus, bdf, offset + 4, DWORD)) } else { 0 };
    high << 32 | low & !0xf
}

/// A bus whose windows take BARs of every size: 2 GiB below 4 GiB, 1 TiB above.
fn with_one_bar(width: BarWidth, bytes: u64) -> (Bus, Bdf) {
    let below = crossvm_core::GuestRange::new(GuestAddr::new(1 << 31), 1 << 31).unwrap();
    let mut bus = Bus::new(Default::default(), below).with_window(pci_common::high_window()).unwrap();
    let bdf = bus.insert(function(32, [bar(width, bytes), None, None, None, None, None])).unwrap();
    (bus, bdf)
}

fn write(bus: &mut Bus, bdf: Bdf, offset: u16, width: Width, value: u32) -> Option<ConfigEffect> {
    bus.write(bdf, ConfigAccess { offset, width }, value)
}

#[test]
fn bars_of_every_size_are_aligned_sized_and_moved() {
    let narrow = (12..=31).map(|exponent| (BarWidth::Bits32, exponent));
    for (width, exponent) in narrow.chain((12..=39).map(|exponent| (BarWidth::Bits64, exponent))) {
        let size = 1u64 << exponent;
        let (mut bus, bdf) = with_one_bar(width, size);
        let home = address(&bus, bdf, 0x10);
        assert_eq!(bus.decoded(bdf, BarIndex::ALL[0]).map(GuestAddr::get), Some(home));
        let wide = width == BarWidth::Bits64;
        assert!(home.is_multiple_of(size) && (home >= 1 << 32) == wide, "{home:#x} for {size:#x}");
        // In each order of the halves, by dwords, halves and bytes.
        for (reversed, step) in [(false, Width::U32), (true, Width::U32), (false, Width::U16), (true, Width::U8)] {
            let mut offsets: Vec<u16> = (0x10..if wide { 0x18 } else { 0x14 }).step_by(usize::try_from(step.bytes()).unwrap()).collect();
            if reversed {
                offsets.reverse();
            }
            for offset in &offsets {
                write(&mut bus, bdf, *offset, step, u32::MAX);
            }
            let mask = !(size - 1);
            assert_eq!(address(&bus, bdf, 0x10), if wide { mask } else { mask & 0xffff_ffff }, "{width:?} {size:#x}");
            assert_eq!(read(&bus, bdf, 0x10, DWORD) & 0xf, if wide { 0xc } else { 0x8 }, "flags stay");
            let back = |offset: u16| u32::try_from((home >> (8 * (offset - 0x10))) & step.mask()).unwrap();
            for offset in &offsets {
                write(&mut bus, bdf, *offset, step, back(*offset));
            }
            assert_eq!(bus.decoded(bdf, BarIndex::ALL[0]).map(GuestAddr::get), Some(home), "{width:?} {size:#x} by {step:?}");
        }
        // Nothing of it reaches the registers behind.
        assert!((if wide { 0x18 } else { 0x14 }..0x28).step_by(4).all(|offset| read(&bus, bdf, offset, DWORD) == 0));
    }
}

#[test]
fn the_halves_of_a_wide_bar_move_it_one_by_one() {
    let (mut bus, bdf) = with_one_bar(BarWidth::Bits64, 1 << 20);
    let bar0 = BarIndex::ALL[0];
    let home = address(&bus, bdf, 0x10);
    let at = |low: u32, high: u64| GuestAddr::new(high << 32 | u64::from(low));
    let (low, high) = (u32::try_from(home & 0xffff_ffff).unwrap(), home >> 32);
    let moved = |from, to| Some(ConfigEffect::BarMoved { bdf, bar: bar0, from, to });
    assert_eq!(write(&mut bus, bdf, 0x14, DWORD, 0), moved(at(low, high), at(low, 0)));
    assert_eq!(bus.decoded(bdf, bar0), Some(at(low, 0)), "below 4 GiB there is a window as well");
    assert_eq!(write(&mut bus, bdf, 0x10, DWORD, 0x1234_5678), moved(at(low, 0), at(0x1230_0000, 0)));
    assert_eq!(bus.decoded(bdf, bar0), None, "outside of every window");
    assert_eq!(write(&mut bus, bdf, 0x14, DWORD, 0x81), moved(at(0x1230_0000, 0), at(0x1230_0000, 0x81)));
    assert_eq!(bus.decoded(bdf, bar0), Some(at(0x1230_0000, 0x81)));
    assert_eq!(write(&mut bus, bdf, 0x14, DWORD, 0x81), None, "no change, no effect");
}

#[test]
fn absent_functions_read_all_ones_and_take_no_writes() {
    let mut world = World::new();
    let present: Vec<Bdf> = world.kinds.iter().map(|(_, bdf, _)| *bdf).collect();
    for bdf in (0..=u16::MAX).map(Bdf::from_requester_id) {
        let known = world.kinds.iter().find(|(_, known, _)| *known == bdf);
        for (offset, width) in [0u16, 4, 0x0e, 0x34, 0x3c, 0xffe].into_iter().flat_map(|offset| Width::ALL.map(|width| (offset, width))) {
            let expected = known.map_or(u32::MAX, |(_, _, registers)| registers.read(offset, width));
            let ones = u32::try_from(width.mask() & 0xffff_ffff).unwrap();
            assert_eq!(read(&world.vm.pci, bdf, offset, width) & ones, expected & ones, "{bdf} at {offset:#x}");
        }
        if !present.contains(&bdf) {
            assert_eq!(write(&mut world.vm.pci, bdf, 0x04, Width::U16, 0), None, "{bdf}");
            assert_eq!(write(&mut world.vm.pci, bdf, 0x10, DWORD, 0), None, "{bdf}");
            assert!(BarIndex::ALL.iter().all(|bar| world.vm.pci.decoded(bdf, *bar).is_none()), "{bdf}");
            assert_eq!((world.vm.pci.command(bdf), world.vm.pci.msix(bdf)), Default::default(), "{bdf}");
        }
    }
    for (kind, bdf, registers) in &world.kinds {
        assert_eq!(header(&world.vm.pci, *bdf), registers.dwords(), "{kind}");
    }
}

#[test]
fn functions_1_to_7_are_used_and_a_full_bus_is_an_error() {
    let mut bus: PciBus<254> = bus();
    // One line for all: 31 device numbers of eight functions.
    for number in 0..31 * 8 {
        let bdf = bus.insert(function(32, [None; 6])).unwrap();
        assert_eq!((bdf.bus(), bdf.device(), bdf.function()), (0, 1 + number % 31, number / 31));
    }
    let kind = |result: Result<Bdf, crossvm_pci::PciError>| result.map_err(|error| crossvm_core::Error::kind(&error));
    assert_eq!(kind(bus.insert(function(32, [None; 6]))), Err(crossvm_core::ErrorKind::Exhausted), "no number is left");
    let mut small: PciBus<2> = pci_common::bus();
    small.insert(function(32, [None; 6])).unwrap();
    small.insert(function(33, [None; 6])).unwrap();
    assert_eq!(kind(small.insert(function(34, [None; 6]))), Err(crossvm_core::ErrorKind::Exhausted), "no room is left");
    assert_eq!(small.functions().count(), 2);
}

/// The host bridge's ids and a class that no driver takes, and nothing that can be changed.
fn placeholder() -> Registers {
    Registers::new(&[(0, &[0x36, 0x1b, 0x08, 0, 0x02, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0x80], &[])])
}

#[test]
fn a_placeholder_stands_for_a_missing_function_0_while_others_share_its_number() {
    let mut bus: Bus = bus();
    let plain = || function(32, [bar(BarWidth::Bits32, 4 << 10), None, None, None, None, None]);
    // Function 0 of every number, then function 1 of the first two.
    let numbers: Vec<Bdf> = (0..33).map(|_| bus.insert(plain()).unwrap()).collect();
    let at = |device, function| Bdf::new(0, device, function).unwrap();
    assert_eq!((numbers[0], numbers[30], numbers[31], numbers[32]), (at(1, 0), at(31, 0), at(1, 1), at(2, 1)));
    let multifunction = |bus: &Bus, bdf| read(bus, bdf, 0x0e, Width::U8);
    assert_eq!([1, 2, 3].map(|device| multifunction(&bus, at(device, 0))), [0x80, 0x80, 0]);

    let others = bus.decoded(at(1, 1), BarIndex::ALL[0]);
    bus.remove(at(1, 0)).unwrap();
    assert_eq!(header(&bus, at(1, 0)), placeholder().dwords());
    assert_eq!(bus.decoded(at(1, 1), BarIndex::ALL[0]), others, "the others stay where they are");
    assert!(!bus.functions().any(|bdf| bdf == at(1, 0)), "it is none of the VMM's functions");
    for (offset, width, value) in (0..0x100).flat_map(|offset| Width::ALL.map(|width| (offset, width, u32::MAX))) {
        assert_eq!(write(&mut bus, at(1, 0), offset, width, value), None);
    }
    assert_eq!(header(&bus, at(1, 0)), placeholder().dwords());
    assert_eq!(bus.remove(at(1, 0)).map_err(|error| crossvm_core::Error::kind(&error)), Err(crossvm_core::ErrorKind::NotFound));

    // The next function of the line takes its place; without others there is no need for it.
    assert_eq!(bus.insert(plain()).unwrap(), at(1, 0));
    assert_eq!(read(&bus, at(1, 0), 0, DWORD), 0xa111_1af4);
    bus.remove(at(2, 0)).unwrap();
    assert_eq!(read(&bus, at(2, 0), 0, DWORD), 0x0008_1b36);
    bus.remove(at(2, 1)).unwrap();
    assert_eq!(read(&bus, at(2, 0), 0, DWORD), u32::MAX);
}
