//! The physical interrupt controller, as EL2 uses it: a GICv2 or a GICv3, whichever the machine has.
//!
//! Priority drop and deactivation are apart (EOImode = 1), so that the guest's end of interrupt can deactivate the physical timer's.

mod v2;
mod v3;

use crossvm_arm::Gich;
use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl};
use el2_vmm::host::{CpuId, HostGic, Mpidr};
use spin::Once;

use super::cache;
use super::hardware;

/// One priority for all: the VMM does not nest interrupts.
const PRIORITY: u32 = 0xa0a0_a0a0;

/// The SGI that makes a CPU leave its guest.
const KICK: u32 = 0;
/// The maintenance interrupt of the list registers: PPI 9 (Arm BSA).
pub(super) const MAINTENANCE: u32 = 25;
/// The virtual timer: PPI 11 (Arm BSA).
pub(super) const VIRTUAL_TIMER: u32 = 27;

/// The controller, from [`start`] on.
static CONTROLLER: Once<Controller> = Once::new();

#[derive(Debug, Clone, Copy)]
enum Controller {
    V2(v2::Controller),
    V3 { distributor: v3::Distributor, redistributors: v3::Redistributors },
}

/// The controller. Everything but [`start`] comes after [`start`].
fn controller() -> Controller {
    match CONTROLLER.get() {
        Some(controller) => *controller,
        None => unreachable!("the interrupt controller is used before it was started"),
    }
}

/// Starts the machine's controller, with all shared interrupts disabled.
///
/// # Safety
///
/// The registers that [`HostGic::registers`] names are mapped as Device memory from now on.
pub(super) unsafe fn start(gic: HostGic) {
    // SAFETY: the caller's promise; an interrupt controller accesses no memory by itself as long as it has no LPIs.
    let controller = CONTROLLER.call_once(|| unsafe {
        match gic {
            HostGic::V2 { distributor, cpu_interface, hypervisor_interface, .. } => {
                Controller::V2(v2::Controller::new(distributor, cpu_interface, hypervisor_interface))
            }
            HostGic::V3 { distributor, redistributors } => {
                Controller::V3 { distributor: v3::Distributor::new(distributor), redistributors: v3::Redistributors::new(redistributors) }
            }
        }
    });
    match controller {
        Controller::V2(controller) => controller.start(),
        Controller::V3 { distributor, .. } => distributor.start(),
    }
}

/// Makes this CPU take interrupts, its kick, its maintenance interrupt and its virtual timer enabled. `None`: the controller does not know it.
pub(super) fn enable_interface(cpu: CpuId, mpidr: Mpidr) -> Option<()> {
    match controller() {
        Controller::V2(controller) => controller.enable_interface(cpu),
        Controller::V3 { redistributors, .. } => {
            v3::enable_interface();
            redistributors.start(mpidr)?;
        }
    }
    reset_virtual_interface();
    Some(())
}

/// Sends a shared, level-triggered interrupt to this CPU, whose interface is enabled.
pub(super) fn enable(intid: u32, cpu: CpuId, mpidr: Mpidr) {
    match controller() {
        Controller::V2(controller) => controller.enable(intid, cpu),
        Controller::V3 { distributor, .. } => distributor.enable(intid, mpidr),
    }
}

/// A physical interrupt that has been acknowledged: what the controller wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interrupt(u32);

impl Interrupt {
    /// Its INTID.
    pub(super) fn intid(self) -> u32 {
        match controller() {
            Controller::V2(_) => v2::Controller::intid(self.0),
            Controller::V3 { .. } => self.0,
        }
    }

    /// Lets interrupts of the same priority come again; this one stays active.
    pub(super) fn drop_priority(self) {
        match controller() {
            Controller::V2(controller) => controller.drop_priority(self.0),
            Controller::V3 { .. } => v3::drop_priority(self.0),
        }
    }

    /// Lets this interrupt come again.
    pub(super) fn deactivate(self) {
        deactivate(self.0);
    }
}

/// Acknowledges what is pending.
pub(super) fn acknowledge() -> Option<Interrupt> {
    match controller() {
        Controller::V2(controller) => controller.acknowledge(),
        Controller::V3 { .. } => v3::acknowledge(),
    }
    .map(Interrupt)
}

/// Lets the interrupt of this INTID, no SGI, come again.
pub(super) fn deactivate(intid: u32) {
    match controller() {
        Controller::V2(controller) => controller.deactivate(intid),
        Controller::V3 { .. } => v3::deactivate(intid),
    }
}

/// Makes a CPU leave its guest. Everything stored before is visible to it then.
pub(super) fn send_kick(cpu: CpuId) {
    cache::barrier();
    match controller() {
        Controller::V2(controller) => controller.send_kick(cpu),
        Controller::V3 { .. } => v3::send_kick(hardware::affinity(cpu)),
    }
}

/// Brings the guest's CPU interface to what it is after a reset: nothing enabled, nothing active. The guest is not running on this CPU.
pub(super) fn reset_virtual_interface() {
    match controller() {
        Controller::V2(controller) => controller.list_registers().clear(),
        Controller::V3 { .. } => v3::reset_virtual_interface(),
    }
}

/// The physical interrupt of this CPU's virtual timer, as far as it is not the guest's to deactivate: see `Vm::timer_fired`.
#[derive(Debug)]
pub(super) struct Timer {
    masked: bool,
}

impl Timer {
    /// Not masked.
    pub(super) const fn new() -> Self {
        Self { masked: false }
    }

    /// It has come, and is active.
    pub(super) fn fired(&mut self) {
        if let Controller::V2(controller) = controller() {
            controller.disable_private(VIRTUAL_TIMER);
            controller.deactivate(VIRTUAL_TIMER);
            self.masked = true;
        }
    }

    /// The timer does not assert it: it may come again.
    pub(super) fn quiet(&mut self) {
        if let (Controller::V2(controller), true) = (controller(), core::mem::take(&mut self.masked)) {
            controller.enable_private(VIRTUAL_TIMER);
        }
    }
}

/// The list registers of this CPU and their control.
#[derive(Debug)]
pub(super) enum ListRegisters {
    V2(Gich<v2::Frame>),
    V3(v3::ListRegisters),
}

impl ListRegisters {
    /// Those of this CPU.
    pub(super) fn new() -> Self {
        match controller() {
            Controller::V2(controller) => Self::V2(controller.list_registers()),
            Controller::V3 { .. } => Self::V3(v3::ListRegisters::new()),
        }
    }

    /// Has what was written to them in force when the guest is entered.
    pub(super) fn publish(&self) {
        match self {
            Self::V2(_) => cache::barrier(),
            // Returning to the guest synchronises system registers.
            Self::V3(_) => {}
        }
    }
}

impl crossvm_arm::ListRegisters for ListRegisters {
    fn count(&self) -> usize {
        match self {
            Self::V2(registers) => registers.count(),
            Self::V3(registers) => registers.count(),
        }
    }

    fn read(&self, index: usize) -> ListRegister {
        match self {
            Self::V2(registers) => registers.read(index),
            Self::V3(registers) => registers.read(index),
        }
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        match self {
            Self::V2(registers) => registers.write(index, value),
            Self::V3(registers) => registers.write(index, value),
        }
    }

    fn control(&self) -> HypervisorControl {
        match self {
            Self::V2(registers) => registers.control(),
            Self::V3(registers) => registers.control(),
        }
    }

    fn set_control(&mut self, value: HypervisorControl) {
        match self {
            Self::V2(registers) => registers.set_control(value),
            Self::V3(registers) => registers.set_control(value),
        }
    }

    fn machine_control(&self) -> MachineControl {
        match self {
            Self::V2(registers) => registers.machine_control(),
            Self::V3(registers) => registers.machine_control(),
        }
    }
}
