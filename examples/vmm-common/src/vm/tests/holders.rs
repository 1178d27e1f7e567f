//! What one vCPU reads of interrupts that another one has in its list registers.

use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl, State};

use super::*;

/// A virtual CPU interface with one list register and group 1 enabled.
#[derive(Default)]
struct Interface {
    list: ListRegister,
    control: HypervisorControl,
}

impl crossvm_arm::ListRegisters for Interface {
    fn count(&self) -> usize {
        1
    }
    fn read(&self, _index: usize) -> ListRegister {
        self.list
    }
    fn write(&mut self, _index: usize, value: ListRegister) {
        self.list = value;
    }
    fn control(&self) -> HypervisorControl {
        self.control
    }
    fn set_control(&mut self, value: HypervisorControl) {
        self.control = value;
    }
    fn machine_control(&self) -> MachineControl {
        MachineControl::new().with_enable_group1(true)
    }
}

#[test]
fn a_running_vcpu_is_asked_for_the_state_of_its_interrupts_now_and_then() {
    let mut rig = Rig::new();
    rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]);
    rig.second_next();
    assert_eq!(rig.second_next(), Next::Enter);
    // Line 35, the first connection's, goes to the second vCPU.
    rig.store(0x080c_0014, 2, 0);
    rig.store(0x0800_6118, 3, 1);
    for (register, value) in [(0, 0b10), (0x84, 1 << 3), (0x104, 1 << 3)] {
        rig.store(0x0800_0000 + register, 2, value);
    }
    let (second, mut interface) = (rig.second.id, Interface::default());
    rig.vm.interrupts().save(second, &mut interface);
    let notify = Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform);
    crossvm_core::Notifier::notify(&notify).unwrap();
    assert_eq!(rig.next(), Next::Enter);
    rig.vm.interrupts().load(second, &mut interface);
    assert_eq!(interface.list.virtual_intid(), 35);
    let active = |rig: &mut Rig| {
        rig.platform.forget();
        let value = rig.load(0x0800_0304, 2);
        assert_eq!(rig.next(), Next::Enter);
        (value, rig.platform.kicks().len())
    };
    assert_eq!(active(&mut rig), (0, 1));
    assert_eq!(active(&mut rig), (0, 0), "a guest that asks all the time does not keep it from its work");
    rig.platform.advance(1);
    assert_eq!(active(&mut rig), (0, 1));
    // It has acknowledged the interrupt meanwhile.
    interface.list.set_state(State::Active);
    rig.vm.interrupts().save(second, &mut interface);
    rig.platform.advance(1);
    assert_eq!(active(&mut rig), (1 << 3, 0), "nothing is in its registers: what is known is true");
    rig.vm.interrupts().load(second, &mut interface);
    rig.platform.forget();
    rig.load(0x0800_0104, 2);
    assert_eq!((rig.next(), rig.platform.kicks().len()), (Next::Enter, 0), "what is enabled is known");
    // The same for its own SGIs.
    interface.list.set_state(State::Inactive);
    rig.vm.interrupts().save(second, &mut interface);
    for (register, value) in [(0x80, 1 << 3), (0x100, 1 << 3), (0x200, 1 << 3)] {
        rig.store(0x080d_0000 + register, 2, value);
    }
    assert_eq!(rig.next(), Next::Enter);
    rig.vm.interrupts().load(second, &mut interface);
    assert_eq!(interface.list.virtual_intid(), 3);
    rig.platform.forget();
    rig.platform.advance(1);
    rig.load(0x080d_0300, 2);
    assert_eq!((rig.next(), rig.platform.kicks().len()), (Next::Enter, 1));
}
