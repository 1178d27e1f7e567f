//! The IOAPIC against a plain model of it, over random sequences of all that guests, devices and local APICs can do.

mod model;

use crossvm_core::{ErrorKind, ErrorType, Level, Message, Width};
use crossvm_x86::{ApicMessage, IoApic, IoApicVersion, LocalApics, Mask, Pin, Trigger, Wire};
use proptest::prelude::*;

use crate::model::Model;

#[derive(Debug, Clone)]
enum Step {
    Write(u32, Width, u64),
    Read(u32, Width),
    /// The guest writes half an entry.
    Program {
        pin: u32,
        upper: bool,
        value: u32,
    },
    Level(u32, bool),
    Pulse(u32),
    End(u8),
    /// The local APICs take a message where the bit of its place is set.
    Deliver(u32),
    /// One message, by `next_message` and `sent`.
    SendOne(u32),
    Reset,
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![4 => Just(Width::U32), 1 => prop::sample::select(Width::ALL.to_vec())]
}

/// Of few vectors, so that pins share them; mostly fixed, mostly not masked.
fn entry() -> impl Strategy<Value = u32> {
    let vector = prop::sample::select(vec![0x00, 0x31, 0x31, 0x41, 0xfe]);
    let mode = prop_oneof![4 => Just(0_u32), 2 => Just(1), 2 => 0..8_u32];
    (vector, mode, any::<u32>(), prop::bool::weighted(0.25))
        .prop_map(|(vector, mode, bits, masked)| vector | mode << 8 | bits & 0xfffe_f800 | u32::from(masked) << 16)
}

fn step(pins: u32) -> impl Strategy<Value = Step> {
    let pin = 0..pins + 1;
    let offset = prop_oneof![3 => Just(0_u32), 3 => Just(0x10), 2 => Just(0x40), 1 => 0..0x50_u32, 1 => any::<u32>()];
    let vector = prop::sample::select(vec![0x00_u8, 0x31, 0x31, 0x41, 0xfe, 0x77]);
    prop_oneof![
        4 => (offset.clone(), width(), any::<u64>()).prop_map(|(offset, width, value)| Step::Write(offset, width, value)),
        2 => (Just(0x40_u32), width(), vector.clone()).prop_map(|(offset, width, vector)| Step::Write(offset, width, vector.into())),
        3 => (offset, width()).prop_map(|(offset, width)| Step::Read(offset, width)),
        10 => (pin.clone(), prop::bool::weighted(0.2), entry()).prop_map(|(pin, upper, value)| Step::Program { pin, upper, value }),
        12 => (pin.clone(), prop::bool::weighted(0.6)).prop_map(|(pin, high)| Step::Level(pin, high)),
        4 => pin.prop_map(Step::Pulse),
        8 => vector.prop_map(Step::End),
        8 => prop_oneof![Just(u32::MAX), any::<u32>()].prop_map(Step::Deliver),
        2 => (0..pins).prop_map(Step::SendOne),
        1 => prop::bool::weighted(0.2).prop_map(|reset| if reset { Step::Reset } else { Step::Deliver(0) }),
    ]
}

/// Local APICs that take what a list of bits says.
struct Apics {
    accept: u32,
    offered: Vec<Message>,
}

impl ErrorType for Apics {
    type Error = ErrorKind;
}

impl LocalApics for Apics {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), ErrorKind> {
        let message = Message::from(message);
        assert!(ApicMessage::from_message(message).is_some(), "{message} means nothing");
        let taken = self.accept >> (self.offered.len() % 32) & 1 != 0;
        self.offered.push(message);
        if taken { Ok(()) } else { Err(ErrorKind::Hypervisor) }
    }
}

fn pin(number: u32) -> Pin {
    Pin::new(number).unwrap()
}

fn bits(width: Width) -> u32 {
    u32::try_from(width.bytes() * 8).unwrap()
}

fn apply<const PINS: usize>(ioapic: &mut IoApic<PINS>, model: &mut Model, step: &Step) {
    match *step {
        Step::Write(offset, width, value) => {
            let changed = ioapic.write(offset, width, value).map(|pin| usize::from(pin.number()));
            assert_eq!(changed, model.write(offset, bits(width), value));
        }
        Step::Read(offset, width) => assert_eq!(ioapic.read(offset, width), model.read(offset, bits(width))),
        Step::Program { pin, upper, value } => {
            apply(ioapic, model, &Step::Write(0, Width::U32, (0x10 + 2 * pin + u32::from(upper)).into()));
            apply(ioapic, model, &Step::Write(0x10, Width::U32, value.into()));
        }
        Step::Level(number, high) => {
            let there = (number as usize) < PINS;
            assert_eq!(ioapic.set_level(pin(number), Level::from_asserted(high)).is_ok(), there);
            model.set(number as usize, high);
        }
        Step::Pulse(number) => {
            assert_eq!(ioapic.pulse(pin(number)).is_ok(), (number as usize) < PINS);
            model.pulse(number as usize);
        }
        Step::End(vector) => {
            ioapic.end_of_interrupt(vector);
            model.end(vector.into());
        }
        Step::Deliver(accept) => {
            let mut apics = Apics { accept, offered: Vec::new() };
            let result = ioapic.deliver(&mut apics);
            let (mut place, mut refused) = (0, false);
            let offered = model.deliver(|| {
                let taken = accept >> (place % 32) & 1 != 0;
                place += 1;
                refused |= !taken;
                taken
            });
            assert_eq!((apics.offered, result.is_err()), (offered, refused));
        }
        Step::SendOne(from) => {
            let next = ioapic.next_message(pin(from));
            if let Some((pin, _)) = next {
                ioapic.sent(pin);
            }
            // The model has one place for it: those before and behind refuse.
            let message = next.map(|(_, message)| Message::from(message));
            let due = model.clone().deliver(|| false);
            assert!(message.is_none_or(|message| due.contains(&message)));
            let mut copy = model.clone();
            copy.pins.truncate(from as usize);
            let skipped = copy.deliver(|| false).len();
            assert_eq!(message, due.get(skipped).copied());
            let mut place = 0;
            model.deliver(|| {
                place += 1;
                place == skipped + 1
            });
        }
        Step::Reset => {
            ioapic.reset();
            model.reset();
        }
    }
}

fn compare<const PINS: usize>(ioapic: &IoApic<PINS>, model: &Model) {
    for (place, pin) in ioapic.pins().enumerate() {
        let route = ioapic.route(pin).unwrap();
        assert_eq!((route.message, route.trigger == Trigger::Level, route.mask == Mask::Set), model.route(place), "pin {place}");
    }
    let (mut ioapic, mut model) = (ioapic.clone(), model.clone());
    for register in (0..0x10 + 2 * PINS as u64 + 2).chain([0xff, 0x1ff]) {
        ioapic.write(0, Width::U32, register);
        model.write(0, 32, register);
        assert_eq!(ioapic.read(0x10, Width::U32), model.read(0x10, 32), "register {register:#x}");
    }
}

fn run<const PINS: usize>(version: IoApicVersion, steps: &[Step]) {
    let number = if version == IoApicVersion::V20 { 0x20 } else { 0x11 };
    let (mut ioapic, mut model) = (IoApic::<PINS>::new().with_version(version), Model::new(PINS, number));
    for (place, wire) in [(1, Wire::ActiveHigh), (2, Wire::ActiveLow)] {
        if place < PINS {
            ioapic = ioapic.with_wire(pin(u32::try_from(place).unwrap()), wire).unwrap();
            model.wire(place, wire == Wire::ActiveLow);
        }
    }
    for step in steps {
        apply(&mut ioapic, &mut model, step);
        compare(&ioapic, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_few_pins_do_what_the_model_does(steps in prop::collection::vec(step(5), 1..150), new in any::<bool>()) {
        run::<5>(if new { IoApicVersion::V20 } else { IoApicVersion::V11 }, &steps);
    }

    #[test]
    fn one_pin_does_what_the_model_does(steps in prop::collection::vec(step(1), 1..100)) {
        run::<1>(IoApicVersion::V11, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_usual_24_pins_do_what_the_model_does(steps in prop::collection::vec(step(24), 1..150)) {
        run::<24>(IoApicVersion::V20, &steps);
    }

    #[test]
    fn as_many_pins_as_there_can_be_do_what_the_model_does(steps in prop::collection::vec(step(239), 1..40)) {
        run::<240>(IoApicVersion::V11, &steps);
    }
}
