//! The connection device as the guest sees it: PCI identity, event registers, and the bits of PCI configuration space that
//! the guest's side touches. Layouts and numbers only.
//!
//! All registers are little endian and are accessed with one aligned access of their own width.

use bitfield_struct::bitfield;

/// PCI vendor id of a connection.
pub const VENDOR: u16 = 0x1af4;
/// PCI device id of a connection.
pub const DEVICE: u16 = 0xa111;

/// EMIT, u32: a write of any value signals the peer. Reads as zero.
pub const EMIT: usize = 0x00;
/// COUNT, u32: events since they were last taken. A write replaces the value.
pub const COUNT: usize = 0x04;
/// NAME: the connection's name, ASCII, padded with zeros.
pub const NAME: usize = 0x08;
/// Length of NAME in bytes.
pub const NAME_LENGTH: usize = 48;
/// End of the registers that every device has; the smallest BAR 0.
pub const BASIC_END: usize = 0x40;

/// SIGNATURE, u32: reads as [`SIGNATURE_VALUE`] where the extended registers exist.
pub const SIGNATURE: usize = 0x40;
/// What SIGNATURE holds: "xvm1".
pub const SIGNATURE_VALUE: u32 = u32::from_le_bytes(*b"xvm1");
/// VERSION, u32: 1; a later version only adds registers.
pub const VERSION: usize = 0x44;
/// ACK, u32: a write of n makes COUNT max(COUNT - n, 0) in one step, so that no event that came meanwhile is forgotten.
pub const ACK: usize = 0x48;
/// DROPPED, u32: emits that could not be delivered.
pub const DROPPED: usize = 0x4c;
/// DATAPORTS, u32: how many dataports there are.
pub const DATAPORTS: usize = 0x50;
/// First dataport record: true size in bytes (u64), [`RightsRegister`] (u32), reserved (u32).
pub const DATAPORT_RECORDS: usize = 0x58;
/// Length of one dataport record.
pub const DATAPORT_RECORD_LENGTH: usize = 16;
/// Offset of the rights in a dataport record.
pub const DATAPORT_RECORD_RIGHTS: usize = 8;
/// Most dataports of one connection: BAR 1 to BAR 5.
pub const MAX_DATAPORTS: usize = 5;
/// End of the extended registers.
pub const EXTENDED_END: usize = DATAPORT_RECORDS + MAX_DATAPORTS * DATAPORT_RECORD_LENGTH;

/// `/dev/crossvm/NAME`: `mmap` finds dataport i at offset i shifted left by this.
pub const NODE_DATAPORT_SHIFT: u32 = 40;
/// `/dev/crossvm/NAME`: the most signals that one write sends.
pub const NODE_MAX_EMITS: u64 = 65536;

/// Number of base address registers of a type 0 function (PCI 3.0, 6.2.5.1).
pub const BARS: usize = 6;
/// Offset of the command register in configuration space (PCI 3.0, 6.2.2).
pub const COMMAND: u64 = 4;

/// Bytes of a function's configuration space (PCI 3.0, 6.1).
const CONFIGURATION_BYTES: u16 = 256;
/// Where capabilities begin (PCI 3.0, 6.7): the header is before.
const FIRST_CAPABILITY: u8 = 0x40;
/// Most capabilities of a function: behind the header, at addresses that are multiples of four.
pub const MAX_CAPABILITIES: usize = 48;

/// Bytes of a vector in the table of MSI-X (PCI 3.0, 6.8.2).
pub const VECTOR_LENGTH: usize = 16;
/// In a vector: the lower half of the message's address (PCI 3.0, 6.8.2.7).
pub const VECTOR_ADDRESS: usize = 0;
/// In a vector: the upper half of the message's address (PCI 3.0, 6.8.2.8).
pub const VECTOR_UPPER_ADDRESS: usize = 4;
/// In a vector: the message's data (PCI 3.0, 6.8.2.6).
pub const VECTOR_DATA: usize = 8;
/// In a vector: [`VectorControl`].
pub const VECTOR_CONTROL: usize = 12;

/// A 32-bit register of a type 0 function's configuration space (PCI 3.0, 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Register(u16);

impl Register {
    /// [`IdRegister`].
    pub const ID: Self = Self(0x00);
    /// [`Command`] in the lower half, [`Status`] in the upper.
    pub const COMMAND: Self = Self(0x04);
    /// [`HeaderRegister`].
    pub const HEADER: Self = Self(0x0c);
    /// [`CapabilityHeader`]'s address in the lowest byte.
    pub const CAPABILITIES: Self = Self(0x34);
    /// [`InterruptRegister`].
    pub const INTERRUPT: Self = Self(0x3c);

    /// [`BarRegister`] `index`; `None` from 6 on.
    #[must_use]
    pub fn bar(index: usize) -> Option<Self> {
        let index = u16::try_from(index).ok().filter(|index| usize::from(*index) < BARS)?;
        Some(Self(0x10 + 4 * index))
    }

    /// The first register of the capability at `pointer` (PCI 3.0, 6.7): its lower two bits are not the address's. `None` where there is
    /// none, as the header is there.
    #[must_use]
    pub const fn capability(pointer: u8) -> Option<Self> {
        if pointer < FIRST_CAPABILITY { None } else { Some(Self((pointer & !3) as u16)) }
    }

    /// The register behind `self` by so many; `None` outside of the 256 bytes.
    #[must_use]
    pub const fn plus(self, registers: u8) -> Option<Self> {
        let offset = self.0 + 4 * registers as u16;
        if offset < CONFIGURATION_BYTES { Some(Self(offset)) } else { None }
    }

    /// Its offset in bytes.
    #[must_use]
    pub const fn offset(self) -> u16 {
        self.0
    }
}

/// Who made the function, and what it is (PCI 3.0, 6.2.1).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct IdRegister {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
}

impl IdRegister {
    /// What is read where there is no function.
    pub const ABSENT: u32 = u32::MAX;
}

/// The dword with the header type (PCI 3.0, 6.2.1).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct HeaderRegister {
    __: u16,
    /// Layout of the rest: [`HeaderRegister::ENDPOINT`], or a bridge's.
    #[bits(7)]
    pub layout: u8,
    /// The device has more functions than number 0.
    pub multifunction: bool,
    __: u8,
}

impl HeaderRegister {
    /// Type 0: a function with six BARs.
    pub const ENDPOINT: u8 = 0;
}

/// A base address register (PCI 3.0, 6.2.5.1).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct BarRegister {
    /// An I/O range, and the other bits here mean something else.
    pub io: bool,
    /// [`BarRegister::MEMORY_32`] or [`BarRegister::MEMORY_64`].
    #[bits(2)]
    pub kind: u8,
    /// Reads have no side effects.
    pub prefetchable: bool,
    #[bits(28)]
    __: u32,
}

impl BarRegister {
    /// Kind: an address of 32 bits.
    pub const MEMORY_32: u8 = 0b00;
    /// Kind: an address of 64 bits, with its upper half in the next register.
    pub const MEMORY_64: u8 = 0b10;
    /// The bits of the address, in place.
    pub const ADDRESS: u32 = !0xf;
}

/// The status register of configuration space (PCI 3.0, 6.2.3).
#[bitfield(u16, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Status {
    #[bits(3)]
    __: u8,
    /// The function has an interrupt pending, whether or not it may assert INTx.
    pub interrupt: bool,
    /// There is a list of capabilities.
    pub capabilities: bool,
    #[bits(11)]
    __: u16,
}

/// The first register of a capability (PCI 3.0, 6.7).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct CapabilityHeader {
    /// Which capability: [`CapabilityHeader::MSIX`], for one.
    pub id: u8,
    /// Where the next one is; zero where this is the last.
    pub next: u8,
    __: u16,
}

impl CapabilityHeader {
    /// Id: MSI-X.
    pub const MSIX: u8 = 0x11;
}

/// The first register of the capability MSI-X, with its message control (PCI 3.0, 6.8.2.3).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MsixRegister {
    __: u16,
    /// Number of vectors minus one.
    #[bits(11)]
    pub last_vector: u16,
    #[bits(3)]
    __: u8,
    /// All vectors are masked, whatever each says.
    pub function_mask: bool,
    /// The function interrupts by messages, and does not raise its line.
    pub enable: bool,
}

/// Where the table or the pending bits of MSI-X are (PCI 3.0, 6.8.2.4 and 6.8.2.5).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MsixPlace {
    /// Number of the BAR.
    #[bits(3)]
    pub bar: u8,
    /// Offset in it, in units of 8 bytes.
    #[bits(29)]
    pub offset_in_8_bytes: u32,
}

/// The last register of a vector (PCI 3.0, 6.8.2.9).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct VectorControl {
    /// The vector sends no message; what it would have sent is pending.
    pub masked: bool,
    #[bits(31)]
    __: u32,
}

/// The register that tells of the interrupt line (PCI 3.0, 6.2.4).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct InterruptRegister {
    /// What the firmware has stored for the drivers: the number of an interrupt. The function does not use it.
    pub line: u8,
    /// 1 to 4: the function has pin A to D; zero: none.
    pub pin: u8,
    __: u16,
}

impl InterruptRegister {
    /// Line: unknown, or not connected.
    pub const NO_LINE: u8 = 0xff;
}

/// The rights that a connection gives this end on a dataport.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct RightsRegister {
    /// This end may read.
    pub read: bool,
    /// This end may write.
    pub write: bool,
    #[bits(30)]
    __: u32,
}

/// The command register of configuration space (PCI 3.0, 6.2.2). Bits without a name here keep their value.
#[bitfield(u16, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct Command {
    /// The function answers to I/O accesses.
    pub io: bool,
    /// The function answers to memory accesses: its BARs are decoded.
    pub memory: bool,
    /// The function may write to memory: messages are writes.
    pub bus_master: bool,
    #[bits(7)]
    __: u8,
    /// The function may not assert INTx. `uio_pci_generic` sets it on each interrupt, and user space clears it.
    pub intx_disable: bool,
    #[bits(5)]
    __: u8,
}

/// Flags of a line of sysfs' `resource` file (Linux, include/linux/ioport.h).
#[bitfield(u64, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ResourceFlags {
    __: u8,
    /// The resource is an I/O port range.
    pub io: bool,
    /// The resource is memory.
    pub memory: bool,
    #[bits(3)]
    __: u8,
    /// The memory may be prefetched: write combining is allowed.
    pub prefetch: bool,
    #[bits(6)]
    __: u8,
    /// The BAR takes two registers.
    pub memory_64: bool,
    #[bits(8)]
    __: u8,
    /// The kernel found no address for the resource.
    pub unset: bool,
    #[bits(34)]
    __: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_bits_are_where_the_specifications_put_them() {
        assert_eq!(Command::new().with_memory(true).into_bits(), 1 << 1);
        assert_eq!(Command::new().with_bus_master(true).into_bits(), 1 << 2);
        assert_eq!(Command::new().with_intx_disable(true).into_bits(), 1 << 10);
        assert_eq!(Status::new().with_interrupt(true).into_bits(), 1 << 3);
        assert_eq!(Status::new().with_capabilities(true).into_bits(), 1 << 4);
        assert!(HeaderRegister::from_bits(0x0080_0000).multifunction());
        assert_eq!(HeaderRegister::from_bits(0x0001_0000).layout(), 1);
        assert_eq!(BarRegister::from_bits(0x1000_000c).kind(), BarRegister::MEMORY_64);
        assert_eq!(Register::bar(5).map(Register::offset), Some(0x24));
        assert_eq!(Register::bar(6), None);
        assert_eq!(Register::capability(0x43).map(Register::offset), Some(0x40));
        assert_eq!((Register::capability(0), Register::capability(0x3f)), (None, None));
        assert_eq!(Register::capability(0xff).and_then(|last| last.plus(1)), None);
        assert_eq!(Register::CAPABILITIES.plus(2), Some(Register::INTERRUPT));
        assert_eq!(MsixRegister::from_bits(0x8003_0011), MsixRegister::from_bits(0x0003_0011).with_enable(true));
        assert_eq!(MsixRegister::from_bits(0x47ff_0000), MsixRegister::new().with_last_vector(2047).with_function_mask(true));
        assert_eq!(MsixPlace::from_bits(0x805), MsixPlace::new().with_bar(5).with_offset_in_8_bytes(0x100));
        assert_eq!(VectorControl::new().with_masked(true).into_bits(), 1);
        assert_eq!(InterruptRegister::from_bits(0x0000_0129), InterruptRegister::new().with_pin(1).with_line(0x29));
        assert_eq!(ResourceFlags::new().with_io(true).into_bits(), 0x100);
        assert_eq!(ResourceFlags::new().with_memory(true).into_bits(), 0x200);
        assert_eq!(ResourceFlags::new().with_prefetch(true).into_bits(), 0x2000);
        assert_eq!(ResourceFlags::new().with_memory_64(true).into_bits(), 0x0010_0000);
        assert_eq!(ResourceFlags::new().with_unset(true).into_bits(), 0x2000_0000);
        assert_eq!(SIGNATURE_VALUE, 0x316d_7678);
    }

    #[test]
    fn clearing_intx_disable_keeps_all_other_bits_of_the_command_register() {
        assert_eq!(Command::from_bits(0xffff).with_intx_disable(false).into_bits(), 0xfbff);
    }
}
