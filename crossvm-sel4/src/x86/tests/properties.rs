//! No interrupt is lost, and none goes in that the guest does not take: the machine asserts the latter at each entry.

use std::collections::BTreeSet;
use std::vec::Vec;

use crossvm_core::{Bdf, InterruptController, Irq, Level, Message};
use proptest::prelude::*;

use super::machine::{CPUID, HLT, Machine, Ram, Step};
use crate::x86::{Exit, Lines, Vector};

/// What happens outside between two entries.
#[derive(Debug, Clone)]
enum Outside {
    Nothing,
    Level(u32, bool),
    Message(u8),
}

fn outside() -> impl Strategy<Value = Outside> {
    prop_oneof![
        2 => Just(Outside::Nothing),
        2 => (0..3_u32, any::<bool>()).prop_map(|(line, high)| Outside::Level(line, high)),
        2 => (0x20..0x60_u8).prop_map(Outside::Message),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Sti),
        1 => Just(Step::Cli),
        2 => Just(Step::Iret),
        2 => Just(CPUID),
        1 => Just(HLT),
        1 => any::<bool>().prop_map(|entered| Step::Signal { entered, badge: 1 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_message_arrives_once_at_least_and_every_high_line_interrupts(
        steps in prop::collection::vec(step(), 0..60),
        events in prop::collection::vec(outside(), 0..60),
    ) {
        let machine = Machine::with(steps);
        let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(3, Vector::new(0xa0).unwrap()), Ram::with_code(&[]));
        let mut owed = BTreeSet::new();
        let mut seen = 0;
        let mut taken_since = |owed: &mut BTreeSet<u8>| {
            let taken = machine.taken();
            owed.retain(|vector| !taken[seen..].contains(vector));
            seen = taken.len();
        };
        let mut high = [false; 3];
        for event in events {
            match event {
                Outside::Nothing => {}
                Outside::Level(line, level) => {
                    high[line as usize] = level;
                    lines.set_level(Irq::new(line), Level::from_asserted(level)).unwrap();
                }
                Outside::Message(vector) => {
                    owed.insert(vector);
                    lines.deliver_msi(Bdf::from_requester_id(0), Message { address: 0xfee0_0000, data: u32::from(vector) }).unwrap();
                }
            }
            let before = machine.taken().len();
            let exit = vcpu.run(&mut lines, &ram).unwrap();
            prop_assert!(!matches!(exit, Exit::Stopped(_)));
            taken_since(&mut owed);
            for vector in &machine.taken()[before..] {
                let line = vector.checked_sub(0xa0).filter(|line| *line < 3);
                prop_assert!(line.is_none_or(|line| high[usize::from(line)]), "a line that is low");
            }
        }
        // From now on the guest takes what comes. A line that is high hides the lines below it, as it never falls here, but no higher message.
        let lines_owed: Option<u8> = (0..3).rev().find(|line| high[usize::from(*line)]).map(|line| 0xa0 + line);
        if lines_owed.is_some() {
            let before = machine.taken().len();
            machine.0.borrow_mut().steps = [Step::Iret, Step::Sti, CPUID, CPUID].into();
            for _ in 0..12 {
                let _ = vcpu.run(&mut lines, &ram).unwrap();
                machine.0.borrow_mut().steps.push_back(Step::Iret);
            }
            prop_assert!(machine.taken()[before..].contains(&lines_owed.unwrap()), "a high line that does not interrupt");
        }
        for line in 0..3 {
            lines.set_level(Irq::new(line), Level::Low).unwrap();
        }
        for _ in 0..owed.len() + 80 {
            machine.0.borrow_mut().steps.push_back(Step::Iret);
            let _ = vcpu.run(&mut lines, &ram).unwrap();
        }
        taken_since(&mut owed);
        prop_assert!(owed.is_empty(), "messages that never came: {:x?}", owed);
        prop_assert_eq!(lines.pending(), None);
    }

    #[test]
    fn no_exit_that_a_guest_can_cause_is_an_error(
        reason in prop_oneof![Just(48_u64), Just(30), 0..70_u64, Just(u64::from(u32::MAX))],
        qualification in any::<u64>(),
        length in any::<u64>(),
        physical in any::<u64>(),
        code in any::<[u8; 15]>(),
        registers in any::<[u64; 7]>(),
    ) {
        let machine = Machine::with([Step::Exit { reason, qualification, length, physical }]);
        let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(1, Vector::FIRST), Ram::with_code(&code));
        machine.0.borrow_mut().registers = registers.to_vec();
        let before = vcpu.instruction_pointer();
        let exit = vcpu.run(&mut lines, &ram).unwrap();
        let moved = vcpu.instruction_pointer().wrapping_sub(before);
        prop_assert!(moved <= 15);
        let skipped = matches!(exit, Exit::PortWrite { .. } | Exit::PortRead { .. } | Exit::Memory { .. } | Exit::Cpuid { .. } | Exit::Halted { .. });
        prop_assert!(!skipped || moved >= 1, "an instruction for ever");
        if let Exit::PortRead { into, .. } | Exit::Memory { into: Some(into), .. } = exit {
            vcpu.answer(into, u64::MAX).unwrap();
        }
    }
}

#[test]
fn a_cut_short_delivery_is_carried_until_it_is_done() {
    // The violation itself stops this guest; what is carried must not be lost for a VMM that maps the place and goes on.
    let machine = Machine::with([Step::Iret, CPUID, Step::CutShort { vector: 0x44 }]);
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), Lines::new(1, Vector::FIRST), Ram::with_code(&[]));
    let _ = vcpu.run(&mut lines, &ram).unwrap();
    lines.deliver_msi(Bdf::from_requester_id(0), Message { address: 0xfee0_0000, data: 0x44 }).unwrap();
    assert!(matches!(vcpu.run(&mut lines, &ram), Ok(Exit::Stopped(_))));
    assert_eq!(machine.taken(), Vec::<u8>::new());
    let _ = vcpu.run(&mut lines, &ram).unwrap();
    assert_eq!(machine.taken(), [0x44]);
}
