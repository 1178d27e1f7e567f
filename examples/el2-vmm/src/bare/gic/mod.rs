//! The physical interrupt controller, as EL2 uses it: a GICv2 or a GICv3, whichever the machine has.
//!
//! GICv3: priority drop and deactivation are apart (EOImode = 1), so that the guest's end of interrupt can deactivate a timer's.
//! GICv2: one write does both. There QEMU's model looks for what is pending only then, not at a deactivation: an interrupt that came while it was
//! active, a kick above all, would wait for the next event of any kind.

mod v2;
mod v3;

use crossvm_arm::Gich;
use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl};
use spin::Once;
use vmm_common::host::{CpuId, HostGic, Mpidr};
use vmm_common::vm::GuestTimer;

use super::cache;
use super::hardware;

/// One priority for all: the VMM does not nest interrupts.
const PRIORITY: u32 = 0xa0a0_a0a0;

/// The SGI that makes a CPU leave its guest.
pub(super) const KICK: u32 = 0;
/// The maintenance interrupt of the list registers: PPI 9 (Arm BSA).
pub(super) const MAINTENANCE: u32 = 25;
/// EL2's own timer: PPI 10 (Arm BSA).
pub(super) const HYPERVISOR_TIMER: u32 = 26;
/// The private interrupts that each CPU takes, one bit each.
const PRIVATE: u32 =
    1 << KICK | 1 << MAINTENANCE | 1 << HYPERVISOR_TIMER | 1 << GuestTimer::Virtual.intid() | 1 << GuestTimer::Physical.intid();

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

/// Makes this CPU take interrupts, its kick, its maintenance interrupt and its timers enabled. `None`: the controller does not know it.
pub(super) fn enable_interface(cpu: CpuId, mpidr: Mpidr) -> Option<()> {
    match controller() {
        Controller::V2(controller) => controller.enable_interface(cpu),
        Controller::V3 { redistributors, .. } => {
            v3::enable_interface();
            redistributors.start(mpidr)?;
        }
    }
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

    /// Lets interrupts of the same priority come again, but for this one. With a GICv2 they come when this one is deactivated.
    pub(super) fn drop_priority(self) {
        match controller() {
            Controller::V2(_) => {}
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
        Controller::V2(controller) => controller.end(intid),
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

/// Brings the guest's CPU interface to what it is after a reset. The guest is not running on this CPU.
fn reset_virtual_interface() {
    match controller() {
        Controller::V2(controller) => controller.list_registers().clear(),
        Controller::V3 { .. } => v3::reset_virtual_interface(),
    }
}

/// The physical interrupt of one of this CPU's timers, as far as it is not the guest's to deactivate: see `Vm::timer_fired`.
#[derive(Debug)]
pub(super) struct Timer {
    timer: GuestTimer,
    masked: bool,
}

impl Timer {
    /// That of `timer`: not masked.
    pub(super) const fn new(timer: GuestTimer) -> Self {
        Self { timer, masked: false }
    }

    /// It has come, and is active.
    pub(super) fn fired(&mut self) {
        if let Controller::V2(controller) = controller() {
            controller.disable_private(self.timer.intid());
            controller.end(self.timer.intid());
            self.masked = true;
        }
    }

    /// The timer does not assert it: it may come again.
    pub(super) fn quiet(&mut self) {
        if let (Controller::V2(controller), true) = (controller(), core::mem::take(&mut self.masked)) {
            controller.enable_private(self.timer.intid());
        }
    }
}

/// A copy of this CPU's list registers and their control, for the time that the guest does not run.
///
/// The VM's lock is held while its interrupt controller looks at the copy, not while the hardware is read and written: that is slow where it
/// is in memory, slower where it is emulated, and the other vCPUs wait for the lock.
#[derive(Debug)]
pub(super) struct ListRegisters {
    hardware: Hardware,
    count: usize,
    /// What is to be in the registers.
    registers: [ListRegister; MOST],
    /// What is in them.
    held: [ListRegister; MOST],
    control: HypervisorControl,
    held_control: HypervisorControl,
    machine_control: MachineControl,
}

/// Most list registers that are used.
const MOST: usize = 16;

#[derive(Debug)]
enum Hardware {
    V2(Gich<v2::Frame>),
    V3(v3::ListRegisters),
}

impl ListRegisters {
    /// Those of this CPU, which are empty.
    pub(super) fn new() -> Self {
        use crossvm_arm::ListRegisters as _;

        let hardware = match controller() {
            Controller::V2(controller) => Hardware::V2(controller.list_registers()),
            Controller::V3 { .. } => Hardware::V3(v3::ListRegisters::new()),
        };
        let count = match &hardware {
            Hardware::V2(registers) => registers.count(),
            Hardware::V3(registers) => registers.count(),
        };
        let mut copy = Self {
            hardware,
            count,
            registers: [ListRegister::EMPTY; MOST],
            held: [ListRegister::EMPTY; MOST],
            control: HypervisorControl::new(),
            held_control: HypervisorControl::new(),
            machine_control: MachineControl::new(),
        };
        copy.reset();
        copy
    }

    /// Empties them, and brings the guest's CPU interface to what it is after a reset: nothing enabled, nothing active. The guest is not
    /// running on this CPU.
    pub(super) fn reset(&mut self) {
        reset_virtual_interface();
        (self.registers, self.held) = ([ListRegister::EMPTY; MOST], [ListRegister::EMPTY; MOST]);
        (self.control, self.held_control) = (HypervisorControl::new(), HypervisorControl::new());
        self.machine_control = MachineControl::new();
    }

    /// Takes over what the guest has done to them. To be called when it was left.
    pub(super) fn fetch(&mut self) {
        match &self.hardware {
            Hardware::V2(registers) => fetch(registers, &mut self.held, &mut self.held_control, &mut self.machine_control),
            Hardware::V3(registers) => fetch(registers, &mut self.held, &mut self.held_control, &mut self.machine_control),
        }
        self.registers = self.held;
        self.control = self.held_control;
    }

    /// Has the copy in force when the guest is entered. To be called before that.
    pub(super) fn put_in_force(&mut self) {
        match &mut self.hardware {
            Hardware::V2(registers) => store(registers, &self.registers, &self.held, self.control, self.held_control),
            // Returning to the guest synchronises system registers.
            Hardware::V3(registers) => store(registers, &self.registers, &self.held, self.control, self.held_control),
        }
        if let Hardware::V2(_) = self.hardware {
            cache::barrier();
        }
        self.held = self.registers;
        self.held_control = self.control;
    }
}

fn fetch(
    from: &impl crossvm_arm::ListRegisters,
    held: &mut [ListRegister; MOST],
    control: &mut HypervisorControl,
    machine_control: &mut MachineControl,
) {
    // Empty ones stay empty: only the VMM fills them.
    for (index, register) in held.iter_mut().enumerate().filter(|(_, register)| **register != ListRegister::EMPTY) {
        *register = from.read(index);
    }
    *control = from.control();
    *machine_control = from.machine_control();
}

fn store(
    to: &mut impl crossvm_arm::ListRegisters,
    wanted: &[ListRegister; MOST],
    held: &[ListRegister; MOST],
    control: HypervisorControl,
    held_control: HypervisorControl,
) {
    for (index, (wanted, held)) in wanted.iter().zip(held).enumerate() {
        if wanted != held {
            to.write(index, *wanted);
        }
    }
    if control != held_control {
        to.set_control(control);
    }
}

impl crossvm_arm::ListRegisters for ListRegisters {
    fn count(&self) -> usize {
        self.count
    }

    fn read(&self, index: usize) -> ListRegister {
        self.registers.get(index).copied().unwrap_or(ListRegister::EMPTY)
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        if let Some(register) = self.registers.get_mut(index) {
            *register = value;
        }
    }

    fn control(&self) -> HypervisorControl {
        self.control
    }

    fn set_control(&mut self, value: HypervisorControl) {
        self.control = value;
    }

    fn machine_control(&self) -> MachineControl {
        self.machine_control
    }
}
