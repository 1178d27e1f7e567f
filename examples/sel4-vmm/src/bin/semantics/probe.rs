//! Loads and stores that may fault: a thread does them, in the root task's own address space.

use core::arch::global_asm;

use crossvm_sel4::kernel::{CPtr, Kernel, KernelError, Label, Object, ThreadSpaces, Threads};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4_semantics::Probe;

// Each does one access, and then faults in another way than the access can.
#[cfg(target_arch = "x86_64")]
global_asm!(
    r#"
    .section .text.probe, "ax"
    .global probe_load
probe_load:
    mov eax, [rdx]
    ud2
    .global probe_store
probe_store:
    mov [rdx], eax
    ud2
"#
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    r#"
    .section .text.probe, "ax"
    .global probe_load
probe_load:
    ldr w0, [x1]
    udf #0
    .global probe_store
probe_store:
    str w0, [x1]
    udf #0
"#
);

unsafe extern "C" {
    fn probe_load();
    fn probe_store();
}

/// Registers that the thread is given, in `seL4_UserContext`.
const REGISTERS: usize = 7;
/// The register with the value, and that with the address.
#[cfg(target_arch = "x86_64")]
const VALUE_AND_ADDRESS: (usize, usize) = (3, 6);
#[cfg(target_arch = "aarch64")]
const VALUE_AND_ADDRESS: (usize, usize) = (3, 4);

/// The thread, and the endpoint of its faults.
#[derive(Debug)]
pub(crate) struct Prober {
    kernel: Libsel4,
    tcb: CPtr,
    faults: CPtr,
}

impl Prober {
    /// Slots that it takes.
    pub(crate) const SLOTS: u64 = 2;

    /// Makes the thread of `untyped`.
    pub(crate) fn new(kernel: Libsel4, untyped: CPtr, slot: CPtr, guard_bits: u8) -> Result<Self, KernelError> {
        let (tcb, faults) = (slot, slot.offset(1));
        kernel.retype(untyped, Object::Tcb, tcb)?;
        kernel.retype(untyped, Object::Endpoint, faults)?;
        let spaces = ThreadSpaces { cspace: slots::CSPACE, guard_bits, vspace: slots::VSPACE, fault_endpoint: faults, ipc_buffer: None };
        kernel.configure(tcb, spaces)?;
        kernel.set_priority(tcb, slots::TCB, u8::MAX)?;
        Ok(Self { kernel, tcb, faults })
    }

    /// Lets the thread run from `start` until it faults: the value, if the access was not the fault.
    fn access(&self, start: unsafe extern "C" fn(), at: u64, value: u32) -> Result<Option<u32>, KernelError> {
        let mut registers = [0; REGISTERS];
        registers[0] = start as usize as u64;
        registers[VALUE_AND_ADDRESS.0] = u64::from(value);
        registers[VALUE_AND_ADDRESS.1] = at;
        self.kernel.write_registers(self.tcb, &registers)?;
        self.kernel.resume(self.tcb)?;
        let fault = self.kernel.receive(self.faults).message.label;
        self.kernel.suspend(self.tcb)?;
        if fault != Label::UserException {
            return Ok(None);
        }
        self.kernel.read_registers(self.tcb, &mut registers)?;
        Ok(u32::try_from(registers[VALUE_AND_ADDRESS.0] & u64::from(u32::MAX)).ok())
    }
}

impl Probe for Prober {
    fn load(&mut self, at: u64) -> Option<u32> {
        self.access(probe_load, at, 0).expect("the probing thread can be started")
    }

    fn store(&mut self, at: u64, value: u32) -> bool {
        self.access(probe_store, at, value).expect("the probing thread can be started").is_some()
    }
}
