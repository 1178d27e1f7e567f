//! The functions of the shim (`shim/*.c`), by their C names.
//!
//! Those that only take and give numbers, or write to what they are given by reference, are safe to call once [`crossvm_start`] was: what
//! they do is the kernel's answer to a capability that the caller holds.

use crate::kernel::MESSAGE_WORDS;

/// `enum right` of `shim/kernel.h`.
pub(super) const RIGHT_READ: u64 = 1;
/// Write.
pub(super) const RIGHT_WRITE: u64 = 2;
/// Grant.
pub(super) const RIGHT_GRANT: u64 = 4;

/// `enum message_kind` of `shim/message.c`.
pub(super) mod kind {
    pub(in super::super) const NONE: u64 = 0;
    pub(in super::super) const SIGNAL: u64 = 1;
    pub(in super::super) const USER: u64 = 2;
    pub(in super::super) const CAP_FAULT: u64 = 3;
    pub(in super::super) const UNKNOWN_SYSCALL: u64 = 4;
    pub(in super::super) const USER_EXCEPTION: u64 = 5;
    pub(in super::super) const VM_FAULT: u64 = 6;
    pub(in super::super) const VGIC_MAINTENANCE: u64 = 7;
    pub(in super::super) const VCPU_FAULT: u64 = 8;
    pub(in super::super) const VPPI_EVENT: u64 = 9;
}

/// `struct message` of `shim/message.c`.
#[repr(C)]
#[derive(Default)]
pub(super) struct RawMessage {
    pub(super) badge: u64,
    pub(super) kind: u64,
    pub(super) label: u64,
    pub(super) length: u64,
    pub(super) words: [u64; MESSAGE_WORDS],
}

/// `struct boot` of `shim/boot.c`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct RawBoot {
    pub(super) ipc_buffer: u64,
    pub(super) cspace_bits: u64,
    pub(super) empty: [u64; 2],
    pub(super) untyped: [u64; 2],
    pub(super) image: [u64; 2],
    pub(super) extra_length: u64,
}

/// `struct untyped` of `shim/boot.c`.
#[repr(C)]
#[derive(Default)]
pub(super) struct RawUntyped {
    pub(super) address: u64,
    pub(super) bits: u64,
    pub(super) device: u64,
}

/// `struct entered` of `shim/x86.c`.
#[cfg(sel4_vtx)]
#[repr(C)]
#[derive(Default)]
pub(super) struct RawEntered {
    pub(super) badge: u64,
    pub(super) exit: u64,
    pub(super) length: u64,
    pub(super) words: [u64; MESSAGE_WORDS],
}

// SAFETY: the declarations are those of the C files; a reference is a pointer that is valid for the call.
unsafe extern "C" {
    pub(super) unsafe fn crossvm_start(ipc_buffer: u64);

    pub(super) safe fn crossvm_signal(notification: u64);
    pub(super) safe fn crossvm_wait(notification: u64) -> u64;
    pub(super) safe fn crossvm_poll(notification: u64) -> u64;
    pub(super) safe fn crossvm_yield();

    pub(super) safe fn crossvm_copy(cspace: u64, from: u64, to: u64, rights: u64) -> u64;
    pub(super) safe fn crossvm_mint(cspace: u64, from: u64, to: u64, rights: u64, badge: u64) -> u64;
    pub(super) safe fn crossvm_badge_bits() -> u64;
    pub(super) safe fn crossvm_mint_into(cspace: u64, from: u64, cnode: u64, index: u64, bits: u64, rights: u64, badge: u64) -> u64;
    pub(super) safe fn crossvm_guard_into(cspace: u64, from: u64, cnode: u64, index: u64, bits: u64, guard_bits: u64) -> u64;
    pub(super) safe fn crossvm_delete(cspace: u64, slot: u64) -> u64;
    pub(super) safe fn crossvm_revoke(cspace: u64, slot: u64) -> u64;
    pub(super) safe fn crossvm_retype(cspace: u64, untyped: u64, kind: u64, bits: u64, to: u64) -> u64;
    pub(super) safe fn crossvm_object_bits(kind: u64, bits: u64) -> u64;

    pub(super) safe fn crossvm_map_frame(frame: u64, root: u64, ept: u64, at: u64, rights: u64, attribute: u64, missing: &mut u64) -> u64;
    pub(super) safe fn crossvm_unmap_frame(frame: u64) -> u64;
    pub(super) safe fn crossvm_frame_address(frame: u64, address: &mut u64) -> u64;
    pub(super) safe fn crossvm_map_table(table: u64, bits: u64, root: u64, ept: u64, at: u64, missing: &mut u64) -> u64;
    pub(super) safe fn crossvm_unmap_table(table: u64, bits: u64, ept: u64) -> u64;
    pub(super) safe fn crossvm_assign_asid(pool: u64, root: u64) -> u64;

    pub(super) safe fn crossvm_receive(endpoint: u64, blocking: u64, message: &mut RawMessage);
    pub(super) unsafe fn crossvm_reply(label: u64, words: *const u64, length: u64);

    pub(super) safe fn crossvm_configure(
        tcb: u64,
        fault_endpoint: u64,
        cspace: u64,
        guard_bits: u64,
        vspace: u64,
        buffer: u64,
        buffer_frame: u64,
    ) -> u64;
    pub(super) safe fn crossvm_set_priority(tcb: u64, authority: u64, priority: u64) -> u64;
    pub(super) safe fn crossvm_bind_notification(tcb: u64, notification: u64) -> u64;
    pub(super) unsafe fn crossvm_read_registers(tcb: u64, registers: *mut u64, count: u64) -> u64;
    pub(super) unsafe fn crossvm_write_registers(tcb: u64, registers: *const u64, count: u64) -> u64;
    pub(super) safe fn crossvm_resume(tcb: u64) -> u64;
    pub(super) safe fn crossvm_suspend(tcb: u64) -> u64;

    pub(super) unsafe fn crossvm_boot(info: *const u8, boot: &mut RawBoot);
    pub(super) unsafe fn crossvm_untyped(info: *const u8, index: u64, untyped: &mut RawUntyped) -> i32;
    pub(super) safe fn crossvm_debug_byte(byte: u64);
    pub(super) safe fn crossvm_debug_halt();
    pub(super) safe fn crossvm_debug_identify(slot: u64) -> u64;
}

#[cfg(target_arch = "aarch64")]
// SAFETY: as above.
unsafe extern "C" {
    pub(super) safe fn crossvm_clean_frame(frame: u64, length: u64) -> u64;
    pub(super) safe fn crossvm_vcpu_set_tcb(vcpu: u64, tcb: u64) -> u64;
    pub(super) safe fn crossvm_vcpu_inject(vcpu: u64, intid: u64, priority: u64, group: u64, index: u64) -> u64;
    pub(super) safe fn crossvm_vcpu_acknowledge(vcpu: u64, intid: u64) -> u64;
    pub(super) safe fn crossvm_vcpu_read(vcpu: u64, number: u64, value: &mut u64) -> u64;
    pub(super) safe fn crossvm_vcpu_write(vcpu: u64, number: u64, value: u64) -> u64;
}

#[cfg(target_arch = "x86_64")]
// SAFETY: as above.
unsafe extern "C" {
    pub(super) safe fn crossvm_issue_ports(cspace: u64, first: u64, last: u64, to: u64) -> u64;
    pub(super) safe fn crossvm_port_in(ports: u64, port: u64, width: u64, value: &mut u64) -> u64;
    pub(super) safe fn crossvm_port_out(ports: u64, port: u64, width: u64, value: u64) -> u64;
}

#[cfg(sel4_vtx)]
// SAFETY: as above.
unsafe extern "C" {
    pub(super) safe fn crossvm_vcpu_set_tcb(vcpu: u64, tcb: u64) -> u64;
    pub(super) safe fn crossvm_set_ept_root(tcb: u64, root: u64) -> u64;
    pub(super) safe fn crossvm_vm_enter(ip: u64, controls: u64, interruption: u64, entered: &mut RawEntered);
    pub(super) safe fn crossvm_vmcs_read(vcpu: u64, field: u64, value: &mut u64) -> u64;
    pub(super) safe fn crossvm_vmcs_write(vcpu: u64, field: u64, value: u64, written: &mut u64) -> u64;
    pub(super) unsafe fn crossvm_vcpu_write_registers(vcpu: u64, registers: *const u64, count: u64) -> u64;
}
