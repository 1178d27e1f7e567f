//! Layout of a type 0 configuration header: PCI Local Bus 3.0, §6.1 and §6.2. Offsets are those of the dword that holds a register.

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
/// Size of a function's configuration space with ECAM: PCI Express 3.0, §7.2.2.
pub const EXTENDED_CONFIG_SPACE: u16 = 0x1000;

/// Command register, §6.2.2.
#[bitfield(u16)]
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
#[bitfield(u16)]
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
#[bitfield(u32)]
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
#[bitfield(u32)]
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
#[bitfield(u32)]
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
#[bitfield(u32)]
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

/// The address port of configuration mechanism #1, §3.2.2.3.2.
#[bitfield(u32)]
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
