//! Dataports: contiguous host-physical memory that both ends of a connection map.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crossvm_core::{Dataport, FrameSize};

use crate::host::{FreeMemory, HostRange, OutOfMemory, PhysicalMemory};
use crate::translation::Frame;

/// Largest frame: what one block of level 2 maps.
const LARGEST_FRAME: FrameSize = FrameSize::MIB_2;

/// What a connection's dataports are made of, in their order.
pub type Dataports = heapless::Vec<&'static SharedMemory, { crossvm_manifest::MAX_DATAPORTS }>;

/// The memory of one dataport. Lives for ever: the ends refer to it.
#[derive(Debug)]
pub struct SharedMemory {
    memory: PhysicalMemory,
    frame_size: FrameSize,
    frames: Vec<Frame>,
}

impl SharedMemory {
    /// Takes possession of `range`, sets it to zero and cuts it into the largest frames that fit its address and size. `None` where
    /// that is no whole number of 4 KiB.
    ///
    /// # Safety
    ///
    /// As for [`PhysicalMemory::new`].
    #[must_use]
    pub unsafe fn new(range: HostRange) -> Option<&'static Self> {
        let alignment = (range.start().get() | range.size() | LARGEST_FRAME.bytes()).trailing_zeros();
        let frame_size = FrameSize::from_bytes(1u64.checked_shl(alignment)?)?;
        // SAFETY: the caller's promise.
        let memory = unsafe { PhysicalMemory::new(range) };
        memory.clear();
        let count = range.size().checked_div(frame_size.bytes())?;
        let address = |index: u64| range.start().checked_add(index.checked_mul(frame_size.bytes())?);
        let frames = (0..count).filter_map(|index| Some(Frame::new(address(index)?))).collect();
        Some(Box::leak(Box::new(Self { memory, frame_size, frames })))
    }

    /// Takes memory for a dataport of `size` bytes from what is free, aligned so that its frames are as large as they can be.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn take_range(free: &mut FreeMemory, size: u64) -> Result<HostRange, OutOfMemory> {
        let alignment = size.checked_next_power_of_two().map_or(LARGEST_FRAME.bytes(), |size| size.min(LARGEST_FRAME.bytes()));
        free.allocate(size, FrameSize::from_bytes(alignment).unwrap_or(FrameSize::KIB_4))
    }

    /// The memory, for a component of the VMM.
    #[must_use]
    pub const fn memory(&self) -> &PhysicalMemory {
        &self.memory
    }
}

impl Dataport for SharedMemory {
    type Frame = Frame;

    fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostAddr;
    use crate::host::tests::memory;

    #[test]
    fn frames_are_as_large_as_address_and_size_allow() {
        let start = memory(8 << 20).range().start();
        for (offset, size, frame_size, count) in [
            (0u64, 1u64 << 20, FrameSize::from_bytes(1 << 20).unwrap(), 1),
            (0, 4 << 20, FrameSize::MIB_2, 2),
            (0, 12 << 10, FrameSize::KIB_4, 3),
            (0x1_0000, 0x1_0000, FrameSize::KIB_64, 1),
            (0x1000, 0x1_0000, FrameSize::KIB_4, 16),
        ] {
            let range = HostRange::new(start.checked_add(offset).unwrap(), size).unwrap();
            // SAFETY: memory of the test that nobody uses after the loop's earlier rounds.
            let shared = unsafe { SharedMemory::new(range) }.unwrap();
            assert_eq!((shared.frame_size(), shared.frames().len()), (frame_size, count));
            assert_eq!(shared.frames()[0], Frame::new(range.start()));
        }
        // SAFETY: refused before it is touched.
        assert!(unsafe { SharedMemory::new(HostRange::new(HostAddr::new(0x1000), 0x800).unwrap()) }.is_none());
    }

    #[test]
    fn a_dataport_is_aligned_to_its_size() {
        let mut free = FreeMemory::new();
        free.add(HostRange::new(HostAddr::new(0x4000_1000), 64 << 20).unwrap()).unwrap();
        assert_eq!(SharedMemory::take_range(&mut free, 4096).unwrap().start().get(), 0x4000_1000);
        assert_eq!(SharedMemory::take_range(&mut free, 0x1_0000).unwrap().start().get(), 0x4001_0000);
        assert_eq!(SharedMemory::take_range(&mut free, 3 << 20).unwrap().start().get(), 0x4020_0000);
    }
}
