//! Address spaces: translation tables in physical memory, as the hardware walks them.

use std::collections::BTreeMap;

use super::arch::Arch;
use super::cap::{Mapped, VmRights};

/// What an entry of a translation table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Table(u64),
    Frame(Leaf),
}

/// A mapped frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) base: u64,
    pub(super) bits: u8,
    pub(super) rights: VmRights,
}

/// An entry: its table's address, and its index there.
pub(super) type Place = (u64, u64);

/// Why a load or store does not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceFault {
    /// Nothing is mapped at this address, or nothing that may be loaded.
    NotMapped(u64),
    /// A store to this address, where what is mapped is read-only.
    ReadOnly(u64),
}

/// All translation tables, and the roots by their identifier.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    tables: BTreeMap<u64, BTreeMap<u64, Entry>>,
    roots: BTreeMap<u16, (u64, bool)>,
}

impl Spaces {
    /// Gives the root the first free identifier, from 1 on.
    pub(super) fn assign(&mut self, root: u64, ept: bool) -> Option<u16> {
        let asid = (1..512).find(|asid| !self.roots.contains_key(asid))?;
        self.roots.insert(asid, (root, ept));
        Some(asid)
    }

    pub(super) fn release(&mut self, asid: u16) {
        self.roots.remove(&asid);
    }

    /// The root with this identifier, if it is of this kind.
    pub(super) fn root(&self, asid: u16, ept: bool) -> Option<u64> {
        self.roots.get(&asid).filter(|(_, kind)| *kind == ept).map(|(root, _)| *root)
    }

    /// Empties a table, or a root.
    pub(super) fn clear(&mut self, table: u64) {
        self.tables.remove(&table);
    }

    pub(super) fn entry(&self, (table, index): Place) -> Option<Entry> {
        self.tables.get(&table)?.get(&index).copied()
    }

    pub(super) fn set(&mut self, (table, index): Place, entry: Entry) {
        self.tables.entry(table).or_default().insert(index, entry);
    }

    fn unset(&mut self, (table, index): Place) {
        if let Some(entries) = self.tables.get_mut(&table) {
            entries.remove(&index);
        }
    }

    /// Walks to the entry that covers 2^`bits` bytes around `at`, or to the last one on the way there: the entry, and what it covers.
    pub(super) fn walk(&self, root: u64, at: u64, bits: u8) -> (Place, u8) {
        let mut table = root;
        let mut covers = Arch::ROOT;
        loop {
            let place = (table, at >> covers & ((1 << Arch::INDEX_BITS) - 1));
            match self.entry(place) {
                Some(Entry::Table(next)) if covers > bits => (table, covers) = (next, covers - Arch::INDEX_BITS),
                _ => return (place, covers),
            }
        }
    }

    /// Removes what a capability has mapped, if it is still there: the entry may have gone with its table, or belong to something else by now.
    pub(super) fn unmap(&mut self, mapped: Mapped, bits: u8, base: u64, table: bool) {
        let Some(root) = self.root(mapped.asid, mapped.ept) else { return };
        let (place, covers) = self.walk(root, mapped.at, bits);
        let mine = match self.entry(place) {
            Some(Entry::Table(found)) => table && found == base,
            Some(Entry::Frame(leaf)) => !table && leaf.base == base && leaf.bits == bits,
            None => false,
        };
        if covers == bits && mine {
            self.unset(place);
        }
    }

    /// Everything that is mapped below `root`: address and frame, lowest first.
    pub(super) fn leaves(&self, root: u64) -> Vec<(u64, Leaf)> {
        let mut found = Vec::new();
        let mut pending = vec![(root, 0, Arch::ROOT)];
        while let Some((table, start, covers)) = pending.pop() {
            for (index, entry) in self.tables.get(&table).into_iter().flatten() {
                let at = start + (index << covers);
                match entry {
                    Entry::Frame(leaf) => found.push((at, *leaf)),
                    Entry::Table(next) => pending.push((*next, at, covers - Arch::INDEX_BITS)),
                }
            }
        }
        found.sort_by_key(|(at, _)| *at);
        found
    }

    /// Physical address of a byte, as a program or guest loads or stores it.
    pub(super) fn translate(&self, root: u64, ept: bool, at: u64, store: bool) -> Result<u64, SpaceFault> {
        let (place, covers) = self.walk(root, at, Arch::SMALL);
        let Some(Entry::Frame(leaf)) = self.entry(place) else { return Err(SpaceFault::NotMapped(at)) };
        let physical = leaf.base + (at & ((1 << covers) - 1));
        match leaf.rights {
            VmRights::ReadWrite => Ok(physical),
            // The kernel has no guest-physical memory that is there for itself alone: it gives the guest everything.
            VmRights::KernelOnly if ept => Ok(physical),
            VmRights::KernelOnly => Err(SpaceFault::NotMapped(at)),
            VmRights::Read if store => Err(SpaceFault::ReadOnly(at)),
            VmRights::Read => Ok(physical),
        }
    }
}
