//! Fields of the VMCS (appendix B). Only those are here that this crate uses and that seL4 lets a VMM read or write.

/// A field of the VMCS, by its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Field {
    /// Pin-based VM-execution controls: [`PinControls`](super::PinControls).
    PinControls = 0x4000,
    /// Primary processor-based VM-execution controls: [`PrimaryControls`](super::PrimaryControls).
    PrimaryControls = 0x4002,
    /// A bit for each exception that leaves the guest.
    ExceptionBitmap = 0x4004,
    /// VM-exit controls: [`ExitControls`](super::ExitControls).
    ExitControls = 0x400c,
    /// VM-entry controls (§25.8.1): whether the guest is in 64-bit mode, and what is loaded with it.
    EntryControls = 0x4012,
    /// VM-entry interruption information: [`EntryInterruption`](super::EntryInterruption).
    EntryInterruption = 0x4016,
    /// Secondary processor-based VM-execution controls. seL4 sets what it needs: EPT and virtual processor identifiers.
    SecondaryControls = 0x401e,
    /// Why a VM entry has failed.
    InstructionError = 0x4400,
    /// The event that was being delivered when the guest was left, as [`EntryInterruption`](super::EntryInterruption).
    IdtVectoring = 0x4408,
    /// Bytes up to the end of the guest's global descriptor table, less one.
    GuestGdtrLimit = 0x4810,
    /// Bytes up to the end of the guest's interrupt descriptor table, less one.
    GuestIdtrLimit = 0x4812,
    /// What keeps the guest from being interrupted: [`Interruptibility`](super::Interruptibility).
    GuestInterruptibility = 0x4824,
    /// 0: the guest runs.
    GuestActivity = 0x4826,
    /// What is left of the preemption timer.
    PreemptionTimer = 0x482e,
    /// Bits of CR0 that the VMM owns.
    Cr0Mask = 0x6000,
    /// Bits of CR4 that the VMM owns.
    Cr4Mask = 0x6002,
    /// What the guest reads of the bits of CR0 that the VMM owns.
    Cr0Shadow = 0x6004,
    /// What the guest reads of the bits of CR4 that the VMM owns.
    Cr4Shadow = 0x6006,
    /// The guest's CR0: [`Cr0`](super::Cr0).
    GuestCr0 = 0x6800,
    /// The guest's CR3.
    GuestCr3 = 0x6802,
    /// The guest's CR4: [`Cr4`](super::Cr4).
    GuestCr4 = 0x6804,
    /// Base of the guest's global descriptor table.
    GuestGdtrBase = 0x6816,
    /// Base of the guest's interrupt descriptor table.
    GuestIdtrBase = 0x6818,
    /// The guest's DR7.
    GuestDr7 = 0x681a,
    /// The guest's stack pointer.
    GuestStackPointer = 0x681c,
    /// The guest's flags: [`Flags`](super::Flags).
    GuestFlags = 0x6820,
}

impl Field {
    /// The number that the instructions and seL4 take.
    #[must_use]
    pub const fn encoding(self) -> u64 {
        self as u64
    }
}

/// A segment register, in the order in which the VMCS has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Segment {
    /// Data.
    Es = 0,
    /// Code.
    Cs = 1,
    /// Stack.
    Ss = 2,
    /// Data.
    Ds = 3,
    /// Data.
    Fs = 4,
    /// Data.
    Gs = 5,
    /// Local descriptor table.
    Ldtr = 6,
    /// Task state.
    Tr = 7,
}

impl Segment {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs, Self::Ldtr, Self::Tr];

    /// Encoding of the field with its selector.
    #[must_use]
    pub const fn selector(self) -> u64 {
        0x0800 | (self as u64) << 1
    }

    /// Encoding of the field with its limit.
    #[must_use]
    pub const fn limit(self) -> u64 {
        0x4800 | (self as u64) << 1
    }

    /// Encoding of the field with its [`AccessRights`](super::AccessRights).
    #[must_use]
    pub const fn access_rights(self) -> u64 {
        0x4814_u64.wrapping_add((self as u64) << 1)
    }

    /// Encoding of the field with its base.
    #[must_use]
    pub const fn base(self) -> u64 {
        0x6806_u64.wrapping_add((self as u64) << 1)
    }
}
