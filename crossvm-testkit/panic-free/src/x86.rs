//! A VT-x vCPU whose exits, registers, code and tables nobody knows.

use core::hint::black_box;

use crossvm_core::{Bdf, GuestAddr, InterruptController, Irq, IrqAllocator, Level, Message};
use crossvm_sel4::kernel::{Badge, CPtr, Entered, KernelError, X86Vcpus};
use crossvm_sel4::x86::instruction::Instruction;
use crossvm_sel4::x86::{Exit, FreeLines, GuestRam, Identity, Lines, Start, Vcpu, Vector};

use crate::sel4::{Opaque, opaque};

/// RAM with anything in it, and holes.
struct Ram;

impl GuestRam for Ram {
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
        black_box(at);
        black_box(into);
        black_box(true)
    }
}

impl X86Vcpus for Opaque {
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        opaque((vcpu, tcb))
    }
    fn set_ept_root(&self, tcb: CPtr, root: CPtr) -> Result<(), KernelError> {
        opaque((tcb, root))
    }
    fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered {
        black_box((ip, controls, entry_interruption));
        // As many words as the kernel has chosen to give.
        let mut words = heapless::Vec::new();
        for _ in 0..black_box(17) {
            let _ = words.push(black_box(0));
        }
        if black_box(true) { Entered::Exit(words) } else { Entered::Signal(Badge::new(black_box(1)), words) }
    }
    fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError> {
        opaque((vcpu, field)).map(|()| black_box(0))
    }
    fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError> {
        opaque((vcpu, field)).map(|()| black_box(value))
    }
    fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError> {
        opaque((vcpu, registers.len()))
    }
}

/// Everything that the VMM of a guest in a vCPU calls.
pub(crate) fn vcpu() {
    let page_directory = GuestAddr::new(black_box(0x1000));
    let start = Start { entry: black_box(0), stack: black_box(0), page_directory, large_pages: black_box(true), timer: black_box(None) };
    let Ok(mut vcpu) = Vcpu::new(Opaque, CPtr::new(black_box(1)), &start) else { return };
    let (Some(vector), mut free) = (Vector::new(black_box(48)), FreeLines::new(black_box(4))) else { return };
    let mut lines = Lines::new(black_box(4), vector);
    for _ in 0..black_box(10) {
        if let Ok(irq) = free.allocate() {
            free.release(irq);
        }
        let _ = black_box(lines.set_level(Irq::new(black_box(1)), Level::from_asserted(black_box(true))));
        let message = Message { address: black_box(0xfee0_0000), data: black_box(0x50) };
        let _ = black_box(lines.deliver_msi(Bdf::from_requester_id(black_box(8)), message));
        match vcpu.run(&mut lines, &Ram) {
            Ok(Exit::PortRead { into, .. } | Exit::Memory { into: Some(into), .. }) => drop(black_box(vcpu.answer(into, black_box(1)))),
            Ok(Exit::Memory { access, .. }) => {
                black_box(access);
                vcpu.again();
            }
            Ok(Exit::Cpuid { leaf, .. }) => drop(black_box(vcpu.identify(Identity { eax: leaf, ..Identity::default() }))),
            exit => drop(black_box(exit)),
        }
        black_box(vcpu.delivered());
    }
    black_box(Instruction::decode(black_box(&[0x89, 0x03])));
}
