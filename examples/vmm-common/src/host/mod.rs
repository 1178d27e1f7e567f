//! The machine that the VMM runs on: its memory, and what its device tree tells.

mod address;
mod describe;
mod free;
#[allow(unsafe_code, reason = "the one place of the library where an address becomes a reference")]
mod physical;

pub use address::{HostAddr, HostRange};
pub use describe::{Cpu, CpuId, DescribeError, HostGic, MAX_CPUS, Machine, Mpidr};
pub use free::{FreeMemory, OutOfMemory};
#[cfg(test)]
pub(crate) use physical::tests;
pub use physical::{OutOfRange, Page, PagePool, PhysicalMemory};
