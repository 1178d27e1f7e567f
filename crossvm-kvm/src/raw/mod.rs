//! All that is unsafe: mapped memory, memory slots that point to it, and calls that kvm-ioctls does not have in the shape that is needed here.

#[cfg(target_arch = "aarch64")]
mod attribute;
#[cfg(target_arch = "aarch64")]
mod cache;
#[cfg(target_arch = "x86_64")]
mod inject;
mod ioeventfd;
mod mapping;
mod memslot;

#[cfg(target_arch = "aarch64")]
pub(crate) use attribute::get_attribute;
#[cfg(target_arch = "aarch64")]
pub(crate) use cache::clean;
#[cfg(target_arch = "x86_64")]
pub(crate) use inject::interrupt;
pub(crate) use ioeventfd::{Registration, Stores};
pub(crate) use mapping::HostMapping;
pub(crate) use memslot::{Backing, Memslot};

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use vmm_sys_util::eventfd::EventFd;

/// The descriptor as the type that kvm-ioctls takes.
pub(crate) fn event_of(fd: OwnedFd) -> EventFd {
    // SAFETY: the descriptor is open, and from here on the object's alone.
    unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) }
}

/// The descriptor of an eventfd.
pub(crate) fn borrow_event(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: it is open for as long as the object that is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
