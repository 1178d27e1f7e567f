//! Memory and configuration space through a `Hal`'s pointers.

use std::ptr::NonNull;

use crossvm_guest::Words;
use crossvm_guest::bare::{Bus, ConfigRegionAccess, Ecam, Hal, Mapped, PciAddress, PhysicalMemory, PhysicalRange};

const START: u64 = 0x10_0000;
/// Configuration space of two devices.
const LENGTH: usize = 2 << 15;

/// Memory that is one leaked array of words.
#[derive(Clone, Copy)]
struct Ram(NonNull<u64>);

impl Ram {
    fn new() -> Self {
        Self(NonNull::from(Box::leak(vec![0_u64; LENGTH / 8].into_boxed_slice())).cast())
    }
}

// SAFETY: the memory is there for good and aligned; nobody has a reference to it.
unsafe impl Hal for Ram {
    fn map(&self, range: PhysicalRange) -> Option<NonNull<u8>> {
        let offset = usize::try_from(range.start().checked_sub(START)?).ok()?;
        let inside = offset as u64 + range.length() <= LENGTH as u64;
        // SAFETY: the offset lies in the memory.
        inside.then(|| unsafe { self.0.cast::<u8>().add(offset) })
    }
}

fn range(offset: u64, length: u64) -> PhysicalRange {
    PhysicalRange::new(START + offset, length).unwrap()
}

#[test]
fn words_are_loaded_and_stored_where_they_are_and_nowhere_else() {
    let memory = Mapped::new(Ram::new());
    let region = memory.region(range(64, 20)).unwrap();
    let whole = memory.region(range(0, 128)).unwrap();
    assert_eq!(region.store(16, 0x0102_0304_u32), Some(()));
    assert_eq!(region.store(15, 0x05_u8), Some(()));
    assert_eq!(region.store(0, 0x0807_0605_0403_0201_u64), Some(()));
    assert_eq!(
        (region.load(16), region.load::<u8>(15), region.load::<u64>(0)),
        (Some(0x0102_0304_u32), Some(5), Some(0x0807_0605_0403_0201))
    );
    assert_eq!(whole.load::<u32>(80), Some(0x0102_0304));
    assert_eq!(region.store(20, 1_u8), None);
    assert_eq!(region.store(18, 1_u32), None, "misaligned");
    assert_eq!(region.load::<u64>(16), None, "ends behind the region");
    assert_eq!(region.load::<u64>(usize::MAX - 7), None, "wraps");
    assert_eq!(region.copy_in(17, b"abcd"), None);
    assert_eq!(region.copy_in(1, b"a longer text"), Some(()));
    let mut text = [0; 13];
    assert_eq!(region.copy_out(1, &mut text), Some(()));
    assert_eq!(&text, b"a longer text");
    assert_eq!(whole.load::<u8>(64 + 20), Some(0));
}

#[test]
fn memory_that_is_not_mapped_or_not_aligned_is_no_region() {
    let memory = Mapped::new(Ram::new());
    assert!(memory.region(range(0, LENGTH as u64 + 1)).is_none());
    assert!(memory.region(range(4, 8)).is_none(), "words of 8 bytes could not be aligned");
}

#[test]
fn ecam_has_each_function_at_its_place() {
    let ram = Ram::new();
    let words = Mapped::new(ram).region(range(0, LENGTH as u64)).unwrap();
    // 00:00.0 is a bridge, 00:01.0 a connection with a second function, which is one too.
    for (function, id, header) in [(0, 0x0008_1b36_u32, 0_u32), (8, 0xa111_1af4, 0x0080_0000), (9, 0xa111_1af4, 0)] {
        words.store(function << 12, id.to_le()).unwrap();
        words.store(function << 12 | 0x0c, header.to_le()).unwrap();
    }
    let ecam = Ecam::new(&ram, range(0, LENGTH as u64)).unwrap();
    let read = |address, offset| {
        // SAFETY: the registers are plain memory.
        unsafe { ecam.read(address, offset) }
    };
    assert_eq!(read(PciAddress::new(0, 0, 0, 0), 0), 0x0008_1b36);
    assert_eq!(read(PciAddress::new(0, 0, 2, 0), 0), u32::MAX, "behind the end");
    assert_eq!(read(PciAddress::new(0, 1, 0, 0), 0), u32::MAX, "another bus");
    assert_eq!(read(PciAddress::new(1, 0, 0, 0), 0), u32::MAX, "another segment");

    let bus = Bus::new(ecam);
    let found: Vec<_> = bus.connections().map(|function| function.address()).collect();
    assert_eq!(found, [PciAddress::new(0, 0, 1, 0), PciAddress::new(0, 0, 1, 1)]);
    let function = bus.connections().nth(1).unwrap();
    function.set_intx(crossvm_guest::bare::Intx::Disabled);
    assert_eq!(words.load::<u32>(9 << 12 | 4).map(u32::from_le), Some(1 << 10));
    assert!(function.open(&Mapped::new(ram)).is_err(), "BARs of 16 bytes are no connection's");
}
