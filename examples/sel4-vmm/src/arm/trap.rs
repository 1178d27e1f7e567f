//! What a fault message of a vCPU says, as the syndrome registers would say it.

use crossvm_sel4::kernel::{Label, Message};
use vmm_common::exit::spec::{self, Syndrome};
use vmm_common::vm::Trap;

/// Why a vCPU has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
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
#[must_use]
pub fn stopped(message: &Message) -> Stopped {
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

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_common::exit::{AbortKind, Access, Exit, decode};

    fn message(label: Label, words: &[u64]) -> Message {
        Message { label, words: words.iter().copied().collect() }
    }

    fn trap(message: &Message) -> Trap {
        match stopped(message) {
            Stopped::Trap(trap) | Stopped::Hypercall(trap) | Stopped::Wait(trap) => trap,
            Stopped::Unknown(label) => panic!("{label}"),
        }
    }

    #[test]
    fn a_fault_of_memory_has_the_guest_physical_address_whole() {
        // A store of w2 to 0x1000_0004, as a Cortex-A57 tells it: translation fault, level 3.
        let trap = trap(&message(Label::VmFault, &[0x4000, 0x1000_0004, 0, 0x9382_0047]));
        let Exit::DataAbort(abort) = decode(trap.syndrome, trap.far, trap.hpfar) else { panic!("{trap:?}") };
        assert_eq!((abort.at.get(), abort.kind), (0x1000_0004, AbortKind::Stage2));
        assert!(matches!(abort.access, Access::Store { .. }), "{abort:?}");
        let above = message(Label::VmFault, &[0, 0x40_0000_1008, 0, 0x9382_0007]);
        let Exit::DataAbort(abort) = decode(self::trap(&above).syndrome, self::trap(&above).far, self::trap(&above).hpfar) else {
            panic!()
        };
        assert_eq!(abort.at.get(), 0x40_0000_1008);
    }

    #[test]
    fn waiting_for_an_interrupt_is_told_from_waiting_for_an_event() {
        assert!(matches!(stopped(&message(Label::VcpuFault, &[0x07e0_0000])), Stopped::Wait(_)));
        assert!(matches!(stopped(&message(Label::VcpuFault, &[0x07e0_0001])), Stopped::Trap(_)));
    }

    #[test]
    fn hypercalls_come_as_system_calls_that_fail() {
        for label in [Label::UnknownSyscall, Label::CapFault] {
            let message = message(label, &[0x8400_0000]);
            assert!(matches!(stopped(&message), Stopped::Hypercall(_)));
            let trap = trap(&message);
            assert_eq!(decode(trap.syndrome, trap.far, trap.hpfar), Exit::Hypercall);
        }
        // SMC traps.
        let trap = trap(&message(Label::VcpuFault, &[0x5e00_0000]));
        assert_eq!(decode(trap.syndrome, trap.far, trap.hpfar), Exit::SecureCall);
    }

    #[test]
    fn what_a_guest_sends_itself_is_no_trap() {
        assert_eq!(stopped(&message(Label::User(5), &[1, 2, 3])), Stopped::Unknown(5));
    }
}
