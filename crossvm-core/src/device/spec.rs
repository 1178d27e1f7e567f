//! Layout of the event registers (BAR0 of a connection device), little endian. The guest reads the page without an exit.

use crate::BarIndex;

/// PCI vendor id of a connection device.
pub const VENDOR_ID: u16 = 0x1af4;
/// PCI device id of a connection device.
pub const DEVICE_ID: u16 = 0xa111;
/// PCI revision of a connection device.
pub const REVISION_ID: u8 = 1;

/// EMIT: a write of any width and value signals the peer. Reads as zero.
pub const EMIT: u64 = 0x00;
/// COUNT (32 bits): events since the guest last cleared it. A write replaces it.
pub const COUNT: u64 = 0x04;
/// NAME: the connection's name, ASCII, zero padded.
pub const NAME: u64 = 0x08;
/// Length of NAME in bytes. Drivers read 50 bytes from its start: the two behind it stay zero.
pub const NAME_BYTES: usize = 48;
/// SIGNATURE (32 bits): [`SIGNATURE_VALUE`]; zero in the reference profile. From here on: the extended profile.
pub const SIGNATURE: u64 = 0x40;
/// What SIGNATURE reads: "xvm1".
pub const SIGNATURE_VALUE: u32 = u32::from_le_bytes(*b"xvm1");
/// VERSION (32 bits): [`VERSION_VALUE`].
pub const VERSION: u64 = 0x44;
/// What VERSION reads.
pub const VERSION_VALUE: u32 = 1;
/// ACK (32 bits): a write of n takes n events off COUNT, at most all. Reads as zero.
pub const ACK: u64 = 0x48;
/// DROPPED (32 bits): emits that could not be delivered.
pub const DROPPED: u64 = 0x4c;
/// DATAPORTS (32 bits): number of dataports.
pub const DATAPORTS: u64 = 0x50;
/// First of the dataports' descriptions, [`DATAPORT_STRIDE`] bytes each: true size in bytes (64 bits), rights (32 bits: bit 0 load,
/// bit 1 store), 32 bits that read as zero.
pub const DATAPORT: u64 = 0x58;
/// Distance of two dataports' descriptions in bytes.
pub const DATAPORT_STRIDE: u64 = 16;

// What follows is not in the event registers: the capabilities of the extended profile, and the BAR behind MSI-X.

/// Body of the vendor-specific capability, in dwords behind its header: [`SIGNATURE_VALUE`].
pub const CAPABILITY_SIGNATURE: usize = 0;
/// [`VERSION_VALUE`].
pub const CAPABILITY_VERSION: usize = 1;
/// Features: [`FEATURE_ACK`], [`FEATURE_MSIX`].
pub const CAPABILITY_FEATURES: usize = 2;
/// Number of dataports.
pub const CAPABILITY_DATAPORTS: usize = 3;
/// First of the dataports' true sizes: two dwords each, the lower one first.
pub const CAPABILITY_SIZES: usize = 4;
/// There is an ACK register.
pub const FEATURE_ACK: u32 = 1 << 0;
/// There is an MSI-X capability.
pub const FEATURE_MSIX: u32 = 1 << 1;

/// The BAR behind MSI-X. Nothing of it is mapped.
pub const MESSAGE_BAR: BarIndex = {
    let [.., last] = BarIndex::ALL;
    last
};
/// Offset of the MSI-X table: one vector of 16 bytes (PCI 3.0, §6.8.2).
pub const MESSAGE_TABLE: u32 = 0x000;
/// Offset of the pending bits (PCI 3.0, §6.8.2.10): one of 64 bits is used.
pub const MESSAGE_PENDING: u32 = 0x800;
