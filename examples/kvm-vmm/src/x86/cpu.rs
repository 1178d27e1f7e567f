//! A vCPU's registers: at the start, at a reset, and where something went wrong.

use kvm_bindings::{
    KVM_MP_STATE_UNINITIALIZED, Msrs, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Kvm, VcpuFd};

use super::boot::Entry;
use crate::sys;

type Result<T> = std::result::Result<T, kvm_ioctls::Error>;

/// The descriptors that kernels are entered with: flat segments, at the selectors that the boot protocol asks for (Intel SDM Vol. 3A, §3.4.5).
pub(crate) const GDT: [u64; 5] = [
    0,
    0,
    // 0x10: code, 64-bit.
    0x00af_9b00_0000_ffff,
    // 0x18: data.
    0x00cf_9300_0000_ffff,
    // 0x20: task state.
    0x008f_8b00_0000_ffff,
];

const GDT_ADDRESS: u64 = 0x500;
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

/// Bits of control registers and of EFER.
const CR0_PROTECTED: u64 = 1;
const CR0_EXTENSION: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG: u64 = 1 << 8;
const EFER_LONG_ACTIVE: u64 = 1 << 10;
/// RFLAGS has one bit that is always set.
const FLAGS: u64 = 2;

fn segment(selector: u16, kind: u8) -> kvm_segment {
    kvm_segment { base: 0, limit: 0xffff_ffff, selector, type_: kind, present: 1, s: 1, g: 1, ..Default::default() }
}

/// Sets the first vCPU to where a kernel is entered.
///
/// # Errors
/// What KVM reports.
pub(crate) fn enter(vcpu: &VcpuFd, entry: Entry) -> Result<()> {
    let mut sregs = vcpu.get_sregs()?;
    let (long, rip) = match entry {
        Entry::Long { rip, .. } => (1, rip),
        Entry::Pvh { eip, .. } => (0, eip),
    };
    sregs.cs = kvm_segment { l: long, db: 1 - long, ..segment(CODE, 11) };
    let data = kvm_segment { db: 1, ..segment(DATA, 3) };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = kvm_segment { s: 0, g: 0, limit: 0x67, ..segment(TASK, 11) };
    sregs.gdt.base = GDT_ADDRESS;
    sregs.gdt.limit = u16::try_from(size_of_val(&GDT)).unwrap_or_default().saturating_sub(1);
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    let mut regs = kvm_regs { rip, rflags: FLAGS, ..Default::default() };
    match entry {
        Entry::Long { page_tables, parameters, stack, .. } => {
            sregs.cr3 = page_tables;
            sregs.cr4 = CR4_PAE;
            sregs.cr0 = CR0_PROTECTED | CR0_EXTENSION | CR0_PAGING;
            sregs.efer = EFER_LONG | EFER_LONG_ACTIVE;
            (regs.rsi, regs.rsp, regs.rbp) = (parameters, stack, stack);
        }
        Entry::Pvh { start_info, .. } => {
            (sregs.cr0, sregs.cr4, sregs.efer) = (CR0_PROTECTED | CR0_EXTENSION, 0, 0);
            regs.rbx = start_info;
        }
    }
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&regs)
}

/// All of a vCPU that a reset brings back.
#[derive(Debug)]
pub(crate) struct CpuState {
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: Box<kvm_xsave>,
    xcrs: kvm_xcrs,
    debug: kvm_debugregs,
    lapic: kvm_lapic_state,
    msrs: Vec<kvm_msr_entry>,
    events: kvm_vcpu_events,
    running: kvm_mp_state,
}

impl CpuState {
    /// The state at power-on, of a vCPU that has not run.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn save(kvm: &Kvm, vcpu: &VcpuFd) -> Result<Self> {
        let mut msrs = Vec::new();
        for &index in kvm.get_msr_index_list()?.as_slice() {
            let mut one =
                Msrs::from_entries(&[kvm_msr_entry { index, ..Default::default() }]).map_err(|_| kvm_ioctls::Error::new(libc::ENOMEM))?;
            // Not every processor has all that KVM knows.
            if vcpu.get_msrs(&mut one)? == 1 {
                msrs.extend_from_slice(one.as_slice());
            }
        }
        Ok(Self {
            regs: vcpu.get_regs()?,
            sregs: vcpu.get_sregs()?,
            xsave: Box::new(vcpu.get_xsave()?),
            xcrs: vcpu.get_xcrs()?,
            debug: vcpu.get_debug_regs()?,
            lapic: vcpu.get_lapic()?,
            msrs,
            events: vcpu.get_vcpu_events()?,
            running: vcpu.get_mp_state()?,
        })
    }

    /// Brings the state back. The guest of `vcpu` is stopped.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn restore(&self, vcpu: &VcpuFd) -> Result<()> {
        // What was on its way to the vCPU is forgotten with this: an INIT that comes first leaves nothing behind.
        vcpu.set_mp_state(kvm_mp_state { mp_state: KVM_MP_STATE_UNINITIALIZED })?;
        vcpu.set_sregs(&self.sregs)?;
        vcpu.set_regs(&self.regs)?;
        sys::set_xsave(vcpu, &self.xsave)?;
        // Without XSAVE there are none, and none can be set.
        if self.xcrs.nr_xcrs > 0 {
            vcpu.set_xcrs(&self.xcrs)?;
        }
        vcpu.set_debug_regs(&self.debug)?;
        vcpu.set_lapic(&self.lapic)?;
        for entry in &self.msrs {
            let one = Msrs::from_entries(&[*entry]).map_err(|_| kvm_ioctls::Error::new(libc::ENOMEM))?;
            // Some can be read only.
            vcpu.set_msrs(&one)?;
        }
        vcpu.set_vcpu_events(&self.events)?;
        vcpu.set_mp_state(self.running)
    }
}

/// Registers as lines, for a vCPU that cannot go on: a dozen.
pub(crate) fn dump(vcpu: &VcpuFd) -> Vec<String> {
    let mut lines = Vec::new();
    if let Ok(regs) = vcpu.get_regs() {
        let kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags } = regs;
        lines.push(format!("rip={rip:#018x} rflags={rflags:#010x}"));
        let named = [
            ("rax", rax),
            ("rbx", rbx),
            ("rcx", rcx),
            ("rdx", rdx),
            ("rsi", rsi),
            ("rdi", rdi),
            ("rsp", rsp),
            ("rbp", rbp),
            ("r8", r8),
            ("r9", r9),
            ("r10", r10),
            ("r11", r11),
            ("r12", r12),
            ("r13", r13),
            ("r14", r14),
            ("r15", r15),
        ];
        let row = |row: &[(&str, u64)]| row.iter().map(|(name, value)| format!("{name}={value:#018x}")).collect::<Vec<_>>().join(" ");
        lines.extend(named.chunks(4).map(row));
    }
    if let Ok(sregs) = vcpu.get_sregs() {
        let kvm_sregs { cr0, cr2, cr3, cr4, efer, cs, ss, tr, gdt, idt, .. } = sregs;
        lines.push(format!("cr0={cr0:#x} cr2={cr2:#018x} cr3={cr3:#x} cr4={cr4:#x} efer={efer:#x}"));
        lines
            .push(format!("cs={:#x} base={:#x} l={} db={} ss={:#x} tr={:#x}", cs.selector, cs.base, cs.l, cs.db, ss.selector, tr.selector));
        lines.push(format!("gdt={:#x}/{:#x} idt={:#x}/{:#x}", gdt.base, gdt.limit, idt.base, idt.limit));
    }
    if let Ok(events) = vcpu.get_vcpu_events() {
        let (exception, nmi, interrupt) = (events.exception, events.nmi, events.interrupt);
        lines.push(format!(
            "exception={}:{:#x} error={:#x} interrupt={}:{:#x} nmi={}:{} shadow={}",
            exception.injected,
            exception.nr,
            exception.error_code,
            interrupt.injected,
            interrupt.nr,
            nmi.injected,
            nmi.pending,
            interrupt.shadow
        ));
    }
    lines
}
