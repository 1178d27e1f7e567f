//! Who sent which software generated interrupt, in version 2: each SGI is pending once for each vCPU that sent it, and the guest's
//! acknowledge tells whose it was (IHI 0048 §2.2.1, §4.4.4).
//!
//! A list register holds one of them. The others wait, and the bank's latch says that some do.

use crate::bank::Bank;
use crate::spec::{FIRST_PPI, ListRegister};
use crate::{IntId, VcpuId, VcpuSet};

/// The senders of the 16 SGIs of one vCPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Who has sent each SGI, but for what a list register has.
    waiting: [VcpuSet; 16],
    /// Who sent the one that is in a list register, or active.
    current: [VcpuId; 16],
}

/// The bits of the SGIs in a bank.
pub(crate) const SGIS: u32 = (1 << FIRST_PPI) - 1;

impl Sources {
    pub(crate) const fn new() -> Self {
        Self { waiting: [VcpuSet::EMPTY; 16], current: [VcpuId::ZERO; 16] }
    }

    /// Whether `id` is an SGI.
    pub(crate) const fn has(id: IntId) -> bool {
        id.number() < FIRST_PPI
    }

    /// Who sent SGI `id` that is not yet acknowledged, as far as is known.
    pub(crate) fn pending(&self, bank: &Bank, id: IntId) -> VcpuSet {
        let (Some(waiting), Some(current)) = (self.waiting.get(id.index()), self.current.get(id.index())) else { return VcpuSet::EMPTY };
        if bank.loaded & id.bit() != 0 { waiting.with(*current) } else { *waiting }
    }

    /// Makes SGI `id` pending from each of `senders`: gives the bits that changed.
    pub(crate) fn pend(&mut self, bank: &mut Bank, id: IntId, senders: VcpuSet) -> u32 {
        let (Some(waiting), Some(current)) = (self.waiting.get_mut(id.index()), self.current.get(id.index())) else { return 0 };
        let new = senders.minus(*waiting);
        *waiting = waiting.union(new);
        // What a list register has from the same sender is the same interrupt, unless it has been acknowledged: only the register tells.
        let same = if new.contains(*current) { bank.loaded & id.bit() } else { 0 };
        if new.is_empty() { 0 } else { bank.pend(id.bit()) | same }
    }

    /// Makes SGI `id` not pending from each of `senders`: gives the bits that changed.
    pub(crate) fn unpend(&mut self, bank: &mut Bank, id: IntId, senders: VcpuSet) -> u32 {
        let (Some(waiting), Some(current)) = (self.waiting.get_mut(id.index()), self.current.get(id.index())) else { return 0 };
        *waiting = waiting.minus(senders);
        let loaded = if senders.contains(*current) { bank.loaded } else { 0 };
        let waiting = if waiting.is_empty() { bank.latch } else { 0 };
        bank.retract(waiting & id.bit(), loaded & id.bit())
    }

    /// A list register takes SGI `id`, in `bank` lent already, `pending` or active: gives who sent it.
    pub(crate) fn lend(&mut self, bank: &mut Bank, id: IntId, pending: bool) -> VcpuId {
        let (Some(waiting), Some(current)) = (self.waiting.get_mut(id.index()), self.current.get_mut(id.index())) else {
            return VcpuId::ZERO;
        };
        if pending {
            *current = waiting.iter().next().unwrap_or(VcpuId::ZERO);
            *waiting = waiting.without(*current);
            if !waiting.is_empty() {
                bank.pend(id.bit());
            }
        }
        *current
    }

    /// SGI `id` is about to be taken back from `register`.
    pub(crate) fn fold(&mut self, bank: &Bank, id: IntId, register: ListRegister) {
        let (Some(waiting), Some(current)) = (self.waiting.get_mut(id.index()), self.current.get(id.index())) else { return };
        if register.state().is_pending() && bank.loaded & id.bit() != 0 {
            *waiting = waiting.with(*current);
        }
    }
}
