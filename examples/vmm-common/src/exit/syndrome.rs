//! From the syndrome registers of an exit to what the guest did.

use crossvm_core::{GuestAccess, GuestAddr, GuestRange, Width};

use super::spec::{self, DataAbortIss, Syndrome, SystemRegisterIss};
use crate::vcpu::Registers;

/// Number of a general-purpose register: 31 is the zero register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u8);

impl Register {
    /// The register `number`; only its low five bits count.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number & 31)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

/// Why a guest's instruction trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// HVC: the program counter is behind it already.
    Hypercall,
    /// SMC: the program counter is at it.
    SecureCall,
    /// An access to a system register.
    SystemRegister(SystemRegisterAccess),
    /// An access to memory that stage 2 does not allow.
    DataAbort(Abort),
    /// A fetch that stage 2 does not allow.
    InstructionAbort(Abort),
    /// WFI or WFE.
    Wait,
    /// An instruction that the guest may not use here: to it, undefined. A guest's user space can cause this.
    Refused,
    /// Anything else: the exception class.
    Other(u8),
}

/// A trapped access to a system register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemRegisterAccess {
    /// Op0, Op1, CRn, CRm and Op2 as the syndrome holds them, the rest zero.
    pub encoding: SystemRegisterIss,
    /// The general-purpose register.
    pub register: Register,
    /// A read, not a write.
    pub read: bool,
}

/// An access that stage 2 stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// The guest-physical address.
    pub at: GuestAddr,
    /// What stopped it.
    pub kind: AbortKind,
    /// What the guest wanted there.
    pub access: Access,
}

/// What stopped an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortKind {
    /// Nothing is mapped, or not for this kind of access.
    Stage2,
    /// The same, met by the walk of the guest's own translation tables.
    Stage2OnWalk,
    /// Nothing of stage 2: memory itself failed.
    External,
}

/// What a guest's instruction does at the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A load into a register.
    Load(Loaded),
    /// A store from a register.
    Store {
        /// Number of bytes.
        width: Width,
        /// The register.
        register: Register,
    },
    /// Cache maintenance by address.
    Maintenance,
    /// A load that the hardware does not describe.
    UndecodedLoad,
    /// A store that the hardware does not describe.
    UndecodedStore,
}

/// Where a loaded value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Number of bytes.
    pub width: Width,
    /// The register.
    pub register: Register,
    /// The value is sign-extended, not zero-extended.
    pub sign_extend: bool,
    /// To 64 bits, not 32.
    pub register_64: bool,
}

/// Most bytes that one instruction stores: `dc zva` zeroes a block of 64 on all cores known today, four vector registers are as large.
const UNDECODED_BYTES: u64 = 64;

impl Loaded {
    /// What the register holds after loading `value`.
    #[must_use]
    pub fn extend(self, value: u64) -> u64 {
        let unused = 64u32.saturating_sub(self.width.mask().count_ones());
        let shifted = value.wrapping_shl(unused);
        let extended =
            if self.sign_extend { shifted.cast_signed().wrapping_shr(unused).cast_unsigned() } else { shifted.wrapping_shr(unused) };
        if self.register_64 { extended } else { extended & u64::from(u32::MAX) }
    }
}

impl Abort {
    /// The access for the models, with the value that it stores.
    #[must_use]
    pub fn guest_access(&self, registers: &Registers) -> Option<GuestAccess> {
        // What an undecoded access covers, as far as the page goes that it faulted on.
        let left_in_page = 4096u64.saturating_sub(self.at.get() & 0xfff);
        let range = || GuestRange::new(self.at, UNDECODED_BYTES.min(left_in_page));
        Some(match self.access {
            Access::Load(loaded) => GuestAccess::Read { at: self.at, width: loaded.width },
            Access::Store { width, register } => GuestAccess::Write { at: self.at, width, value: registers.read(register) & width.mask() },
            Access::UndecodedLoad => GuestAccess::UndecodedRead(range()?),
            Access::UndecodedStore => GuestAccess::UndecodedWrite(range()?),
            Access::Maintenance => return None,
        })
    }
}

/// Decodes an exit by a synchronous exception. `far` and `hpfar` are the registers of these names; both count for aborts alone.
#[must_use]
pub fn decode(syndrome: Syndrome, far: u64, hpfar: u64) -> Exit {
    match syndrome.class() {
        spec::CLASS_HVC64 => Exit::Hypercall,
        spec::CLASS_SMC64 => Exit::SecureCall,
        spec::CLASS_SYSTEM_REGISTER => Exit::SystemRegister(system_register(syndrome.iss())),
        spec::CLASS_DATA_ABORT_LOWER => Exit::DataAbort(abort(syndrome.iss(), far, hpfar)),
        spec::CLASS_INSTRUCTION_ABORT_LOWER => Exit::InstructionAbort(abort(syndrome.iss(), far, hpfar)),
        spec::CLASS_WFX => Exit::Wait,
        class if spec::CLASSES_REFUSED.contains(&class) => Exit::Refused,
        other => Exit::Other(other),
    }
}

fn system_register(iss: u32) -> SystemRegisterAccess {
    let iss = SystemRegisterIss::from_bits(iss);
    SystemRegisterAccess { encoding: iss.with_read(false).with_register(0), register: Register::new(iss.register()), read: iss.read() }
}

fn abort(iss: u32, far: u64, hpfar: u64) -> Abort {
    let iss = DataAbortIss::from_bits(iss);
    // HPFAR_EL2 holds bits 51:12 of the guest-physical address in its bits 43:4.
    let at = GuestAddr::new((hpfar & 0xfff_ffff_fff0) << 8 | far & 0xfff);
    let stage2 = matches!(
        iss.fault_status() >> 2,
        spec::FAULT_ADDRESS_SIZE | spec::FAULT_TRANSLATION | spec::FAULT_ACCESS_FLAG | spec::FAULT_PERMISSION
    );
    let kind = match (stage2, iss.stage1_walk()) {
        (false, _) => AbortKind::External,
        (true, true) => AbortKind::Stage2OnWalk,
        (true, false) => AbortKind::Stage2,
    };
    Abort { at, kind, access: access(iss) }
}

fn access(iss: DataAbortIss) -> Access {
    if iss.cache_maintenance() {
        return Access::Maintenance;
    }
    let register = Register::new(iss.register());
    let width = match iss.size() {
        0 => Width::U8,
        1 => Width::U16,
        2 => Width::U32,
        _ => Width::U64,
    };
    match (iss.valid(), iss.write()) {
        (true, true) => Access::Store { width, register },
        (true, false) => Access::Load(Loaded { width, register, sign_extend: iss.sign_extend(), register_64: iss.register_64() }),
        (false, true) => Access::UndecodedStore,
        (false, false) => Access::UndecodedLoad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_abort(iss: DataAbortIss, far: u64, hpfar: u64) -> Abort {
        let syndrome = Syndrome::new().with_class(0x24).with_long_instruction(true).with_iss(iss.into_bits());
        match decode(syndrome, far, hpfar) {
            Exit::DataAbort(abort) => abort,
            other => panic!("{other:?}"),
        }
    }

    /// Syndromes as the architecture lays them out, written down by hand.
    #[test]
    fn decodes_syndromes() {
        // ldr w2, [x1] at 0x08000008 (GICD_IIDR).
        let Exit::DataAbort(abort) = decode(Syndrome::from_bits(0x9382_0006), 0xffff_8000_0800_0008, 0x8_0000) else { panic!() };
        let expected = Loaded { width: Width::U32, register: Register::new(2), sign_extend: false, register_64: false };
        assert_eq!(abort, Abort { at: GuestAddr::new(0x0800_0008), kind: AbortKind::Stage2, access: Access::Load(expected) });
        // msr icc_sgi1r_el1, x3: op0 3, op1 0, CRn 12, CRm 11, op2 5, write.
        let Exit::SystemRegister(access) = decode(Syndrome::from_bits(0x623a_3076), 0, 0) else { panic!() };
        assert_eq!((access.register, access.read), (Register::new(3), false));
        assert_eq!(access.encoding.into_bits(), 0x3a_3016);
        assert_eq!(decode(Syndrome::from_bits(0x5a00_0000), 0, 0), Exit::Hypercall);
        assert_eq!(decode(Syndrome::from_bits(0x5e00_0000), 0, 0), Exit::SecureCall);
        // An AArch32 process reads an implementation-defined coprocessor register.
        assert_eq!(decode(Syndrome::from_bits(0x0e00_0000), 0, 0), Exit::Refused);
        assert_eq!(decode(Syndrome::from_bits(0xbe00_0000), 0, 0), Exit::Other(0x2f));
    }

    #[test]
    fn loads_extend_as_the_instruction_says() {
        let load = |width, sign_extend, register_64| Loaded { width, register: Register::new(0), sign_extend, register_64 };
        assert_eq!(load(Width::U8, false, false).extend(0xffff_ff80), 0x80);
        assert_eq!(load(Width::U8, true, false).extend(0x80), 0xffff_ff80);
        assert_eq!(load(Width::U8, true, true).extend(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(load(Width::U16, true, true).extend(0x7fff), 0x7fff);
        assert_eq!(load(Width::U32, true, true).extend(0x8000_0000), 0xffff_ffff_8000_0000);
        assert_eq!(load(Width::U32, false, false).extend(u64::MAX), 0xffff_ffff);
        assert_eq!(load(Width::U64, false, true).extend(u64::MAX - 1), u64::MAX - 1);
    }

    #[test]
    fn an_undecoded_store_covers_what_may_have_been_stored_and_no_other_page() {
        let iss = DataAbortIss::new().with_fault_status(0b1111).with_write(true);
        let abort = data_abort(iss, 0xfe0, 0x10_0000);
        assert_eq!(abort.at, GuestAddr::new(0x1000_0fe0));
        let range = GuestRange::new(GuestAddr::new(0x1000_0fe0), 32).unwrap();
        assert_eq!(abort.guest_access(&Registers::default()), Some(GuestAccess::UndecodedWrite(range)));
        let walk = data_abort(iss.with_stage1_walk(true), 0, 0x10_0000);
        assert_eq!(walk.kind, AbortKind::Stage2OnWalk);
        assert_eq!(data_abort(iss.with_fault_status(0b01_0000), 0, 0).kind, AbortKind::External);
        assert_eq!(data_abort(iss.with_cache_maintenance(true), 0, 0).guest_access(&Registers::default()), None);
    }

    #[test]
    fn the_zero_register_stores_zero() {
        let mut registers = Registers::default();
        registers.write(Register::new(31), 5);
        registers.write(Register::new(30), 0x1_2345);
        let iss = DataAbortIss::new().with_fault_status(0b0111).with_write(true).with_valid(true).with_size(1);
        let value = |register| match data_abort(iss.with_register(register), 0, 0).guest_access(&registers) {
            Some(GuestAccess::Write { value, width: Width::U16, .. }) => value,
            other => panic!("{other:?}"),
        };
        assert_eq!(value(31), 0);
        assert_eq!(value(30), 0x2345);
    }
}
