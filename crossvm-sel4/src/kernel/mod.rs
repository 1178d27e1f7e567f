//! The system calls of seL4 that connections take, as traits.
//!
//! An implementation is a handle: a value that costs nothing, or a reference to a simulated kernel. All capability addresses are those of
//! the calling thread's own capability space (CSpace), at its full depth.
//!
//! | trait | who needs it |
//! | --- | --- |
//! | [`Kernel`] | everyone: notifications, capabilities, frames, messages |
//! | [`Threads`] | a VMM that starts threads: guests without a vCPU, components |
//! | [`ArmVcpus`] | guests of the Arm hypervisor configuration |
//! | [`X86Vcpus`] | guests of the VT-x configuration |

mod error;
mod message;
mod object;
mod thread;
mod vcpu;

pub use error::{Code, KernelError};
pub use message::{Label, MESSAGE_WORDS, Message, Received};
pub use object::{Attributes, Badge, CPtr, CapRights, Object, Space};
pub use thread::{ThreadSpaces, Threads};
pub use vcpu::{ArmVcpus, Entered, VcpuRegister, VirtualInterrupt, X86Vcpus};

/// The system calls that every part takes.
///
/// # Contract
///
/// 1. `signal` never blocks. Badges of signals that nobody has taken yet are OR-ed; `wait` and `poll` give the OR and leave nothing behind.
/// 2. `poll` gives badge 0 where nothing waits; a signal through a capability without badge cannot be told from that.
/// 3. A call fails with the code that seL4 gives, and changes nothing then.
/// 4. A capability that lacks a right does what seL4 lets it do: `signal` without write right has no effect; `wait`, `poll` and `receive` without
///    read right are a fault of the caller; a frame is mapped with the rights that capability and call have in common.
/// 5. A frame capability maps its frame once; a copy of it maps the frame once more. Unmap before deleting: seL4 5.0.0 on x86-64 leaves what a
///    copy has mapped in place when the copy is deleted.
pub trait Kernel {
    /// Signals a notification (`seL4_Signal`).
    fn signal(&self, notification: CPtr);

    /// Waits until a notification is signalled, and takes its badge (`seL4_Wait`).
    fn wait(&self, notification: CPtr) -> Badge;

    /// Takes the badge of a notification, 0 where it is not signalled (`seL4_Poll`).
    fn poll(&self, notification: CPtr) -> Badge;

    /// Copies a capability with no more than these rights (`seL4_CNode_Copy`). Those of a translation table of 2^39 must not be copied: seL4 5.0.0 stops
    /// for good.
    ///
    /// # Errors
    /// [`Code::DeleteFirst`] where `to` is not empty, [`Code::FailedLookup`] where `from` is.
    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError>;

    /// Copies a capability of an endpoint or a notification, with a badge (`seL4_CNode_Mint`).
    ///
    /// # Errors
    /// As [`copy`](Self::copy); [`Code::IllegalOperation`] for what has a badge already, or cannot have one.
    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError>;

    /// How many bits of a badge reach the capability; the kernel drops the others without a word. seL4 5.0.0 keeps 28.
    fn badge_bits(&self) -> u8 {
        64
    }

    /// Empties a slot (`seL4_CNode_Delete`). The object goes with its last capability. An empty slot stays empty.
    ///
    /// # Errors
    /// [`Code::FailedLookup`] where there is no such slot.
    fn delete(&self, slot: CPtr) -> Result<(), KernelError>;

    /// Deletes all capabilities made from the one in `slot` (`seL4_CNode_Revoke`).
    ///
    /// # Errors
    /// [`Code::FailedLookup`] where there is no such slot.
    fn revoke(&self, slot: CPtr) -> Result<(), KernelError>;

    /// Makes one object in the memory of an untyped capability, and puts its capability into the empty slot `to` (`seL4_Untyped_Retype`).
    ///
    /// # Errors
    /// [`Code::NotEnoughMemory`] where the untyped memory is used up, [`Code::DeleteFirst`] where `to` is not empty.
    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError>;

    /// Size of an object in bytes, as a power of two: what [`retype`](Self::retype) takes from untyped memory.
    fn object_bits(&self, object: Object) -> u8;

    /// Maps a frame (`seL4_ARM_Page_Map`, `seL4_X86_Page_Map`, `seL4_X86_Page_MapEPT`).
    ///
    /// # Errors
    /// [`Code::FailedLookup`] where a translation table is missing: [`KernelError::missing_table`] says of which size; seL4 5.0.0 says 2^22 for
    /// guest-physical memory, whatever is missing. [`Code::DeleteFirst`] where there is a table for smaller frames at `at` (Arm:
    /// [`Code::FailedLookup`] with the smaller size), on 5.0.0 and in guest-physical memory also where there is a frame: **today's kernels replace
    /// a frame in a thread's space**. [`Code::InvalidCapability`] or [`Code::InvalidArgument`] where the capability has mapped its
    /// frame elsewhere, [`Code::AlignmentError`], [`Code::InvalidArgument`] outside of what can be mapped.
    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError>;

    /// Unmaps a frame from where this capability has mapped it. Where it has not, nothing is to be done, and today's kernels say that all is well.
    ///
    /// # Errors
    /// [`Code::IllegalOperation`] for what is no frame, and from seL4 5.0.0 for a frame that is not mapped: it leaves that call without an answer.
    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError>;

    /// Physical address of a frame.
    ///
    /// # Errors
    /// [`Code::IllegalOperation`] for what is no frame.
    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError>;

    /// Maps a translation table that covers 2^`bits` bytes around `at`.
    ///
    /// # Errors
    /// As [`map_frame`](Self::map_frame).
    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError>;

    /// Unmaps a translation table that covers 2^`bits` bytes.
    ///
    /// # Errors
    /// [`Code::InvalidCapability`] for what is no table of a space of that kind.
    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError>;

    /// Gives the root of a new address space an identifier from a pool (`seL4_ARM_ASIDPool_Assign`, `seL4_X86_ASIDPool_Assign`): until then nothing
    /// can be mapped, nor can the capability be copied.
    ///
    /// # Errors
    /// [`Code::InvalidCapability`] for what is no root, or has an identifier.
    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError>;

    /// Waits for a message: a fault of a thread, or a signal of the notification that is bound to the caller (`seL4_Recv`).
    fn receive(&self, endpoint: CPtr) -> Received;

    /// Takes a message that waits already (`seL4_NBRecv`).
    fn try_receive(&self, endpoint: CPtr) -> Option<Received>;

    /// Answers the message received last (`seL4_Reply`). An answer to a fault lets the thread go on; what the answer means depends on the fault.
    fn reply(&self, answer: &Message);
}

impl<K: Kernel + ?Sized> Kernel for &K {
    fn signal(&self, notification: CPtr) {
        K::signal(self, notification);
    }

    fn wait(&self, notification: CPtr) -> Badge {
        K::wait(self, notification)
    }

    fn poll(&self, notification: CPtr) -> Badge {
        K::poll(self, notification)
    }

    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        K::copy(self, from, to, rights)
    }

    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        K::mint(self, from, to, rights, badge)
    }

    fn badge_bits(&self) -> u8 {
        K::badge_bits(self)
    }

    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        K::delete(self, slot)
    }

    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        K::revoke(self, slot)
    }

    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        K::retype(self, untyped, object, to)
    }

    fn object_bits(&self, object: Object) -> u8 {
        K::object_bits(self, object)
    }

    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError> {
        K::map_frame(self, frame, space, at, rights, attributes)
    }

    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        K::unmap_frame(self, frame)
    }

    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        K::frame_address(self, frame)
    }

    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        K::map_table(self, table, bits, space, at)
    }

    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        K::unmap_table(self, table, bits, space)
    }

    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        K::assign_asid(self, pool, root)
    }

    fn receive(&self, endpoint: CPtr) -> Received {
        K::receive(self, endpoint)
    }

    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        K::try_receive(self, endpoint)
    }

    fn reply(&self, answer: &Message) {
        K::reply(self, answer);
    }
}
