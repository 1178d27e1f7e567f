//! proptest strategies for what a guest and its peers do.

use crossvm_core::{Bdf, ConfigAccess, EventSet, GuestAccess, GuestAddr, GuestRange, Width};
use proptest::prelude::*;

/// One step of a guest, a peer or the VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A configuration read.
    ConfigRead(Bdf, ConfigAccess),
    /// A configuration write.
    ConfigWrite(Bdf, ConfigAccess, u32),
    /// An access at an address relative to a BAR: connection and BAR by their number (modulo how many there are), and the offset.
    AtBar {
        /// Number of the connection.
        connection: usize,
        /// Number of the BAR among the connection's.
        bar: usize,
        /// Offset in bytes from the BAR's start.
        offset: u64,
        /// What the guest does there.
        access: AccessKind,
    },
    /// An access anywhere.
    Access(GuestAccess),
    /// Peers signal.
    Consume(EventSet),
    /// The guest reboots.
    Reset,
    /// The VMM removes the connection of this number (modulo how many there are), or installs it again where it is removed.
    Toggle(usize),
}

/// An access without its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// A load.
    Read(Width),
    /// A store.
    Write(Width, u64),
    /// A store that the hardware does not describe, of at most this many bytes (at least one is taken).
    UndecodedWrite(u8),
    /// A load that the hardware does not describe.
    UndecodedRead(u8),
}

impl AccessKind {
    /// The access at `at`.
    #[must_use]
    pub fn at(self, at: GuestAddr) -> GuestAccess {
        let range = |bytes: u8| GuestRange::new(at, u64::from(bytes.max(1))).or_else(|| GuestRange::new(at, 1));
        match self {
            Self::Read(width) => GuestAccess::Read { at, width },
            Self::Write(width, value) => GuestAccess::Write { at, width, value },
            Self::UndecodedWrite(bytes) => range(bytes).map_or(GuestAccess::Read { at, width: Width::U8 }, GuestAccess::UndecodedWrite),
            Self::UndecodedRead(bytes) => range(bytes).map_or(GuestAccess::Read { at, width: Width::U8 }, GuestAccess::UndecodedRead),
        }
    }
}

/// Any width.
pub fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(Width::ALL.to_vec())
}

/// Functions of a small bus, present and absent, and now and then any other.
pub fn bdf() -> impl Strategy<Value = Bdf> {
    let near = (0u8..6, 0u8..2).prop_map(|(device, function)| Bdf::new(0, device, function).unwrap_or(Bdf::from_requester_id(0)));
    prop_oneof![12 => near, 1 => any::<u16>().prop_map(Bdf::from_requester_id)]
}

/// Configuration accesses, mostly to registers that do something.
pub fn config_access() -> impl Strategy<Value = ConfigAccess> {
    let known = prop::sample::select(vec![0x04u16, 0x05, 0x06, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x3c, 0x00, 0x08, 0x0c, 0x2c, 0x34]);
    // The message control of MSI-X behind a vendor-specific capability of none to three dataports, and of none at all.
    let messages = prop::sample::select(vec![0x40u16, 0x42, 0x54, 0x56, 0x5c, 0x5e, 0x5f, 0x64, 0x66, 0x6c, 0x6e]);
    (prop_oneof![8 => known, 3 => messages, 1 => 0u16..0x100, 1 => any::<u16>()], width())
        .prop_map(|(offset, width)| ConfigAccess { offset, width })
}

/// Values for configuration writes: command bits, message control, all ones, addresses in and around `window` and in RAM, anything.
pub fn config_value(window: GuestRange) -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => prop::sample::select(vec![0x0002u32, 0x0000, 0x0402, 0x0400, 0x0006, 0x0406]),
        2 => prop::sample::select(vec![0x8000_8000u32, 0xc000_c000, 0x4000_4000, 0x8080_8080]),
        2 => Just(u32::MAX),
        6 => bar_address(window),
        1 => (0x4000u32..0x4400).prop_map(|page| page << 16),
        2 => any::<u32>(),
    ]
}

/// Addresses for BARs: a few MiB at the start and the end of `window`, close enough together that BARs meet, and just outside of it.
pub fn bar_address(window: GuestRange) -> impl Strategy<Value = u32> {
    let low = u32::try_from(window.start().get()).unwrap_or(0);
    let high = u32::try_from(window.last().get()).unwrap_or(u32::MAX);
    prop_oneof![
        6 => (0u32..4, 0u32..8).prop_map(move |(mib, page)| low.wrapping_add(mib << 20).wrapping_add(page << 12)),
        2 => (0u32..4, 0u32..8).prop_map(move |(mib, page)| high.wrapping_sub(mib << 20).wrapping_sub(page << 12)),
        1 => (1u32..8).prop_map(move |page| low.wrapping_sub(page << 12)),
        1 => (1u32..8).prop_map(move |page| high.wrapping_add(page << 12)),
    ]
}

/// A configuration write: what drivers do (move a BAR, switch decoding or the pin) more often than what no driver does.
fn config_write(window: GuestRange) -> impl Strategy<Value = Step> {
    let device = || (1u8..5).prop_map(|device| Bdf::new(0, device, 0).unwrap_or(Bdf::from_requester_id(0)));
    let bar = prop::sample::select(vec![0x10u16, 0x14, 0x18, 0x24]);
    let moved = (device(), bar, bar_address(window))
        .prop_map(|(bdf, offset, value)| Step::ConfigWrite(bdf, ConfigAccess { offset, width: Width::U32 }, value));
    let command = (device(), prop::sample::select(vec![0x0002u32, 0x0002, 0x0006, 0x0402, 0x0000]))
        .prop_map(|(bdf, value)| Step::ConfigWrite(bdf, ConfigAccess { offset: 4, width: Width::U16 }, value));
    // Message control of MSI-X, behind vendor capabilities of the three lengths.
    let msix = (device(), prop::sample::select(vec![0x56u16, 0x5e, 0x66]), prop::sample::select(vec![0x8000u32, 0x8000, 0xc000, 0x0000]))
        .prop_map(|(bdf, offset, value)| Step::ConfigWrite(bdf, ConfigAccess { offset, width: Width::U16 }, value));
    let other = (bdf(), config_access(), config_value(window)).prop_map(|(bdf, access, value)| Step::ConfigWrite(bdf, access, value));
    prop_oneof![6 => moved, 3 => command, 2 => msix, 2 => other]
}

/// An access without its address.
pub fn access_kind() -> impl Strategy<Value = AccessKind> {
    let value = prop_oneof![3 => Just(0u64), 2 => Just(1), 1 => any::<u64>()];
    prop_oneof![
        2 => width().prop_map(AccessKind::Read),
        6 => (width(), value).prop_map(|(width, value)| AccessKind::Write(width, value)),
        1 => any::<u8>().prop_map(AccessKind::UndecodedWrite),
        1 => any::<u8>().prop_map(AccessKind::UndecodedRead),
    ]
}

/// Steps against a VM whose bridge has `window`.
pub fn step(window: GuestRange) -> impl Strategy<Value = Step> {
    let offset = prop_oneof![6 => prop::sample::select(vec![0u64, 4, 0x48, 0x4c, 8, 12, 0x800]), 1 => 0u64..0x100, 1 => 0u64..0x20_0000];
    let at_bar = (0usize..8, prop_oneof![3 => Just(0usize), 1 => 0usize..4], offset, access_kind())
        .prop_map(|(connection, bar, offset, access)| Step::AtBar { connection, bar, offset, access });
    let address = prop_oneof![window.start().get()..=window.last().get(), any::<u64>()];
    prop_oneof![
        2 => (bdf(), config_access()).prop_map(|(bdf, access)| Step::ConfigRead(bdf, access)),
        10 => config_write(window),
        6 => at_bar,
        1 => (address, access_kind()).prop_map(|(at, kind)| Step::Access(kind.at(GuestAddr::new(at)))),
        5 => prop_oneof![4 => 0u64..64, 1 => any::<u64>()].prop_map(|word| Step::Consume(EventSet::from_word(word))),
        1 => Just(Step::Reset),
        1 => (0usize..8).prop_map(Step::Toggle),
    ]
}
