//! What a kernel's file holds: an arm64 Image (Linux, `Documentation/arch/arm64/booting.rst`) or an ELF executable.

use crossvm_core::{GuestAddr, GuestRange};
use elf::ElfBytes;
use elf::abi::{EM_AARCH64, ET_DYN, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;

use super::loader::ImageError;
use crate::map::RAM_BASE;

/// An Image goes to a multiple of this, plus its offset.
const IMAGE_ALIGNMENT: u64 = 2 << 20;

/// A kernel that can be booted.
#[derive(Debug)]
pub(super) enum Program<'a> {
    /// Position-independent code, entered at its first byte.
    Image { file: &'a [u8], text_offset: u64, size: u64 },
    /// Segments with addresses of their own.
    Elf(ElfBytes<'a, LittleEndian>),
}

/// Where a program lies and starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Everything that it takes, its uninitialised memory included.
    pub(super) range: GuestRange,
    /// Its entry.
    pub(super) entry: GuestAddr,
}

impl<'a> Program<'a> {
    /// Looks what `file` is.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        if file.starts_with(b"\x7fELF") {
            return Self::parse_elf(file);
        }
        let word = |at: usize| file.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        if file.get(56..60) != Some(b"ARM\x64") {
            let packed = file.starts_with(&[0x1f, 0x8b]) || file.get(4..8) == Some(b"zimg");
            return Err(if packed { ImageError::Compressed } else { ImageError::NotAnImage });
        }
        let (Some(text_offset), Some(size), Some(flags)) = (word(8), word(16), word(24)) else {
            return Err(ImageError::NotAnImage);
        };
        match (flags & 1, size) {
            (1, _) => Err(ImageError::BigEndian),
            (_, 0) => Err(ImageError::NoSize),
            _ => Ok(Self::Image { file, text_offset, size }),
        }
    }

    fn parse_elf(file: &'a [u8]) -> Result<Self, ImageError> {
        let elf = ElfBytes::minimal_parse(file).map_err(|_| ImageError::BadElf)?;
        let header = &elf.ehdr;
        if header.class != Class::ELF64 || header.e_machine != EM_AARCH64 || !matches!(header.e_type, ET_EXEC | ET_DYN) {
            return Err(ImageError::BadElf);
        }
        Ok(Self::Elf(elf))
    }

    /// Where it lies; `None` where it is empty or its addresses are beyond all RAM.
    pub(super) fn extent(&self) -> Option<Extent> {
        match self {
            Self::Image { file, text_offset, size } => {
                let start = RAM_BASE.checked_add(*text_offset).filter(|_| *text_offset < IMAGE_ALIGNMENT)?;
                let range = GuestRange::new(start, u64::try_from(file.len()).ok()?.max(*size))?;
                Some(Extent { range, entry: start })
            }
            Self::Elf(elf) => {
                let segments = || elf.segments().into_iter().flatten().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0);
                let first = segments().map(|segment| segment.p_paddr).min()?;
                let end = segments().try_fold(0u64, |end, segment| Some(end.max(segment.p_paddr.checked_add(segment.p_memsz)?)))?;
                // The entry is a virtual address; the program starts with its MMU off.
                let inside = |vaddr: u64, size: u64| elf.ehdr.e_entry.checked_sub(vaddr).filter(|offset| *offset < size);
                let entry = segments().find_map(|segment| inside(segment.p_vaddr, segment.p_memsz)?.checked_add(segment.p_paddr))?;
                Some(Extent { range: GuestRange::new(GuestAddr::new(first), end.checked_sub(first)?)?, entry: GuestAddr::new(entry) })
            }
        }
    }

    /// The bytes to copy, and where they go; `None` for a segment beyond the end of the file.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Option<(GuestAddr, &'a [u8])>> + '_ {
        let (image, segments) = match self {
            Self::Image { file, .. } => (self.extent().map(|extent| Some((extent.entry, *file))), None),
            Self::Elf(elf) => (None, elf.segments()),
        };
        let loaded = segments.into_iter().flatten().filter(|segment| segment.p_type == PT_LOAD && segment.p_filesz != 0);
        let piece = |segment: elf::segment::ProgramHeader| match self {
            Self::Elf(elf) if segment.p_filesz <= segment.p_memsz => {
                Some((GuestAddr::new(segment.p_paddr), elf.segment_data(&segment).ok()?))
            }
            _ => None,
        };
        image.into_iter().chain(loaded.map(piece))
    }
}
