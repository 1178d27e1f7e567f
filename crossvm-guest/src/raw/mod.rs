//! All the `unsafe` of this crate: accesses to memory that others see, the instructions that order them, on bare metal ports and
//! configuration space, and descriptors that tokio watches.

#![allow(unsafe_code)]

mod access;
mod barrier;
#[cfg(feature = "bare")]
mod config;
#[cfg(all(feature = "linux", target_os = "linux"))]
mod map;
#[cfg(feature = "bare")]
mod pointer;
#[cfg(all(feature = "bare", any(target_arch = "x86", target_arch = "x86_64")))]
mod ports;
#[cfg(all(feature = "tokio", target_os = "linux"))]
mod watch;

pub(crate) use access::Plain;
pub(crate) use barrier::{full_barrier, load_barrier, memory_barrier};
#[cfg(feature = "bare")]
pub use config::Ecam;
#[cfg(feature = "bare")]
pub(crate) use config::{read, write};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub(crate) use map::{Map, Place};
#[cfg(feature = "bare")]
pub use pointer::{Hal, Mapped, MappedRegion};
#[cfg(all(feature = "bare", any(target_arch = "x86", target_arch = "x86_64")))]
pub use ports::ConfigPorts;
#[cfg(all(feature = "tokio", target_os = "linux"))]
pub(crate) use watch::Watched;
