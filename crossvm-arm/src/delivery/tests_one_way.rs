//! Registers that are not given back.

use std::vec;

use crossvm_core::{Level, Width};

use crate::spec::{HypervisorControl, ListRegister, MachineControl, State};
use crate::testing::{FIRST, Gic, SECOND, bit, booted, booted_v2, set_bit, set_edge, set_priority, spi};
use crate::{IntId, ListRegisters};

const DISABLE: u32 = 0x180;
const PEND: u32 = 0x200;
const ACTIVE: u32 = 0x300;
const DEACTIVATE: u32 = 0x380;

/// What was written, and what the guest has ended. Of the first `broken` registers, none can be written.
#[derive(Debug)]
struct OneWay {
    list: [ListRegister; 4],
    written: usize,
    broken: usize,
}

impl OneWay {
    fn new() -> Self {
        Self { list: [ListRegister::EMPTY; 4], written: 0, broken: 0 }
    }

    /// The interrupts that the guest has not ended, as they were written.
    fn held(&self) -> std::vec::Vec<u32> {
        self.list.iter().filter(|register| register.state() == State::Active).map(|register| register.virtual_intid()).collect()
    }

    fn end(&mut self, intid: u32) {
        let held = self.list.iter_mut().find(|register| register.virtual_intid() == intid && register.state() == State::Active);
        held.unwrap().set_state(State::Inactive);
    }
}

impl ListRegisters for OneWay {
    fn count(&self) -> usize {
        self.list.len()
    }
    fn read(&self, index: usize) -> ListRegister {
        self.list[index]
    }
    fn write(&mut self, index: usize, value: ListRegister) {
        assert_eq!(self.list[index].state(), State::Inactive, "a register that the guest has not ended is never written");
        if value == ListRegister::EMPTY {
            self.list[index] = value;
        } else if index >= self.broken {
            assert_eq!(value.state(), State::Pending);
            assert!(!self.held().contains(&value.virtual_intid()), "no interrupt is in two registers");
            self.written += 1;
            self.list[index] = value.with_state(State::Active);
        }
    }
    fn control(&self) -> HypervisorControl {
        panic!("there is no such register");
    }
    fn set_control(&mut self, _value: HypervisorControl) {
        panic!("there is no such register");
    }
    fn machine_control(&self) -> MachineControl {
        MachineControl::new().with_enable_group0(true).with_enable_group1(true)
    }
    fn one_way(&self) -> bool {
        true
    }
}

fn level(gic: &mut Gic, intid: u32, level: Level) {
    gic.set_spi_level(spi(intid), level).unwrap();
}

#[test]
fn a_line_that_is_still_high_comes_again_after_its_end_and_not_before() {
    let (mut gic, mut registers) = (booted(), OneWay::new());
    level(&mut gic, 40, Level::High);
    gic.load(FIRST, &mut registers);
    gic.load(FIRST, &mut registers);
    gic.save(FIRST, &mut registers);
    assert_eq!((registers.held().as_slice(), registers.written), ([40].as_slice(), 1));
    assert!(bit(&gic, ACTIVE, 40) && !gic.has_pending(FIRST));
    registers.end(40);
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().as_slice(), registers.written), ([40].as_slice(), 2));
    level(&mut gic, 40, Level::Low);
    registers.end(40);
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().len(), registers.written), (0, 2));
    assert!(!bit(&gic, ACTIVE, 40) && !bit(&gic, PEND, 40));
}

#[test]
fn an_edge_while_a_register_holds_the_interrupt_comes_once_more() {
    let (mut gic, mut registers) = (booted(), OneWay::new());
    set_edge(&mut gic, 40);
    for _ in 0..3 {
        gic.pulse_spi(spi(40)).unwrap();
        gic.load(FIRST, &mut registers);
    }
    assert_eq!(registers.written, 1);
    registers.end(40);
    gic.load(FIRST, &mut registers);
    registers.end(40);
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().len(), registers.written), (0, 2), "two edges came together behind the first");
}

#[test]
fn what_does_not_fit_waits_for_the_first_register_that_is_free_the_most_urgent_first() {
    let (mut gic, mut registers) = (booted(), OneWay::new());
    for (intid, priority) in [(40, 0x10), (41, 0x20), (42, 0x30), (43, 0x40), (44, 0x60), (45, 0x50)] {
        set_priority(&mut gic, intid, priority);
        level(&mut gic, intid, Level::High);
    }
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.held(), [40, 41, 42, 43]);
    for (ends, next) in [(42, 45), (40, 44)] {
        level(&mut gic, ends, Level::Low);
        registers.end(ends);
        gic.load(FIRST, &mut registers);
        assert!(registers.held().contains(&next));
    }
    assert_eq!(registers.held(), [44, 41, 45, 43]);
}

#[test]
fn what_no_register_takes_stays_pending() {
    let (mut gic, mut registers) = (booted(), OneWay::new());
    registers.broken = 4;
    level(&mut gic, 40, Level::High);
    set_edge(&mut gic, 41);
    gic.pulse_spi(spi(41)).unwrap();
    gic.load(FIRST, &mut registers);
    assert!(gic.has_pending(FIRST) && bit(&gic, PEND, 41) && !bit(&gic, ACTIVE, 40));
    registers.broken = 2;
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.held(), [40, 41]);
}

#[test]
fn what_the_guest_disables_or_deactivates_meanwhile_is_never_in_two_registers() {
    let (mut gic, mut registers) = (booted(), OneWay::new());
    level(&mut gic, 40, Level::High);
    gic.load(FIRST, &mut registers);
    set_bit(&mut gic, DEACTIVATE, 40);
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().as_slice(), registers.written), ([40].as_slice(), 1));
    set_bit(&mut gic, DISABLE, 40);
    registers.end(40);
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().len(), registers.written), (0, 1), "disabled: it waits");
}

#[test]
fn what_was_deactivated_and_is_another_vcpus_since_is_ended_by_that_one_alone() {
    let (mut gic, mut first, mut second) = (booted(), OneWay::new(), OneWay::new());
    level(&mut gic, 40, Level::High);
    gic.load(FIRST, &mut first);
    set_bit(&mut gic, DEACTIVATE, 40);
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U64, 1);
    gic.load(SECOND, &mut second);
    assert_eq!((first.held(), second.held()), (vec![40], vec![40]));
    first.end(40);
    gic.load(FIRST, &mut first);
    assert!(first.held().is_empty() && bit(&gic, ACTIVE, 40), "the second vCPU has not ended it");
    level(&mut gic, 40, Level::Low);
    second.end(40);
    gic.load(SECOND, &mut second);
    assert!(second.held().is_empty() && !bit(&gic, ACTIVE, 40));
    assert_eq!((first.written, second.written), (1, 1));
}

#[test]
fn each_sender_of_a_software_generated_interrupt_is_heard() {
    let (mut gic, mut registers) = (booted_v2(), OneWay::new());
    for sender in [FIRST, SECOND, crate::testing::THIRD] {
        gic.distributor_write(sender, 0xf00, Width::U32, 1 << 16 | 5);
    }
    for ended in 1..=3 {
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.held().as_slice(), registers.written), ([5].as_slice(), ended));
        registers.end(5);
    }
    gic.load(FIRST, &mut registers);
    assert_eq!((registers.held().len(), registers.written), (0, 3));
    assert!(IntId::new(1019).is_some() && IntId::new(1020).is_none());
}
