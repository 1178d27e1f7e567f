//! Which BARs are decoded: a function of addresses and decode bits alone, brought up to date from what changed.

use crossvm_core::{BarIndex, Bdf, GuestAddr, GuestRange};
use heapless::Vec;

use crate::PciBus;

/// Ranges that are remembered one by one.
const REMEMBERED: usize = 8;

/// What a change has to decide anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// One BAR of a function has another address.
    Bar(Bdf, BarIndex),
    /// The function is new, is reset, or has its decoding switched.
    Function(Bdf),
}

impl Changed {
    const fn bdf(self) -> Bdf {
        match self {
            Self::Bar(bdf, _) | Self::Function(bdf) => bdf,
        }
    }

    fn names(self, bdf: Bdf, bar: BarIndex) -> bool {
        match self {
            Self::Bar(changed, its) => (changed, its) == (bdf, bar),
            Self::Function(changed) => changed == bdf,
        }
    }
}

/// Where BARs have appeared or disappeared. Only what meets such a place can be hidden or uncovered by it.
#[derive(Debug, Default)]
pub(crate) struct Disturbed {
    ranges: Vec<GuestRange, REMEMBERED>,
    /// More than can be remembered: everywhere.
    everywhere: bool,
}

impl Disturbed {
    pub(crate) fn add(&mut self, range: GuestRange) {
        self.everywhere |= self.ranges.push(range).is_err();
    }

    fn nowhere(&self) -> bool {
        self.ranges.is_empty()
    }

    fn meets(&self, range: GuestRange) -> bool {
        self.everywhere || self.ranges.iter().any(|other| other.overlaps(range))
    }
}

impl<const F: usize> PciBus<F> {
    /// After a change of one function. A BAR depends on those before it alone, so that all before the change is as it was; of those behind it,
    /// each is decided anew that meets a place where one before it has appeared or disappeared.
    pub(crate) fn redecode(&mut self, changed: Changed) {
        self.redecode_from(changed, Disturbed::default());
    }

    /// After a function was removed: the places of its BARs are disturbed.
    pub(crate) fn redecode_without(&mut self, removed: Bdf, places: Disturbed) {
        self.redecode_from(Changed::Function(removed), places);
    }

    fn redecode_from(&mut self, changed: Changed, mut disturbed: Disturbed) {
        for devfn in changed.bdf().requester_id()..=u16::from(u8::MAX) {
            let bdf = Bdf::from_requester_id(devfn);
            if bdf != changed.bdf() && disturbed.nowhere() {
                return;
            }
            for bar in BarIndex::ALL {
                let Some(range) = self.get(bdf).and_then(|state| state.range(bar)) else { continue };
                if changed.names(bdf, bar) || disturbed.meets(range) {
                    self.decide(bdf, bar, &mut disturbed);
                }
            }
        }
    }

    /// Decides one BAR, and remembers where it was and where it is if that is not the same.
    fn decide(&mut self, bdf: Bdf, bar: BarIndex, disturbed: &mut Disturbed) {
        let now = self.decodable(bdf, bar);
        let Some(state) = self.get_mut(bdf) else { return };
        let before = state.decoded_range(bar);
        if let Some(slot) = state.decoded.get_mut(bar.get()) {
            *slot = now;
        }
        let after = state.decoded_range(bar);
        if before != after {
            [before, after].into_iter().flatten().for_each(|range| disturbed.add(range));
        }
    }

    /// Where a BAR is decoded, given those before it.
    fn decodable(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        let state = self.get(bdf)?;
        let range = state.range(bar).filter(|range| state.command.memory_decode && state.may_decode(bar, range.start()))?;
        let in_window = self.windows.iter().any(|window| window.covers(range));
        let hides = |other: &GuestRange| other.overlaps(range);
        let hidden = || {
            let before = self.functions.iter().flatten().filter(|other| other.bdf < bdf);
            before.flat_map(|other| BarIndex::ALL.into_iter().filter_map(|bar| other.decoded_range(bar))).any(|other| hides(&other))
                || BarIndex::ALL.into_iter().take(bar.get()).filter_map(|bar| state.decoded_range(bar)).any(|other| hides(&other))
        };
        (in_window && !hidden()).then_some(range.start())
    }
}
