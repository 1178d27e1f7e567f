//! Places for blocks of memory that lie at multiples of their sizes.

use std::ops::Range;

/// A place in `window` for each block, in the order of `sizes`, which are powers of two: at a multiple of its size, clear of the others. `None` where
/// there is none. The largest are placed first: nothing that is placed later then needs a better place.
pub(super) fn find(window: &Range<u64>, sizes: &[u64]) -> Option<Vec<u64>> {
    let mut blocks: Vec<(usize, u64)> = sizes.iter().copied().enumerate().collect();
    blocks.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut free = vec![window.clone()];
    let mut places = vec![0; sizes.len()];
    for (block, size) in blocks {
        let (index, start, end) = free.iter().enumerate().find_map(|(index, range)| {
            let start = range.start.checked_next_multiple_of(size)?;
            let end = start.checked_add(size)?;
            (end <= range.end).then_some((index, start, end))
        })?;
        let range = free.swap_remove(index);
        free.extend([range.start..start, end..range.end].into_iter().filter(|range| !range.is_empty()));
        *places.get_mut(block)? = start;
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fit_where_each_finds_a_multiple_of_its_size() {
        let window = 0x1000_0000..0x3eff_0000;
        let fits = |sizes: &[u64]| find(&window, sizes).is_some();
        const MIB: u64 = 1 << 20;
        assert!(fits(&[256 * MIB, 256 * MIB, 64 * MIB, 64 * MIB, 4096]));
        assert!(!fits(&[512 * MIB]), "there are 752 MiB, but no multiple of 512 MiB has 512 MiB behind it");
        assert!(!fits(&[256 * MIB; 3]));
        assert_eq!(find(&(0x1000..0x4000), &[0x1000, 0x2000]), Some(vec![0x1000, 0x2000]));
        assert_eq!(find(&(0x1000..0x4000), &[0x2000, 0x2000]), None);
    }
}
