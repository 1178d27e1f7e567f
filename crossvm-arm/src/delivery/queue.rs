//! The most urgent of many interrupts, in order.

use crate::IntId;
use crate::spec::Group;
use crate::vgic::Groups;

/// Most list registers that there are (IHI 0069 §12.4, `ICH_LR<n>_EL2`).
pub(crate) const MOST_REGISTERS: usize = 16;

/// An interrupt that wants a list register. Less is more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// The guest's CPU interface has the group disabled: whatever its priority, it is not taken now, and must not be in the way.
    pub(super) masked: bool,
    pub(super) priority: u8,
    pub(super) intid: IntId,
    pub(super) group: Group,
}

/// The `limit` most urgent of the candidates offered, most urgent first.
#[derive(Debug)]
pub(super) struct Queue {
    entries: [Option<Candidate>; MOST_REGISTERS],
    limit: usize,
    length: usize,
    /// The groups of those that did not fit.
    left_out: Groups,
    overflow: bool,
}

impl Queue {
    pub(super) const fn new(limit: usize) -> Self {
        Self { entries: [None; MOST_REGISTERS], limit, length: 0, left_out: Groups::NONE, overflow: false }
    }

    /// Puts `candidate` at its place; the least urgent falls out where there are too many.
    pub(super) fn offer(&mut self, candidate: Candidate) {
        let mut carried = candidate;
        for slot in self.entries.iter_mut().take(self.limit) {
            match slot {
                None => {
                    *slot = Some(carried);
                    self.length = self.length.saturating_add(1);
                    return;
                }
                Some(entry) if carried < *entry => core::mem::swap(entry, &mut carried),
                Some(_) => {}
            }
        }
        self.left_out.insert(carried.group);
        self.overflow = true;
    }

    pub(super) const fn len(&self) -> usize {
        self.length
    }

    /// The `count` most urgent.
    pub(super) fn first(&self, count: usize) -> impl Iterator<Item = Candidate> {
        self.entries.iter().take(count).flatten().copied()
    }

    /// The groups of all but the `count` most urgent.
    pub(super) fn groups_behind(&self, count: usize) -> Groups {
        let mut groups = self.left_out;
        self.entries.iter().skip(count).flatten().for_each(|entry| groups.insert(entry.group));
        groups
    }

    /// Whether there are more than `count`.
    pub(super) const fn exceeds(&self, count: usize) -> bool {
        self.overflow || self.length > count
    }
}
