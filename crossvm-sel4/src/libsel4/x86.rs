//! [`X86Vcpus`](crate::kernel::X86Vcpus) on libsel4 where the kernel has VT-x, and I/O ports.

use super::{Libsel4, done, raw};
use crate::kernel::{CPtr, KernelError};

impl Libsel4 {
    /// Puts a capability of the I/O ports `first` to `last` into the empty slot `to`. seL4 5.0.0 has but one, of all ports, which is copied.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn issue_ports(&self, first: u16, last: u16, to: CPtr) -> Result<(), KernelError> {
        done(raw::crossvm_issue_ports(self.cspace.raw(), u64::from(first), u64::from(last), to.raw()))
    }

    /// Reads a byte from a port.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn port_in8(&self, ports: CPtr, port: u16) -> Result<u8, KernelError> {
        let mut value = 0;
        done(raw::crossvm_port_in(ports.raw(), u64::from(port), 1, &mut value))?;
        Ok(u8::try_from(value & 0xff).unwrap_or(0))
    }

    /// Writes a byte to a port.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn port_out8(&self, ports: CPtr, port: u16, value: u8) -> Result<(), KernelError> {
        done(raw::crossvm_port_out(ports.raw(), u64::from(port), 1, u64::from(value)))
    }
}

#[cfg(sel4_vtx)]
mod vtx {
    use super::super::kernel::first;
    use super::{CPtr, KernelError, Libsel4, done, raw};
    use crate::kernel::{Badge, Entered, X86Vcpus};

    impl X86Vcpus for Libsel4 {
        fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
            done(raw::crossvm_vcpu_set_tcb(vcpu.raw(), tcb.raw()))
        }

        fn set_ept_root(&self, tcb: CPtr, root: CPtr) -> Result<(), KernelError> {
            done(raw::crossvm_set_ept_root(tcb.raw(), root.raw()))
        }

        fn enter(&self, ip: u64, controls: u64, entry_interruption: u64) -> Entered {
            let mut entered = raw::RawEntered::default();
            raw::crossvm_vm_enter(ip, controls, entry_interruption, &mut entered);
            let words = first(&entered.words, entered.length);
            if entered.exit != 0 { Entered::Exit(words) } else { Entered::Signal(Badge::new(entered.badge), words) }
        }

        fn read_vmcs(&self, vcpu: CPtr, field: u64) -> Result<u64, KernelError> {
            let mut value = 0;
            done(raw::crossvm_vmcs_read(vcpu.raw(), field, &mut value)).map(|()| value)
        }

        fn write_vmcs(&self, vcpu: CPtr, field: u64, value: u64) -> Result<u64, KernelError> {
            let mut written = 0;
            done(raw::crossvm_vmcs_write(vcpu.raw(), field, value, &mut written)).map(|()| written)
        }

        fn write_registers(&self, vcpu: CPtr, registers: &[u64]) -> Result<(), KernelError> {
            // SAFETY: the pointer and the length are those of one slice, which the call only reads.
            done(unsafe { raw::crossvm_vcpu_write_registers(vcpu.raw(), registers.as_ptr(), registers.len() as u64) })
        }
    }
}
