//! The state of 32 interrupts, one bit of each word for each: what the guest programmed, what the devices say, and what the list
//! registers hold at the moment.

use crate::spec::{Group, ListRegister, State};

/// 32 interrupts. Bit n of each word is interrupt n of the bank.
///
/// An interrupt is *resident* from the moment a vCPU's list register holds it until that vCPU is saved. Meanwhile the register knows
/// better whether the interrupt is active, so what happens here is noted and takes effect when the register is folded back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bank {
    /// The interrupts that exist.
    pub(crate) implemented: u32,
    /// Forwarded when pending.
    pub(crate) enabled: u32,
    /// Group 1 where set.
    pub(crate) group: u32,
    /// Edge-triggered where set.
    pub(crate) edge: u32,
    pub(crate) priority: [[u8; 4]; 8],
    /// Level of the device's line.
    pub(crate) line: u32,
    /// Pending by an edge or by software, or by a linked physical interrupt; not handed to a list register.
    pub(crate) latch: u32,
    /// Acknowledged and not deactivated, as far as is known.
    pub(crate) active: u32,
    /// In a list register.
    pub(crate) resident: u32,
    /// The latch as the list register got it: taken back if the guest has not acknowledged.
    pub(crate) loaded: u32,
    /// Made active while resident.
    activate: u32,
    /// Deactivated while resident, and not made active since.
    deactivate: u32,
    /// Linked to a physical interrupt that is active.
    pub(crate) linked: u32,
    /// Link given up: the VMM has to deactivate the physical interrupt.
    pub(crate) released: u32,
    physical: [u16; 32],
}

impl Bank {
    /// At power-on: the interrupts set in `implemented`; those set in `edge` are edge-triggered.
    pub(crate) const fn new(implemented: u32, edge: u32) -> Self {
        Self {
            implemented,
            enabled: 0,
            group: 0,
            edge,
            priority: [[0; 4]; 8],
            line: 0,
            latch: 0,
            active: 0,
            resident: 0,
            loaded: 0,
            activate: 0,
            deactivate: 0,
            linked: 0,
            released: 0,
            physical: [0; 32],
        }
    }

    /// Back to power-on. The lines stay: they belong to the devices. Physical interrupts that were linked are released.
    pub(crate) const fn reset(&mut self, edge: u32) {
        let (line, released, physical) = (self.line, self.released | self.linked, self.physical);
        *self = Self { line, released, physical, ..Self::new(self.implemented, edge) };
    }

    /// Pending, wherever that is kept.
    pub(crate) const fn pending(&self) -> u32 {
        self.outstanding() | self.loaded
    }

    /// Pending by what no list register holds: due again after what the list register holds has been handled.
    pub(crate) const fn outstanding(&self) -> u32 {
        self.latch | self.line & !self.edge
    }

    /// Those of group `group`.
    pub(crate) const fn members(&self, group: Group) -> u32 {
        match group {
            Group::Zero => !self.group,
            Group::One => self.group,
        }
    }

    /// The group of the interrupt `bit`.
    pub(crate) const fn group_of(&self, bit: u32) -> Group {
        if self.group & bit != 0 { Group::One } else { Group::Zero }
    }

    /// The priority of interrupt `index` of the bank.
    pub(crate) fn priority_of(&self, index: u32) -> u8 {
        usize::try_from(index).ok().and_then(|index| self.priority.as_flattened().get(index)).copied().unwrap_or(u8::MAX)
    }

    /// The line of `bit` goes high: gives the bits that changed.
    pub(crate) const fn raise(&mut self, bit: u32) -> u32 {
        let rising = bit & !self.line;
        self.line |= rising;
        self.latch |= rising & self.edge;
        rising
    }

    /// The line of `bit` goes low: gives the bits that changed.
    pub(crate) const fn lower(&mut self, bit: u32) -> u32 {
        let falling = bit & self.line;
        self.line &= !falling;
        falling & !self.edge
    }

    /// Makes `mask` pending by an edge or by software: gives the bits that changed.
    pub(crate) const fn pend(&mut self, mask: u32) -> u32 {
        let new = mask & !self.latch;
        self.latch |= new;
        new
    }

    /// Takes the latched pending state off `mask`. A line that is high keeps its interrupt pending.
    pub(crate) const fn unpend(&mut self, mask: u32) -> u32 {
        self.retract(mask, mask)
    }

    /// Takes the pending state off the latch of `latch` and off what list registers got of `loaded`: gives the bits that changed.
    pub(crate) const fn retract(&mut self, latch: u32, loaded: u32) -> u32 {
        let old = latch & self.latch | loaded & self.loaded;
        self.latch &= !latch;
        self.loaded &= !loaded;
        self.settle();
        old
    }

    /// Software makes `mask` active.
    pub(crate) const fn activate(&mut self, mask: u32) -> u32 {
        self.activate |= mask & self.resident;
        self.deactivate &= !mask;
        let new = mask & !self.active;
        self.active |= mask;
        new
    }

    /// Software deactivates `mask`.
    pub(crate) const fn deactivate(&mut self, mask: u32) -> u32 {
        self.deactivate |= mask & self.resident;
        let old = mask & (self.active | self.resident);
        self.active &= !mask;
        self.settle();
        old
    }

    /// A physical interrupt has come that is linked to interrupt `index`, `bit`.
    pub(crate) fn link(&mut self, index: u32, bit: u32, physical: u16) {
        if self.linked & self.resident & bit != 0 {
            // While the guest has not deactivated, the physical interrupt is active and does not come: so it has, and what the list
            // register says is history.
            self.evict(bit);
            self.active &= !bit;
        }
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| self.physical.get_mut(index)) {
            *slot = physical;
        }
        self.linked |= bit;
        self.released &= !bit;
        self.latch |= bit;
    }

    /// The device behind a linked, level-sensitive interrupt has let go of its line: gives the bits that changed.
    pub(crate) const fn unlink(&mut self, bit: u32) -> u32 {
        self.unpend(bit & self.linked & !self.edge & !self.active)
    }

    /// The physical interrupt linked to interrupt `index`.
    pub(crate) fn physical_of(&self, index: u32) -> u16 {
        usize::try_from(index).ok().and_then(|index| self.physical.get(index)).copied().unwrap_or(0)
    }

    /// Notes that a list register holds `bit`, with the latched pending state if `pending`.
    pub(crate) const fn lend(&mut self, bit: u32, pending: bool) {
        self.resident |= bit;
        if pending {
            self.loaded |= self.latch & bit;
            self.latch &= !bit;
        }
    }

    /// Takes `bit` back from its list register.
    pub(crate) const fn fold(&mut self, bit: u32, register: ListRegister) {
        if self.resident & bit == 0 {
            return;
        }
        let state = register.state();
        if state.is_pending() {
            self.latch |= self.loaded & bit;
        }
        if register.hardware() && matches!(state, State::Inactive) {
            // The guest's deactivation has deactivated the physical interrupt as well.
            self.linked &= !bit;
        }
        let active = if state.is_active() { bit } else { 0 };
        self.active = self.active & !bit | (active | self.activate & bit) & !self.deactivate;
        self.evict(bit);
        self.settle();
    }

    /// Takes `mask` back from list registers that nobody will look at again: as if the guest had not touched them.
    pub(crate) const fn abandon(&mut self, mask: u32) {
        let mask = mask & self.resident;
        self.latch |= self.loaded & mask;
        self.active = (self.active | self.activate & mask) & !(self.deactivate & mask);
        self.evict(mask);
        self.settle();
    }

    /// Forgets that list registers hold `mask`.
    const fn evict(&mut self, mask: u32) {
        self.resident &= !mask;
        self.loaded &= !mask;
        self.activate &= !mask;
        self.deactivate &= !mask;
    }

    /// Releases the physical interrupts whose guest interrupt is neither pending nor active any more, other than by the guest's
    /// deactivation in a list register.
    const fn settle(&mut self) {
        let orphans = self.linked & !self.resident & !self.active & !self.latch;
        self.linked &= !orphans;
        self.released |= orphans;
    }
}

/// The numbers of the bits set in `word`, lowest first.
pub(crate) fn ones(mut word: u32) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let index = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (index < 32).then_some(index)
    })
}

/// The bit of interrupt `index` of a word.
pub(crate) const fn bit(index: u32) -> u32 {
    1_u32.wrapping_shl(index)
}
