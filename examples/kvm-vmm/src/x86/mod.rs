//! The machine for x86-64 guests.
//!
//! | to find | look in |
//! | --- | --- |
//! | addresses | [`map`] |
//! | kernels, boot protocols | [`boot`], [`command_line`] |
//! | registers and CPUID of vCPUs | [`cpu`], [`cpuid`] |
//! | interrupt controllers | [`interrupts`] |
//! | power management, reset, exit port | [`power`] |
//! | what a VM of this architecture has beside connections | [`board`] |

pub(crate) mod board;
pub(crate) mod boot;
mod command_line;
pub(crate) mod cpu;
mod cpuid;
pub(crate) mod interrupts;
pub(crate) mod map;
mod power;
