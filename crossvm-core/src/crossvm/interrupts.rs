//! Interrupts of one connection: a function of COUNT and of what the guest has configured.
//!
//! ```text
//!   status bit = COUNT != 0
//!   line       = COUNT != 0 && !INTX_DISABLE && !MSI-X enabled
//!   message    = an event has come && COUNT != 0 && MSI-X enabled && nothing masks it
//! ```

use super::lines::InterruptResult;
use super::{Backend, ConnectionId, CrossVm, EventRegisters};
use crate::{InterruptController, InterruptStatus, PciSpace};

impl<B: Backend, D, K, const N: usize> CrossVm<B, D, K, N> {
    /// Brings interrupt status, line and message of one connection to what the registers say.
    pub(super) fn update_interrupt(&mut self, backend: &mut B, id: ConnectionId) -> InterruptResult<B> {
        let Some(slot) = self.slot_mut(id) else { return Ok(()) };
        let bdf = slot.bdf;
        let unserved = EventRegisters(&slot.page).count() != 0;
        backend.pci().set_interrupt_status(bdf, if unserved { InterruptStatus::Pending } else { InterruptStatus::Clear });
        let command = backend.pci().command(bdf);
        let control = backend.pci().msix(bdf);
        let mut sent = Ok(());
        if let Some(table) = &mut slot.messages {
            // What was to be reported has been seen: a message would be spurious (PCI 3.0, §6.8.3.4).
            table.pending &= unserved;
            // A message is a store of the function, so it needs to be a bus master (§6.8.3.1).
            let free = control.enabled && !control.masked && command.bus_master && !table.masked;
            if table.pending && free {
                sent = backend.interrupts().deliver_msi(bdf, table.message());
                if sent.is_ok() {
                    table.pending = false;
                    slot.messages_sent = slot.messages_sent.saturating_add(1);
                }
            }
        }
        let asserting = unserved && !command.intx_disable && !control.enabled;
        self.assert_line(backend, id, asserting).and(sent)
    }

    /// An event has come, or may have come unseen: a message is due.
    pub(super) fn pend_message(&mut self, id: ConnectionId) {
        if let Some(table) = self.slot_mut(id).and_then(|slot| slot.messages.as_mut()) {
            table.pending = true;
        }
    }

    /// Tries again what the interrupt controller refused before: every line has a connection, which drives it.
    pub(super) fn update_interrupts(&mut self, backend: &mut B) -> InterruptResult<B> {
        let mut result = Ok(());
        for id in ConnectionId::all().take(N) {
            result = result.and(self.update_interrupt(backend, id));
        }
        result
    }
}
