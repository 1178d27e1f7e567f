//! Where kernel, initial RAM disk and device tree go.

use core::fmt;

use crossvm_core::{GuestAddr, GuestRange};

use super::program::Program;
use crate::host::PhysicalMemory;
use crate::map::RAM_BASE;

/// Largest device tree, and the boundary that it must not cross.
pub(super) const TREE_BYTES: u64 = 2 << 20;
/// What an ELF executable must leave free at the bottom of RAM for the device tree to be there.
const LOW_TREE_BYTES: u64 = 64 << 10;
/// The RAM disk starts at a page.
const PAGE: u64 = 4096;

/// Why a kernel is neither an arm64 Image nor an ELF executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageError {
    /// The magic number is missing.
    NotAnImage,
    /// It is an ELF file, but no executable for this processor, or a damaged one.
    BadElf,
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
    /// An ELF executable has addresses outside of the guest's RAM, or where RAM disk and device tree must go.
    Misplaced {
        /// Where it wants to be.
        range: GuestRange,
        /// Bytes of RAM that the guest has.
        ram: u64,
    },
    /// The images and the device tree do not fit into the guest's RAM.
    TooLarge {
        /// Bytes of RAM that the guest has.
        ram: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(ImageError::NotAnImage) => {
                write!(f, "the kernel is neither an arm64 Image (the file arch/arm64/boot/Image) nor an ELF executable")
            }
            Self::Image(ImageError::BadElf) => write!(f, "the kernel is an ELF file, but no whole executable for AArch64, little endian"),
            Self::Image(ImageError::Compressed) => write!(f, "the kernel is compressed: unpack it to an arm64 Image first"),
            Self::Image(ImageError::BigEndian) => write!(f, "the kernel is for big-endian processors"),
            Self::Image(ImageError::NoSize) => write!(f, "the kernel does not say how much memory it takes: use Linux 3.17 or newer"),
            Self::Misplaced { range, ram } => {
                write!(f, "the program is linked to {range}, which does not fit into {ram} bytes of RAM at {RAM_BASE}")
            }
            Self::TooLarge { ram } => write!(f, "kernel, RAM disk and device tree do not fit into {ram} bytes: give the VM more memory"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Where the pieces go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The program, with its uninitialised memory.
    pub kernel: GuestRange,
    /// Where it starts.
    pub entry: GuestAddr,
    /// The initial RAM disk.
    pub initrd: Option<GuestRange>,
    /// The device tree.
    pub tree: GuestRange,
}

/// A guest in its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Where the vCPU starts.
    pub entry: GuestAddr,
    /// What it gets in x0: where the device tree is.
    pub argument: GuestAddr,
}

/// Finds places for a kernel, a RAM disk of `initrd` bytes (zero for none) and a device tree, in `ram` bytes of RAM.
///
/// An Image is at the bottom, the RAM disk at the top, the device tree below it. An ELF executable is where it is linked to; where it leaves 64
/// KiB or more at the bottom, the device tree is there, where programs for QEMU's `virt` look for it.
///
/// # Errors
/// [`LoadError`].
pub fn place(kernel: &[u8], initrd: u64, ram: u64) -> Result<Placement, LoadError> {
    let program = Program::parse(kernel).map_err(LoadError::Image)?;
    let too_large = LoadError::TooLarge { ram };
    let extent = program.extent().ok_or(match program {
        Program::Image { .. } => too_large,
        Program::Elf(_) => LoadError::Image(ImageError::BadElf),
    })?;
    let initrd_offset = ram.checked_sub(initrd).ok_or(too_large)? & !PAGE.saturating_sub(1);
    let below_initrd = initrd_offset.checked_sub(TREE_BYTES).ok_or(too_large)? & !TREE_BYTES.saturating_sub(1);
    let at = |offset| RAM_BASE.checked_add(offset).ok_or(too_large);
    let free = match (&program, extent.range.start().offset_from(RAM_BASE)) {
        (Program::Elf(_), Some(gap)) if gap >= LOW_TREE_BYTES => GuestRange::new(RAM_BASE, gap.min(TREE_BYTES)),
        _ => None,
    };
    let (tree, limit) = match free {
        Some(low) => (low, initrd_offset),
        None => (GuestRange::new(at(below_initrd)?, TREE_BYTES).ok_or(too_large)?, below_initrd),
    };
    let usable = GuestRange::new(RAM_BASE, limit).ok_or(too_large)?;
    if !usable.covers(extent.range) {
        return Err(match program {
            Program::Image { .. } => too_large,
            Program::Elf(_) => LoadError::Misplaced { range: extent.range, ram },
        });
    }
    Ok(Placement { kernel: extent.range, entry: extent.entry, initrd: GuestRange::new(at(initrd_offset)?, initrd), tree })
}

/// Copies the pieces to their places. `memory` is the guest's RAM; the guest is not running.
///
/// # Errors
/// [`LoadError::TooLarge`] where a piece does not fit.
pub fn load(memory: &mut PhysicalMemory, placement: &Placement, kernel: &[u8], initrd: &[u8], tree: &[u8]) -> Result<Loaded, LoadError> {
    let ram = memory.range().size();
    load_with(placement, kernel, initrd, tree, ram, |at, bytes| memory.copy_from(at.offset_from(RAM_BASE)?, bytes).ok())
}

/// The same where the guest's RAM, of `ram` bytes, is something else than [`PhysicalMemory`]: `copy` puts bytes at an address, and gives `None` where they do not fit.
///
/// # Errors
/// [`LoadError::TooLarge`] where a piece does not fit.
pub fn load_with(
    placement: &Placement,
    kernel: &[u8],
    initrd: &[u8],
    tree: &[u8],
    ram: u64,
    mut copy: impl FnMut(GuestAddr, &[u8]) -> Option<()>,
) -> Result<Loaded, LoadError> {
    let too_large = LoadError::TooLarge { ram };
    for piece in Program::parse(kernel).map_err(LoadError::Image)?.pieces() {
        let (at, bytes) = piece.ok_or(LoadError::Image(ImageError::BadElf))?;
        copy(at, bytes).ok_or(too_large)?;
    }
    if let Some(range) = placement.initrd {
        copy(range.start(), initrd).ok_or(too_large)?;
    }
    if u64::try_from(tree.len()).map_err(|_| too_large)? > placement.tree.size() {
        return Err(too_large);
    }
    copy(placement.tree.start(), tree).ok_or(too_large)?;
    Ok(Loaded { entry: placement.entry, argument: placement.tree.start() })
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
        assert_eq!(error(b"\x7fELF"), LoadError::Image(ImageError::BadElf));
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

    /// An ELF executable with these segments: physical address, bytes in the file, bytes in memory. Virtual addresses are 4 GiB higher.
    fn elf(machine: u16, entry: u64, segments: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56 * segments.len()];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &2u16.to_le_bytes());
        put(18, &machine.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(24, &entry.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(52, &64u16.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &u16::try_from(segments.len()).unwrap().to_le_bytes());
        for (index, (address, in_file, in_memory)) in segments.iter().enumerate() {
            let (offset, content) = (file.len() as u64, u8::try_from(index + 1).unwrap());
            file.extend(core::iter::repeat_n(content, usize::try_from(*in_file).unwrap()));
            let words = [1 | 7 << 32, offset, address + (4 << 30), *address, *in_file, *in_memory, 0x1000];
            for (word, value) in words.iter().enumerate() {
                let at = 64 + 56 * index + 8 * word;
                file[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        file
    }

    const AARCH64: u16 = 183;
    const HIGH: u64 = 4 << 30;

    #[test]
    fn an_elf_executable_goes_where_it_is_linked_to() {
        let mut ram = memory(16 << 20);
        let kernel = elf(AARCH64, HIGH + 0x4008_0004, &[(0x4008_0000, 100, 100), (0x4010_0000, 8, 0x2000)]);
        let placement = place(&kernel, 5000, 16 << 20).unwrap();
        let loaded = load(&mut ram, &placement, &kernel, &[7; 5000], b"tree").unwrap();
        // The entry as a physical address, and the device tree at the bottom of RAM.
        assert_eq!(loaded, Loaded { entry: GuestAddr::new(0x4008_0004), argument: RAM_BASE });
        assert_eq!(placement.kernel, GuestRange::new(GuestAddr::new(0x4008_0000), 0x8_2000).unwrap());
        let byte = |at: u64| ram.bytes()[usize::try_from(at - RAM_BASE.get()).unwrap()].load(Ordering::Relaxed);
        assert_eq!([byte(0x4008_0000), byte(0x4008_0063), byte(0x4008_0064)], [1, 1, 0]);
        assert_eq!([byte(0x4010_0000), byte(0x4010_0007), byte(0x4010_0008)], [2, 2, 0]);
        assert_eq!(byte(0x4000_0000), b't');
    }

    #[test]
    fn an_elf_executable_at_the_bottom_has_its_device_tree_above() {
        let kernel = elf(AARCH64, HIGH + 0x4000_0000, &[(0x4000_0000, 100, 100)]);
        let placement = place(&kernel, 0, 16 << 20).unwrap();
        assert_eq!(placement.tree, GuestRange::new(GuestAddr::new(0x40e0_0000), TREE_BYTES).unwrap());
    }

    #[test]
    fn an_elf_file_that_cannot_be_booted_is_refused() {
        let error = |kernel: &[u8]| place(kernel, 0, 16 << 20).unwrap_err();
        let one = [(0x4008_0000, 16, 16)];
        assert_eq!(error(&elf(62, HIGH + 0x4008_0000, &one)), LoadError::Image(ImageError::BadElf), "another processor");
        assert_eq!(error(&elf(AARCH64, 0, &one)), LoadError::Image(ImageError::BadElf), "an entry outside of every segment");
        assert_eq!(error(&elf(AARCH64, HIGH, &[])), LoadError::Image(ImageError::BadElf), "no segment");
        let range = GuestRange::new(GuestAddr::new(0x8_0000), 16).unwrap();
        let outside = LoadError::Misplaced { range, ram: 16 << 20 };
        assert_eq!(error(&elf(AARCH64, HIGH + 0x8_0000, &[(0x8_0000, 16, 16)])), outside);
        let huge = error(&elf(AARCH64, HIGH + 0x4008_0000, &[(0x4008_0000, 16, 1 << 30)]));
        assert!(matches!(huge, LoadError::Misplaced { .. }), "{huge}");
        let overflow = elf(AARCH64, HIGH + 0x4008_0000, &[(0x4008_0000, 16, u64::MAX - 0x1000)]);
        assert_eq!(error(&overflow), LoadError::Image(ImageError::BadElf));
        // A file that was cut, and a segment that is larger in the file than in memory.
        let whole = elf(AARCH64, HIGH + 0x4008_0000, &one);
        for kernel in [&whole[..whole.len() - 1], &elf(AARCH64, HIGH + 0x4008_0000, &[(0x4008_0000, 32, 16)])] {
            let placement = place(kernel, 0, 16 << 20).unwrap();
            let loaded = load(&mut memory(16 << 20), &placement, kernel, &[], b"tree");
            assert_eq!(loaded, Err(LoadError::Image(ImageError::BadElf)));
        }
    }

    proptest! {
        #[test]
        fn a_damaged_elf_file_is_refused_or_stays_in_ram(at in 0usize..300, value: u8, cut in 0usize..400) {
            let mut kernel = elf(AARCH64, HIGH + 0x4008_0004, &[(0x4008_0000, 100, 100), (0x4010_0000, 8, 0x2000)]);
            if let Some(byte) = kernel.get_mut(at) {
                *byte = value;
            }
            kernel.truncate(cut);
            if let Ok(placement) = place(&kernel, 0, 16 << 20) {
                prop_assert!(GuestRange::new(RAM_BASE, 16 << 20).unwrap().covers(placement.kernel));
                prop_assert!(!placement.kernel.overlaps(placement.tree));
                let _ = load(&mut memory(16 << 20), &placement, &kernel, &[], b"tree");
            }
        }

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
                let (kernel, tree) = (placement.kernel, placement.tree);
                prop_assert_eq!((kernel.size(), placement.entry), (image_size.max(64), kernel.start()));
                prop_assert!(tree.start().is_aligned(TREE_BYTES) && tree.size() == TREE_BYTES);
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
                prop_assert!(needed > ram || text_offset >= 2 << 20);
            }
        }
    }
}
