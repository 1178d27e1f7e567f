//! Interrupt lines: the level is OR-ed over all functions that share the line.

use super::{Backend, ConnectionId, CrossVm, InterruptMode};
use crate::{ErrorType, InterruptController, Irq, IrqAllocator, Level};

/// An interrupt line that connections use.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) irq: Irq,
    mode: InterruptMode,
    /// How many connections use it.
    users: u16,
    /// How many of them assert it.
    asserting: u16,
    /// The level that the interrupt controller has: lags behind where it failed.
    driven: Level,
}

pub(super) type InterruptResult<B> = Result<(), <<B as Backend>::Interrupts as ErrorType>::Error>;

impl<B: Backend, D, K, const N: usize> CrossVm<B, D, K, N> {
    /// A line for one connection more: the shared one where there is one, else a new one. Gives its place in the table.
    pub(super) fn take_line(&mut self, backend: &mut B, mode: InterruptMode) -> Result<usize, <B::Irqs as ErrorType>::Error> {
        if mode == InterruptMode::SharedLine {
            let shared = |line: &&mut Option<Line>| matches!(line, Some(Line { mode: InterruptMode::SharedLine, .. }));
            if let Some((index, Some(line))) = self.lines.iter_mut().enumerate().find(|(_, line)| shared(line)) {
                line.users = line.users.saturating_add(1);
                return Ok(index);
            }
        }
        let irq = backend.irqs().allocate()?;
        let line = Line { irq, mode, users: 1, asserting: 0, driven: Level::Low };
        // Each line has a user, and a place is free for this one: so there is a free line too.
        let index = self.lines.iter().position(Option::is_none).unwrap_or_default();
        if let Some(place) = self.lines.get_mut(index) {
            *place = Some(line);
        }
        Ok(index)
    }

    /// One user less. The last one gives the line back; it is low then.
    pub(super) fn drop_line(&mut self, backend: &mut B, index: usize) {
        let Some(place) = self.lines.get_mut(index) else { return };
        let Some(line) = place else { return };
        line.users = line.users.saturating_sub(1);
        if line.users == 0 {
            let irq = line.irq;
            *place = None;
            backend.irqs().release(irq);
        }
    }

    /// Makes one connection assert its line or not.
    pub(super) fn assert_line(&mut self, backend: &mut B, id: ConnectionId, asserting: bool) -> InterruptResult<B> {
        let Some(slot) = self.slot_mut(id) else { return Ok(()) };
        let before = core::mem::replace(&mut slot.asserting, asserting);
        let index = slot.line;
        let Some(Some(line)) = self.lines.get_mut(index) else { return Ok(()) };
        match (before, asserting) {
            (false, true) => line.asserting = line.asserting.saturating_add(1),
            (true, false) => line.asserting = line.asserting.saturating_sub(1),
            _ => {}
        }
        line.drive(backend.interrupts())
    }
}

impl Line {
    fn drive<C: InterruptController>(&mut self, controller: &mut C) -> Result<(), C::Error> {
        let wanted = Level::from_asserted(self.asserting != 0);
        if wanted != self.driven {
            controller.set_level(self.irq, wanted)?;
            self.driven = wanted;
        }
        Ok(())
    }
}
