//! Whatever guests, devices and physical interrupts do: each acknowledge gives what the architecture determines, and at the end nothing
//! is left. With 1, 2, 4 and 16 list registers, and 1, 2 and 8 vCPUs.

use crossvm_arm::spec::Group;
use proptest::prelude::*;

use crate::machine::{Change, Machine};
use crate::model::Target;

const SGIS: [u32; 2] = [0, 9];
const PPIS: [u32; 2] = [27, 30];
const SPIS: [u32; 6] = [32, 33, 63, 64, 80, 127];
const MESSAGES: [u32; 2] = [96, 111];

fn intids() -> Vec<u32> {
    [&SGIS[..], &PPIS, &SPIS, &MESSAGES].concat()
}

#[derive(Debug, Clone)]
enum Step {
    Change { by: usize, vcpu: usize, intid: u32, change: Change },
    Forwarded { by: usize, groups: [bool; 2] },
    Asleep { by: usize, vcpu: usize, asleep: bool },
    Groups { vcpu: usize, groups: [bool; 2] },
    PriorityMask { vcpu: usize, mask: u8 },
    PreemptionMask { vcpu: usize, mask: u8 },
    Line { vcpu: usize, intid: u32, high: bool },
    Pulse { intid: u32 },
    Message { by: Option<usize>, intid: u32, set: bool },
    Send { from: usize, intid: u32, targets: u16, all_but_self: bool },
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

fn priority() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0x00, 0x20, 0x28, 0x80, 0xa0, 0xf0])
}

fn group() -> impl Strategy<Value = Group> {
    prop::sample::select(vec![Group::Zero, Group::One, Group::One])
}

fn change(vcpus: usize) -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::Enable),
        2 => Just(Change::Disable),
        3 => Just(Change::Pend),
        1 => Just(Change::Unpend),
        1 => Just(Change::Activate),
        2 => Just(Change::Deactivate),
        1 => group().prop_map(Change::Group),
        3 => priority().prop_map(Change::Priority),
        3 => any::<bool>().prop_map(Change::Edge),
        // One vCPU more than there are: an affinity that nobody has.
        2 => (0..=vcpus).prop_map(|vcpu| Change::Target(Target::Vcpu(vcpu))),
        1 => Just(Change::Target(Target::OneOfN)),
    ]
}

fn step(vcpus: usize) -> impl Strategy<Value = Step> {
    let vcpu = 0..vcpus;
    let wired = prop::sample::select(PPIS.iter().chain(&SPIS).copied().collect::<Vec<_>>());
    let spi = prop::sample::select(SPIS.to_vec());
    let sgi = prop::sample::select(SGIS.to_vec());
    prop_oneof![
        10 => (vcpu.clone(), vcpu.clone(), prop::sample::select(intids()), change(vcpus))
            .prop_map(|(by, vcpu, intid, change)| Step::Change { by, vcpu, intid, change }),
        1 => (vcpu.clone(), any::<[bool; 2]>()).prop_map(|(by, groups)| Step::Forwarded { by, groups }),
        1 => (vcpu.clone(), vcpu.clone(), prop::bool::weighted(0.3)).prop_map(|(by, vcpu, asleep)| Step::Asleep { by, vcpu, asleep }),
        2 => (vcpu.clone(), any::<[bool; 2]>()).prop_map(|(vcpu, groups)| Step::Groups { vcpu, groups }),
        1 => (vcpu.clone(), prop::sample::select(vec![0xff, 0xf0, 0x80])).prop_map(|(vcpu, mask)| Step::PriorityMask { vcpu, mask }),
        1 => (vcpu.clone(), prop::sample::select(vec![0xf8, 0xf0, 0xc0, 0x00]))
            .prop_map(|(vcpu, mask)| Step::PreemptionMask { vcpu, mask }),
        3 => (prop::option::of(vcpu.clone()), prop::sample::select(MESSAGES.to_vec()), prop::bool::weighted(0.7))
            .prop_map(|(by, intid, set)| Step::Message { by, intid, set }),
        8 => (vcpu.clone(), wired.clone(), prop::bool::weighted(0.6)).prop_map(|(vcpu, intid, high)| Step::Line { vcpu, intid, high }),
        5 => spi.prop_map(|intid| Step::Pulse { intid }),
        4 => (vcpu.clone(), sgi, any::<u16>(), any::<bool>())
            .prop_map(|(from, intid, targets, all_but_self)| Step::Send { from, intid, targets, all_but_self }),
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
    match *step {
        // An end of interrupt does not tell the VMM which of several it meant that are in no list register; it takes the most
        // urgent. Interrupts that software has made active are not in that order, so only where all are in registers.
        Step::Change { change: Change::Activate, .. } if registers < 16 => {}
        Step::Change { by, vcpu, intid, change } => {
            machine.change(by, vcpu, intid, change);
        }
        Step::Forwarded { by, groups } => machine.set_forwarded(by, groups),
        Step::Asleep { by, vcpu, asleep } => machine.set_asleep(by, vcpu, asleep),
        Step::Groups { vcpu, groups } => machine.set_groups(vcpu, groups),
        Step::PriorityMask { vcpu, mask } => machine.cpus[vcpu].priority_mask = mask,
        // The guest changes what preemption looks at only while it handles nothing.
        Step::PreemptionMask { vcpu, mask } if machine.model.vcpus[vcpu].nested.is_empty() => machine.cpus[vcpu].preemption_mask = mask,
        Step::PreemptionMask { .. } => {}
        Step::Line { vcpu, intid, high } => machine.set_line(vcpu, intid, high),
        Step::Pulse { intid } => machine.pulse(intid),
        Step::Message { by, intid, set } => machine.message(by, intid, set),
        Step::Send { from, intid, targets, all_but_self } => machine.send(from, intid, targets, all_but_self),
        Step::RaiseHardware { cpu, intid } => machine.raise_hardware(cpu, intid),
        Step::LowerHardware { cpu, intid } => machine.lower_hardware(cpu, intid),
        Step::Acknowledge { vcpu } => {
            machine.acknowledge(vcpu);
        }
        Step::End { vcpu } => {
            machine.end(vcpu);
        }
        Step::Deactivate { by, vcpu, which } => {
            machine.deactivate(by, vcpu, which);
        }
        Step::Exit { vcpu } => {
            machine.save(vcpu);
            machine.load(vcpu);
        }
        Step::Inspect => machine.inspect(&intids()),
        Step::PowerCycle { vcpu } => machine.power_cycle(vcpu),
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

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_vcpu_agrees_with_the_architecture(
        registers in prop::sample::select(vec![1, 2, 4, 16]), separate in any::<bool>(), steps in prop::collection::vec(step(1), 0..150)
    ) {
        compare::<1>(registers, separate, &steps);
    }

    #[test]
    fn two_vcpus_agree_with_the_architecture(
        registers in prop::sample::select(vec![1, 2, 4, 16]), separate in any::<bool>(), steps in prop::collection::vec(step(2), 0..150)
    ) {
        compare::<2>(registers, separate, &steps);
    }

    #[test]
    fn eight_vcpus_agree_with_the_architecture(
        registers in prop::sample::select(vec![1, 2, 4, 16]), separate in any::<bool>(), steps in prop::collection::vec(step(8), 0..200)
    ) {
        compare::<8>(registers, separate, &steps);
    }
}
