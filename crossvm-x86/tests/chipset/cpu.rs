//! A processor of the guest: a local APIC as far as interrupts by vector need it, and the wire of the 8259 pair.

use std::collections::BTreeSet;

use crossvm_core::{ErrorKind, ErrorType, Level, Width};
use crossvm_x86::{ApicMessage, Chipset, Destination, IoApic, LocalApics, Routing, Trigger};

/// The local APIC of processor 0.
#[derive(Debug, Default)]
pub(crate) struct LocalApic {
    requested: BTreeSet<u8>,
    /// Oldest first.
    in_service: Vec<u8>,
    /// Vectors whose interrupt is a level.
    levels: BTreeSet<u8>,
    /// Vectors that the guest takes now.
    pub(crate) enabled: BTreeSet<u8>,
    /// Refuses everything.
    pub(crate) broken: bool,
    /// What was taken, whether it meant something or not.
    pub(crate) taken: Vec<ApicMessage>,
}

impl ErrorType for LocalApic {
    type Error = ErrorKind;
}

impl LocalApics for LocalApic {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), ErrorKind> {
        if self.broken {
            return Err(ErrorKind::Hypervisor);
        }
        self.taken.push(message);
        let here = matches!(message.destination, Destination::Physical(0 | 0xff));
        if here && message.mode.has_vector() && message.vector >= 16 {
            self.requested.insert(message.vector);
            match message.trigger {
                Trigger::Level => self.levels.insert(message.vector),
                Trigger::Edge => self.levels.remove(&message.vector),
            };
        }
        Ok(())
    }
}

impl LocalApic {
    /// The guest takes the highest request above what it serves.
    pub(crate) fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.requested.iter().rev().copied().find(|vector| self.enabled.contains(vector))?;
        if self.in_service.last().is_some_and(|served| vector >> 4 <= served >> 4) {
            return None;
        }
        self.requested.remove(&vector);
        self.in_service.push(vector);
        Some(vector)
    }

    /// The guest ends the last interrupt that it took. Gives its vector where the IOAPIC is to be told.
    pub(crate) fn end(&mut self) -> Option<u8> {
        self.in_service.pop().filter(|vector| self.levels.contains(vector))
    }
}

pub(crate) type Machine = Chipset<LocalApic>;

pub(crate) fn machine() -> Machine {
    Chipset::new(IoApic::new(), Routing::PC, LocalApic::default())
}

/// The guest programs a pin.
pub(crate) fn program(machine: &mut Machine, pin: u64, entry: u32) -> bool {
    machine.ioapic_write(0, Width::U32, 0x10 + 2 * pin).unwrap();
    machine.ioapic_write(0x10, Width::U32, entry.into()).is_ok()
}

/// The guest ends the interrupt that it serves.
pub(crate) fn end(machine: &mut Machine) -> Result<(), ErrorKind> {
    match machine.apics_mut().end() {
        Some(vector) => machine.end_of_interrupt(vector),
        None => Ok(()),
    }
}

/// The guest has its 8259 pair as Linux does, inputs of PCI lines as levels, everything masked but the slave.
pub(crate) fn initialize_pic(machine: &mut Machine) {
    for (command, base, wiring) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
        assert!(machine.pic_write(command, 0x11));
        for value in [base, wiring, 1, 0xff] {
            assert!(machine.pic_write(command + 1, value));
        }
    }
    assert!(machine.pic_write(0x21, 0xfb));
    assert!(machine.pic_write(0x4d0, 0x68) && machine.pic_write(0x4d1, 0xdc));
}

/// The guest masks an input or not.
pub(crate) fn mask_pic(machine: &mut Machine, irq: u8, masked: bool) {
    let (port, bit) = if irq < 8 { (0x21, 1 << irq) } else { (0xa1, 1 << (irq - 8)) };
    let mask = machine.pic_read(port).unwrap();
    assert!(machine.pic_write(port, if masked { mask | bit } else { mask & !bit }));
}

pub(crate) fn level(high: bool) -> Level {
    Level::from_asserted(high)
}
