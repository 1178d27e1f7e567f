//! Memory by its physical address.
//!
//! What a kernel does not know as its own memory, it gives to the root task as untyped memory of devices: registers, and the RAM behind its
//! own. Images, guests and dataports are in that RAM. The root task maps all of it that it uses where it is, so that a physical address is
//! an address of the root task.
//!
//! The kernel makes objects in untyped memory one behind the other: so frames are made in the order of their addresses.

extern crate alloc;

use alloc::vec::Vec;

use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Kernel, Object};
use crossvm_sel4::libsel4::{Libsel4, UntypedMemory, slots};
use crossvm_sel4::objects::Objects;
use crossvm_sel4::{Frame, FrameKind};
use vmm_common::host::HostRange;

use super::Failure;
use super::map::{Objectry, map};

/// Frames for a range of physical addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) range: HostRange,
    pub(super) kind: FrameKind,
    /// The first capability: the others stand behind it. They map the frames for the root task.
    pub(super) first: CPtr,
    pub(super) count: u64,
}

impl Run {
    /// Each capability, and the address of its frame.
    pub(super) fn frames(self) -> impl Iterator<Item = (CPtr, u64)> {
        let bytes = self.kind.size().bytes();
        (0..self.count).map(move |index| (self.first.offset(index), self.range.start().get() + index * bytes))
    }

    /// The frames as a dataport has them.
    pub(super) fn dataport_frames(self) -> Vec<Frame> {
        self.frames().map(|(frame, _)| Frame::new(frame, self.kind)).collect()
    }
}

/// Untyped memory, and how much of it is used.
#[derive(Debug)]
struct Source {
    untyped: UntypedMemory,
    next: u64,
}

impl Source {
    fn end(&self) -> u64 {
        self.untyped.address.saturating_add(1 << self.untyped.bits)
    }
}

/// The memory that the kernel has no use for.
#[derive(Debug)]
pub(super) struct Memory {
    kernel: Libsel4,
    objects: Objectry,
    sources: Vec<Source>,
    runs: Vec<Run>,
}

impl Memory {
    pub(super) fn new(kernel: Libsel4, objects: Objectry, untyped: impl Iterator<Item = UntypedMemory>) -> Self {
        let sources = untyped.filter(|untyped| untyped.device).map(|untyped| Source { untyped, next: untyped.address });
        Self { kernel, objects, sources: sources.collect(), runs: Vec::new() }
    }

    /// Makes frames for these ranges, and maps them for the root task: registers of devices.
    pub(super) fn take_registers(&mut self, ranges: &[HostRange]) -> Result<(), Failure> {
        self.take(ranges, Attributes::Device)
    }

    /// Makes frames for these ranges, and maps them for the root task: memory.
    pub(super) fn take_memory(&mut self, ranges: &[HostRange]) -> Result<(), Failure> {
        self.take(ranges, Attributes::Memory)
    }

    fn take(&mut self, ranges: &[HostRange], attributes: Attributes) -> Result<(), Failure> {
        let mut ranges: Vec<HostRange> = ranges.to_vec();
        ranges.sort_by_key(|range| range.start());
        for range in ranges {
            let large = FrameKind::Large.size().bytes();
            let whole = range.start().get().is_multiple_of(large) && range.size().is_multiple_of(large);
            let kind = if whole { FrameKind::Large } else { FrameKind::Small };
            let bytes = kind.size().bytes();
            let count = range.size().div_ceil(bytes);
            let slots = usize::try_from(count).unwrap_or(usize::MAX);
            let first = self.objects.allocate_slots(slots).map_err(Failure::objects("slots for frames"))?;
            let run = Run { range, kind, first, count };
            for (slot, address) in run.frames() {
                self.make(address, kind, slot)?;
                map(self.kernel, self.objects, slot, slots::VSPACE, address, CapRights::READ_WRITE, attributes)
                    .map_err(|error| Failure::Space("the root task's own map", error))?;
            }
            self.runs.push(run);
        }
        Ok(())
    }

    /// The frames of a range that was taken.
    pub(super) fn run(&self, range: HostRange) -> Result<Run, Failure> {
        self.runs.iter().find(|run| run.range.covers(range)).copied().ok_or(Failure::NoUntyped(range.start().get()))
    }

    /// Frames and addresses within a range that was taken.
    pub(super) fn frames_in(&self, range: HostRange) -> impl Iterator<Item = (CPtr, u64, FrameKind)> {
        let run = self.runs.iter().find(|run| run.range.covers(range));
        run.into_iter().flat_map(move |run| {
            let bytes = run.kind.size().bytes();
            let touched = move |address: u64| address <= range.last().get() && range.start().get() < address + bytes;
            run.frames().filter(move |(_, address)| touched(*address)).map(|(frame, address)| (frame, address, run.kind))
        })
    }

    /// Makes the frame at `address`.
    fn make(&mut self, address: u64, kind: FrameKind, slot: CPtr) -> Result<(), Failure> {
        let bytes = kind.size().bytes();
        let fits = |source: &&mut Source| source.next <= address && address + bytes <= source.end();
        let source = self.sources.iter_mut().find(fits).ok_or(Failure::NoUntyped(address))?;
        // What lies in between is filled with memory that nobody uses.
        while source.next < address {
            let gap = address - source.next;
            let bits = source.next.trailing_zeros().min(63 - gap.leading_zeros());
            let filler = self.objects.allocate_slots(1).map_err(Failure::objects("slots for frames"))?;
            let size = u8::try_from(bits).unwrap_or(0);
            self.kernel.retype(source.untyped.slot, Object::Untyped(size), filler).map_err(Failure::kernel("memory between frames"))?;
            source.next += 1 << bits;
        }
        self.kernel.retype(source.untyped.slot, kind.object(), slot).map_err(Failure::kernel("a frame"))?;
        source.next = address + bytes;
        Ok(())
    }
}
