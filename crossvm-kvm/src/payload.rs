//! Guests of a few instructions, for probes and tests: a vCPU in 64-bit mode, with the first 4 GiB of addresses mapped as they are.
//!
//! | guest-physical | what |
//! | --- | --- |
//! | 0x1000–0x6fff | page tables |
//! | 0x7000 | global descriptors: null, code, data |
//! | [`CODE`] | the program |
//! | below [`STACK`] | the stack |
//! | [`IDT`] | interrupt descriptors, all absent |

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment};
use kvm_ioctls::{Kvm, VcpuFd};
use rustix::io::Errno;
use vm_memory::{Bytes, GuestRegionMmap, MemoryRegionAddress};

use crate::error::{Call, CallError};

/// Where the program starts.
pub const CODE: u64 = 0x8000;
/// Top of the stack.
pub const STACK: u64 = 0x1_0000;
/// The interrupt descriptor table: 4 KiB.
pub const IDT: u64 = 0x1_1000;
/// Bytes of RAM, from address 0 on, that all this takes.
pub const RAM: usize = 0x2_0000;

const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORIES: u64 = 0x3000;
const GDT: u64 = 0x7000;
/// Selectors of code and data.
const CODE_SELECTOR: u16 = 8;
const DATA_SELECTOR: u16 = 16;
/// Descriptors: flat, present, 64-bit code and data.
const DESCRIPTORS: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// Page table bits: present, writable, and a page of 2 MiB.
const TABLE: u64 = 3;
const PAGE: u64 = 0x83;

/// CR0: protection, coprocessor monitoring, native FPU errors and paging, and no FPU emulation. CR4: PAE and SSE. EFER: long mode.
const CR0: u64 = 0x8000_0033;
const CR4: u64 = 0x620;
const EFER: u64 = 0x500;

/// Puts bytes into the guest's RAM, which starts at address 0.
///
/// # Errors
/// `EFAULT` where the RAM does not reach so far.
pub fn put(ram: &GuestRegionMmap, at: u64, bytes: &[u8]) -> Result<(), CallError> {
    ram.write_slice(bytes, MemoryRegionAddress(at)).map_err(|_| CallError::new(Call::Regs, Errno::FAULT))
}

/// Brings a vCPU to 64-bit mode. Its RAM, [`RAM`] bytes at least, starts at address 0.
///
/// # Errors
/// What the kernel reports; as [`put`].
pub fn long_mode(kvm: &Kvm, vcpu: &VcpuFd, ram: &GuestRegionMmap) -> Result<(), CallError> {
    let sregs_failed = CallError::of_ioctl(Call::Sregs);
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(&sregs_failed)?;
    vcpu.set_cpuid2(&cpuid).map_err(&sregs_failed)?;
    put(ram, PML4, &(PDPT | TABLE).to_le_bytes())?;
    for (gib, (directory, entry)) in (0u64..4).zip((DIRECTORIES..).step_by(0x1000).zip((PDPT..).step_by(8))) {
        put(ram, entry, &(directory | TABLE).to_le_bytes())?;
        for (index, entry) in (0u64..512).zip((directory..).step_by(8)) {
            put(ram, entry, &(gib << 30 | index << 21 | PAGE).to_le_bytes())?;
        }
    }
    for (descriptor, at) in DESCRIPTORS.into_iter().zip((GDT..).step_by(8)) {
        put(ram, at, &descriptor.to_le_bytes())?;
    }
    let mut sregs = vcpu.get_sregs().map_err(&sregs_failed)?;
    let flat = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Default::default() };
    sregs.cs = kvm_segment { selector: CODE_SELECTOR, type_: 11, l: 1, ..flat };
    let data = kvm_segment { selector: DATA_SELECTOR, type_: 3, db: 1, ..flat };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 23);
    (sregs.idt.base, sregs.idt.limit) = (IDT, 0xfff);
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (CR0, PML4, CR4, EFER);
    vcpu.set_sregs(&sregs).map_err(&sregs_failed)
}

/// Puts a program in place and the vCPU at its start, with interrupts disabled.
///
/// # Errors
/// What the kernel reports; as [`put`].
pub fn start(vcpu: &VcpuFd, ram: &GuestRegionMmap, code: &[u8]) -> Result<(), CallError> {
    put(ram, CODE, code)?;
    // Bit 1 of the flags is always set.
    vcpu.set_regs(&kvm_regs { rip: CODE, rsp: STACK, rflags: 2, ..Default::default() }).map_err(CallError::of_ioctl(Call::Regs))
}

/// Lets interrupt or exception `vector` go to the code at `handler`.
///
/// # Errors
/// As [`put`].
pub fn set_handler(ram: &GuestRegionMmap, vector: u8, handler: u32) -> Result<(), CallError> {
    let [a, b, c, d] = handler.to_le_bytes();
    let [low, high] = CODE_SELECTOR.to_le_bytes();
    // An interrupt gate that is present.
    let gate = [a, b, low, high, 0, 0x8e, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
    put(ram, IDT.saturating_add(u64::from(vector).saturating_mul(16)), &gate)
}
