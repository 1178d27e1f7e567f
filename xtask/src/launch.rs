//! Starts a system under the EL2 hypervisor in one emulated machine.

pub(crate) mod child;
pub(crate) mod console;
mod gic;
mod layout;
mod qemu;

pub(crate) use child::{Ended, Output, Patience, Verdict};
pub(crate) use gic::Gic;
pub(crate) use layout::Layout;
pub(crate) use qemu::{Cpu, Input, Machine};
