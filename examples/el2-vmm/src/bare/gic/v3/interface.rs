//! The CPU interface: acknowledging, ending and sending.

use core::arch::asm;

use vmm_common::host::Mpidr;

use crate::bare::registers::{SgiRequest, read_register, write_register};

use crate::bare::gic::KICK;

/// INTIDs from here on are special: nothing is pending.
const SPECIAL: u64 = 1020;

/// Makes this CPU take group 1 interrupts of any priority.
pub(in crate::bare::gic) fn enable_interface() {
    // SAFETY: interrupts are masked while the VMM runs, so this changes nothing but what makes a guest exit, and what a guest finds:
    // ICC_SRE_EL2: system registers for EL2 and EL1, without traps. EOImode = 1 in ICC_CTLR_EL1. No virtual interrupts yet.
    unsafe {
        write_register!("icc_sre_el2", 0b1111);
        asm!("isb", options(nostack, preserves_flags));
        write_register!("icc_pmr_el1", 0xff);
        write_register!("icc_bpr1_el1", 0);
        write_register!("icc_ctlr_el1", 0b10);
        write_register!("icc_igrpen1_el1", 1);
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Brings the guest's CPU interface to what it is after a reset: nothing enabled, nothing active. The guest is not running on this CPU.
pub(in crate::bare::gic) fn reset_virtual_interface() {
    // SAFETY: these registers decide what interrupts the guest, and nothing else.
    unsafe {
        write_register!("ich_vmcr_el2", 0);
        write_register!("ich_hcr_el2", 0);
        asm!("isb", options(nostack, preserves_flags));
    }
    super::ListRegisters::clear();
}

/// Acknowledges what is pending.
pub(in crate::bare::gic) fn acknowledge() -> Option<u32> {
    let intid = read_register!("icc_iar1_el1") & 0xff_ffff;
    // SAFETY: a barrier changes nothing.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    if intid >= SPECIAL { None } else { u32::try_from(intid).ok() }
}

/// Lets interrupts of the same priority come again; this one stays active.
pub(in crate::bare::gic) fn drop_priority(intid: u32) {
    // SAFETY: ends what `acknowledge` began, once.
    unsafe {
        write_register!("icc_eoir1_el1", u64::from(intid));
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Lets this interrupt come again.
pub(in crate::bare::gic) fn deactivate(intid: u32) {
    // SAFETY: changes nothing but whether the interrupt comes again.
    unsafe {
        write_register!("icc_dir_el1", u64::from(intid));
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Makes a CPU leave its guest. Everything stored before is visible to it then.
pub(in crate::bare::gic) fn send_kick(cpu: Mpidr) {
    let [aff0, aff1, aff2, aff3] = cpu.packed().to_le_bytes();
    let kick = u8::try_from(KICK).unwrap_or(0);
    let request = SgiRequest::new()
        .with_targets(1 << (aff0 & 0xf))
        .with_range(aff0 >> 4)
        .with_affinity1(aff1)
        .with_affinity2(aff2)
        .with_affinity3(aff3)
        .with_intid(kick);
    // SAFETY: the barrier completes the stores before the interrupt; the receiver only leaves its guest and looks for mail.
    unsafe {
        asm!("dsb sy", options(nostack, preserves_flags));
        write_register!("icc_sgi1r_el1", request.into_bits());
        asm!("isb", options(nostack, preserves_flags));
    }
}
