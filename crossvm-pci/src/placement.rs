//! Where a new BAR goes.

use crossvm_core::{FrameSize, GuestAddr, GuestRange};

/// The highest place in `window` for `size` bytes, aligned to their size, that overlaps nothing that is taken.
///
/// From the top down, since guests that assign addresses anew start from the bottom: so they seldom move a BAR over one that still waits
/// for its turn.
pub(crate) fn highest_free<I: Iterator<Item = GuestRange>>(
    window: GuestRange,
    size: FrameSize,
    taken: impl Fn() -> I,
) -> Option<GuestRange> {
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
