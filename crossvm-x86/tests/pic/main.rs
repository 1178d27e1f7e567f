//! The 8259 pair against a plain model of it: over random sequences of all that guests and devices can do, and over every command word in every
//! place of an initialization.

mod model;

use crossvm_core::Level;
use crossvm_x86::{Pic, PicIrq};
use proptest::prelude::*;

use crate::model::Model;

const PORTS: [u16; 6] = [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1];

#[derive(Debug, Clone)]
enum Step {
    Write(u16, u8),
    Read(u16),
    Level(u8, bool),
    Pulse(u8),
    Acknowledge,
    /// A level changes between the two pulses.
    SplitAcknowledge(u8, bool),
    /// As operating systems do it: ICW1 to ICW4, then a mask.
    Initialize {
        slave: bool,
        icw4: u8,
        mask: u8,
    },
    Reset,
}

fn irq() -> impl Strategy<Value = u8> {
    (0..15_u8).prop_map(|irq| if irq < 2 { irq } else { irq + 1 })
}

fn command() -> impl Strategy<Value = u8> {
    prop_oneof![
        // Ends of interrupts, rotations and other OCW2.
        6 => any::<u8>().prop_map(|value| value & 0xe7),
        3 => any::<u8>().prop_map(|value| value & 0xe7 | 8),
        1 => any::<u8>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let port = prop::sample::select(PORTS.to_vec());
    let icw4 = prop::sample::select(vec![0x01, 0x03, 0x11, 0x13, 0x1f, 0x00]);
    prop_oneof![
        8 => (prop::sample::select(vec![0x20, 0xa0]), command()).prop_map(|(port, value)| Step::Write(port, value)),
        3 => (prop::sample::select(vec![0x21, 0xa1]), any::<u8>(), any::<u8>()).prop_map(|(port, a, b)| Step::Write(port, a & b)),
        2 => (prop::sample::select(vec![0x4d0, 0x4d1]), any::<u8>()).prop_map(|(port, value)| Step::Write(port, value)),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(port, value)| Step::Write(port, value)),
        3 => port.prop_map(Step::Read),
        1 => any::<u16>().prop_map(Step::Read),
        12 => (irq(), prop::bool::weighted(0.6)).prop_map(|(irq, high)| Step::Level(irq, high)),
        5 => irq().prop_map(Step::Pulse),
        10 => Just(Step::Acknowledge),
        2 => (irq(), any::<bool>()).prop_map(|(irq, high)| Step::SplitAcknowledge(irq, high)),
        1 => (any::<bool>(), icw4, any::<u8>(), any::<u8>())
            .prop_map(|(slave, icw4, a, b)| Step::Initialize { slave, icw4, mask: a & b }),
        1 => prop::bool::weighted(0.2).prop_map(|reset| if reset { Step::Reset } else { Step::Acknowledge }),
    ]
}

fn level(high: bool) -> Level {
    Level::from_asserted(high)
}

fn input(irq: u8) -> PicIrq {
    PicIrq::new(irq).unwrap()
}

fn apply(pic: &mut Pic, model: &mut Model, step: &Step) {
    match *step {
        Step::Write(port, value) => assert_eq!(pic.write(port, value), model.write(port, value)),
        Step::Read(port) => assert_eq!(pic.read(port), model.read(port)),
        Step::Level(irq, high) => {
            pic.set_level(input(irq), level(high));
            model.set(irq.into(), high);
        }
        Step::Pulse(irq) => {
            pic.pulse(input(irq));
            model.pulse(irq.into());
        }
        Step::Acknowledge => {
            let chosen = model.first_pulse();
            assert_eq!(pic.acknowledge(), model.second_pulse(chosen));
        }
        Step::SplitAcknowledge(irq, high) => {
            let (ours, chosen) = (pic.begin_acknowledge(), model.first_pulse());
            pic.set_level(input(irq), level(high));
            model.set(irq.into(), high);
            assert_eq!(pic.finish_acknowledge(ours), model.second_pulse(chosen));
        }
        Step::Initialize { slave, icw4, mask } => {
            let (command, base) = if slave { (0xa0, 0x38) } else { (0x20, 0x30) };
            for (port, value) in [(command, 0x11), (command + 1, base), (command + 1, 4), (command + 1, icw4), (command + 1, mask)] {
                apply(pic, model, &Step::Write(port, value));
            }
        }
        Step::Reset => {
            pic.reset();
            model.reset();
        }
    }
}

/// All that can be seen without changing anything: a copy is asked.
fn compare(pic: &Pic, model: &Model) {
    assert_eq!(pic.interrupt_pending(), model.pending(), "INTR");
    let (mut pic, mut model) = (pic.clone(), model.clone());
    // The first read ends poll mode. Then: masks, levels, requests, in service.
    for port in [0x20, 0xa0].into_iter().chain(PORTS) {
        assert_eq!(pic.read(port), model.read(port), "port {port:#x}");
    }
    for command in [0x0b, 0x0a] {
        for port in [0x20, 0xa0] {
            assert!(pic.write(port, command) && model.write(port, command));
            assert_eq!(pic.read(port), model.read(port), "port {port:#x} after {command:#x}");
        }
    }
    // What would be acknowledged, one after the other.
    for _ in 0..3 {
        let chosen = model.first_pulse();
        assert_eq!(pic.acknowledge(), model.second_pulse(chosen), "vector");
    }
}

fn run(steps: &[Step]) {
    let (mut pic, mut model) = (Pic::new(), Model::new());
    for step in steps {
        apply(&mut pic, &mut model, step);
        compare(&pic, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_guests_and_devices_do_the_model_does(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps);
    }
}

/// Both chips initialized, some inputs level-triggered, some requests, some interrupts in service.
fn busy() -> Vec<Step> {
    let mut steps = vec![
        Step::Initialize { slave: false, icw4: 1, mask: 0x10 },
        Step::Initialize { slave: true, icw4: 1, mask: 0x08 },
        Step::Write(0x4d0, 0x28),
        Step::Write(0x4d1, 0x0c),
    ];
    steps.extend([7, 10, 6].map(|irq| Step::Level(irq, true)));
    steps.push(Step::Acknowledge);
    steps.push(Step::Level(5, true));
    steps.push(Step::Acknowledge);
    steps.extend([0, 3, 4, 8, 11, 14].map(|irq| Step::Level(irq, true)));
    steps
}

#[test]
fn every_command_word_does_what_the_model_does() {
    for port in [0x20, 0xa0] {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let mut steps = busy();
                let (mut pic, mut model) = (Pic::new(), Model::new());
                steps.extend([Step::Write(port, first), Step::Write(port, second)]);
                steps.iter().for_each(|step| apply(&mut pic, &mut model, step));
                compare(&pic, &model);
            }
        }
    }
}

#[test]
fn every_word_of_an_initialization_does_what_the_model_does() {
    for command in [0x20, 0xa0] {
        for icw1 in (0x10..0x20).chain([0x30, 0xff]) {
            for place in 0..4 {
                for value in 0..=u8::MAX {
                    let (mut pic, mut model) = (Pic::new(), Model::new());
                    let mut words = [0x20, 4, 1, 0];
                    words[place] = value;
                    let mut steps = busy();
                    steps.push(Step::Write(command, icw1));
                    steps.extend(words.map(|word| Step::Write(command + 1, word)));
                    steps.extend([1, 12].map(|irq| Step::Level(irq, true)));
                    steps.iter().for_each(|step| apply(&mut pic, &mut model, step));
                    compare(&pic, &model);
                }
            }
        }
    }
}

#[test]
fn every_edge_level_register_does_what_the_model_does() {
    for port in [0x4d0, 0x4d1] {
        for before in [0x00, 0xff, 0x28] {
            for value in 0..=u8::MAX {
                let (mut pic, mut model) = (Pic::new(), Model::new());
                let mut steps = busy();
                steps.extend([Step::Write(port, before), Step::Level(15, true), Step::Write(port, value)]);
                steps.extend([3, 5, 10, 15].map(|irq| Step::Level(irq, false)));
                for step in &steps {
                    apply(&mut pic, &mut model, step);
                }
                compare(&pic, &model);
            }
        }
    }
}
