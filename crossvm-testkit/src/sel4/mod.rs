//! A simulated seL4: what a VMM asks of the kernel, with the answers that the kernel gives.
//!
//! ```text
//!   backend ──▶ SimKernel: Kernel + Threads + ArmVcpus + X86Vcpus
//!                 │  slots and the derivation tree ─ what is copied, revoked, whose last capability goes
//!                 │  untyped memory ──────────────── watermark, reset when nothing made from it is left
//!                 │  notifications, endpoints ────── badges that OR; messages that a test sends
//!                 │  translation tables ──────────── walked as the hardware does, for the VMM and its guests
//!                 │  vCPUs ───────────────────────── list registers, VM entries
//!   test    ──▶ what guests do: load, store, fault, acknowledge and end interrupts; how much is in use
//! ```
//!
//! The kernels differ: see [`Arch`]. One thread makes all calls. It has what a root task has: [`SimKernel::THREAD`], [`SimKernel::CSPACE`],
//! [`SimKernel::VSPACE`], [`SimKernel::ASID_POOL`], untyped memory from [`SimKernel::UNTYPED`] on, and empty slots from
//! [`SimKernel::first_free`] to [`SimKernel::slots`]. All of memory that was not written is 0, so that large frames cost nothing.
//!
//! ```
//! use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Kernel, Object, Space};
//! use crossvm_testkit::sel4::{Arch, SimKernel, SpaceFault};
//!
//! let kernel = SimKernel::new(Arch::X86_64, [20]);
//! let (frame, tables) = (kernel.first_free(), kernel.first_free().offset(1));
//! let space = Space::Virtual(SimKernel::VSPACE);
//! kernel.retype(SimKernel::UNTYPED, Object::SmallFrame, frame)?;
//! for (slot, bits) in [39, 30, 21].into_iter().enumerate() {
//!     let missing = kernel.map_frame(frame, space, 0x20_0000, CapRights::READ, Attributes::Memory).unwrap_err();
//!     assert_eq!(missing.missing_table, Some(bits));
//!     kernel.retype(SimKernel::UNTYPED, Object::Table(bits), tables.offset(slot as u64))?;
//!     kernel.map_table(tables.offset(slot as u64), bits, space, 0x20_0000)?;
//! }
//! kernel.map_frame(frame, space, 0x20_0000, CapRights::READ, Attributes::Memory)?;
//! assert_eq!(kernel.load(space, 0x20_0ffc, 4), Ok(vec![0; 4]));
//! assert_eq!(kernel.store(space, 0x20_0000, &[1]), Err(SpaceFault::ReadOnly(0x20_0000)));
//! # Ok::<(), crossvm_sel4::kernel::KernelError>(())
//! ```

mod account;
mod arch;
mod arm;
mod calls;
mod cap;
mod mapping;
mod memory;
mod messages;
mod spaces;
mod state;
mod thread;
mod tree;
mod vcpu;
mod window;
mod x86;

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use crossvm_sel4::kernel::{CPtr, Code, KernelError, Object, Space};

pub use account::{Account, Mapping};
pub use arch::Arch;
pub use memory::Words;
pub use messages::Answer;
pub use spaces::SpaceFault;
pub use vcpu::{LIST_REGISTERS, ListRegister};
pub use window::{SimWindow, SimWords};
pub use x86::Entry;

use crate::Faults;
use cap::{Cap, Kind};
use state::{SLOTS, State};
use thread::Thread;
use tree::{SlotId, Tree};
use x86::Guest;

/// The simulated kernel. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct SimKernel {
    state: Rc<RefCell<State>>,
    guest: Rc<RefCell<Guest>>,
    faults: Faults,
    untyped: u64,
}

impl SimKernel {
    /// The VMM's thread.
    pub const THREAD: CPtr = CPtr::new(1);
    /// The VMM's CSpace.
    pub const CSPACE: CPtr = CPtr::new(2);
    /// The VMM's address space. Nothing is mapped there, not even tables.
    pub const VSPACE: CPtr = CPtr::new(3);
    /// Identifiers for address spaces.
    pub const ASID_POOL: CPtr = CPtr::new(6);
    /// The first capability of untyped memory.
    pub const UNTYPED: CPtr = CPtr::new(16);

    /// A kernel whose VMM has untyped memory of 2^each of these sizes.
    ///
    /// # Panics
    /// Where a size is none of untyped memory, or there are more than the CSpace has slots.
    #[must_use]
    pub fn new(arch: Arch, untyped: impl IntoIterator<Item = u8>) -> Self {
        let mut tree = Tree::default();
        let kernel_memory = |page: u64| 0x10_0000 + (page << 12);
        let thread = kernel_memory(0);
        tree.insert_root(SlotId::Own(Self::THREAD.raw()), Cap::new(Object::Tcb, thread, arch));
        tree.insert_root(SlotId::Own(Self::CSPACE.raw()), Cap { base: kernel_memory(0x100), bits: 17, kind: Kind::CNode });
        let mut spaces = spaces::Spaces::default();
        let root = kernel_memory(1);
        let kind = Kind::Root { ept: false, asid: spaces.assign(root, false) };
        tree.insert_root(SlotId::Own(Self::VSPACE.raw()), Cap { kind, ..Cap::new(Object::VSpace, root, arch) });
        tree.insert_root(SlotId::Own(Self::ASID_POOL.raw()), Cap { base: kernel_memory(2), bits: 12, kind: Kind::AsidPool });
        let mut base: u64 = 1 << 32;
        let mut slot = Self::UNTYPED.raw();
        for bits in untyped {
            assert!((4..=47).contains(&bits) && slot < SLOTS, "untyped memory has 2^4 to 2^47 bytes, and a slot");
            base = base.next_multiple_of(1 << bits);
            tree.insert_root(SlotId::Own(slot), Cap::new(Object::Untyped(bits), base, arch));
            base += 1 << bits;
            slot += 1;
        }
        let state = State {
            arch,
            tree,
            memory: memory::Memory::default(),
            spaces,
            signals: BTreeMap::new(),
            messages: BTreeMap::new(),
            answers: Vec::new(),
            caller: None,
            threads: BTreeMap::from([(thread, Thread::new(arch))]),
            vcpus: BTreeMap::new(),
            own_thread: thread,
        };
        Self { state: Rc::new(RefCell::new(state)), guest: Rc::default(), faults: Faults::default(), untyped: slot - Self::UNTYPED.raw() }
    }

    /// The kernel that is simulated.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.state().arch
    }

    /// How many capabilities of untyped memory the VMM starts with.
    #[must_use]
    pub const fn untyped_count(&self) -> u64 {
        self.untyped
    }

    /// The first slot that is empty at the start; all behind it are, too.
    #[must_use]
    pub const fn first_free(&self) -> CPtr {
        Self::UNTYPED.offset(self.untyped)
    }

    /// The end of the slots.
    #[must_use]
    pub const fn slots(&self) -> CPtr {
        CPtr::new(SLOTS)
    }

    /// The plan of calls that fail: with [`Self::INJECTED`], and without any effect. Calls that take back (delete, revoke, unmap) never fail by plan.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// What a call fails with by plan: the kernel's own code for a message that its library never sends.
    pub const INJECTED: KernelError = KernelError::new(Code::TruncatedMessage);

    /// Loads `length` bytes in an address space: of the VMM, of a thread, of a guest.
    ///
    /// # Errors
    /// [`SpaceFault`] of the first byte that cannot be loaded.
    ///
    /// # Panics
    /// Where `space` is none.
    pub fn load(&self, space: Space, at: u64, length: u64) -> Result<Vec<u8>, SpaceFault> {
        let mut state = self.state_mut();
        (at..at + length).map(|at| state.translate(space, at, false).map(|physical| state.memory.load(physical))).collect()
    }

    /// Stores in an address space. Bytes in front of one that faults are stored.
    ///
    /// # Errors
    /// [`SpaceFault`] of the first byte that cannot be stored.
    ///
    /// # Panics
    /// Where `space` is none.
    pub fn store(&self, space: Space, at: u64, bytes: &[u8]) -> Result<(), SpaceFault> {
        let mut state = self.state_mut();
        for (at, byte) in (at..).zip(bytes) {
            let physical = state.translate(space, at, true)?;
            state.memory.store(physical, *byte);
        }
        Ok(())
    }

    /// The `count` words from `at` on in an address space, to load and store while they are mapped.
    ///
    /// # Errors
    /// [`SpaceFault`] where nothing is mapped there, or it is read-only.
    ///
    /// # Panics
    /// Where `space` is none, or the words do not lie in one piece of physical memory (64 KiB, aligned).
    pub fn words(&self, space: Space, at: u64, count: usize) -> Result<Words, SpaceFault> {
        let mut state = self.state_mut();
        let physical = state.translate(space, at, true)?;
        for offset in (0..4 * count as u64).step_by(4096) {
            let next = state.translate(space, at + offset, true)?;
            assert_eq!(next, physical + offset, "the words at {at:#x} lie in several pieces of memory");
        }
        Ok(state.memory.words(physical, count))
    }

    fn state(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    fn state_mut(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    fn guest_mut(&self) -> RefMut<'_, Guest> {
        self.guest.borrow_mut()
    }

    fn step(&self) -> Result<(), KernelError> {
        if self.faults.hit() { Err(Self::INJECTED) } else { Ok(()) }
    }
}

impl State {
    fn translate(&self, space: Space, at: u64, store: bool) -> Result<u64, SpaceFault> {
        let (base, ept) = self.root_of(space);
        self.spaces.translate(base, ept, at, store)
    }

    fn root_of(&self, space: Space) -> (u64, bool) {
        match self.argument(space.root()) {
            Some(Cap { kind: Kind::Root { ept, .. }, base, .. }) if ept == matches!(space, Space::Ept(_)) => (base, ept),
            other => panic!("{space:?} is no address space, but {other:?}"),
        }
    }
}
