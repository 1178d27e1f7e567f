//! Starts a system under a hypervisor: in an emulated machine, or on this one's KVM.

pub(crate) mod child;
pub(crate) mod console;
mod gic;
mod hypervisor;
mod interrupts;
pub(crate) mod kvm;
mod layout;
mod qemu;
mod sel4;

pub(crate) use child::{Ended, Output, Patience, Verdict};
pub(crate) use gic::Gic;
pub(crate) use hypervisor::{Hypervisor, Job, Order};
pub(crate) use interrupts::{Interrupts, Irqchip};
pub(crate) use layout::Layout;
pub(crate) use qemu::{Cpu, Input, Machine};
pub(crate) use sel4::Installed;
