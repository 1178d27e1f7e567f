//! What a fault message of a vCPU says, as the syndrome registers would.

use crossvm_sel4::kernel::{Label, Message};
use el2_vmm::exit::spec::{self, Syndrome};
use el2_vmm::vm::Trap;

/// Why a vCPU has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// For something that the VM serves.
    Trap(Trap),
    /// By HVC: the kernel takes it for a system call, known to it or not, and has the vCPU where the instruction is.
    Hypercall(Trap),
    /// It waits for an interrupt (WFI), or for an event (WFE), which the VMM does not know.
    Wait(Trap),
    /// The kernel says what the VMM does not know.
    Unknown(u64),
}

/// WFE, not WFI (Arm DDI 0487, ESR_ELx, ISS of an exception from WFI: TI).
const EVENT: u32 = 1;

/// Decodes a message that is not about an interrupt.
pub(super) fn stopped(message: &Message) -> Stopped {
    match message.label {
        Label::VmFault => {
            // The kernel tells the guest-physical address, and the guest's virtual one only by its lowest bits.
            let address = message.word(Label::VM_FAULT_ADDRESS);
            let syndrome = Syndrome::from_bits(message.word(Label::VM_FAULT_STATUS));
            Stopped::Trap(Trap { syndrome, far: address, hpfar: address >> 12 << 4 })
        }
        Label::VcpuFault => {
            let syndrome = Syndrome::from_bits(message.word(0));
            let trap = Trap { syndrome, far: 0, hpfar: 0 };
            if syndrome.class() == spec::CLASS_WFX && syndrome.iss() & EVENT == 0 { Stopped::Wait(trap) } else { Stopped::Trap(trap) }
        }
        Label::UnknownSyscall | Label::CapFault => {
            let syndrome = Syndrome::new().with_class(spec::CLASS_HVC64).with_long_instruction(true);
            Stopped::Hypercall(Trap { syndrome, far: 0, hpfar: 0 })
        }
        Label::UserException => {
            let syndrome = Syndrome::new().with_class(spec::CLASS_UNKNOWN).with_long_instruction(true);
            Stopped::Trap(Trap { syndrome, far: 0, hpfar: 0 })
        }
        Label::User(label) | Label::Other(label) => Stopped::Unknown(label),
        _ => Stopped::Unknown(0),
    }
}
