//! Translation tables, made where the kernel misses them.

use crossvm_core::{GuestAddr, GuestRange};
use heapless::Vec;

use super::error::{SpaceError, Table};
use crate::kernel::{Attributes, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crate::objects::Objects;

/// What the tables below a root cover, as powers of two, the largest first: the same on all architectures of 64 bits, for guests and threads alike.
const LEVELS: [u8; 3] = [39, 30, 21];

/// The translation tables of an address space that were made here.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Tables<const TABLES: usize> {
    space: Space,
    made: Vec<Made, TABLES>,
}

/// A table that was made.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Made {
    /// What it covers.
    range: GuestRange,
    slot: CPtr,
}

impl<const TABLES: usize> Tables<TABLES> {
    pub(super) const fn new(space: Space) -> Self {
        Self { space, made: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    /// Maps a frame, and makes the tables that it takes. Those stay where it fails: [`Tables::truncate`].
    pub(super) fn map(
        &mut self,
        kernel: &impl Kernel,
        objects: &mut impl Objects,
        frame: CPtr,
        at: u64,
        rights: CapRights,
    ) -> Result<(), SpaceError> {
        for _ in LEVELS {
            match kernel.map_frame(frame, self.space, at, rights, Attributes::Memory) {
                Err(error @ KernelError { code: Code::FailedLookup, .. }) => self.make_missing(kernel, objects, error, at)?,
                result => return Ok(result?),
            }
        }
        Ok(kernel.map_frame(frame, self.space, at, rights, Attributes::Memory)?)
    }

    /// Makes the table whose lack the kernel reports with `error`.
    fn make_missing(&mut self, kernel: &impl Kernel, objects: &mut impl Objects, error: KernelError, at: u64) -> Result<(), SpaceError> {
        match (error.missing_table, self.space) {
            (Some(bits), _) if LEVELS.contains(&bits) => return self.make(kernel, objects, bits, at),
            // seL4 5.0.0 tells a number that is no table's: so it is the largest of those that are not there.
            (_, Space::Ept(_)) => {}
            // A table for smaller frames is there already (Arm).
            (_, Space::Virtual(_)) => return Err(error.into()),
        }
        for bits in LEVELS {
            let range = covered(bits, at).ok_or(SpaceError::WrongSize)?;
            if self.made.iter().any(|made| made.range == range) {
                continue;
            }
            match self.make(kernel, objects, bits, at) {
                Err(SpaceError::Kernel(KernelError { code: Code::DeleteFirst, .. })) => {}
                result => return result,
            }
        }
        Ok(())
    }

    fn make(&mut self, kernel: &impl Kernel, objects: &mut impl Objects, bits: u8, at: u64) -> Result<(), SpaceError> {
        let range = covered(bits, at).ok_or(SpaceError::WrongSize)?;
        if self.made.is_full() {
            return Err(SpaceError::Full(Table::Translation));
        }
        let object = match self.space {
            Space::Virtual(_) => Object::Table(bits),
            Space::Ept(_) => Object::EptTable(bits),
        };
        let slot = objects.allocate_slots(1)?;
        if let Err(error) = objects.create(object, slot) {
            objects.release_slots(slot, 1);
            return Err(error.into());
        }
        if let Err(error) = kernel.map_table(slot, bits, self.space, range.start().get()) {
            objects.destroy(slot);
            objects.release_slots(slot, 1);
            return Err(error.into());
        }
        // There is a place: see above.
        let _ = self.made.push(Made { range, slot });
        Ok(())
    }

    /// Gives back the tables behind the first `count`, the last first. Nothing may be mapped by them.
    pub(super) fn truncate(&mut self, objects: &mut impl Objects, count: usize) {
        while self.made.len() > count {
            if let Some(made) = self.made.pop() {
                give_back(objects, made);
            }
        }
    }

    /// Gives back the tables around `range` for which `needed` says that nothing in what they cover is mapped.
    pub(super) fn give_back(&mut self, objects: &mut impl Objects, range: GuestRange, needed: impl Fn(GuestRange) -> bool) {
        let unneeded = |made: &[Made], table: &Made| {
            let within = |other: &Made| other.range != table.range && table.range.covers(other.range);
            table.range.overlaps(range) && !needed(table.range) && !made.iter().any(within)
        };
        // A table within another goes first.
        while let Some(index) = self.made.iter().position(|table| unneeded(&self.made, table)) {
            give_back(objects, self.made.swap_remove(index));
        }
    }
}

/// What a table of 2^`bits` bytes covers around `at`.
fn covered(bits: u8, at: u64) -> Option<GuestRange> {
    let bytes = 1u64.wrapping_shl(bits.into());
    GuestRange::new(GuestAddr::new(at & !bytes.wrapping_sub(1)), bytes)
}

/// The kernel takes a table out of its address space when its last capability goes.
fn give_back(objects: &mut impl Objects, made: Made) {
    objects.destroy(made.slot);
    objects.release_slots(made.slot, 1);
}
