//! Programs as ELF files.

use core::fmt;

use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;

/// An ELF file of 32 or 64 bits, little endian, linked for one address.
#[derive(Debug)]
pub struct Program<'a> {
    file: ElfBytes<'a, LittleEndian>,
}

/// The file is no such program.
#[derive(Debug, Clone, Copy)]
pub struct ProgramError;

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the program in the image is no ELF file: build it before the root task (cargo xtask sel4 does)")
    }
}

/// A part of a program that is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Where it goes.
    pub address: u64,
    /// Its length in memory; behind `data` it is zero.
    pub length: u64,
    /// What is there.
    pub data: &'a [u8],
    /// The program writes it.
    pub writable: bool,
    /// The program executes it.
    pub executable: bool,
}

impl<'a> Program<'a> {
    /// The program in this file.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn new(file: &'a [u8]) -> Result<Self, ProgramError> {
        let file = ElfBytes::minimal_parse(file).map_err(|_| ProgramError)?;
        if file.segments().is_none() { Err(ProgramError) } else { Ok(Self { file }) }
    }

    /// Its first instruction.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.file.ehdr.e_entry
    }

    /// What is loaded, in the order of the addresses.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + '_ {
        let loaded = self.file.segments().into_iter().flatten().filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0);
        loaded.map(|header| Segment {
            address: header.p_vaddr,
            length: header.p_memsz,
            data: self.file.segment_data(&header).unwrap_or(&[]),
            writable: header.p_flags & PF_W != 0,
            executable: header.p_flags & PF_X != 0,
        })
    }
}
