//! The machine for arm64 guests: that of the other VMMs for arm64 (`vmm_common::map`), with the interrupt controller and PSCI in the kernel.
//!
//! | to find | look in |
//! | --- | --- |
//! | addresses | [`map`] |
//! | kernels, device tree | [`boot`] |
//! | vCPUs: reset, registers, accesses that the hardware does not describe | [`cpu`] |
//! | interrupts, and the frame for messages | [`interrupts`] |
//! | what a VM of this architecture has beside connections | [`board`] |

pub(crate) mod board;
pub(crate) mod boot;
pub(crate) mod cpu;
pub(crate) mod interrupts;
pub(crate) mod map;
