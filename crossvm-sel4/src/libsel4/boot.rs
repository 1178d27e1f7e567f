//! What the kernel tells a root task.

use core::ops::Range;

use super::raw;
use crate::kernel::CPtr;

/// Slots of a root task's CSpace that are the same in all kernels.
pub mod slots {
    use crate::kernel::CPtr;

    /// Its thread.
    pub const TCB: CPtr = CPtr::new(1);
    /// The root of its CSpace.
    pub const CSPACE: CPtr = CPtr::new(2);
    /// The root of its address space.
    pub const VSPACE: CPtr = CPtr::new(3);
    /// The authority over interrupts.
    pub const IRQ_CONTROL: CPtr = CPtr::new(4);
    /// The pool that its own address space has its identifier from.
    pub const ASID_POOL: CPtr = CPtr::new(6);
    /// The frame of the boot information.
    pub const BOOT_INFO: CPtr = CPtr::new(9);
    /// The frame of its IPC buffer.
    pub const IPC_BUFFER: CPtr = CPtr::new(10);
}

/// Untyped memory that a root task starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UntypedMemory {
    /// Its capability.
    pub slot: CPtr,
    /// Its physical address.
    pub address: u64,
    /// Its size: 2^this bytes.
    pub bits: u8,
    /// Whether it holds devices: frames alone can be made of it, which are not cleared.
    pub device: bool,
}

/// The boot information, whose address the kernel passes to a root task in its first register of arguments.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BootInfo {
    info: *const u8,
    raw: raw::RawBoot,
}

impl BootInfo {
    /// Bytes of the frame that the boot information is in. What comes in addition stands behind it.
    const FRAME: usize = 4096;

    /// The boot information at `info`.
    ///
    /// # Safety
    ///
    /// The address is what the kernel has passed to the root task, and its frames stay mapped while this value or what it gave is used.
    #[must_use]
    pub unsafe fn new(info: *const u8) -> Self {
        let mut raw = raw::RawBoot::default();
        // SAFETY: the caller's promise.
        unsafe { raw::crossvm_boot(info, &mut raw) };
        Self { info, raw }
    }

    /// Address of the root task's IPC buffer.
    #[must_use]
    pub fn ipc_buffer(&self) -> usize {
        usize::try_from(self.raw.ipc_buffer).unwrap_or(0)
    }

    /// Slots of the CSpace: 2^this.
    #[must_use]
    pub fn cspace_bits(&self) -> u8 {
        u8::try_from(self.raw.cspace_bits).unwrap_or(0)
    }

    /// Slots that are empty.
    #[must_use]
    pub fn empty(&self) -> Range<u64> {
        region(self.raw.empty)
    }

    /// Capabilities of the frames of the root task's own image, in the order of their addresses.
    #[must_use]
    pub fn image_frames(&self) -> Range<u64> {
        region(self.raw.image)
    }

    /// The untyped memory.
    pub fn untyped(&self) -> impl Iterator<Item = UntypedMemory> + use<> {
        let info = self.info;
        region(self.raw.untyped).zip(0..).map_while(move |(slot, index)| {
            let mut raw = raw::RawUntyped::default();
            // SAFETY: `new`'s promise; the call looks at the index.
            let found = unsafe { raw::crossvm_untyped(info, index, &mut raw) } != 0;
            found.then(|| UntypedMemory {
                slot: CPtr::new(slot),
                address: raw.address,
                bits: u8::try_from(raw.bits).unwrap_or(0),
                device: raw.device != 0,
            })
        })
    }

    /// The additional information: chunks, each with its number and its length, header included, as two words.
    #[must_use]
    pub fn extra(&self) -> &[u8] {
        let length = usize::try_from(self.raw.extra_length).unwrap_or(0);
        if length == 0 {
            return &[];
        }
        // SAFETY: the kernel has mapped `extra_length` bytes behind the first frame, which stay mapped by `new`'s promise.
        unsafe { core::slice::from_raw_parts(self.info.wrapping_add(Self::FRAME), length) }
    }
}

fn region([start, end]: [u64; 2]) -> Range<u64> {
    start..end
}
