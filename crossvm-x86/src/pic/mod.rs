//! The two 8259A of a PC, the second at input 2 of the first.

mod chip;
#[cfg(test)]
mod tests;

use crossvm_core::Level;

use self::chip::{Chip, Input, SPURIOUS};
use crate::PicIrq;
use crate::spec::pic::{
    MASTER_COMMAND, MASTER_DATA, MASTER_ELCR, MASTER_ELCR_WRITABLE, SLAVE_COMMAND, SLAVE_DATA, SLAVE_ELCR, SLAVE_ELCR_WRITABLE,
};

/// Input of the master that the slave's output is wired to.
const CASCADE: Input = 2;

/// The pair of 8259A with its edge/level registers.
///
/// Plain data. After each call that changes something the VMM asks [`interrupt_pending`](Self::interrupt_pending), the level of the wire to the
/// processor, and has the processor [`acknowledge`](Self::acknowledge) when it takes the interrupt.
///
/// * An input that is an edge requests from its rise until it is acknowledged, or falls: it must be high until then, as on hardware. One that comes
///   while the input is masked waits for the mask. A [`pulse`](Self::pulse) waits without a line that stays high.
/// * An input that is a level (ELCR) requests while it is high.
/// * An acknowledge of nothing gives the spurious interrupt: input 7 of the master, or of the slave where its request vanished after the master
///   had chosen it ([`begin_acknowledge`](Self::begin_acknowledge)). The spurious one is not in service, but in the latter case input 2 is.
/// * Special mask mode takes masked inputs out of those in service that hold others back, and that a non-specific end of interrupt ends.
/// * Ignored, as on every PC: ICW3 (the wiring is fixed), ICW1's level bit (the ELCR decides), buffered mode and the modes of an MCS-80.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pic {
    master: Chip,
    slave: Chip,
}

/// What the first pulse of an acknowledge has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "the processor sends a second pulse"]
pub struct Acknowledgement(Chosen);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Chosen {
    Master(Input),
    Slave,
}

impl Pic {
    /// At power-on, all lines low. Nothing is masked and vectors begin at 0 until the guest initializes it.
    #[must_use]
    pub const fn new() -> Self {
        Self { master: Chip::new(MASTER_ELCR_WRITABLE, Some(CASCADE)), slave: Chip::new(SLAVE_ELCR_WRITABLE, None) }
    }

    /// Back to power-on, for a reset of the VM. Lines keep their levels: they belong to the devices.
    pub fn reset(&mut self) {
        self.master.reset();
        self.slave.reset();
        self.cascade();
    }

    /// Sets the level of an input. Setting it to what it is has no effect.
    pub fn set_level(&mut self, irq: PicIrq, level: Level) {
        let (chip, input) = self.chip(irq);
        chip.set_line(input, level);
        self.cascade();
    }

    /// One edge on an input, as of a device that does not hold its line. An input that the guest has as a level does not see it.
    pub fn pulse(&mut self, irq: PicIrq) {
        let (chip, input) = self.chip(irq);
        chip.pulse(input);
        self.cascade();
    }

    /// Whether the wire to the processor (INTR) is asserted.
    #[must_use]
    pub fn interrupt_pending(&self) -> bool {
        self.master.interrupts().is_some()
    }

    /// The processor acknowledges, both pulses at once. Gives the vector.
    pub fn acknowledge(&mut self) -> u8 {
        let chosen = self.begin_acknowledge();
        self.finish_acknowledge(chosen)
    }

    /// The first of the two pulses: the master chooses. Levels may change until the second.
    pub fn begin_acknowledge(&mut self) -> Acknowledgement {
        let Some(input) = self.master.interrupts() else { return Acknowledgement(Chosen::Master(SPURIOUS)) };
        self.master.acknowledge(input);
        Acknowledgement(if input == CASCADE { Chosen::Slave } else { Chosen::Master(input) })
    }

    /// The second pulse: the chip that was chosen gives the vector.
    pub fn finish_acknowledge(&mut self, acknowledgement: Acknowledgement) -> u8 {
        let vector = match acknowledgement.0 {
            Chosen::Master(input) => self.master.vector(input),
            Chosen::Slave => {
                let input = self.slave.interrupts();
                if let Some(input) = input {
                    self.slave.acknowledge(input);
                }
                self.slave.vector(input.unwrap_or(SPURIOUS))
            }
        };
        self.cascade();
        vector
    }

    /// The guest reads a byte at `port`; `None` where the port is another device's.
    #[must_use]
    pub fn read(&mut self, port: u16) -> Option<u8> {
        let value = match port {
            MASTER_COMMAND => self.master.read_command(),
            MASTER_DATA => self.master.read_data(),
            SLAVE_COMMAND => self.slave.read_command(),
            SLAVE_DATA => self.slave.read_data(),
            MASTER_ELCR => self.master.levels(),
            SLAVE_ELCR => self.slave.levels(),
            _ => return None,
        };
        self.cascade();
        Some(value)
    }

    /// The guest writes a byte at `port`; `false` where the port is another device's.
    pub fn write(&mut self, port: u16, value: u8) -> bool {
        match port {
            MASTER_COMMAND => self.master.write_command(value),
            MASTER_DATA => self.master.write_data(value),
            SLAVE_COMMAND => self.slave.write_command(value),
            SLAVE_DATA => self.slave.write_data(value),
            MASTER_ELCR => self.master.set_levels(value),
            SLAVE_ELCR => self.slave.set_levels(value),
            _ => return false,
        }
        self.cascade();
        true
    }

    fn chip(&mut self, irq: PicIrq) -> (&mut Chip, Input) {
        if irq.number() < 8 { (&mut self.master, irq.number()) } else { (&mut self.slave, irq.number() & 7) }
    }

    /// The slave's output is input 2 of the master.
    fn cascade(&mut self) {
        self.master.set_line(CASCADE, Level::from_asserted(self.slave.interrupts().is_some()));
    }
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}
