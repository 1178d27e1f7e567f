//! Layout of a type 0 configuration header and of the capabilities behind it: PCI Local Bus 3.0, §6.1, §6.2, §6.7 and §6.8.2. Offsets are those of the dword that holds a register.

use bitfield_struct::bitfield;

/// Vendor id (15:0) and device id (31:16), §6.2.1.
pub const ID: u16 = 0x00;
/// [`CommandRegister`] (15:0) and [`StatusRegister`] (31:16), §6.2.2 and §6.2.3.
pub const COMMAND_STATUS: u16 = 0x04;
/// [`ClassRegister`], §6.2.1.
pub const CLASS: u16 = 0x08;
/// [`HeaderRegister`], §6.2.1.
pub const HEADER: u16 = 0x0c;
/// First of the six base address registers, §6.2.5.1.
pub const BAR0: u16 = 0x10;
/// Last of the six base address registers.
pub const BAR5: u16 = 0x24;
/// Subsystem vendor id (15:0) and subsystem id (31:16), §6.2.4.
pub const SUBSYSTEM: u16 = 0x2c;
/// [`InterruptRegister`], §6.2.4.
pub const INTERRUPT: u16 = 0x3c;
/// Pointer to the first capability (7:0), §6.7.
pub const CAPABILITIES: u16 = 0x34;
/// The first capability, where there is one: behind the header.
pub const FIRST_CAPABILITY: u16 = 0x40;
/// Capability id "vendor specific", appendix H.
pub const VENDOR_CAPABILITY_ID: u8 = 0x09;
/// Capability id of MSI-X, appendix H.
pub const MSIX_CAPABILITY_ID: u8 = 0x11;
/// [`MsixHeader`], relative to the capability, §6.8.2.3.
pub const MSIX_HEADER: u16 = 0;
/// [`MsixPlace`] of the table, relative to the capability, §6.8.2.4.
pub const MSIX_TABLE: u16 = 4;
/// [`MsixPlace`] of the pending bits, relative to the capability, §6.8.2.5.
pub const MSIX_PENDING: u16 = 8;
/// Bits of [`MsixHeader::last_vector`].
pub const LAST_VECTOR_MASK: u16 = 0x7ff;
/// Bits of [`MsixPlace::bar`].
pub const BAR_NUMBER_MASK: usize = 0b111;
/// Size of a function's configuration space with ECAM: PCI Express 3.0, §7.2.2.
pub const EXTENDED_CONFIG_SPACE: u16 = 0x1000;

/// Command register, §6.2.2.
#[bitfield(u16, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct CommandRegister {
    /// Answers to I/O accesses.
    pub io_space: bool,
    /// Answers to memory accesses.
    pub memory_space: bool,
    /// May act as a bus master.
    pub bus_master: bool,
    #[bits(7)]
    __: u8,
    /// Does not assert its INTx# pin.
    pub interrupt_disable: bool,
    #[bits(5)]
    __: u8,
}

/// Status register, §6.2.3.
#[bitfield(u16, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct StatusRegister {
    #[bits(3)]
    __: u8,
    /// An interrupt is pending, whether the pin is disabled or not.
    pub interrupt_status: bool,
    /// There is a capabilities list.
    pub capabilities_list: bool,
    #[bits(11)]
    __: u16,
}

/// Revision id and class code, §6.2.1.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ClassRegister {
    /// Revision id.
    pub revision: u8,
    /// Programming interface.
    pub interface: u8,
    /// Sub-class.
    pub sub: u8,
    /// Base class.
    pub base: u8,
}

/// Cache line size, latency timer, header type and BIST, §6.2.1.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct HeaderRegister {
    /// Cache line size.
    pub cache_line_size: u8,
    /// Latency timer.
    pub latency_timer: u8,
    /// Layout of the header: 0 for a function that is no bridge to another bus.
    #[bits(7)]
    pub layout: u8,
    /// The device number carries several functions.
    pub multifunction: bool,
    /// Built-in self test.
    pub bist: u8,
}

/// A memory base address register, its low half where it has 64 bits, §6.2.5.1.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MemoryBar {
    /// I/O space: never.
    pub io_space: bool,
    /// 0: 32 bits, 2: 64 bits.
    #[bits(2)]
    pub kind: u8,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Bits 31:4 of the address.
    #[bits(28)]
    pub address: u32,
}

/// [`MemoryBar::kind`] of a BAR of 64 bits.
pub const BAR_KIND_64: u8 = 2;

/// Interrupt line and pin, §6.2.4.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct InterruptRegister {
    /// Storage for the guest's software.
    pub line: u8,
    /// 1: INTA#, 0: none.
    pub pin: u8,
    /// Minimum grant.
    pub min_gnt: u8,
    /// Maximum latency.
    pub max_lat: u8,
}

/// First dword of a vendor-specific capability, appendix H.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct VendorHeader {
    /// [`VENDOR_CAPABILITY_ID`].
    pub id: u8,
    /// Offset of the next capability; zero: this is the last.
    pub next: u8,
    /// Length of the capability in bytes, this header included.
    pub length: u8,
    __: u8,
}

/// First dword of an MSI-X capability: header and message control, §6.8.2.1 to §6.8.2.3.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MsixHeader {
    /// [`MSIX_CAPABILITY_ID`].
    pub id: u8,
    /// Offset of the next capability; zero: this is the last.
    pub next: u8,
    /// Number of vectors, less one.
    #[bits(11)]
    pub last_vector: u16,
    #[bits(3)]
    __: u8,
    /// All vectors are masked.
    pub function_mask: bool,
    /// The function interrupts by messages.
    pub enable: bool,
}

/// Where the table or the pending bits of MSI-X are, §6.8.2.4 and §6.8.2.5.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MsixPlace {
    /// Number of the BAR.
    #[bits(3)]
    pub bar: u8,
    /// Offset in the BAR, in units of 8 bytes.
    #[bits(29)]
    pub offset_in_8_bytes: u32,
}

/// The address port of configuration mechanism #1, §3.2.2.3.2.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq, Hash)]
pub struct ConfigAddress {
    #[bits(2)]
    __: u8,
    /// Number of the dword.
    #[bits(6)]
    pub register: u8,
    /// Bus, device and function.
    pub requester_id: u16,
    #[bits(7)]
    __: u8,
    /// Accesses to the data port are configuration cycles.
    pub enable: bool,
}
