//! Starts a system under a hypervisor in one emulated machine.

pub(crate) mod child;
pub(crate) mod console;
mod gic;
mod hypervisor;
mod layout;
mod qemu;
mod sel4;

pub(crate) use child::{Ended, Output, Patience, Verdict};
pub(crate) use gic::Gic;
pub(crate) use hypervisor::{Hypervisor, Staged};
pub(crate) use layout::Layout;
pub(crate) use qemu::{Cpu, Input, Machine};
pub(crate) use sel4::Installed;
