//! The list registers of this CPU.

use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl};

use crate::bare::registers::{read_register, write_register};

/// ICH_LR0_EL2 to ICH_LR15_EL2 and their control, of the CPU that uses this value.
#[derive(Debug)]
pub(in crate::bare) struct Hardware {
    count: usize,
}

/// Does `$action` with the name of list register `$index`.
macro_rules! for_register {
    ($index:expr, $action:ident $(, $value:expr)?) => {
        match $index {
            0 => $action!("ich_lr0_el2" $(, $value)?),
            1 => $action!("ich_lr1_el2" $(, $value)?),
            2 => $action!("ich_lr2_el2" $(, $value)?),
            3 => $action!("ich_lr3_el2" $(, $value)?),
            4 => $action!("ich_lr4_el2" $(, $value)?),
            5 => $action!("ich_lr5_el2" $(, $value)?),
            6 => $action!("ich_lr6_el2" $(, $value)?),
            7 => $action!("ich_lr7_el2" $(, $value)?),
            8 => $action!("ich_lr8_el2" $(, $value)?),
            9 => $action!("ich_lr9_el2" $(, $value)?),
            10 => $action!("ich_lr10_el2" $(, $value)?),
            11 => $action!("ich_lr11_el2" $(, $value)?),
            12 => $action!("ich_lr12_el2" $(, $value)?),
            13 => $action!("ich_lr13_el2" $(, $value)?),
            14 => $action!("ich_lr14_el2" $(, $value)?),
            _ => $action!("ich_lr15_el2" $(, $value)?),
        }
    };
}

impl Hardware {
    /// Those of this CPU.
    pub(in crate::bare::gic) fn new() -> Self {
        // ICH_VTR_EL2.ListRegs: their number less one.
        let count = usize::try_from(read_register!("ich_vtr_el2") & 0x1f).unwrap_or(0) + 1;
        Self { count: count.min(16) }
    }

    /// Empties them and forgets what the guest has active.
    pub(super) fn clear() {
        let mut registers = Self::new();
        for index in 0..registers.count {
            crossvm_arm::ListRegisters::write(&mut registers, index, ListRegister::EMPTY);
        }
        // SAFETY: nothing is active for a guest that has not started. The first registers of both groups always exist; more do where
        // there are more than five bits of priority (ICH_VTR_EL2.PREbits, less one), which no implementation with list registers for
        // Linux guests needs to have cleared: they are zero at reset.
        unsafe {
            write_register!("ich_ap0r0_el2", 0);
            write_register!("ich_ap1r0_el2", 0);
        }
    }
}

impl crossvm_arm::ListRegisters for Hardware {
    fn count(&self) -> usize {
        self.count
    }

    fn read(&self, index: usize) -> ListRegister {
        ListRegister::from_bits(for_register!(index, read_register))
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        // SAFETY: a list register decides what interrupts the guest, and nothing else.
        unsafe { for_register!(index, write_register, value.into_bits()) }
    }

    fn control(&self) -> HypervisorControl {
        HypervisorControl::from_bits(read_register!("ich_hcr_el2"))
    }

    fn set_control(&mut self, value: HypervisorControl) {
        // SAFETY: as for a list register.
        unsafe { write_register!("ich_hcr_el2", value.into_bits()) }
    }

    fn machine_control(&self) -> MachineControl {
        MachineControl::from_bits(read_register!("ich_vmcr_el2"))
    }
}
