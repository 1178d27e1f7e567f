//! Where kernel, initial RAM disk and device tree go (Linux, `Documentation/arch/arm64/booting.rst`).

use core::fmt;

use crossvm_core::{GuestAddr, GuestRange};

use crate::host::PhysicalMemory;
use crate::map::RAM_BASE;

/// A kernel goes to a multiple of this, plus its offset.
const KERNEL_ALIGNMENT: u64 = 2 << 20;
/// Largest device tree, and the boundary that it must not cross.
pub(super) const TREE_BYTES: u64 = 2 << 20;
/// The RAM disk starts at a page.
const PAGE: u64 = 4096;

/// Why a kernel is no arm64 Image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageError {
    /// The magic number is missing.
    NotAnImage,
    /// It is compressed, or packed into an EFI application.
    Compressed,
    /// It is for big-endian processors.
    BigEndian,
    /// It does not say how much memory it takes: a kernel older than 3.17.
    NoSize,
}

/// Why a guest cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel.
    Image(ImageError),
    /// The images and the device tree do not fit into the guest's RAM.
    TooLarge {
        /// Bytes of RAM that the guest has.
        ram: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(ImageError::NotAnImage) => write!(f, "the kernel is no arm64 Image: give the file arch/arm64/boot/Image"),
            Self::Image(ImageError::Compressed) => write!(f, "the kernel is compressed: unpack it to an arm64 Image first"),
            Self::Image(ImageError::BigEndian) => write!(f, "the kernel is for big-endian processors"),
            Self::Image(ImageError::NoSize) => write!(f, "the kernel does not say how much memory it takes: use Linux 3.17 or newer"),
            Self::TooLarge { ram } => write!(f, "kernel, RAM disk and device tree do not fit into {ram} bytes: give the VM more memory"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Where the pieces go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// First byte of the kernel, which is its entry.
    pub kernel: GuestAddr,
    /// The initial RAM disk.
    pub initrd: Option<GuestRange>,
    /// The device tree.
    pub tree: GuestAddr,
}

/// A guest in its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Where the vCPU starts.
    pub entry: GuestAddr,
    /// What it gets in x0: where the device tree is.
    pub argument: GuestAddr,
}

/// The header of an Image: the first 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    text_offset: u64,
    image_size: u64,
}

impl Header {
    fn parse(kernel: &[u8]) -> Result<Self, ImageError> {
        let word = |at: usize| kernel.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let magic = kernel.get(56..60);
        if magic != Some(b"ARM\x64") {
            let packed = kernel.starts_with(&[0x1f, 0x8b]) || kernel.get(4..8) == Some(b"zimg");
            return Err(if packed { ImageError::Compressed } else { ImageError::NotAnImage });
        }
        let (Some(text_offset), Some(image_size), Some(flags)) = (word(8), word(16), word(24)) else {
            return Err(ImageError::NotAnImage);
        };
        match (flags & 1, image_size) {
            (1, _) => Err(ImageError::BigEndian),
            (_, 0) => Err(ImageError::NoSize),
            _ => Ok(Self { text_offset, image_size }),
        }
    }
}

/// Finds places for a kernel, a RAM disk of `initrd` bytes (zero for none) and a device tree, in `ram` bytes of RAM.
///
/// The kernel is at the bottom, the RAM disk at the top, the device tree below it.
///
/// # Errors
/// [`LoadError`].
pub fn place(kernel: &[u8], initrd: u64, ram: u64) -> Result<Placement, LoadError> {
    let header = Header::parse(kernel).map_err(LoadError::Image)?;
    let too_large = LoadError::TooLarge { ram };
    let file = u64::try_from(kernel.len()).map_err(|_| too_large)?;
    let offset = header.text_offset;
    let kernel_end = offset.checked_add(header.image_size.max(file)).ok_or(too_large)?;
    let initrd_offset = ram.checked_sub(initrd).ok_or(too_large)? & !PAGE.saturating_sub(1);
    let tree_offset = initrd_offset.checked_sub(TREE_BYTES).ok_or(too_large)? & !TREE_BYTES.saturating_sub(1);
    if kernel_end > tree_offset || offset >= KERNEL_ALIGNMENT {
        return Err(too_large);
    }
    let at = |offset| RAM_BASE.checked_add(offset).ok_or(too_large);
    Ok(Placement { kernel: at(offset)?, initrd: GuestRange::new(at(initrd_offset)?, initrd), tree: at(tree_offset)? })
}

/// Copies the pieces to their places. `memory` is the guest's RAM; the guest is not running.
///
/// # Errors
/// [`LoadError::TooLarge`] where a piece does not fit.
pub fn load(memory: &mut PhysicalMemory, placement: &Placement, kernel: &[u8], initrd: &[u8], tree: &[u8]) -> Result<Loaded, LoadError> {
    let too_large = LoadError::TooLarge { ram: memory.range().size() };
    let mut copy = |at: GuestAddr, bytes: &[u8]| {
        let offset = at.offset_from(RAM_BASE).ok_or(too_large)?;
        memory.copy_from(offset, bytes).map_err(|_| too_large)
    };
    copy(placement.kernel, kernel)?;
    if let Some(range) = placement.initrd {
        copy(range.start(), initrd)?;
    }
    if u64::try_from(tree.len()).map_err(|_| too_large)? > TREE_BYTES {
        return Err(too_large);
    }
    copy(placement.tree, tree)?;
    Ok(Loaded { entry: placement.kernel, argument: placement.tree })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::memory;
    use core::sync::atomic::Ordering;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn image(text_offset: u64, image_size: u64, file: usize) -> Vec<u8> {
        let mut image = vec![0x5a; file.max(64)];
        image[8..16].copy_from_slice(&text_offset.to_le_bytes());
        image[16..24].copy_from_slice(&image_size.to_le_bytes());
        image[24..32].copy_from_slice(&0xau64.to_le_bytes());
        image[56..60].copy_from_slice(b"ARM\x64");
        image
    }

    #[test]
    fn says_what_is_wrong_with_an_image() {
        let error = |kernel: &[u8]| place(kernel, 0, 256 << 20).unwrap_err();
        assert_eq!(error(b"\x7fELF"), LoadError::Image(ImageError::NotAnImage));
        assert_eq!(error(&[]), LoadError::Image(ImageError::NotAnImage));
        assert_eq!(error(b"\x1f\x8b\x08\x00"), LoadError::Image(ImageError::Compressed));
        assert_eq!(error(b"MZ\x00\x00zimg"), LoadError::Image(ImageError::Compressed));
        assert_eq!(error(&image(0, 0, 100)), LoadError::Image(ImageError::NoSize));
        let mut big = image(0, 100, 100);
        big[24] = 1;
        assert_eq!(error(&big), LoadError::Image(ImageError::BigEndian));
        assert_eq!(error(&image(0, u64::MAX, 100)), LoadError::TooLarge { ram: 256 << 20 });
        assert_eq!(error(&image(u64::MAX, 4096, 100)), LoadError::TooLarge { ram: 256 << 20 });
    }

    #[test]
    fn the_pieces_arrive_where_they_were_placed() {
        let mut ram = memory(16 << 20);
        let kernel = image(0x8_0000, 1 << 20, 3000);
        let placement = place(&kernel, 5000, 16 << 20).unwrap();
        let loaded = load(&mut ram, &placement, &kernel, &[7; 5000], b"tree").unwrap();
        assert_eq!(loaded, Loaded { entry: GuestAddr::new(0x4008_0000), argument: GuestAddr::new(0x40c0_0000) });
        let at = |address: GuestAddr, bytes: usize| -> Vec<u8> {
            let start = usize::try_from(address.get() - RAM_BASE.get()).unwrap();
            ram.bytes()[start..start + bytes].iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
        };
        assert_eq!(at(loaded.entry, 3000), kernel);
        assert_eq!(at(loaded.argument, 4), b"tree");
        let initrd = placement.initrd.unwrap();
        assert_eq!(initrd, GuestRange::new(GuestAddr::new(0x40ff_e000), 5000).unwrap());
        assert_eq!(at(initrd.start(), 5000), [7; 5000]);
    }

    proptest! {
        #[test]
        fn pieces_never_overlap_and_never_leave_ram(
            text_offset in prop_oneof![Just(0), Just(0x8_0000), 0u64..0x40_0000],
            image_size in 1u64..(64 << 20),
            initrd in 0u64..(64 << 20),
            ram in (1u64..64).prop_map(|blocks| blocks << 21),
        ) {
            let kernel = image(text_offset, image_size, 64);
            if let Ok(placement) = place(&kernel, initrd, ram) {
                let all = GuestRange::new(RAM_BASE, ram).unwrap();
                let kernel = GuestRange::new(placement.kernel, image_size.max(64)).unwrap();
                let tree = GuestRange::new(placement.tree, TREE_BYTES).unwrap();
                prop_assert!(placement.tree.is_aligned(TREE_BYTES));
                prop_assert!(all.covers(kernel) && all.covers(tree) && !kernel.overlaps(tree));
                match placement.initrd {
                    None => prop_assert_eq!(initrd, 0),
                    Some(range) => {
                        prop_assert_eq!(range.size(), initrd);
                        prop_assert!(all.covers(range) && !range.overlaps(tree) && !range.overlaps(kernel));
                    }
                }
            } else {
                let needed = text_offset + image_size + initrd + 3 * TREE_BYTES;
                prop_assert!(needed > ram || text_offset >= KERNEL_ALIGNMENT);
            }
        }
    }
}
