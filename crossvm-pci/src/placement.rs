//! Where new BARs go.

use crossvm_core::{Bar, BarIndex, BarWidth, FrameSize, Function, GuestAddr, GuestRange};
use heapless::Vec;

use crate::{PciBus, PciError};

/// The first address that needs more than 32 bits.
const GIB_4: u64 = 1 << 32;

impl<const F: usize> PciBus<F> {
    /// Addresses for a new function's BARs: aligned, and clear of where any BAR is now or was at power-on. Fixed ones come first, so that the
    /// others keep clear of them. BARs of 64 bits go above 4 GiB as long as there is room.
    pub(crate) fn first_addresses(&self, function: &Function) -> Result<[GuestAddr; 6], PciError> {
        let mut addresses = [GuestAddr::default(); 6];
        let mut placed: Vec<GuestRange, 6> = Vec::new();
        let described = |index: BarIndex| Some((index, function.bars.get(index.get()).copied().flatten()?));
        let bars = BarIndex::ALL.into_iter().filter_map(described);
        let is_fixed = |(_, bar): &(BarIndex, Bar)| bar.fixed.is_some();
        for (index, bar) in bars.clone().filter(is_fixed).chain(bars.filter(|bar| !is_fixed(bar))) {
            let taken = || {
                let others = self.functions.iter().flatten();
                let theirs =
                    others.flat_map(|other| BarIndex::ALL.into_iter().flat_map(|bar| [other.range(bar), other.first_range(bar)]).flatten());
                theirs.chain(placed.iter().copied())
            };
            let high = self.windows.iter().filter(|_| bar.width == BarWidth::Bits64).filter_map(|window| above_4_gib(*window));
            let low = self.windows.iter().filter_map(|window| below_4_gib(*window));
            let mut places = high.chain(low);
            let range = match bar.fixed {
                Some(at) => {
                    let range = GuestRange::new(at, bar.size.bytes()).filter(|_| at.is_aligned(bar.size.bytes()));
                    let range = range.filter(|range| places.any(|place| place.covers(*range))).ok_or(PciError::BadAddress(index, at))?;
                    if taken().any(|other| other.overlaps(range)) {
                        return Err(PciError::AddressTaken(index, at));
                    }
                    range
                }
                None => places.find_map(|place| highest_free(place, bar.size, taken)).ok_or(PciError::NoAddress(index))?,
            };
            if let Some(address) = addresses.get_mut(index.get()) {
                *address = range.start();
            }
            // Six places for at most six BARs.
            let _ = placed.push(range);
        }
        Ok(addresses)
    }
}

/// The part of a window that 32 bits reach.
pub(crate) fn below_4_gib(window: GuestRange) -> Option<GuestRange> {
    let size = GIB_4.checked_sub(window.start().get())?.min(window.size());
    GuestRange::new(window.start(), size)
}

/// The part of a window that they do not.
pub(crate) fn above_4_gib(window: GuestRange) -> Option<GuestRange> {
    let start = window.start().get().max(GIB_4);
    GuestRange::new(GuestAddr::new(start), window.last().get().checked_sub(start)?.checked_add(1)?)
}

/// The highest place in `window` for `size` bytes, aligned to their size, that overlaps nothing that is taken.
///
/// From the top down, since guests that assign addresses anew start from the bottom: so they seldom move a BAR over one that still waits
/// for its turn.
fn highest_free<I: Iterator<Item = GuestRange>>(window: GuestRange, size: FrameSize, taken: impl Fn() -> I) -> Option<GuestRange> {
    let bytes = size.bytes();
    let mut last = window.last().get();
    loop {
        // The highest aligned block that ends at `last` or below.
        let start = last.checked_sub(bytes.wrapping_sub(1))? & !bytes.wrapping_sub(1);
        let candidate = GuestRange::new(GuestAddr::new(start), bytes).filter(|candidate| window.covers(*candidate))?;
        match taken().find(|range| range.overlaps(candidate)) {
            None => return Some(candidate),
            Some(range) => last = range.start().get().checked_sub(1)?,
        }
    }
}
