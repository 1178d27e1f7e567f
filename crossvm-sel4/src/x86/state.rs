//! The state that a guest starts with.

use crossvm_core::GuestAddr;

use super::spec::{AccessRights, Cr0, Cr4, ExitControls, Field, Flags, PinControls, Segment};
use crate::kernel::{CPtr, Code, KernelError, X86Vcpus};

/// A 32-bit guest with paging on, and flat segments: the one kind that seL4 5.0.0 enters, and that every later kernel enters as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Start {
    /// The first instruction, a linear address.
    pub entry: u32,
    /// The stack pointer, a linear address.
    pub stack: u32,
    /// The page directory.
    pub page_directory: GuestAddr,
    /// Directory entries may map 4 MiB.
    pub large_pages: bool,
    /// The guest is left when it has run for so long, in the unit of the processor's preemption timer; `None`: it may run for ever, as long as
    /// the kernel lets it.
    pub timer: Option<u32>,
}

/// Selectors of the flat segments, as in a global descriptor table with code behind the null descriptor, then data. The guest loads a table of its own
/// before it loads a segment register.
const CODE: u64 = 0x08;
const DATA: u64 = 0x10;
const TASK: u64 = 0x18;
const NO_LIMIT: u64 = 0xffff_ffff;
/// Size of a 32-bit task state, less one (Vol. 3A §8.2.1).
const TASK_LIMIT: u64 = 0x67;
/// DR7 at reset (Vol. 3A §10.1).
const DR7: u64 = 0x400;

impl Start {
    /// Writes all fields of the VMCS that the guest needs.
    ///
    /// What is not written has the value that seL4 has given it: the host's state, the controls that it forces, bitmaps with which every port and
    /// MSR (but those of SYSENTER) leaves the guest, 0 for all else.
    ///
    /// # Errors
    /// What the kernel says of the first field that it refuses.
    pub(super) fn write<K: X86Vcpus>(&self, kernel: &K, vcpu: CPtr) -> Result<(), KernelError> {
        let write = |field: u64, value: u64| kernel.write_vmcs(vcpu, field, value).map(drop);
        for segment in Segment::ALL {
            let (selector, rights, limit) = match segment {
                Segment::Cs => (CODE, AccessRights::CODE, NO_LIMIT),
                Segment::Ldtr => (0, AccessRights::NONE, 0),
                Segment::Tr => (TASK, AccessRights::TASK, TASK_LIMIT),
                _ => (DATA, AccessRights::DATA, NO_LIMIT),
            };
            write(segment.selector(), selector)?;
            write(segment.base(), 0)?;
            write(segment.limit(), limit)?;
            write(segment.access_rights(), u64::from(rights.into_bits()))?;
        }
        // Today's kernel may begin with a guest in 64-bit mode. 5.0.0 has none, nor lets anybody write the controls.
        match write(Field::EntryControls.encoding(), 0) {
            Ok(()) | Err(KernelError { code: Code::IllegalOperation, .. }) => {}
            Err(error) => return Err(error),
        }
        let cr0 = Cr0::new().with_protection(true).with_extension_type(true).with_numeric_error(true).with_paging(true);
        let cr4 = Cr4::new().with_large_pages(self.large_pages).with_vmx(true);
        let flags = Flags::new();
        for (field, value) in [
            (Field::GuestGdtrBase, 0),
            (Field::GuestGdtrLimit, 0),
            (Field::GuestIdtrBase, 0),
            (Field::GuestIdtrLimit, 0),
            (Field::GuestCr0, cr0.into_bits()),
            (Field::GuestCr4, cr4.into_bits()),
            // The guest neither sees nor changes that it is a guest.
            (Field::Cr4Mask, Cr4::new().with_vmx(true).into_bits()),
            (Field::Cr4Shadow, cr4.with_vmx(false).into_bits()),
            (Field::GuestFlags, flags.into_bits()),
            (Field::GuestStackPointer, self.stack),
            (Field::GuestInterruptibility, 0),
            (Field::GuestActivity, 0),
            (Field::ExceptionBitmap, 0),
            (Field::EntryInterruption, 0),
        ] {
            write(field.encoding(), u64::from(value))?;
        }
        write(Field::GuestDr7.encoding(), DR7)?;
        write(Field::GuestCr3.encoding(), self.page_directory.get())?;
        if let Some(timer) = self.timer {
            let pins = PinControls::new().with_preemption_timer(true);
            let exits = ExitControls::new().with_save_preemption_timer(true);
            write(Field::PinControls.encoding(), u64::from(pins.into_bits()))?;
            write(Field::ExitControls.encoding(), u64::from(exits.into_bits()))?;
            write(Field::PreemptionTimer.encoding(), u64::from(timer))?;
        }
        Ok(())
    }
}
