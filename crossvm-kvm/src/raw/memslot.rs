//! Memory slots, which keep alive what they point to.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use crossvm_core::{GuestAddr, GuestRange, Rights};
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap};

use super::HostMapping;
use crate::error::{Call, CallError};

/// The memory of this process behind a slot.
#[derive(Debug)]
pub(crate) enum Backing {
    /// A mapping of the slot's own: a part of a dataport, an event page.
    Mapping(HostMapping),
    /// RAM of the guest.
    Ram(Arc<GuestRegionMmap>),
}

impl Backing {
    fn address(&self) -> *mut u8 {
        match self {
            Self::Mapping(mapping) => mapping.address(),
            Self::Ram(region) => region.as_ptr(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Mapping(mapping) => mapping.bytes() as u64,
            Self::Ram(region) => region.len(),
        }
    }
}

/// A memory slot of a VM. Deleted when it is dropped; where that fails, its memory stays as long as the process, and is nobody's: see [`Memslot::delete`].
pub(crate) struct Memslot {
    vm: Arc<VmFd>,
    number: u32,
    range: GuestRange,
    backing: ManuallyDrop<Backing>,
    gone: bool,
}

impl fmt::Debug for Memslot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memslot").field("number", &self.number).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Memslot {
    /// Makes the memory appear at `at`. No slot has this number yet.
    pub(crate) fn create(vm: &Arc<VmFd>, number: u32, at: GuestAddr, backing: Backing, rights: Rights) -> Result<Self, CallError> {
        let range = GuestRange::new(at, backing.bytes()).ok_or(CallError::new(Call::CreateSlot, rustix::io::Errno::INVAL))?;
        let flags = if rights == Rights::Read { KVM_MEM_READONLY } else { 0 };
        let region = kvm_userspace_memory_region {
            slot: number,
            flags,
            guest_phys_addr: at.get(),
            memory_size: backing.bytes(),
            userspace_addr: backing.address() as u64,
        };
        // SAFETY: the memory is shared by nature (Rust reaches it by atomics or through vm-memory alone), and this object owns it until KVM has
        // let go of it.
        unsafe { vm.set_user_memory_region(region) }.map_err(CallError::of_ioctl(Call::CreateSlot))?;
        Ok(Self { vm: Arc::clone(vm), number, range, backing: ManuallyDrop::new(backing), gone: false })
    }

    /// Its number.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Where the guest has it.
    pub(crate) const fn range(&self) -> GuestRange {
        self.range
    }

    /// Deletes the slot: no vCPU reaches the memory any more when this returns, whatever it returns. Where KVM refuses (it needs a little memory for
    /// this), other memory takes the place of a mapping's, so that the slot is there but leads nowhere; call again then.
    pub(crate) fn delete(&mut self) -> Result<(), CallError> {
        if self.gone {
            return Ok(());
        }
        let region = kvm_userspace_memory_region { slot: self.number, guest_phys_addr: self.range.start().get(), ..Default::default() };
        // SAFETY: a size of zero takes memory away from the guest, and gives it none.
        let deleted = unsafe { self.vm.set_user_memory_region(region) };
        match deleted {
            Ok(()) => {
                self.gone = true;
                // SAFETY: dropped once, as `gone` is set with it, and neither read nor handed out from then on.
                unsafe { ManuallyDrop::drop(&mut self.backing) };
                Ok(())
            }
            Err(error) => {
                if let Backing::Mapping(mapping) = &mut *self.backing {
                    mapping.replace();
                }
                Err(CallError::of_ioctl(Call::DeleteSlot)(error))
            }
        }
    }
}

impl Drop for Memslot {
    fn drop(&mut self) {
        // What cannot be deleted keeps its memory for ever: `backing` is not dropped.
        let _ = self.delete();
    }
}
