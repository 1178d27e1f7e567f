//! Interrupt lines: who has them, and at which level they are.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;

use crossvm_core::{Bdf, ErrorKind, ErrorType, InterruptController, Irq, IrqAllocator, Level, Message};

/// Hands out the lines of a range, lowest first.
#[derive(Debug)]
pub struct FakeIrqs {
    range: Range<u32>,
    used: BTreeSet<u32>,
}

impl FakeIrqs {
    /// The lines of `range`.
    #[must_use]
    pub fn new(range: Range<u32>) -> Self {
        Self { range, used: BTreeSet::new() }
    }

    /// The lines that are in use.
    pub fn used(&self) -> impl Iterator<Item = Irq> + '_ {
        self.used.iter().copied().map(Irq::new)
    }
}

impl ErrorType for FakeIrqs {
    type Error = ErrorKind;
}

impl IrqAllocator for FakeIrqs {
    fn allocate(&mut self) -> Result<Irq, ErrorKind> {
        let free = self.range.clone().find(|irq| !self.used.contains(irq)).ok_or(ErrorKind::Exhausted)?;
        self.used.insert(free);
        Ok(Irq::new(free))
    }

    fn release(&mut self, irq: Irq) {
        self.used.remove(&irq.number());
    }
}

/// Records the level of each line, each change of it, and each message.
#[derive(Debug, Default)]
pub struct FakeInterrupts {
    levels: BTreeMap<Irq, Level>,
    changes: Vec<(Irq, Level)>,
    messages: Vec<(Bdf, Message)>,
}

impl FakeInterrupts {
    /// The level of a line; low where it was never set.
    #[must_use]
    pub fn level(&self, irq: Irq) -> Level {
        self.levels.get(&irq).copied().unwrap_or_default()
    }

    /// The lines that are high.
    pub fn high(&self) -> impl Iterator<Item = Irq> + '_ {
        self.levels.iter().filter(|(_, level)| level.is_high()).map(|(irq, _)| *irq)
    }

    /// Takes the record of changes, oldest first.
    pub fn take_changes(&mut self) -> Vec<(Irq, Level)> {
        std::mem::take(&mut self.changes)
    }

    /// Takes the messages that were delivered and from whom, oldest first.
    pub fn take_messages(&mut self) -> Vec<(Bdf, Message)> {
        std::mem::take(&mut self.messages)
    }
}

impl ErrorType for FakeInterrupts {
    type Error = Infallible;
}

impl InterruptController for FakeInterrupts {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Infallible> {
        if self.levels.insert(irq, level).unwrap_or_default() != level {
            self.changes.push((irq, level));
        }
        Ok(())
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), Infallible> {
        self.messages.push((requester, message));
        Ok(())
    }
}
