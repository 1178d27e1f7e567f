//! What goes where.
//!
//! The kernel checks that kernel, device tree and root task lie in this order, and takes the root task as one piece of memory that it maps at
//! one distance from where it is linked to.

use core::fmt;

use elf::ElfBytes;
use elf::abi::{EM_AARCH64, ET_DYN, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;

/// A page.
const PAGE: u64 = 4096;
/// What a block of the loader's tables maps.
const BLOCK: u64 = 2 << 20;

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The kernel's.
    Kernel,
    /// The root task's.
    Root,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Root => "root task",
        })
    }
}

/// Why nothing can be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanError {
    /// The file is no 64-bit ELF executable for Arm, or is cut.
    NotAnElf(File),
    /// There is nothing to load in it.
    Empty(File),
    /// The kernel's segments do not all have the same distance from their physical addresses, or not one of whole 2 MiB.
    KernelDistance,
    /// The root task is not linked to a whole page.
    RootAlignment,
    /// Memory that is needed is not where the loader has RAM mapped.
    NotInRam {
        /// First address.
        start: u64,
        /// First address behind it.
        end: u64,
    },
    /// A place is taken: the loader is there, or a file that is still to be read.
    Occupied {
        /// First address of what is to be loaded.
        start: u64,
        /// First address behind it.
        end: u64,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnElf(file) => write!(f, "the {file} is no 64-bit ELF executable for Arm, or is not complete"),
            Self::Empty(file) => write!(f, "the {file} has nothing to load"),
            Self::KernelDistance => f.write_str("the kernel's segments are not linked at one distance of whole 2 MiB from their places"),
            Self::RootAlignment => f.write_str("the root task is not linked to a page of 4 KiB"),
            Self::NotInRam { start, end } => {
                write!(f, "{start:#x}..{end:#x} is not in the first GiB of RAM: the kernel was built for another machine")
            }
            Self::Occupied { start, end } => {
                write!(f, "what is to be loaded to {start:#x}..{end:#x} meets the loader or the files that it reads")
            }
        }
    }
}

impl core::error::Error for PlanError {}

/// A range of physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
}

impl Span {
    /// `size` bytes from `start` on.
    #[must_use]
    pub fn new(start: u64, size: u64) -> Option<Self> {
        Some(Self { start, end: start.checked_add(size)? })
    }

    const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A piece of a file that is to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it goes.
    pub to: u64,
    /// What.
    pub bytes: &'a [u8],
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    kernel_file: ElfBytes<'a, LittleEndian>,
    root_file: ElfBytes<'a, LittleEndian>,
    /// Where the kernel goes, its uninitialised memory included.
    pub kernel: Span,
    /// Virtual address of `kernel.start`.
    pub kernel_virtual: u64,
    /// The kernel's first instruction, a virtual address.
    pub kernel_entry: u64,
    /// Where the device tree goes.
    pub tree: Span,
    /// Where the root task goes: whole pages.
    pub root: Span,
    /// Physical less virtual addresses of the root task, wrapping.
    pub root_distance: u64,
    /// The root task's first instruction, a virtual address.
    pub root_entry: u64,
}

impl<'a> Plan<'a> {
    /// Plans to boot these files with a device tree of `tree` bytes, in `ram`, away from what is `occupied`.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(kernel: &'a [u8], root: &'a [u8], tree: u64, ram: Span, occupied: &[Span]) -> Result<Self, PlanError> {
        let (kernel_file, root_file) = (parse(kernel, File::Kernel)?, parse(root, File::Root)?);
        let physical = extent(&kernel_file, |segment| segment.p_paddr).ok_or(PlanError::Empty(File::Kernel))?;
        let linked = extent(&kernel_file, |segment| segment.p_vaddr).ok_or(PlanError::Empty(File::Kernel))?;
        let distance = linked.start.wrapping_sub(physical.start);
        let one_distance = segments(&kernel_file).all(|segment| segment.p_vaddr.wrapping_sub(segment.p_paddr) == distance);
        if !one_distance || !distance.is_multiple_of(BLOCK) {
            return Err(PlanError::KernelDistance);
        }
        let task = extent(&root_file, |segment| segment.p_vaddr).ok_or(PlanError::Empty(File::Root))?;
        if !task.start.is_multiple_of(PAGE) {
            return Err(PlanError::RootAlignment);
        }
        let outside = |span: Span| PlanError::NotInRam { start: span.start, end: span.end };
        let behind = |span: Span, size: u64| {
            let start = span.end.checked_next_multiple_of(PAGE)?;
            Span::new(start, size.checked_next_multiple_of(PAGE)?)
        };
        let tree_space = behind(physical, tree).ok_or_else(|| outside(physical))?;
        let size = task.end.checked_sub(task.start).ok_or(PlanError::Empty(File::Root))?;
        let root = behind(tree_space, size).ok_or_else(|| outside(tree_space))?;
        for span in [physical, tree_space, root] {
            if !ram.covers(span) {
                return Err(outside(span));
            }
            if occupied.iter().any(|taken| taken.overlaps(span)) {
                return Err(PlanError::Occupied { start: span.start, end: span.end });
            }
        }
        Ok(Self {
            kernel: physical,
            kernel_virtual: linked.start,
            kernel_entry: kernel_file.ehdr.e_entry,
            tree: Span { start: tree_space.start, end: tree_space.start.saturating_add(tree) },
            root,
            root_distance: root.start.wrapping_sub(task.start),
            root_entry: root_file.ehdr.e_entry,
            kernel_file,
            root_file,
        })
    }

    /// What is to be copied, after `kernel` and `root` were set to zero. `None` for a segment that its file does not have.
    pub fn pieces(&self) -> impl Iterator<Item = Option<Piece<'a>>> + '_ {
        let kernel = segments(&self.kernel_file).map(|segment| piece(&self.kernel_file, &segment, segment.p_paddr));
        let root =
            segments(&self.root_file).map(|segment| piece(&self.root_file, &segment, segment.p_vaddr.wrapping_add(self.root_distance)));
        kernel.chain(root)
    }
}

fn parse(file: &[u8], which: File) -> Result<ElfBytes<'_, LittleEndian>, PlanError> {
    let elf = ElfBytes::minimal_parse(file).map_err(|_| PlanError::NotAnElf(which))?;
    let header = &elf.ehdr;
    if header.class != Class::ELF64 || header.e_machine != EM_AARCH64 || !matches!(header.e_type, ET_EXEC | ET_DYN) {
        return Err(PlanError::NotAnElf(which));
    }
    Ok(elf)
}

type Segment = elf::segment::ProgramHeader;

fn segments<'e>(file: &'e ElfBytes<'_, LittleEndian>) -> impl Iterator<Item = Segment> + 'e {
    file.segments().into_iter().flatten().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0)
}

/// From the first to the last byte of all segments, by one of their two addresses.
fn extent(file: &ElfBytes<'_, LittleEndian>, address: fn(&Segment) -> u64) -> Option<Span> {
    let start = segments(file).map(|segment| address(&segment)).min()?;
    let end = segments(file).try_fold(0u64, |end, segment| Some(end.max(address(&segment).checked_add(segment.p_memsz)?)))?;
    Some(Span { start, end })
}

fn piece<'a>(file: &ElfBytes<'a, LittleEndian>, segment: &Segment, to: u64) -> Option<Piece<'a>> {
    if segment.p_filesz > segment.p_memsz {
        return None;
    }
    Some(Piece { to, bytes: file.segment_data(segment).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF executable with these segments: virtual and physical address, bytes in the file, bytes in memory.
    fn elf(machine: u16, entry: u64, segments: &[(u64, u64, u64, u64)]) -> Vec<u8> {
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
        for (index, (virtual_address, physical, in_file, in_memory)) in segments.iter().enumerate() {
            let (offset, content) = (file.len() as u64, u8::try_from(index + 1).unwrap());
            file.extend(core::iter::repeat_n(content, usize::try_from(*in_file).unwrap()));
            let words = [1 | 7 << 32, offset, *virtual_address, *physical, *in_file, *in_memory, 0x1000];
            for (word, value) in words.iter().enumerate() {
                let at = 64 + 56 * index + 8 * word;
                file[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
        file
    }

    const ARM: u16 = 183;
    const HIGH: u64 = 0xff_c000_0000;
    const RAM: Span = Span { start: 0x4000_0000, end: 0x8000_0000 };

    fn kernel() -> Vec<u8> {
        elf(ARM, HIGH, &[(HIGH, 0x6000_0000, 100, 0x23_f000)])
    }

    fn root() -> Vec<u8> {
        elf(ARM, 0x1000_1000, &[(0x1000_0000, 0x1000_0000, 100, 100), (0x1000_1000, 0x1000_1000, 8, 0x2345)])
    }

    #[test]
    fn kernel_tree_and_root_task_lie_in_the_order_that_the_kernel_wants() {
        let (kernel, root) = (kernel(), root());
        let plan = Plan::new(&kernel, &root, 0x1e00, RAM, &[]).unwrap();
        assert_eq!(plan.kernel, Span { start: 0x6000_0000, end: 0x6023_f000 });
        assert_eq!((plan.kernel_virtual, plan.kernel_entry), (HIGH, HIGH));
        assert_eq!(plan.tree, Span { start: 0x6023_f000, end: 0x6024_0e00 });
        assert_eq!(plan.root, Span { start: 0x6024_1000, end: 0x6024_5000 });
        assert_eq!((plan.root_distance, plan.root_entry), (0x5024_1000, 0x1000_1000));
        let pieces: Vec<_> = plan.pieces().map(|piece| piece.map(|piece| (piece.to, piece.bytes[0], piece.bytes.len()))).collect();
        assert_eq!(pieces, [Some((0x6000_0000, 1, 100)), Some((0x6024_1000, 1, 100)), Some((0x6024_2000, 2, 8))]);
    }

    #[test]
    fn what_cannot_be_booted_is_refused() {
        let (good_kernel, good_root) = (kernel(), root());
        let error = |kernel: &[u8], root: &[u8], occupied: &[Span]| Plan::new(kernel, root, 0x1e00, RAM, occupied).unwrap_err();
        assert_eq!(error(b"MZ", &good_root, &[]), PlanError::NotAnElf(File::Kernel));
        assert_eq!(error(&good_kernel, &elf(62, 0, &[(0, 0, 1, 1)]), &[]), PlanError::NotAnElf(File::Root));
        assert_eq!(error(&good_kernel, &elf(ARM, 0, &[]), &[]), PlanError::Empty(File::Root));
        assert_eq!(error(&elf(ARM, HIGH, &[(HIGH, 0x6000_1000, 1, 1)]), &good_root, &[]), PlanError::KernelDistance);
        let torn = elf(ARM, HIGH, &[(HIGH, 0x6000_0000, 1, 1), (HIGH + BLOCK, 0x6000_1000, 1, 1)]);
        assert_eq!(error(&torn, &good_root, &[]), PlanError::KernelDistance);
        assert_eq!(error(&good_kernel, &elf(ARM, 0, &[(0x10, 0x10, 1, 1)]), &[]), PlanError::RootAlignment);
        let elsewhere = elf(ARM, HIGH, &[(HIGH, 0x8000_0000, 1, 1)]);
        assert_eq!(error(&elsewhere, &good_root, &[]), PlanError::NotInRam { start: 0x8000_0000, end: 0x8000_0001 });
        let file = Span { start: 0x6024_4fff, end: 0x6024_5000 };
        assert_eq!(error(&good_kernel, &good_root, &[file]), PlanError::Occupied { start: 0x6024_1000, end: 0x6024_5000 });
        let wrapping = elf(ARM, HIGH, &[(HIGH, 0x6000_0000, 1, u64::MAX)]);
        assert_eq!(error(&wrapping, &good_root, &[]), PlanError::Empty(File::Kernel));
    }

    #[test]
    fn a_file_that_was_cut_has_no_piece() {
        let (kernel, root) = (kernel(), root());
        let plan = Plan::new(&kernel, &root[..root.len() - 1], 0x1e00, RAM, &[]).unwrap();
        assert_eq!(plan.pieces().last(), Some(None));
    }
}
