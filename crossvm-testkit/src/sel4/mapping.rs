//! Mapping of frames and translation tables.

use crossvm_sel4::kernel::{CPtr, CapRights, Code, KernelError, Space};

use super::arch::Arch;
use super::cap::{Cap, Kind, Mapped};
use super::spaces::{Entry, Leaf, Place};
use super::state::{Invoked, State};
use super::tree::SlotId;

/// A root that can be mapped into.
struct Root {
    base: u64,
    asid: u16,
    ept: bool,
}

impl State {
    fn root(&self, space: Space) -> Result<Root, KernelError> {
        let wanted = matches!(space, Space::Ept(_));
        match self.argument(space.root()) {
            Some(Cap { kind: Kind::Root { ept, asid: Some(asid) }, base, .. }) if ept == wanted => Ok(Root { base, asid, ept }),
            _ => Err(Code::InvalidCapability.into()),
        }
    }

    /// Fails where the architecture has no such space: its calls do not exist.
    fn check_kind(&self, space: Space) -> Result<(), KernelError> {
        if matches!(space, Space::Ept(_)) && !self.arch.is_x86() { Err(Code::InvalidArgument.into()) } else { Ok(()) }
    }

    /// The entry that covers 2^`bits` bytes around `at`.
    fn place(&self, root: &Root, at: u64, bits: u8) -> Result<Place, KernelError> {
        // On Arm a table where the frame would be leads the walk on, to what is too small.
        let (place, covers) = self.spaces.walk(root.base, at, if self.arch.is_x86() { bits } else { Arch::SMALL });
        if covers == bits {
            return Ok(place);
        }
        // For guest-physical memory 5.0.0 gives one size whatever is missing.
        let size = if root.ept && self.arch.is_5_0_0() { 22 } else { covers };
        Err(KernelError { code: Code::FailedLookup, missing_table: Some(size) })
    }

    pub(super) fn map_frame(&mut self, frame: CPtr, space: Space, at: u64, rights: CapRights) -> Result<(), KernelError> {
        self.check_kind(space)?;
        let Invoked::Cap(slot, cap) = self.invoke(frame, |kind| matches!(kind, Kind::Frame { .. }))? else { return Ok(()) };
        let Kind::Frame { rights: mine, mapped } = cap.kind else { return Err(Code::IllegalOperation.into()) };
        let ept = matches!(space, Space::Ept(_));
        let at = if ept { at & !((1 << Arch::SMALL) - 1) } else { at };
        let bytes = 1 << cap.bits;
        // Today's kernels let the same capability map its frame again where it is; 5.0.0 and guest-physical memory do not.
        let again = !ept && !self.arch.is_5_0_0();
        if mapped.is_some() && !again {
            return Err(Code::InvalidCapability.into());
        }
        let root = self.root(space)?;
        if self.arch == Arch::Aarch64 && at % bytes != 0 {
            return Err(Code::AlignmentError.into());
        }
        match mapped {
            Some(mapped) if mapped.asid != root.asid => return Err(Code::InvalidCapability.into()),
            Some(mapped) if mapped.ept => return Err(Code::IllegalOperation.into()),
            Some(mapped) if mapped.at != at => return Err(Code::InvalidArgument.into()),
            Some(_) => {}
            None if !ept && at.checked_add(bytes - 1).is_none_or(|last| last >= self.arch.user_top()) => {
                return Err(Code::InvalidArgument.into());
            }
            None => {}
        }
        if at % bytes != 0 {
            return Err(Code::AlignmentError.into());
        }
        if ept && cap.bits > 21 {
            return Err(Code::InvalidCapability.into());
        }
        let place = self.free_place(&root, at, &cap)?;
        self.spaces.set(place, Entry::Frame(Leaf { base: cap.base, bits: cap.bits, rights: mine.masked(rights) }));
        self.set_frame_mapped(slot, Some(Mapped { asid: root.asid, ept, at }));
        Ok(())
    }

    /// The entry for a frame, unless there is something that the kernel does not replace.
    fn free_place(&self, root: &Root, at: u64, cap: &Cap) -> Result<Place, KernelError> {
        let place = self.place(root, at, cap.bits)?;
        match self.spaces.entry(place) {
            Some(Entry::Table(_)) => Err(Code::DeleteFirst.into()),
            Some(Entry::Frame(_)) if root.ept || self.arch.is_5_0_0() => Err(Code::DeleteFirst.into()),
            _ => Ok(place),
        }
    }

    fn set_frame_mapped(&mut self, slot: SlotId, to: Option<Mapped>) {
        if let Some(Cap { kind: Kind::Frame { mapped, .. }, .. }) = self.tree.get_mut(slot) {
            *mapped = to;
        }
    }

    pub(super) fn unmap_frame(&mut self, frame: CPtr) -> Result<(), KernelError> {
        let Invoked::Cap(slot, cap) = self.invoke(frame, |kind| matches!(kind, Kind::Frame { .. }))? else { return Ok(()) };
        match cap.kind {
            Kind::Frame { mapped: Some(mapped), .. } => {
                self.spaces.unmap(mapped, cap.bits, cap.base, false);
                self.set_frame_mapped(slot, None);
                Ok(())
            }
            // 5.0.0 leaves the call without an answer, so that the caller takes its own request for one.
            _ if self.arch.is_5_0_0() => Err(Code::IllegalOperation.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn frame_address(&mut self, frame: CPtr) -> Result<u64, KernelError> {
        match self.invoke(frame, |kind| matches!(kind, Kind::Frame { .. }))? {
            Invoked::Cap(_, cap) => Ok(cap.base),
            Invoked::Signalled => Ok(0),
        }
    }

    /// The table that a call invokes. On Arm all tables are of one type.
    fn invoke_table(&mut self, table: CPtr, bits: u8, space: Space) -> Result<Invoked, KernelError> {
        self.check_kind(space)?;
        if !matches!(bits, 21 | 30 | 39) {
            return Err(Code::InvalidArgument.into());
        }
        let wanted = matches!(space, Space::Ept(_));
        let any = !self.arch.is_x86();
        self.invoke(table, |kind| matches!(kind, Kind::Table { ept, covers, .. } if *ept == wanted && (any || *covers == bits)))
    }

    pub(super) fn map_table(&mut self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        let Invoked::Cap(slot, cap) = self.invoke_table(table, bits, space)? else { return Ok(()) };
        let Kind::Table { ept, mapped, .. } = cap.kind else { return Err(Code::IllegalOperation.into()) };
        if mapped.is_some() {
            return Err(Code::InvalidCapability.into());
        }
        let root = self.root(space)?;
        if !ept && at >= self.arch.user_top() {
            return Err(Code::InvalidArgument.into());
        }
        // Arm puts a table where the walk ends, of whichever size.
        let (place, covers) =
            if self.arch.is_x86() { (self.place(&root, at, bits)?, bits) } else { self.spaces.walk(root.base, at, Arch::SMALL) };
        if covers == Arch::SMALL || self.spaces.entry(place).is_some() {
            return Err(Code::DeleteFirst.into());
        }
        self.spaces.set(place, Entry::Table(cap.base));
        if let Some(Cap { kind: Kind::Table { mapped, covers: size, .. }, .. }) = self.tree.get_mut(slot) {
            *mapped = Some(Mapped { asid: root.asid, ept, at: at & !((1 << covers) - 1) });
            *size = covers;
        }
        Ok(())
    }

    pub(super) fn unmap_table(&mut self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        let Invoked::Cap(slot, cap) = self.invoke_table(table, bits, space)? else { return Ok(()) };
        if !self.tree.is_final(slot) {
            return Err(Code::RevokeFirst.into());
        }
        if let Some(Cap { kind: Kind::Table { mapped, covers, .. }, .. }) = self.tree.get_mut(slot)
            && let Some(was) = mapped.take()
        {
            let covers = *covers;
            self.spaces.unmap(was, covers, cap.base, true);
            self.spaces.clear(cap.base);
        }
        Ok(())
    }

    pub(super) fn assign_asid(&mut self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        let Invoked::Cap(..) = self.invoke(pool, |kind| matches!(kind, Kind::AsidPool))? else { return Ok(()) };
        let Some(Cap { kind: Kind::Root { ept, asid: None }, base, .. }) = self.argument(root) else {
            return Err(Code::InvalidCapability.into());
        };
        let assigned = self.spaces.assign(base, ept).ok_or(Code::DeleteFirst)?;
        if let Some(Cap { kind: Kind::Root { asid, .. }, .. }) = self.tree.get_mut(State::own(root)) {
            *asid = Some(assigned);
        }
        Ok(())
    }
}
