//! The connection device as the guest sees it: its event registers and its identity.

mod name;
mod registers;
pub mod spec;

pub use name::Name;
pub(crate) use registers::EventRegisters;
pub use registers::{Profile, RegisterWrite};

use crate::{Bar, BarWidth, ClassCode, FrameSize, Function, Irq};

/// Most dataports of one connection. Six BARs: the event registers, the dataports, one that reads as zero (where reference drivers stop
/// looking), and one for the extended profile's MSI-X.
pub const MAX_DATAPORTS: usize = 3;

/// Size of the event registers' BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EventBarSize {
    /// 4 KiB.
    #[default]
    Kib4,
    /// 16 KiB, for guests with pages of that size.
    Kib16,
    /// 64 KiB, for guests with pages of that size.
    Kib64,
}

impl EventBarSize {
    /// The size.
    #[must_use]
    pub const fn size(self) -> FrameSize {
        match self {
            Self::Kib4 => FrameSize::KIB_4,
            Self::Kib16 => FrameSize::KIB_16,
            Self::Kib64 => FrameSize::KIB_64,
        }
    }
}

/// Class code of a connection device: memory controller, RAM.
const CLASS: ClassCode = ClassCode { base: 0x05, sub: 0x00, interface: 0x00 };

/// The PCI function of a connection with these BAR sizes behind BAR0.
pub(crate) fn function(events: FrameSize, dataports: impl Iterator<Item = FrameSize>, irq: Option<Irq>) -> Function {
    let memory = |size| Some(Bar { size, width: BarWidth::Bits32, prefetchable: true });
    let mut bars = [None; 6];
    for (slot, size) in bars.iter_mut().zip(core::iter::once(events).chain(dataports)) {
        *slot = memory(size);
    }
    Function {
        vendor: spec::VENDOR_ID,
        device: spec::DEVICE_ID,
        revision: spec::REVISION_ID,
        class: CLASS,
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: irq,
        bars,
    }
}
