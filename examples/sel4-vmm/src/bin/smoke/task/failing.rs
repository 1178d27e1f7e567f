//! The kernel and the allocator, with one call that fails.

use core::cell::{Cell, RefCell};

use crossvm_sel4::Objects;
use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Code, Kernel, KernelError, Message, Object, Received, Space};
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::objects::ObjectError;

/// Counts calls that may fail, and lets one of them fail.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The call that fails.
    fails: Cell<Option<u32>>,
    calls: Cell<u32>,
}

impl Gate {
    /// From now on, the call with this number fails, counted from 0 on.
    pub(crate) fn fail_at(&self, call: u32) {
        self.calls.set(0);
        self.fails.set(Some(call));
    }

    /// No call fails.
    pub(crate) fn open(&self) {
        self.fails.set(None);
    }

    /// Calls since [`Gate::fail_at`] and before [`Gate::open`].
    pub(crate) fn calls(&self) -> u32 {
        self.calls.get()
    }

    fn pass(&self) -> bool {
        let Some(fails) = self.fails.get() else { return true };
        let call = self.calls.get();
        self.calls.set(call.saturating_add(1));
        call != fails
    }

    fn kernel(&self) -> Result<(), KernelError> {
        if self.pass() { Ok(()) } else { Err(Code::NotEnoughMemory.into()) }
    }
}

/// The kernel behind a gate. Calls that undo something never fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing<'a> {
    kernel: Libsel4,
    gate: &'a Gate,
}

impl<'a> Failing<'a> {
    /// The kernel behind `gate`.
    pub(crate) const fn new(kernel: Libsel4, gate: &'a Gate) -> Self {
        Self { kernel, gate }
    }

    /// An allocator behind the same gate.
    pub(crate) const fn objects<O>(self, objects: &'a RefCell<O>) -> FailingObjects<'a, O> {
        FailingObjects { objects, gate: self.gate }
    }
}

impl Kernel for Failing<'_> {
    fn signal(&self, notification: CPtr) {
        self.kernel.signal(notification);
    }

    fn wait(&self, notification: CPtr) -> Badge {
        self.kernel.wait(notification)
    }

    fn poll(&self, notification: CPtr) -> Badge {
        self.kernel.poll(notification)
    }

    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.copy(from, to, rights)
    }

    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.mint(from, to, rights, badge)
    }

    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        self.kernel.delete(slot)
    }

    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        self.kernel.revoke(slot)
    }

    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.retype(untyped, object, to)
    }

    fn object_bits(&self, object: Object) -> u8 {
        self.kernel.object_bits(object)
    }

    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.map_frame(frame, space, at, rights, attributes)
    }

    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        self.kernel.unmap_frame(frame)
    }

    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        self.gate.kernel()?;
        self.kernel.frame_address(frame)
    }

    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.map_table(table, bits, space, at)
    }

    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        self.kernel.unmap_table(table, bits, space)
    }

    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        self.gate.kernel()?;
        self.kernel.assign_asid(pool, root)
    }

    fn receive(&self, endpoint: CPtr) -> Received {
        self.kernel.receive(endpoint)
    }

    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        self.kernel.try_receive(endpoint)
    }

    fn reply(&self, answer: &Message) {
        self.kernel.reply(answer);
    }
}

/// An allocator behind a gate: slots may be exhausted. That memory may be, its kernel sees to.
#[derive(Debug)]
pub(crate) struct FailingObjects<'a, O> {
    objects: &'a RefCell<O>,
    gate: &'a Gate,
}

impl<O: Objects> Objects for FailingObjects<'_, O> {
    fn allocate_slots(&mut self, count: usize) -> Result<CPtr, ObjectError> {
        if self.gate.pass() { self.objects.allocate_slots(count) } else { Err(ObjectError::NoSlots { count }) }
    }

    fn release_slots(&mut self, first: CPtr, count: usize) {
        self.objects.release_slots(first, count);
    }

    fn create(&mut self, object: Object, slot: CPtr) -> Result<(), ObjectError> {
        self.objects.create(object, slot)
    }

    fn destroy(&mut self, slot: CPtr) {
        self.objects.destroy(slot);
    }
}
