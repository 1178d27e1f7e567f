//! System registers: access, and the layouts of those that the VMM composes (Arm DDI 0487, D17.2; IHI 0069, 12.2).

use bitfield_struct::bitfield;

/// Reads a system register. Reading one never changes memory.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reads a register into a general-purpose one and touches neither memory nor stack.
        unsafe { core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nostack, preserves_flags)) };
        value
    }};
}

/// Writes a system register. To be used in an `unsafe` block that says why the machine stays sound.
macro_rules! write_register {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags))
    }};
}

pub(super) use {read_register, write_register};

/// HCR_EL2.
#[bitfield(u64)]
pub(super) struct HypervisorConfiguration {
    /// Stage 2 translation.
    pub(super) stage2: bool,
    /// Set/way invalidation also cleans.
    pub(super) set_way_cleans: bool,
    _ptw: bool,
    /// Physical FIQs come to EL2; virtual ones are enabled.
    pub(super) fiq: bool,
    /// Physical IRQs come to EL2; virtual ones are enabled. Also traps ICC_SGI*R.
    pub(super) irq: bool,
    /// Physical SErrors come to EL2.
    pub(super) serror: bool,
    #[bits(3)]
    _virtual: u8,
    /// TLB and cache maintenance of the guest reaches all CPUs.
    pub(super) broadcast: bool,
    /// Barriers of the guest have at least this shareability.
    #[bits(2)]
    pub(super) barrier_shareability: u8,
    #[bits(7)]
    _low: u8,
    /// SMC traps.
    pub(super) trap_smc: bool,
    /// Implementation-defined registers trap.
    pub(super) trap_implementation_defined: bool,
    /// ACTLR_EL1 traps.
    pub(super) trap_auxiliary_control: bool,
    #[bits(9)]
    _middle: u16,
    /// EL1 is AArch64.
    pub(super) aarch64: bool,
    #[bits(8)]
    _high: u8,
    /// Pointer authentication keys do not trap.
    pub(super) pointer_keys: bool,
    /// Pointer authentication instructions do not trap.
    pub(super) pointer_authentication: bool,
    #[bits(22)]
    _rest: u32,
}

/// VTCR_EL2.
#[bitfield(u64)]
pub(super) struct Stage2Control {
    /// 64 less the bits of a guest-physical address.
    #[bits(6)]
    pub(super) t0sz: u8,
    /// Level that walks start at: 1 for level 1, with 4 KiB pages.
    #[bits(2)]
    pub(super) start_level: u8,
    /// Walks are inner write-back cacheable: 1.
    #[bits(2)]
    pub(super) inner: u8,
    /// Walks are outer write-back cacheable: 1.
    #[bits(2)]
    pub(super) outer: u8,
    /// Walks are inner shareable: 3.
    #[bits(2)]
    pub(super) shareability: u8,
    #[bits(2)]
    _granule: u8,
    /// Bits of a host-physical address, as ID_AA64MMFR0_EL1.PARange has them.
    #[bits(3)]
    pub(super) physical_size: u8,
    #[bits(12)]
    _rest: u16,
    /// RES1.
    pub(super) res1: bool,
    #[bits(32)]
    _upper: u32,
}

/// VTTBR_EL2.
#[bitfield(u64)]
pub(super) struct Stage2Base {
    /// Address of the table of the first level.
    #[bits(48)]
    pub(super) address: u64,
    /// Which guest's translations these are.
    pub(super) vmid: u16,
}

/// CNTHCTL_EL2 with HCR_EL2.E2H clear.
#[bitfield(u64)]
pub(super) struct TimerAccess {
    /// The guest may read the physical counter.
    pub(super) physical_counter: bool,
    /// The guest may use the physical timer.
    pub(super) physical_timer: bool,
    #[bits(62)]
    _rest: u64,
}

/// CNTV_CTL_EL0, CNTP_CTL_EL0.
#[bitfield(u64)]
pub(super) struct TimerControl {
    /// The timer counts.
    pub(super) enable: bool,
    /// Its interrupt is masked.
    pub(super) mask: bool,
    /// Its time has come.
    pub(super) status: bool,
    #[bits(61)]
    _rest: u64,
}

/// ICC_SGI1R_EL1.
#[bitfield(u64)]
pub(super) struct SgiRequest {
    /// CPUs of the cluster, by the low four bits of Aff0.
    pub(super) targets: u16,
    /// Aff1.
    pub(super) affinity1: u8,
    /// The SGI.
    #[bits(4)]
    pub(super) intid: u8,
    #[bits(4)]
    _low: u8,
    /// Aff2.
    pub(super) affinity2: u8,
    /// All but the sender.
    pub(super) all_but_self: bool,
    #[bits(3)]
    _middle: u8,
    /// The high four bits of Aff0.
    #[bits(4)]
    pub(super) range: u8,
    /// Aff3.
    pub(super) affinity3: u8,
    _high: u8,
}
