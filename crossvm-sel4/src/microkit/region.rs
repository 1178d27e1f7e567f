//! Memory regions of a system description as dataports.

use crossvm_core::{Dataport, FrameSize, GuestAddr, GuestRange};

/// A frame of memory that is mapped already: there is nothing to tell of it but that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Part;

/// As many as any region has: 1 TiB in frames of 4 KiB. They take no memory.
static PARTS: [Part; 1 << 28] = [Part; 1 << 28];

/// A memory region that the guest has in its address space for good.
///
/// The monitor does not touch it, and need not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RegionDataport {
    at: GuestAddr,
    frame: FrameSize,
    count: usize,
}

impl RegionDataport {
    /// The region at `range` of the guest; `None` where its start or size is no multiple of 4 KiB.
    ///
    /// Its BAR, of the next power of two, must fit too: `range` starts at a multiple of that size. The bus says so at `install`.
    #[must_use]
    pub fn new(range: GuestRange) -> Option<Self> {
        let (at, bytes) = (range.start().get(), range.size());
        // The largest block that both start and size are multiples of.
        let frame = FrameSize::from_bytes(1u64.checked_shl((at | bytes).trailing_zeros())?)?;
        let count = usize::try_from(bytes.checked_div(frame.bytes())?).ok().filter(|count| *count <= PARTS.len())?;
        Some(Self { at: range.start(), frame, count })
    }
}

impl Dataport for RegionDataport {
    type Frame = Part;

    fn frame_size(&self) -> FrameSize {
        self.frame
    }

    fn frames(&self) -> &[Part] {
        PARTS.get(..self.count).unwrap_or_default()
    }

    fn fixed_at(&self) -> Option<GuestAddr> {
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_large_as_start_and_size_allow() {
        let region = |at, bytes| RegionDataport::new(GuestRange::new(GuestAddr::new(at), bytes).unwrap());
        for (at, bytes, frame, count) in [
            (0x1000_0000, 12 << 20, 4 << 20, 3),
            (0x1000_0000, 4096, 4096, 1),
            (0x1000_4000, 0x3000, 4096, 3),
            (1 << 38, 1 << 37, 1 << 37, 1),
        ] {
            let region = region(at, bytes).unwrap();
            assert_eq!((region.frame_size().bytes(), region.frames().len()), (frame, count), "{at:#x}");
            assert_eq!(region.fixed_at(), Some(GuestAddr::new(at)));
        }
        assert_eq!((region(0x1000_0800, 4096), region(0x1000_0000, 0x1800)), (None, None));
    }
}
