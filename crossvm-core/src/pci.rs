//! The VM's PCI segment, as a place to put functions. No register layouts here: those are `crossvm-pci`'s.

use core::fmt;

use heapless::Vec;

use crate::{ErrorType, FrameSize, GuestAddr, GuestRange, Irq, Width};

/// Address of a PCI function: bus, device and function number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf(u16);

impl Bdf {
    /// The function `function` (0–7) of device `device` (0–31) on bus `bus`, or `None` where a number is out of range.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Option<Self> {
        if device < 32 && function < 8 { Some(Self((bus as u16) << 8 | (device as u16) << 3 | function as u16)) } else { None }
    }

    /// The function whose requester id is `id` (bus in bits 15:8, device in 7:3, function in 2:0): every number is one.
    #[must_use]
    pub const fn from_requester_id(id: u16) -> Self {
        Self(id)
    }

    /// The requester id.
    #[must_use]
    pub const fn requester_id(self) -> u16 {
        self.0
    }

    /// Bus number.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// Device number, 0–31.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.0.to_be_bytes()[1] >> 3
    }

    /// Function number, 0–7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0.to_be_bytes()[1] & 7
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

/// Number of a base address register, 0–5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarIndex(u8);

impl BarIndex {
    /// All six, in order.
    pub const ALL: [Self; 6] = [Self(0), Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// BAR `index`, or `None` from 6 on.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < 6 { Some(Self(index)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for BarIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BAR{}", self.0)
    }
}

/// Width of a BAR's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BarWidth {
    /// 32 bits: below 4 GiB, at most 2 GiB large.
    Bits32,
    /// 64 bits: takes the next BAR's register for its upper half.
    Bits64,
}

/// A memory BAR of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bar {
    /// Size of the region that it decodes.
    pub size: FrameSize,
    /// Width of its address.
    pub width: BarWidth,
    /// Whether reads have no side effects.
    pub prefetchable: bool,
    /// The only address at which it is decoded, for memory that the hypervisor has mapped for good; `None`: wherever the guest puts it.
    pub fixed: Option<GuestAddr>,
}

/// Class code of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClassCode {
    /// Base class.
    pub base: u8,
    /// Sub-class.
    pub sub: u8,
    /// Programming interface.
    pub interface: u8,
}

/// Most dwords in the body of a vendor-specific capability.
pub const MAX_VENDOR_DWORDS: usize = 15;

/// Where a function has its MSI-X table and pending bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixTable {
    /// Number of vectors, 1–2048.
    pub vectors: u16,
    /// BAR of the table, and the offset in bytes in it, a multiple of 8.
    pub table: (BarIndex, u32),
    /// BAR of the pending bits, and the offset in bytes in it, a multiple of 8.
    pub pending: (BarIndex, u32),
}

/// What a function is: everything that its configuration space starts from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Function {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Revision id.
    pub revision: u8,
    /// Class code.
    pub class: ClassCode,
    /// Subsystem vendor id.
    pub subsystem_vendor: u16,
    /// Subsystem id.
    pub subsystem: u16,
    /// The line that its interrupt pin A is wired to; `None`: it has no pin.
    pub interrupt: Option<Irq>,
    /// Its memory BARs. The BAR behind one of 64 bits is `None`.
    pub bars: [Option<Bar>; 6],
    /// Body of its vendor-specific capability, behind the capability's header of four bytes; empty: it has none.
    pub vendor_specific: Vec<u32, MAX_VENDOR_DWORDS>,
    /// Its MSI-X capability; `None`: it has none.
    pub msix: Option<MsixTable>,
}

/// One access to a function's configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConfigAccess {
    /// Offset in bytes; 0–255, or up to 4095 with ECAM.
    pub offset: u16,
    /// Number of bytes.
    pub width: Width,
}

/// What a guest's configuration write must cause outside the configuration space.
///
/// It tells what changed; what the state is now, [`PciSpace::decoded`], [`PciSpace::command`] and [`PciSpace::msix`] tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigEffect {
    /// A BAR's address changed, whether or not it is decoded at either address.
    BarMoved {
        /// The function.
        bdf: Bdf,
        /// The BAR.
        bar: BarIndex,
        /// Address before.
        from: GuestAddr,
        /// Address now.
        to: GuestAddr,
    },
    /// The command register changed in a bit that has an effect.
    Command {
        /// The function.
        bdf: Bdf,
        /// The bits before.
        before: Command,
        /// The bits now.
        after: Command,
    },
    /// The message control of MSI-X changed in a bit that has an effect.
    Msix {
        /// The function.
        bdf: Bdf,
        /// The bits before.
        before: MsixControl,
        /// The bits now.
        after: MsixControl,
    },
}

/// The bits of a function's command register that a guest can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Command {
    /// The function answers at the addresses of its BARs.
    pub memory_decode: bool,
    /// The function may write to memory (and so send MSIs).
    pub bus_master: bool,
    /// The function does not assert its interrupt pin.
    pub intx_disable: bool,
}

/// The bits of an MSI-X capability's message control that a guest can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MsixControl {
    /// The function interrupts by messages, and does not assert its interrupt pin.
    pub enabled: bool,
    /// All vectors are masked, whatever their own mask bits say.
    pub masked: bool,
}

/// The VM's PCI segment, as a place to put functions: a state machine that knows addresses, and touches nothing.
///
/// # Contract
///
/// 1. `insert` gives each BAR an address in one of the [`windows`](PciSpace::windows), aligned to its size, that overlaps no other BAR, and
///    turns memory decode on: this is the function's power-on state. A BAR with a [`fixed`](Bar::fixed) address gets that one. A failed `insert`
///    changes nothing.
/// 2. `decoded` is a function of the addresses and decode bits of all functions alone, not of the order in which they got them:
///    a BAR is decoded where memory decode is on, all of it lies inside one window, and no other BAR that is decoded before it, in the
///    order of BDF and BAR number, overlaps it. One with a fixed address is decoded there or nowhere; its register takes any address that a
///    guest writes all the same, as guests write all ones to learn its size.
/// 3. A write returns an effect exactly where it changed a BAR's address, the command register or the message control of MSI-X. One write
///    changes at most one.
/// 4. An absent function reads all ones, and ignores writes. Where function 0 of a device number that others share is absent, a bus may answer for it
///    with a placeholder, which no driver takes and which ignores writes: a guest looks for the others behind function 0 only.
/// 5. The interrupt status that a guest reads is what `set_interrupt_status` set last; initially clear.
/// 6. `reset` brings a function back to its power-on state, its addresses included. The interrupt status is clear then.
/// 7. `remove` frees the function's number and addresses for another `insert`.
/// 8. All functions of one device number that have a pin have the same line: a guest is told lines by device. `insert` chooses the number so.
pub trait PciSpace: ErrorType {
    /// The windows of the host bridge: where BARs can be decoded. They never change.
    fn windows(&self) -> &[GuestRange];

    /// Adds a function.
    ///
    /// # Errors
    /// [`Exhausted`](crate::ErrorKind::Exhausted) where no number or no address space is left,
    /// [`OutOfRange`](crate::ErrorKind::OutOfRange) where the description makes no sense or a fixed address cannot be decoded,
    /// [`Overlap`](crate::ErrorKind::Overlap) where a fixed address is taken.
    fn insert(&mut self, function: Function) -> Result<Bdf, Self::Error>;

    /// Removes a function.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is none.
    fn remove(&mut self, bdf: Bdf) -> Result<(), Self::Error>;

    /// A guest's configuration read. Defined for every offset and width.
    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32;

    /// A guest's configuration write. Defined for every offset, width and value.
    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect>;

    /// Where a BAR is decoded now, or `None` where it is not.
    fn decoded(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr>;

    /// The bits that the guest has set in a function's command register; all clear for an absent one.
    fn command(&self, bdf: Bdf) -> Command;

    /// The bits that the guest has set in a function's message control; all clear for an absent one, and for one without MSI-X.
    fn msix(&self, bdf: Bdf) -> MsixControl;

    /// Sets the interrupt status that the guest reads.
    fn set_interrupt_status(&mut self, bdf: Bdf, status: InterruptStatus);

    /// Brings a function back to its power-on state.
    fn reset(&mut self, bdf: Bdf);
}

/// Whether a function has an interrupt pending, masked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum InterruptStatus {
    /// Nothing pending.
    #[default]
    Clear,
    /// An interrupt is pending.
    Pending,
}

impl<T: PciSpace + ?Sized> PciSpace for &mut T {
    fn windows(&self) -> &[GuestRange] {
        T::windows(self)
    }

    fn insert(&mut self, function: Function) -> Result<Bdf, Self::Error> {
        T::insert(self, function)
    }

    fn remove(&mut self, bdf: Bdf) -> Result<(), Self::Error> {
        T::remove(self, bdf)
    }

    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32 {
        T::read(self, bdf, access)
    }

    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect> {
        T::write(self, bdf, access, value)
    }

    fn decoded(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        T::decoded(self, bdf, bar)
    }

    fn command(&self, bdf: Bdf) -> Command {
        T::command(self, bdf)
    }

    fn msix(&self, bdf: Bdf) -> MsixControl {
        T::msix(self, bdf)
    }

    fn set_interrupt_status(&mut self, bdf: Bdf, status: InterruptStatus) {
        T::set_interrupt_status(self, bdf, status);
    }

    fn reset(&mut self, bdf: Bdf) {
        T::reset(self, bdf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requester_id_names_one_function() {
        for id in 0..=u16::MAX {
            let bdf = Bdf::from_requester_id(id);
            assert_eq!(Bdf::new(bdf.bus(), bdf.device(), bdf.function()), Some(bdf));
            assert_eq!(bdf.requester_id(), id);
        }
        assert_eq!(Bdf::new(0, 32, 0), None);
        assert_eq!(Bdf::new(0, 0, 8), None);
        assert_eq!(std::format!("{}", Bdf::new(0x12, 0x1f, 7).unwrap()), "12:1f.7");
    }
}
