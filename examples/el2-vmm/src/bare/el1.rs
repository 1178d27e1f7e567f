//! The guest's system registers on this CPU.

use core::arch::asm;

use crossvm_arm::VcpuId;
use vmm_common::exit::{El1Registers, SNAPSHOT};
use vmm_common::host::HostAddr;
use vmm_common::pace::Ticks;
use vmm_common::vm::GuestTimer;

use super::registers::{HypervisorConfiguration, Stage2Base, Stage2Control, TimerAccess, TimerControl, read_register, write_register};
use super::{debug, features};

/// SCTLR_EL1 at reset: translation and caches off, little endian; the RES1 bits of Armv8.0.
const CONTROL_RESET: u64 = 0x30d0_0800;
/// MPIDR_EL1 of the first vCPU, as the guest sees it: RES1, affinity 0.0.0.0.
const FIRST_VCPU: u64 = 1 << 31;
/// 64 less the bits of a guest-physical address: 39 bits, so that walks start at level 1 with one table.
const T0SZ: u8 = 25;

/// Sets this CPU up for a vCPU of the guest whose translation tables are at `tables`. It can be entered once it has been reset.
///
/// # Safety
///
/// The tables map nothing but memory that is the guest's to use.
pub(super) unsafe fn prepare(tables: HostAddr, vmid: u16, vcpu: VcpuId) {
    let hypervisor = HypervisorConfiguration::new()
        .with_stage2(true)
        .with_set_way_cleans(true)
        .with_fiq(true)
        .with_irq(true)
        .with_serror(true)
        .with_broadcast(true)
        .with_barrier_shareability(1)
        .with_trap_smc(true)
        .with_trap_implementation_defined(true)
        .with_trap_auxiliary_control(true)
        .with_aarch64(true)
        .with_pointer_keys(true)
        .with_pointer_authentication(true);
    let physical_size = (read_register!("id_aa64mmfr0_el1") & 0b111).min(5);
    let stage2 = Stage2Control::new()
        .with_t0sz(T0SZ)
        .with_start_level(1)
        .with_inner(1)
        .with_outer(1)
        .with_shareability(3)
        .with_physical_size(u8::try_from(physical_size).unwrap_or(0))
        .with_res1(true);
    let base = Stage2Base::new().with_address(tables.get()).with_vmid(vmid);
    let identity = read_register!("midr_el1");
    // SAFETY: none of these registers changes what the VMM itself executes or how it reaches memory; the guest's memory is bounded by
    // stage 2, which is in force before the guest is.
    unsafe {
        write_register!("vtcr_el2", stage2.into_bits());
        write_register!("vttbr_el2", base.into_bits());
        write_register!("hcr_el2", hypervisor.into_bits());
        features::let_through();
        write_register!("hstr_el2", 0);
        debug::let_through();
        write_register!("vpidr_el2", identity);
        write_register!("vmpidr_el2", FIRST_VCPU | u64::from(vcpu.affinity()));
        write_register!("cnthctl_el2", TimerAccess::new().with_physical_counter(true).with_physical_timer(true).into_bits());
        asm!("isb", "tlbi vmalls12e1", "dsb nsh", "isb", options(nostack, preserves_flags));
    }
}

/// The physical count now, of which the guest's virtual count starts when it is given to [`reset`].
pub(super) fn count() -> u64 {
    read_register!("cntpct_el0")
}

/// The registers of EL1 and EL0 as at a reset; what a reset leaves unknown is zero. The virtual counter was zero when the physical one was
/// `epoch`: one value for all vCPUs of a guest.
///
/// # Safety
///
/// The guest is not running on this CPU, and these registers are the guest's.
pub(super) unsafe fn reset(epoch: u64) {
    // SAFETY: registers of EL1 and EL0 have no effect on EL2; translations are fetched anew.
    unsafe {
        write_register!("cntvoff_el2", epoch);
        write_register!("cntv_ctl_el0", 0);
        write_register!("cntp_ctl_el0", 0);
        write_register!("cntkctl_el1", 0);
        write_register!("sctlr_el1", CONTROL_RESET);
        write_register!("actlr_el1", 0);
        write_register!("cpacr_el1", 0);
        write_register!("tcr_el1", 0);
        write_register!("ttbr0_el1", 0);
        write_register!("ttbr1_el1", 0);
        write_register!("mair_el1", 0);
        write_register!("amair_el1", 0);
        write_register!("vbar_el1", 0);
        write_register!("esr_el1", 0);
        write_register!("far_el1", 0);
        write_register!("afsr0_el1", 0);
        write_register!("afsr1_el1", 0);
        write_register!("elr_el1", 0);
        write_register!("spsr_el1", 0);
        write_register!("sp_el0", 0);
        write_register!("sp_el1", 0);
        write_register!("par_el1", 0);
        write_register!("contextidr_el1", 0);
        write_register!("tpidr_el0", 0);
        write_register!("tpidrro_el0", 0);
        write_register!("tpidr_el1", 0);
        write_register!("csselr_el1", 0);
        debug::reset();
        features::reset();
        // What this CPU remembers of the guest's own tables, and of instructions that are no more.
        asm!("isb", "tlbi vmalle1", "ic iallu", "dsb nsh", "isb", options(nostack, preserves_flags));
    }
}

/// The registers that an exception entry uses.
#[derive(Debug)]
pub(super) struct Live;

impl El1Registers for Live {
    fn vector_base(&self) -> u64 {
        read_register!("vbar_el1")
    }

    fn control(&self) -> u64 {
        read_register!("sctlr_el1")
    }

    fn save(&mut self, return_address: u64, pstate: u64, syndrome: u64) {
        // SAFETY: the guest's registers, which the exception that it takes changes.
        unsafe {
            write_register!("elr_el1", return_address);
            write_register!("spsr_el1", pstate);
            write_register!("esr_el1", syndrome);
        }
    }

    fn set_fault_address(&mut self, address: u64) {
        // SAFETY: as above.
        unsafe { write_register!("far_el1", address) };
    }

    fn snapshot(&self) -> [(&'static str, u64); SNAPSHOT] {
        macro_rules! named {
            ($($name:literal),*) => { [$(($name, read_register!($name))),*] };
        }
        named![
            "elr_el1",
            "spsr_el1",
            "esr_el1",
            "far_el1",
            "vbar_el1",
            "sctlr_el1",
            "ttbr0_el1",
            "ttbr1_el1",
            "tcr_el1",
            "sp_el0",
            "sp_el1",
            "par_el1"
        ]
    }
}

/// Whether a timer of the guest asserts its interrupt.
pub(super) fn timer_asserts(timer: GuestTimer) -> bool {
    let control = TimerControl::from_bits(match timer {
        GuestTimer::Virtual => read_register!("cntv_ctl_el0"),
        GuestTimer::Physical => read_register!("cntp_ctl_el0"),
    });
    control.enable() && control.status() && !control.mask()
}

/// Stops the timers of EL1, for a CPU whose guest is not entered any more, or not yet.
pub(super) fn stop_timers() {
    // SAFETY: they are the guest's, which does not run; the VMM itself has no use for them.
    unsafe {
        write_register!("cntv_ctl_el0", 0);
        write_register!("cntp_ctl_el0", 0);
    }
}

/// Starts this CPU's timer of EL2, which interrupts from `until` on.
pub(super) fn start_own_timer(until: Ticks) {
    // SAFETY: nobody but the VMM uses this timer.
    unsafe {
        write_register!("cnthp_cval_el2", until.get());
        write_register!("cnthp_ctl_el2", TimerControl::new().with_enable(true).into_bits());
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Stops this CPU's timer of EL2.
pub(super) fn stop_own_timer() {
    // SAFETY: as above.
    unsafe {
        write_register!("cnthp_ctl_el2", 0);
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// The guest-physical page that the guest's own tables give for a virtual address, as HPFAR_EL2 holds it; `None` where they give none.
///
/// After a permission fault that was not met on a walk, HPFAR_EL2 itself is not valid (Arm DDI 0487, HPFAR_EL2).
pub(super) fn translate(far: u64) -> Option<u64> {
    let saved = read_register!("par_el1");
    // SAFETY: translates with the guest's tables and changes PAR_EL1 alone, which is restored below.
    unsafe { asm!("at s1e1r, {}", "isb", in(reg) far, options(nostack, preserves_flags)) };
    let result = read_register!("par_el1");
    // SAFETY: the guest's register, as it was.
    unsafe { write_register!("par_el1", saved) };
    // PAR_EL1: F in bit 0, the address in bits 51:12. HPFAR_EL2: bits 51:12 in bits 43:4.
    if result & 1 == 0 { Some(((result >> 12) & 0xff_ffff_ffff) << 4) } else { None }
}
