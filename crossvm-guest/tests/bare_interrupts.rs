//! Interrupts of the bare-metal driver, by messages and by the line, against the device.

mod machine;

use std::cell::RefCell;

use crossvm_core::device::Profile as DeviceProfile;
use crossvm_core::{BarWidth, Bdf, Config, InterruptMode, Message as Delivered, Messages, Rights as End};
use crossvm_guest::bare::{
    Bus, ConfigRegionAccess, Error, Intx, Mask, Message, PciAddress, PhysicalMemory, PhysicalRange, Pin, VectorIndex, Window,
};
use crossvm_guest::{EventCount, Fault, Word, Words};
use machine::{Machine, Plan};

const FIRST: VectorIndex = VectorIndex::FIRST;

/// Two connections: one without dataports, and one with all its BARs but those of MSI-X taken.
fn machine(config: Config) -> Machine {
    let plan = |dataports: &[(u64, BarWidth, End)]| Plan { dataports: dataports.to_vec(), mode: InterruptMode::OwnLine };
    Machine::new(config, &[plan(&[]), plan(&[(4096, BarWidth::Bits32, End::ReadWrite), (8192, BarWidth::Bits64, End::Read)])])
}

/// The messages that were delivered meanwhile: from which device, and what.
fn messages(machine: &Machine) -> Vec<(Bdf, Delivered)> {
    machine.0.borrow_mut().vm.interrupts.take_messages()
}

fn message(data: u32) -> Message {
    Message::new(0x12_0802_0040, data).unwrap()
}

fn delivered(device: u8, data: u32) -> (Bdf, Delivered) {
    (Bdf::new(0, device, 0).unwrap(), Delivered { address: 0x12_0802_0040, data })
}

#[test]
fn each_connection_sends_its_own_message_and_keeps_its_line_low() {
    let machine = machine(Config::default());
    let bus = machine.bus();
    for (function, number) in bus.connections().zip(0..) {
        let connection = function.open(&machine).unwrap();
        let msix = function.msix(&machine).unwrap().expect("the extended profile has it");
        assert_eq!((msix.address(), msix.vectors()), (function.address(), 1));
        assert_eq!((msix.mask(FIRST), msix.is_enabled()), (Ok(Mask::Masked), false));
        msix.set_message(FIRST, message(0x50 + u32::from(number))).unwrap();
        assert_eq!((msix.message(FIRST), msix.mask(FIRST)), (Ok(message(0x50 + u32::from(number))), Ok(Mask::Masked)));
        msix.set_mask(FIRST, Mask::Open).unwrap();
        msix.enable();
        assert!(msix.is_enabled());
        assert_eq!(messages(&machine), [], "no event, no message");
        for _ in 0..2 {
            machine.signal(number);
            assert_eq!(messages(&machine), [delivered(number + 1, 0x50 + u32::from(number))]);
        }
        assert!(!machine.interrupted() && function.interrupt_pending());
        assert_eq!(connection.events().take(EventCount::MAX), Some(EventCount::new(2)));
        assert!(!function.interrupt_pending());
    }
}

#[test]
fn what_came_before_messages_were_enabled_sends_one() {
    let machine = machine(Config::default());
    let bus = machine.bus();
    let function = bus.connections().next().unwrap();
    let msix = function.msix(&machine).unwrap().unwrap();
    machine.signal(0);
    machine.signal(0);
    assert!(machine.interrupted(), "the line, so far");
    msix.set_message(FIRST, message(7)).unwrap();
    msix.set_mask(FIRST, Mask::Open).unwrap();
    msix.enable();
    assert_eq!(messages(&machine), [delivered(1, 7)]);
    assert!(!machine.interrupted());
    msix.disable();
    assert!(machine.interrupted() && !msix.is_enabled(), "the line again");
    function.set_intx(Intx::Disabled);
    assert!(!machine.interrupted());
}

#[test]
fn a_mask_holds_messages_back_and_sends_one_when_it_opens() {
    let machine = machine(Config::default());
    let bus = machine.bus();
    let function = bus.connections().nth(1).unwrap();
    let connection = function.open(&machine).unwrap();
    let msix = function.msix(&machine).unwrap().unwrap();
    msix.set_message(FIRST, message(9)).unwrap();
    msix.enable();
    machine.signal(1);
    machine.signal(1);
    assert_eq!((messages(&machine), msix.is_pending(FIRST)), (vec![], Ok(true)));
    msix.set_mask(FIRST, Mask::Open).unwrap();
    assert_eq!((messages(&machine), msix.is_pending(FIRST)), (vec![delivered(2, 9)], Ok(false)));

    // The mask of the function is another one.
    msix.set_function_mask(Mask::Masked);
    assert_eq!((msix.function_mask(), msix.mask(FIRST), msix.is_enabled()), (Mask::Masked, Ok(Mask::Open), true));
    machine.signal(1);
    assert_eq!((messages(&machine), msix.is_pending(FIRST)), (vec![], Ok(true)));
    msix.set_function_mask(Mask::Open);
    assert_eq!(messages(&machine), [delivered(2, 9)]);

    // A new message for an open vector: it stays open, and no half of it is ever sent.
    machine.signal(1);
    messages(&machine);
    msix.set_message(FIRST, message(10)).unwrap();
    assert_eq!((messages(&machine), msix.mask(FIRST)), (vec![], Ok(Mask::Open)));
    // Events that are taken before their message could be sent need none.
    msix.set_mask(FIRST, Mask::Masked).unwrap();
    machine.signal(1);
    assert!(connection.events().take(EventCount::MAX).is_some());
    msix.set_mask(FIRST, Mask::Open).unwrap();
    assert_eq!((messages(&machine), msix.is_pending(FIRST)), (vec![], Ok(false)));
}

#[test]
fn vectors_move_with_their_bar() {
    let machine = machine(Config::default());
    let bus = machine.bus();
    let function = bus.connections().nth(1).unwrap();
    let msix = function.msix(&machine).unwrap().unwrap();
    msix.set_message(FIRST, message(3)).unwrap();
    bus.place(Window::new(PhysicalRange::new(0x1800_0000, 0x10_0000).unwrap())).unwrap();
    let moved = function.msix(&machine).unwrap().unwrap();
    assert_eq!(moved.message(FIRST), Ok(message(3)));
    for vector in [1, u16::MAX].map(VectorIndex::new) {
        let missing = Error::NoSuchVector { vector, count: 1 };
        assert_eq!(moved.set_message(vector, message(0)), Err(missing.clone()));
        assert_eq!(moved.is_pending(vector), Err(missing));
    }
    assert_eq!(Message::new(0x12, 0), None, "not an address of a word");
}

#[test]
fn without_messages_there_is_the_line() {
    let reference = Config { profile: DeviceProfile::Reference, ..Config::default() };
    for config in [reference, Config { messages: Messages::Absent, ..Config::default() }] {
        let machine = machine(config);
        let bus = machine.bus();
        for (function, number) in bus.connections().zip(0..) {
            assert!(function.msix(&machine).unwrap().is_none());
            assert_eq!(function.pin(), Some(Pin::A));
            let connection = function.open(&machine).unwrap();
            function.set_intx(Intx::Enabled);
            machine.signal(number);
            assert!(machine.interrupted() && function.interrupt_pending());
            assert!(connection.events().take(EventCount::MAX).is_some());
            assert!(!machine.interrupted() && !function.interrupt_pending());
            assert_eq!(messages(&machine), []);
        }
    }
}

#[test]
fn firmware_notes_the_line() {
    let machine = machine(Config::default());
    let bus = machine.bus();
    let function = bus.connections().next().unwrap();
    assert_eq!(function.noted_line(), Some(0));
    for (stored, noted) in [(0x29, Some(0x29)), (0xff, None)] {
        #[allow(unsafe_code, reason = "the trait demands it; nothing unsafe is done")]
        // SAFETY: it is a register of a fake.
        unsafe {
            machine.write(function.address(), 0x3c, stored);
        }
        assert_eq!((function.noted_line(), function.pin()), (noted, Some(Pin::A)));
    }
}

/// Configuration space of one function, as bytes that only the BARs change by writing.
struct Odd(RefCell<[u32; 64]>);

impl Odd {
    /// BAR 0 of 4 KiB, and these registers.
    fn new(registers: &[(usize, u32)]) -> Self {
        let mut all = [0; 64];
        all[0] = 0xa111_1af4;
        all[1] = 1 << 20;
        all[4] = 0x1000_0000;
        for (register, value) in registers {
            all[register / 4] = *value;
        }
        Self(RefCell::new(all))
    }

    fn msix(&self) -> Result<bool, Error> {
        Bus::new(self).connections().next().unwrap().msix(&Nothing).map(|msix| msix.is_some())
    }
}

#[allow(unsafe_code, reason = "the trait demands it; nothing unsafe is done")]
impl ConfigRegionAccess for Odd {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        if address.device() == 1 && address.function() == 0 { self.0.borrow()[usize::from(offset / 4)] } else { u32::MAX }
    }

    unsafe fn write(&self, _: PciAddress, offset: u16, value: u32) {
        if offset == 0x10 {
            self.0.borrow_mut()[4] = value & !0xfff;
        }
    }
}

/// Memory that reads zero.
struct Nothing;

struct NoWords(usize);

impl Words for NoWords {
    fn len(&self) -> usize {
        self.0
    }

    fn load<W: Word>(&self, _: usize) -> Option<W> {
        Some(W::from_low_bits(0))
    }

    fn store<W: Word>(&self, _: usize, _: W) -> Option<()> {
        Some(())
    }
}

impl PhysicalMemory for Nothing {
    type Region = NoWords;

    fn region(&self, range: PhysicalRange) -> Option<NoWords> {
        Some(NoWords(usize::try_from(range.length()).ok()?))
    }
}

#[test]
fn capabilities_are_looked_through_to_the_end_and_not_in_circles() {
    assert_eq!(Odd::new(&[]).msix(), Ok(false));
    // Behind two others; its table and pending bits are in BAR 0.
    let chain: &[_] = &[(0x34, 0x48), (0x48, 0x5009), (0x50, 0x6005), (0x60, 0x11), (0x64, 0x100), (0x68, 0x200)];
    assert_eq!(Odd::new(chain).msix(), Ok(true));
    // The same without the bit that says that there is a list.
    assert_eq!(Odd::new(&[chain, &[(4, 0)]].concat()).msix(), Ok(false));
    assert_eq!(Odd::new(&[(0x34, 0x40), (0x40, 0x4009)]).msix(), Ok(false), "itself");
    assert_eq!(Odd::new(&[(0x34, 0x40), (0x40, 0x4400), (0x44, 0x4000)]).msix(), Ok(false), "empty ones, in circles");
    assert_eq!(Odd::new(&[(0x34, 0x10)]).msix(), Ok(false), "into the header");
}

#[test]
fn a_table_that_does_not_lie_in_a_bar_is_refused() {
    let odd = Err(Error::OddDevice(Fault::Msix));
    let msix =
        |vectors: u32, table, pending| Odd::new(&[(0x34, 0x40), (0x40, (vectors - 1) << 16 | 0x11), (0x44, table), (0x48, pending)]).msix();
    assert_eq!(msix(1, 0, 0xff8), Ok(true));
    assert_eq!(msix(256, 0, 0), Ok(true), "all of the BAR");
    assert_eq!(msix(257, 0, 0), odd, "the table is longer");
    assert_eq!(msix(1, 0xff8, 0), odd, "the table ends behind it");
    assert_eq!(msix(1, 0xffff_fff8, 0), odd);
    assert_eq!(msix(1, 1, 0), odd, "no such BAR");
    assert_eq!(msix(1, 0, 7), odd, "there can be no such BAR");
    assert_eq!(msix(65, 0, 0xff8), odd, "the pending bits are longer");
    // At the end of configuration space there is no room for the rest.
    assert_eq!(Odd::new(&[(0x34, 0xfc), (0xfc, 0x11)]).msix(), odd);
}
