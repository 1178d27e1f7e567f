//! Components: threads with an address space and a CSpace of their own.

use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Kernel, Object, Space, ThreadSpaces, Threads};
use crossvm_sel4::libsel4::slots;

use super::{Failure, Program, Segment, SpaceMap, System};

/// A component's CNode has 2^this slots.
const CNODE_BITS: u8 = 6;
/// Bits of a capability address that the CNode does not decode.
const GUARD_BITS: u8 = 64 - CNODE_BITS;
const PAGE: u64 = 4096;

/// A capability for a component.
#[derive(Debug, Clone, Copy)]
pub struct Wiring {
    /// What it is a copy of.
    pub from: CPtr,
    /// The slot in the component's CSpace.
    pub slot: u64,
    /// Its rights.
    pub rights: CapRights,
    /// Its badge, if it is one of a notification.
    pub badge: Badge,
}

/// A component, stopped at first.
#[derive(Debug)]
pub struct Component<'a> {
    system: System<'a>,
    tcb: CPtr,
    cnode: CPtr,
    space: SpaceMap<'a>,
    entry: u64,
}

impl<'a> Component<'a> {
    /// Loads a program into an address space of its own. `own` is that of the root task, in which the program's memory is filled.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn load(system: System<'a>, own: &mut SpaceMap<'a>, program: &Program<'_>) -> Result<Self, Failure> {
        let root = system.create(Object::VSpace)?;
        system.kernel.assign_asid(slots::ASID_POOL, root)?;
        let mut space = SpaceMap::new(system, Space::Virtual(root));
        for segment in program.segments() {
            load(system, own, &mut space, segment)?;
        }
        let (cnode, tcb) = (system.create(Object::CNode(CNODE_BITS))?, system.create(Object::Tcb)?);
        let spaces = ThreadSpaces { cspace: cnode, guard_bits: GUARD_BITS, vspace: root, fault_endpoint: CPtr::NULL, ipc_buffer: None };
        system.kernel.configure(tcb, spaces)?;
        Ok(Self { system, tcb, cnode, space, entry: program.entry() })
    }

    /// Gives it a capability.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn give(&self, Wiring { from, slot, rights, badge }: Wiring) -> Result<(), Failure> {
        Ok(self.system.kernel.mint_into(from, self.cnode, CNODE_BITS, slot, rights, badge)?)
    }

    /// Maps a copy of a small frame into its address space.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn share(&mut self, frame: CPtr, at: u64, rights: CapRights) -> Result<(), Failure> {
        let copy = self.system.copy(frame, rights)?;
        self.space.map(copy, at, rights, Attributes::Memory)
    }

    /// Lets it run, with this in its register of the first argument.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(&self, priority: u8, argument: u64) -> Result<(), Failure> {
        // In the order of seL4_UserContext: rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi.
        let registers = [self.entry, 0, 0, 0, 0, 0, 0, 0, argument];
        self.system.kernel.write_registers(self.tcb, &registers)?;
        self.system.kernel.set_priority(self.tcb, slots::TCB, priority)?;
        Ok(self.system.kernel.resume(self.tcb)?)
    }
}

/// Loads a segment page by page.
fn load<'a>(system: System<'a>, own: &mut SpaceMap<'a>, space: &mut SpaceMap<'a>, segment: Segment<'_>) -> Result<(), Failure> {
    if !segment.address.is_multiple_of(PAGE) {
        return Err(Failure::Shape("a program whose segments do not start at pages"));
    }
    let attributes = if segment.executable { Attributes::Code } else { Attributes::Memory };
    let rights = if segment.writable { CapRights::READ_WRITE } else { CapRights::READ };
    let mut data = segment.data.chunks(4096);
    for page in 0..segment.length.div_ceil(PAGE) {
        let frame = system.create(Object::SmallFrame)?;
        if let Some(data) = data.next()
            && !own.view(frame, 12)?.write(0, data)
        {
            return Err(Failure::Shape("a program whose pages are larger than pages"));
        }
        space.map(frame, segment.address.saturating_add(page.saturating_mul(PAGE)), rights, attributes)?;
    }
    Ok(())
}
