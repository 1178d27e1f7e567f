//! Whatever guests, devices and physical interrupts do: each acknowledge gives what the architecture determines, and at the end nothing
//! is left. With 1, 2, 4 and 16 list registers, and 1, 2 and 8 vCPUs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::machine::{Change, Filter, Machine};

const SGIS: [u32; 3] = [0, 9, 15];
const PPIS: [u32; 2] = [27, 30];
const SPIS: [u32; 6] = [32, 33, 63, 64, 80, 95];
const MESSAGES: [u32; 2] = [96, 127];

fn intids() -> Vec<u32> {
    [&SGIS[..], &PPIS, &SPIS, &MESSAGES].concat()
}

#[derive(Debug, Clone)]
enum Step {
    Change { by: usize, intid: u32, change: Change },
    Forwarded { by: usize, groups: [bool; 2] },
    Groups { vcpu: usize, groups: [bool; 2], common_acknowledge: bool },
    PriorityMask { vcpu: usize, mask: u8 },
    BinaryPoint { vcpu: usize, point: u32 },
    Line { vcpu: usize, intid: u32, high: bool },
    Pulse { by: usize, intid: u32 },
    Send { from: usize, intid: u32, filter: Filter },
    RaiseHardware { cpu: usize, intid: u32 },
    LowerHardware { cpu: usize, intid: u32 },
    Acknowledge { vcpu: usize },
    End { vcpu: usize },
    Deactivate { by: usize, vcpu: usize, which: usize },
    Exit { vcpu: usize },
    Inspect,
    PowerCycle { vcpu: usize },
    Reset,
}

/// Of vCPUs that there are and one that there is not.
fn set(vcpus: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..(vcpus + 1).min(8), 0..=vcpus.min(3))
}

fn change(vcpus: usize) -> impl Strategy<Value = Change> {
    let priority = prop::sample::select(vec![0x00, 0x20, 0x28, 0x80, 0xa0, 0xf0, 0xff]);
    prop_oneof![
        3 => Just(Change::Enable),
        2 => Just(Change::Disable),
        3 => Just(Change::Pend),
        1 => Just(Change::Unpend),
        1 => Just(Change::Activate),
        2 => Just(Change::Deactivate),
        2 => (0..2_usize).prop_map(Change::Group),
        3 => priority.prop_map(Change::Priority),
        3 => any::<bool>().prop_map(Change::Edge),
        3 => set(vcpus).prop_map(Change::Targets),
        1 => set(vcpus).prop_map(Change::SetSenders),
        1 => set(vcpus).prop_map(Change::ClearSenders),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        4 => any::<u8>().prop_map(Filter::List),
        2 => Just(Filter::Others),
        2 => Just(Filter::Myself),
        1 => Just(Filter::Reserved),
    ]
}

fn step(vcpus: usize) -> impl Strategy<Value = Step> {
    let vcpu = 0..vcpus;
    let wired = prop::sample::select([&PPIS[..], &SPIS].concat());
    let pulsed = prop::sample::select([&SPIS[..], &MESSAGES, &MESSAGES].concat());
    let mask = prop::sample::select(vec![0xff, 0xf0, 0x80]);
    prop_oneof![
        10 => (vcpu.clone(), prop::sample::select(intids()), change(vcpus)).prop_map(|(by, intid, change)| Step::Change { by, intid, change }),
        1 => (vcpu.clone(), any::<[bool; 2]>()).prop_map(|(by, groups)| Step::Forwarded { by, groups }),
        2 => (vcpu.clone(), any::<[bool; 2]>(), any::<bool>())
            .prop_map(|(vcpu, groups, common_acknowledge)| Step::Groups { vcpu, groups, common_acknowledge }),
        1 => (vcpu.clone(), mask).prop_map(|(vcpu, mask)| Step::PriorityMask { vcpu, mask }),
        1 => (vcpu.clone(), 0..8_u32).prop_map(|(vcpu, point)| Step::BinaryPoint { vcpu, point }),
        8 => (vcpu.clone(), wired.clone(), prop::bool::weighted(0.6)).prop_map(|(vcpu, intid, high)| Step::Line { vcpu, intid, high }),
        6 => (vcpu.clone(), pulsed).prop_map(|(by, intid)| Step::Pulse { by, intid }),
        8 => (vcpu.clone(), prop::sample::select(SGIS.to_vec()), filter()).prop_map(|(from, intid, filter)| Step::Send { from, intid, filter }),
        4 => (vcpu.clone(), wired.clone()).prop_map(|(cpu, intid)| Step::RaiseHardware { cpu, intid }),
        2 => (vcpu.clone(), wired).prop_map(|(cpu, intid)| Step::LowerHardware { cpu, intid }),
        14 => vcpu.clone().prop_map(|vcpu| Step::Acknowledge { vcpu }),
        10 => vcpu.clone().prop_map(|vcpu| Step::End { vcpu }),
        6 => (vcpu.clone(), vcpu.clone(), 0..8_usize).prop_map(|(by, vcpu, which)| Step::Deactivate { by, vcpu, which }),
        2 => vcpu.clone().prop_map(|vcpu| Step::Exit { vcpu }),
        2 => Just(Step::Inspect),
        1 => (prop::bool::weighted(0.3), vcpu).prop_map(|(cycle, vcpu)| if cycle { Step::PowerCycle { vcpu } } else { Step::Inspect }),
        1 => prop::bool::weighted(0.1).prop_map(|reset| if reset { Step::Reset } else { Step::Inspect }),
    ]
}

fn apply<const VCPUS: usize>(machine: &mut Machine<VCPUS>, registers: usize, step: &Step) {
    match step {
        // An end of interrupt does not tell the VMM which of several it meant that are in no list register; it takes the most
        // urgent. Interrupts that software has made active are not in that order, so only where all are in registers.
        Step::Change { change: Change::Activate, .. } if registers < 16 => {}
        Step::Change { by, intid, change } => machine.change(*by, *intid, change),
        Step::Forwarded { by, groups } => machine.set_forwarded(*by, *groups),
        Step::Groups { vcpu, groups, common_acknowledge } => machine.set_groups(*vcpu, *groups, *common_acknowledge),
        Step::PriorityMask { vcpu, mask } => machine.cpu(*vcpu).set_priority_mask(*mask),
        // The guest changes what preemption looks at only while it handles nothing.
        Step::BinaryPoint { vcpu, point } if machine.model.vcpus[*vcpu].nested.is_empty() => machine.cpu(*vcpu).set_binary_point(*point),
        Step::BinaryPoint { .. } => {}
        Step::Line { vcpu, intid, high } => machine.set_line(*vcpu, *intid, *high),
        Step::Pulse { by, intid } => machine.pulse(*by, *intid),
        Step::Send { from, intid, filter } => machine.send(*from, *intid, *filter),
        Step::RaiseHardware { cpu, intid } => machine.raise_hardware(*cpu, *intid),
        Step::LowerHardware { cpu, intid } => machine.lower_hardware(*cpu, *intid),
        Step::Acknowledge { vcpu } => {
            machine.acknowledge(*vcpu);
        }
        Step::End { vcpu } => {
            machine.end(*vcpu);
        }
        Step::Deactivate { by, vcpu, which } => {
            machine.deactivate(*by, *vcpu, *which);
        }
        Step::Exit { vcpu } => {
            machine.save(*vcpu);
            machine.load(*vcpu);
        }
        Step::Inspect => machine.inspect(&intids()),
        Step::PowerCycle { vcpu } => machine.power_cycle(*vcpu),
        Step::Reset => machine.reset(),
    }
}

/// Each step takes effect before the next: the architecture determines each answer.
fn compare<const VCPUS: usize>(registers: usize, separate_deactivation: bool, steps: &[Step]) {
    let mut machine = Machine::<VCPUS>::new(registers, separate_deactivation);
    machine.boot(&intids());
    machine.synchronize();
    for step in steps {
        apply(&mut machine, registers, step);
        machine.synchronize();
        machine.check();
    }
    machine.drain();
    machine.inspect(&intids());
    machine.reset();
    machine.synchronize();
    machine.check();
}

fn registers() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1, 2, 4, 16])
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_vcpu_agrees_with_the_architecture(
        registers in registers(), separate in any::<bool>(), steps in prop::collection::vec(step(1), 0..150)
    ) {
        compare::<1>(registers, separate, &steps);
    }

    #[test]
    fn two_vcpus_agree_with_the_architecture(
        registers in registers(), separate in any::<bool>(), steps in prop::collection::vec(step(2), 0..150)
    ) {
        compare::<2>(registers, separate, &steps);
    }

    #[test]
    fn eight_vcpus_agree_with_the_architecture(
        registers in registers(), separate in any::<bool>(), steps in prop::collection::vec(step(8), 0..200)
    ) {
        compare::<8>(registers, separate, &steps);
    }
}
