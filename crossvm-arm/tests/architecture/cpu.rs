//! A virtual CPU interface as hardware has it (IHI 0069 §6): what a guest's acknowledges and ends of interrupt do to list registers.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crossvm_arm::ListRegisters;
use crossvm_arm::spec::{Group, HypervisorControl, ListRegister, MachineControl, State};

/// The physical interrupts that are active: PPIs with their CPU, SPIs with none.
pub(crate) type Physical = Rc<RefCell<BTreeSet<(Option<usize>, u32)>>>;

/// The key of `Physical` for physical interrupt `intid`, seen from CPU `cpu`.
pub(crate) fn physical_key(cpu: usize, intid: u32) -> (Option<usize>, u32) {
    ((intid < 32).then_some(cpu), intid)
}

/// One physical CPU, and the guest's view of its own CPU interface.
#[derive(Debug)]
pub(crate) struct Cpu {
    registers: Vec<ListRegister>,
    control: HypervisorControl,
    /// `ICH_VMCR_EL2`.
    pub(crate) machine: MachineControl,
    /// `ICC_PMR_EL1`.
    pub(crate) priority_mask: u8,
    /// The bits of a priority that preemption looks at: `ICC_BPR0_EL1`, with `ICC_CTLR_EL1.CBPR` = 1.
    pub(crate) preemption_mask: u8,
    /// `ICC_CTLR_EL1.EOImode`: deactivation is apart from the end of interrupt.
    pub(crate) separate_deactivation: bool,
    /// `ICH_AP<n>R_EL2`: the priorities that are active, least urgent first.
    active_priorities: Vec<u8>,
    index: usize,
    physical: Physical,
}

/// A write of `ICC_DIR_EL1` that exits to the hypervisor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trapped;

impl Cpu {
    pub(crate) fn new(index: usize, registers: usize, separate_deactivation: bool, physical: Physical) -> Self {
        Self {
            registers: vec![ListRegister::EMPTY; registers],
            control: HypervisorControl::new(),
            machine: MachineControl::new(),
            priority_mask: 0xff,
            preemption_mask: 0xf8,
            separate_deactivation,
            active_priorities: Vec::new(),
            index,
            physical,
        }
    }

    /// Whether an interrupt of this priority would be taken: `ICC_PMR_EL1`, `ICC_RPR_EL1`.
    pub(crate) fn takes(&self, priority: u8) -> bool {
        let running = self.active_priorities.last().copied().unwrap_or(0xff);
        priority < self.priority_mask && priority & self.preemption_mask < running
    }

    /// The CPU interface at power-on. Physical interrupts stay.
    pub(crate) fn reset(&mut self) {
        self.machine = MachineControl::new().with_separate_deactivation(self.separate_deactivation);
        (self.priority_mask, self.preemption_mask) = (0xff, 0xf8);
        self.active_priorities.clear();
    }

    /// The guest acknowledges: the INTID, or `None` where it reads 1023.
    pub(crate) fn acknowledge(&mut self) -> Option<u32> {
        if !self.control.enable() {
            return None;
        }
        let machine = self.machine;
        let taken = |group| match group {
            Group::Zero => machine.enable_group0(),
            Group::One => machine.enable_group1(),
        };
        let best = self
            .registers
            .iter()
            .enumerate()
            .filter(|(_, register)| register.state() == State::Pending && taken(register.group()))
            .min_by_key(|(_, register)| register.priority())?
            .0;
        let priority = self.registers[best].priority();
        if !self.takes(priority) {
            return None;
        }
        self.registers[best].set_state(State::Active);
        self.active_priorities.push(priority & self.preemption_mask);
        Some(self.registers[best].virtual_intid())
    }

    /// The guest ends interrupt `intid`, the last one that it acknowledged and did not end.
    pub(crate) fn end(&mut self, intid: u32) {
        let dropped = self.active_priorities.pop().is_some();
        if !self.separate_deactivation {
            self.deactivate_register(intid, dropped);
        }
    }

    /// The guest deactivates interrupt `intid`.
    pub(crate) fn deactivate(&mut self, intid: u32) -> Result<(), Trapped> {
        if self.control.trap_deactivate() {
            return Err(Trapped);
        }
        self.deactivate_register(intid, true);
        Ok(())
    }

    fn deactivate_register(&mut self, intid: u32, counts: bool) {
        match self.registers.iter_mut().find(|register| register.virtual_intid() == intid && register.state().is_active()) {
            Some(register) if register.state() == State::PendingActive => register.set_state(State::Pending),
            Some(register) => {
                register.set_state(State::Inactive);
                if register.hardware() {
                    let physical = u32::from(register.physical_intid());
                    assert!(
                        self.physical.borrow_mut().remove(&physical_key(self.index, physical)),
                        "the guest's deactivation of {intid} found physical {physical} inactive"
                    );
                }
            }
            None if counts => self.control.set_eoi_count((self.control.eoi_count() + 1) & 31),
            None => {}
        }
    }

    /// Whether the maintenance interrupt is asserted (`ICH_MISR_EL2`).
    pub(crate) fn maintenance(&self) -> bool {
        let control = self.control;
        let valid = || self.registers.iter().filter(|register| register.state() != State::Inactive).count();
        let ended = |register: &ListRegister| {
            register.state() == State::Inactive && !register.hardware() && register.physical_intid() & ListRegister::MAINTENANCE_ON_EOI != 0
        };
        control.enable()
            && (self.registers.iter().any(ended)
                || control.underflow() && valid() < 2
                || control.entry_not_present() && control.eoi_count() != 0
                || control.no_pending() && !self.registers.iter().any(|register| register.state() == State::Pending)
                || control.group0_enabled() && self.machine.enable_group0()
                || control.group0_disabled() && !self.machine.enable_group0()
                || control.group1_enabled() && self.machine.enable_group1()
                || control.group1_disabled() && !self.machine.enable_group1())
    }

    /// How many list registers there are.
    pub(crate) fn registers(&self) -> usize {
        self.registers.len()
    }

    /// INTIDs in the list registers.
    pub(crate) fn holds(&self) -> BTreeSet<u32> {
        self.registers.iter().filter(|register| register.state() != State::Inactive).map(ListRegister::virtual_intid).collect()
    }

    /// What the architecture demands of the list registers (IHI 0069 §12.4).
    pub(crate) fn check(&self) {
        let valid = self.registers.iter().filter(|register| register.state() != State::Inactive);
        assert_eq!(valid.clone().count(), self.holds().len(), "an interrupt is in two list registers: {:?}", self.registers);
        for register in valid {
            let physical = u32::from(register.physical_intid());
            if register.hardware() {
                assert_ne!(register.state(), State::PendingActive, "pending and active with a link: {register:?}");
                assert!(self.physical.borrow().contains(&physical_key(self.index, physical)), "the link is dead: {register:?}");
            } else {
                assert_eq!(register.physical_intid() & !ListRegister::MAINTENANCE_ON_EOI, 0, "{register:?}");
            }
        }
    }
}

/// As `GICH_LR<n>` of a `GICv2` (IHI 0048 §5.3.8): virtual INTID, physical INTID with the EOI bit, priority, state, group, HW.
fn to_gich(register: ListRegister) -> u32 {
    register.virtual_intid() & 0x3ff
        | u32::from(register.physical_intid() & 0x3ff) << 10
        | u32::from(register.priority() >> 3) << 23
        | (register.state() as u32) << 28
        | (register.group() as u32) << 30
        | u32::from(register.hardware()) << 31
}

/// The reverse of `to_gich`.
fn from_gich(bits: u32) -> ListRegister {
    let field = |shift: u32, width: u32| bits >> shift & ((1 << width) - 1);
    let state = [State::Inactive, State::Pending, State::Active, State::PendingActive][field(28, 2) as usize];
    ListRegister::new()
        .with_virtual_intid(field(0, 10))
        .with_physical_intid(u16::try_from(field(10, 10)).unwrap())
        .with_priority(u8::try_from(field(23, 5) << 3).unwrap())
        .with_state(state)
        .with_group(if field(30, 1) == 1 { Group::One } else { Group::Zero })
        .with_hardware(field(31, 1) == 1)
}

impl ListRegisters for Cpu {
    fn count(&self) -> usize {
        self.registers.len()
    }

    fn read(&self, index: usize) -> ListRegister {
        self.registers[index]
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        assert_eq!(from_gich(to_gich(value)), value, "a GICv2 could not hold it");
        self.registers[index] = value;
    }

    fn control(&self) -> HypervisorControl {
        self.control
    }

    fn set_control(&mut self, value: HypervisorControl) {
        self.control = value;
    }

    fn machine_control(&self) -> MachineControl {
        self.machine
    }
}
