//! The values of `crossvm-guest`, of one connection that stands in arrays.

use core::cell::RefCell;
use core::ptr::NonNull;

use crossvm_guest::bare::{
    Bus, ConfigRegionAccess, Ecam, Error, Hal, Intx, Mapped, Mask, Message, PciAddress, PhysicalMemory, PhysicalRange, Pin, VectorIndex,
    Window,
};
use crossvm_guest::spec::{
    BarRegister, CapabilityHeader, Command, HeaderRegister, IdRegister, InterruptRegister, MsixPlace, MsixRegister, Register,
    ResourceFlags, RightsRegister, Status, VectorControl,
};
use crossvm_guest::{DataportIndex, EventCount, Fault, Rights};
use defmt::Format;

use crate::values::show;

/// Logs all of them.
pub(crate) fn log() {
    plain();
    driver();
    registers();
    faults();
    errors();
}

/// Guest-physical memory of two pages, from address 4096 on: event registers and a dataport.
#[derive(Clone, Copy, Format)]
struct Pages(#[defmt(Debug2Format)] NonNull<u64>);

impl Pages {
    const BYTES: u64 = 8192;

    fn new() -> Self {
        let mut words = [0; 1024];
        // NAME, SIGNATURE and VERSION, one dataport of 4000 bytes to read.
        words[1] = u64::from_le_bytes(*b"camera\0\0");
        words[8] = u64::from(crossvm_guest::spec::SIGNATURE_VALUE) | 1 << 32;
        words[10] = 1;
        words[11] = 4000;
        words[12] = 1;
        Self(NonNull::from(Box::leak(Box::new(words))).cast())
    }
}

// SAFETY: the memory is leaked, so that it is there for good, and aligned for words of 8 bytes; there is no other reference to it.
unsafe impl Hal for Pages {
    fn map(&self, range: PhysicalRange) -> Option<NonNull<u8>> {
        let offset = range.start().checked_sub(4096).filter(|_| range.last() < 4096 + Self::BYTES)?;
        // SAFETY: the offset lies in the memory.
        Some(unsafe { self.0.cast::<u8>().add(usize::try_from(offset).ok()?) })
    }
}

/// The registers of 00:01.0, with two BARs.
struct Registers(RefCell<[u32; 64]>);

impl Registers {
    fn new() -> Self {
        let mut registers = [0; 64];
        registers[0] = 0xa111_1af4;
        registers[1] = 2;
        registers[4] = 4096;
        registers[5] = 8192;
        // MSI-X, whose table is in the second BAR.
        registers[1] |= 1 << 20;
        registers[13] = 0x40;
        registers[16] = 0x11;
        registers[17] = 1;
        registers[18] = 1;
        Self(RefCell::new(registers))
    }
}

impl ConfigRegionAccess for Registers {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address == PciAddress::new(0, 0, 1, 0) { self.0.borrow()[usize::from(offset / 4)] } else { u32::MAX }
    }

    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        let register = usize::from(offset / 4);
        match register {
            1 => self.0.borrow_mut()[register] = value | 1 << 20,
            4 | 5 => self.0.borrow_mut()[register] = value & !0xfff,
            _ => (),
        }
    }
}

fn range() -> PhysicalRange {
    PhysicalRange::new(4096, 8192).expect("not empty")
}

fn plain() {
    show(&EventCount::new(3));
    show(&DataportIndex::FIRST);
    for rights in [Rights::None, Rights::Read, Rights::Write, Rights::ReadWrite] {
        show(&rights);
    }
    show(&range());
    show(&Window::new(range()));
    show(&Intx::Enabled);
    show(&Intx::Disabled);
    for pin in [Pin::A, Pin::B, Pin::C, Pin::D] {
        show(&pin);
    }
    show(&VectorIndex::FIRST);
    show(&Message::new(4096, 7).expect("an address of a word"));
    show(&Mask::Masked);
    show(&Mask::Open);
}

fn driver() {
    let memory = Mapped::new(Pages::new());
    let bus = Bus::new(Registers::new());
    show(&bus);
    let function = bus.connections().next().expect("one is there");
    show(&function);
    let bars = function.bars().expect("they are sound");
    show(&bars);
    show(bars.event_registers().expect("the first is there"));
    show(&function.msix(&memory).expect("it is sound").expect("it is there"));
    let connection = function.open(&memory).expect("it is sound");
    show(&connection);
    show(connection.events());
    show(&connection.events().profile());
    show(&crossvm_guest::Profile::Reference);
    show(&connection.events().records()[0]);
    show(&connection.dataports()[0]);
    show(&connection.dataport(&memory, DataportIndex::FIRST).expect("it is there"));
    show(&memory.region(range()).expect("it is mapped"));
    show(&crossvm_guest::Ordered(memory.region(range()).expect("it is mapped")));
    show(&Ecam::new(&Pages::new(), range()).expect("it is mapped"));
    show(&Mapped::new(Absent));
    show_ports();
}

#[derive(Format)]
struct Absent;

// SAFETY: it maps nothing.
unsafe impl Hal for Absent {
    fn map(&self, _: PhysicalRange) -> Option<NonNull<u8>> {
        None
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn show_ports() {
    // SAFETY: no port is accessed.
    show(&unsafe { crossvm_guest::bare::ConfigPorts::new() });
}

/// Other machines have no such ports, and the list is one for all.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
fn show_ports() {
    defmt::println!("crossvm_guest::raw::ports::ConfigPorts: ConfigPorts(())");
}

fn registers() {
    show(&Register::COMMAND);
    show(&IdRegister::new().with_vendor(0x1af4));
    show(&HeaderRegister::new().with_multifunction(true));
    show(&BarRegister::new().with_kind(2));
    show(&Command::new().with_memory(true));
    show(&Status::new().with_interrupt(true));
    show(&CapabilityHeader::new().with_id(CapabilityHeader::MSIX));
    show(&MsixRegister::new().with_enable(true));
    show(&MsixPlace::new().with_bar(5));
    show(&VectorControl::new().with_masked(true));
    show(&InterruptRegister::new().with_pin(1));
    show(&RightsRegister::new().with_read(true));
    show(&ResourceFlags::new().with_memory(true));
}

fn faults() {
    let index = DataportIndex::FIRST;
    let all = [
        Fault::Name,
        Fault::EventPage,
        Fault::Version,
        Fault::TooManyDataports { claimed: 9, bars: 2 },
        Fault::DataportSize { index, claimed: 0, bar: 4096 },
        Fault::ShortBar { bar: 1 },
        Fault::Msix,
        Fault::BarKind { bar: 1 },
    ];
    for fault in all {
        show(&fault);
    }
}

fn errors() {
    let index = DataportIndex::new(2);
    let all = [
        Error::OddDevice(Fault::Name),
        Error::WindowFull { size: 4096 },
        Error::Unreachable { range: range() },
        Error::NoSuchDataport { index, count: 1 },
        Error::NoSuchVector { vector: VectorIndex::new(1), count: 1 },
        Error::OutOfRange { offset: 4000, length: 1, size: 4000 },
        Error::NoRight { needed: Rights::Write, granted: Rights::Read },
    ];
    for error in all {
        show(&error);
    }
}
