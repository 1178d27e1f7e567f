//! What the VMM says about running and leaving the guest (§25.6 to §25.8).

use bitfield_struct::bitfield;

/// Pin-based controls (§25.6.1). seL4 sets the exits for external interrupts and NMIs, and virtual NMIs.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct PinControls {
    #[bits(6)]
    __: u8,
    /// The preemption timer counts while the guest runs, and leaves it at 0.
    pub preemption_timer: bool,
    #[bits(25)]
    __: u32,
}

/// Primary processor-based controls (§25.6.2). seL4 sets the bitmaps for ports and MSRs, both with every bit set at first, and the secondary controls.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct PrimaryControls {
    #[bits(2)]
    __: u8,
    /// The guest is left as soon as it can be interrupted: the interrupt window.
    pub interrupt_window: bool,
    #[bits(4)]
    __: u8,
    /// HLT leaves the guest.
    pub hlt: bool,
    #[bits(2)]
    __: u8,
    /// MWAIT leaves the guest.
    pub mwait: bool,
    /// RDPMC leaves the guest.
    pub rdpmc: bool,
    #[bits(11)]
    __: u16,
    /// Moves to and from debug registers leave the guest.
    pub mov_dr: bool,
    #[bits(5)]
    __: u8,
    /// MONITOR leaves the guest.
    pub monitor: bool,
    #[bits(2)]
    __: u8,
}

/// VM-exit controls (§25.7.1). seL4 sets what makes it a 64-bit host again, and saves and loads of PAT and EFER.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct ExitControls {
    #[bits(22)]
    __: u32,
    /// What is left of the preemption timer is kept at an exit. Without it the timer starts anew at each entry, and one that is longer than the
    /// time between two exits never ends.
    pub save_preemption_timer: bool,
    #[bits(9)]
    __: u16,
}

/// The kind of an event that is delivered to a guest (§25.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum InterruptionKind {
    /// An interrupt.
    External = 0,
    /// A non-maskable interrupt.
    Nmi = 2,
    /// A processor exception.
    Exception = 3,
    /// INT n, INT3, INTO or INT1: the instruction is executed again.
    Software = 4,
}

impl InterruptionKind {
    const fn into_bits(self) -> u8 {
        self as u8
    }

    const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::External,
            2 => Self::Nmi,
            3 => Self::Exception,
            _ => Self::Software,
        }
    }
}

/// An event to deliver when the guest is entered (§25.8.3). Where the entry was made, the processor clears `valid`. The event that an exit has
/// cut short has the same layout (§25.9.3).
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct EntryInterruption {
    /// Its vector.
    pub vector: u8,
    /// Its kind.
    #[bits(3, default = InterruptionKind::External)]
    pub kind: InterruptionKind,
    /// An error code goes with it.
    pub error_code: bool,
    #[bits(19)]
    __: u32,
    /// There is one.
    pub valid: bool,
}
