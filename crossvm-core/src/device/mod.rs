//! The connection device as the guest sees it: its event registers and its identity.

mod messages;
mod name;
mod registers;
pub mod spec;

use heapless::Vec;

pub(crate) use messages::MessageTable;
pub use name::Name;
pub(crate) use registers::EventRegisters;
pub use registers::{Profile, RegisterWrite};

use crate::{Bar, BarIndex, BarWidth, ClassCode, Config, FrameSize, Function, GuestAddr, Irq, MAX_VENDOR_DWORDS, MsixTable};

/// Most dataports of one connection. Six BARs: the event registers, the dataports, one that reads as zero (where reference drivers stop
/// looking), and one for the extended profile's MSI-X. A dataport behind 64 bits counts as two.
pub const MAX_DATAPORTS: usize = 3;

/// Size of the event registers' BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

/// Class code of a connection device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceClass {
    /// Memory controller, RAM: 05/00.
    #[default]
    Ram,
    /// 00/05, as seL4's module has it through a mistake: for guests that look for it.
    Reference,
}

impl DeviceClass {
    const fn code(self) -> ClassCode {
        match self {
            Self::Ram => ClassCode { base: 0x05, sub: 0x00, interface: 0x00 },
            Self::Reference => ClassCode { base: 0x00, sub: 0x05, interface: 0x00 },
        }
    }
}

/// A dataport as its BAR shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DataportBar {
    pub(crate) bar: BarIndex,
    pub(crate) width: BarWidth,
    /// Size of the BAR.
    pub(crate) size: FrameSize,
    /// True size of the dataport in bytes.
    pub(crate) true_size: u64,
    /// Where it is for good, if it is.
    pub(crate) fixed: Option<GuestAddr>,
}

/// The BAR behind MSI-X.
pub(crate) const MESSAGE_BAR: BarIndex = spec::MESSAGE_BAR;

/// The PCI function of a connection whose event registers are at `events_at` for good, if they are.
pub(crate) fn function(
    config: Config,
    irq: Option<Irq>,
    events_at: Option<GuestAddr>,
    dataports: impl Iterator<Item = DataportBar> + Clone,
) -> Function {
    let mut bars = [None; 6];
    let mut place = |index: BarIndex, bar| {
        if let Some(slot) = bars.get_mut(index.get()) {
            *slot = Some(bar);
        }
    };
    place(BarIndex::ALL[0], Bar { size: config.event_bar.size(), width: BarWidth::Bits32, prefetchable: true, fixed: events_at });
    for dataport in dataports.clone() {
        place(dataport.bar, Bar { size: dataport.size, width: dataport.width, prefetchable: true, fixed: dataport.fixed });
    }
    let has_messages = config.has_messages();
    if has_messages {
        place(MESSAGE_BAR, Bar { size: FrameSize::KIB_4, width: BarWidth::Bits32, prefetchable: false, fixed: None });
    }
    Function {
        vendor: spec::VENDOR_ID,
        device: spec::DEVICE_ID,
        revision: spec::REVISION_ID,
        class: config.class.code(),
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: irq,
        bars,
        vendor_specific: match config.profile {
            Profile::Reference => Vec::new(),
            Profile::Extended => capability(has_messages, dataports),
        },
        msix: has_messages.then_some(MsixTable {
            vectors: 1,
            table: (MESSAGE_BAR, spec::MESSAGE_TABLE),
            pending: (MESSAGE_BAR, spec::MESSAGE_PENDING),
        }),
    }
}

/// Body of the vendor-specific capability.
fn capability(has_messages: bool, dataports: impl Iterator<Item = DataportBar>) -> Vec<u32, MAX_VENDOR_DWORDS> {
    let features = spec::FEATURE_ACK | if has_messages { spec::FEATURE_MSIX } else { 0 };
    let mut body = Vec::new();
    let mut count = 0u32;
    // Four dwords and two for each of three dataports: there is room for fifteen.
    let _ = body.extend_from_slice(&[spec::SIGNATURE_VALUE, spec::VERSION_VALUE, features, count]);
    for dataport in dataports {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = dataport.true_size.to_le_bytes();
        let _ = body.extend_from_slice(&[u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7])]);
        count = count.saturating_add(1);
    }
    if let Some(dataports) = body.get_mut(spec::CAPABILITY_DATAPORTS) {
        *dataports = count;
    }
    body
}
