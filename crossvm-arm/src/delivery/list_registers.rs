//! The virtual CPU interface of the physical CPU, as far as delivery needs it.

use crate::spec::{HypervisorControl, ListRegister, MachineControl};

/// The list registers and their control.
///
/// On bare metal: `ICH_LR<n>_EL2`, `ICH_HCR_EL2`, `ICH_VMCR_EL2` of the physical CPU that runs the vCPU. A `GICv2`'s `GICH_*`
/// implement it too, by moving the fields. A hypervisor above another passes it on.
///
/// # Contract
///
/// 1. `count` is the same at each call, 1 to 16 (`ICH_VTR_EL2.ListRegs` + 1).
/// 2. `read(i)` gives what was written last to register i, as far as the guest has not changed its state since; `i < count`.
/// 3. What has been written is in force when the guest is entered. Where that takes a barrier, the VMM gives it before the entry.
/// 4. All registers are empty when the first vCPU is loaded on this physical CPU.
/// 5. Where `one_way`: a register is written where it is inactive alone. What was written pending reads as active from then on, since the guest may have
///    acknowledged it at any time; once the guest has ended it, it reads as inactive, still with its `virtual_intid`, until it is written again. A
///    register that could not be written stays as it was.
pub trait ListRegisters {
    /// How many there are.
    fn count(&self) -> usize;

    /// Reads register `index`.
    fn read(&self, index: usize) -> ListRegister;

    /// Writes register `index`.
    fn write(&mut self, index: usize, value: ListRegister);

    /// Reads `ICH_HCR_EL2`.
    fn control(&self) -> HypervisorControl;

    /// Writes `ICH_HCR_EL2`. Bits that delivery has no business with have the value that `control` gave.
    fn set_control(&mut self, value: HypervisorControl);

    /// Reads `ICH_VMCR_EL2`.
    fn machine_control(&self) -> MachineControl;

    /// Whether what is written can neither be taken back nor be looked at until the guest has ended it: that is all that some hypervisors offer
    /// (seL4). `control` and `set_control` have no business there.
    fn one_way(&self) -> bool {
        false
    }
}

impl<T: ListRegisters + ?Sized> ListRegisters for &mut T {
    fn count(&self) -> usize {
        T::count(self)
    }

    fn read(&self, index: usize) -> ListRegister {
        T::read(self, index)
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        T::write(self, index, value);
    }

    fn control(&self) -> HypervisorControl {
        T::control(self)
    }

    fn set_control(&mut self, value: HypervisorControl) {
        T::set_control(self, value);
    }

    fn machine_control(&self) -> MachineControl {
        T::machine_control(self)
    }

    fn one_way(&self) -> bool {
        T::one_way(self)
    }
}
