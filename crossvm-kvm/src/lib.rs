//! The traits of `crossvm-core` on KVM, for x86-64 and arm64.
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

pub mod dataport;
pub mod emit;
mod error;
pub mod interrupts;
pub mod memfd;
pub mod notifier;
#[cfg(target_arch = "x86_64")]
pub mod payload;
mod probe;
#[allow(unsafe_code)]
mod raw;
pub mod space;

pub use dataport::{DataportError, Frame, MemfdDataport};
pub use emit::{EmitErrors, EmitFds};
pub use error::{Call, CallError};
pub use interrupts::{GsiPool, GsiRoutes, InterruptError, IrqFd, ResampledIrqFd, Route};
#[cfg(target_arch = "x86_64")]
pub use interrupts::{KernelInterrupts, SplitInterrupts};
#[cfg(target_arch = "aarch64")]
pub use interrupts::{Vgic, VgicConfig, VgicInterrupts, VgicVersion};
pub use memfd::{Memfd, MemfdError};
pub use notifier::{EventNotifier, NotifierError};
#[cfg(target_arch = "x86_64")]
pub use probe::{GuestReport, probe_guest};
pub use probe::{Report, probe};
pub use space::{GuestSpace, SharedPage, SpaceError};
