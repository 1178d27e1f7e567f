//! Functions of each kind, for the tests of configuration space.
#![allow(dead_code, reason = "not every test uses everything")]

use crossvm_core::{Bar, BarWidth, Bdf, ClassCode, ConfigAccess, FrameSize, Function, GuestRange, Irq, PciSpace, Width};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{WINDOW, range};

pub(crate) const DWORD: Width = Width::U32;

/// A second window of the bridge, above 4 GiB: 1 TiB from 512 GiB on.
pub(crate) fn high_window() -> GuestRange {
    GuestRange::new(crossvm_core::GuestAddr::new(1 << 39), 1 << 40).unwrap()
}

pub(crate) fn bus<const F: usize>() -> PciBus<F> {
    PciBus::new(HostBridge::default(), range(WINDOW)).with_window(high_window()).unwrap()
}

pub(crate) fn size(bytes: u64) -> FrameSize {
    FrameSize::from_bytes(bytes).unwrap()
}

pub(crate) fn bar(width: BarWidth, bytes: u64) -> Option<Bar> {
    Some(Bar { size: size(bytes), width, prefetchable: true, fixed: None })
}

/// A connection's function with these BARs.
pub(crate) fn function(irq: u32, bars: [Option<Bar>; 6]) -> Function {
    Function {
        vendor: 0x1af4,
        device: 0xa111,
        revision: 1,
        class: ClassCode { base: 5, sub: 0, interface: 0 },
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: Some(Irq::new(irq)),
        bars,
        vendor_specific: heapless::Vec::new(),
        msix: None,
    }
}

/// One function of each kind that a VMM makes.
pub(crate) fn kinds() -> Vec<(&'static str, Function)> {
    use BarWidth::{Bits32, Bits64};
    let reference = [bar(Bits32, 4 << 10), bar(Bits32, 1 << 20), None, None, None, None];
    let wide = [bar(Bits32, 4 << 10), bar(Bits64, 1 << 33), None, bar(Bits64, 64 << 20), None, None];
    let mut without_pin = function(34, [None; 6]);
    without_pin.interrupt = None;
    vec![("reference", function(32, reference)), ("wide", function(33, wide)), ("no pin, no BARs", without_pin)]
}

pub(crate) fn read<P: PciSpace>(space: &P, bdf: Bdf, offset: u16, width: Width) -> u32 {
    space.read(bdf, ConfigAccess { offset, width })
}

pub(crate) fn write<P: PciSpace>(space: &mut P, bdf: Bdf, offset: u16, width: Width, value: u32) {
    space.write(bdf, ConfigAccess { offset, width }, value);
}

/// The configuration space that a driver can name, as dwords.
pub(crate) fn dwords<P: PciSpace>(space: &P, bdf: Bdf) -> Vec<u32> {
    (0..0x1000).step_by(4).map(|offset| read(space, bdf, offset, DWORD)).collect()
}

/// The 256 bytes that every mechanism reaches, as dwords.
pub(crate) fn header<P: PciSpace>(space: &P, bdf: Bdf) -> Vec<u32> {
    (0..0x100).step_by(4).map(|offset| read(space, bdf, offset, DWORD)).collect()
}
