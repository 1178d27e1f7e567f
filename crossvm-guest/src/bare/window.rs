//! Where BARs are placed.

use crate::bare::{Error, PhysicalRange};

/// A range of guest-physical addresses inside of the host bridge's window, from which BARs get their addresses.
///
/// Nothing else may lie in it: no device but connections, and no memory.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Window {
    next: u64,
    last: u64,
}

impl Window {
    /// All of `range` is free.
    #[must_use]
    pub const fn new(range: PhysicalRange) -> Self {
        Self { next: range.start(), last: range.last() }
    }

    /// Takes `size` bytes, a power of two, aligned to their size, and returns their address.
    ///
    /// # Errors
    ///
    /// [`Error::WindowFull`].
    pub fn take(&mut self, size: u64) -> Result<u64, Error> {
        let full = Error::WindowFull { size };
        let start = self.next.checked_next_multiple_of(size).ok_or(full.clone())?;
        let last = start.checked_add(size.saturating_sub(1)).filter(|last| *last <= self.last).ok_or(full)?;
        // At the very end of the address space nothing is left.
        self.next = last.saturating_add(1);
        if self.next == last {
            self.last = self.last.saturating_sub(1);
        }
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: u64, length: u64) -> Window {
        Window::new(PhysicalRange::new(start, length).unwrap())
    }

    #[test]
    fn what_is_taken_is_aligned_and_inside() {
        let mut window = window(0x1000_0800, 0x10_0000);
        assert_eq!(window.take(0x1000), Ok(0x1000_1000));
        assert_eq!(window.take(0x1_0000), Ok(0x1001_0000));
        assert_eq!(window.take(0x10_0000), Err(Error::WindowFull { size: 0x10_0000 }));
        assert_eq!(window.take(0x1000), Ok(0x1002_0000), "a smaller one still fits");
    }

    #[test]
    fn the_end_of_the_address_space_is_no_way_round() {
        let mut window = window(u64::MAX - 0x1fff, 0x2000);
        assert_eq!(window.take(0x1000), Ok(u64::MAX - 0x1fff));
        assert_eq!(window.take(0x1000), Ok(u64::MAX - 0xfff));
        assert_eq!(window.take(0x1000), Err(Error::WindowFull { size: 0x1000 }));
        assert_eq!(window.take(1), Err(Error::WindowFull { size: 1 }), "no byte is given twice");
    }
}
