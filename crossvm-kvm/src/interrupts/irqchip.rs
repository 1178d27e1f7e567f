//! Interrupt controllers in the kernel: their state.

use kvm_bindings::{KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip};
use kvm_ioctls::VmFd;

use crate::error::{Call, CallError};

/// The state of a chip in the kernel.
pub(super) fn irqchip(vm: &VmFd, chip: u32) -> Result<kvm_irqchip, CallError> {
    let mut state = kvm_irqchip { chip_id: chip, ..Default::default() };
    vm.get_irqchip(&mut state).map_err(CallError::of_ioctl(Call::Irqchip))?;
    Ok(state)
}

/// Sets the edge/level control registers of both chips: bit `n` for input `n`.
pub(super) fn set_edge_level_control(vm: &VmFd, inputs: u16) -> Result<(), CallError> {
    for (chip, elcr) in [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE].into_iter().zip(inputs.to_le_bytes()) {
        let mut state = irqchip(vm, chip)?;
        state.chip.pic.elcr = elcr;
        vm.set_irqchip(&state).map_err(CallError::of_ioctl(Call::Irqchip))?;
    }
    Ok(())
}
