//! The machine: its device tree, which the kernel has passed on.

use fdt::Fdt;
use vmm_common::host::{DescribeError, HostAddr, HostRange, Machine};

use sel4_vmm::arm::extra::chunk;

use super::Failure;

/// `SEL4_BOOTINFO_HEADER_FDT`: the number of the chunk with the device tree.
const DEVICE_TREE: u64 = 6;

/// The machine, and what vmm-common has no use for.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) machine: Machine,
    /// A PL031: a clock that counts seconds.
    pub(super) clock: Option<HostRange>,
}

/// Reads the additional boot information.
pub(super) fn describe(extra: &[u8]) -> Result<Host, Failure> {
    let tree = chunk(extra, DEVICE_TREE).ok_or(Failure::Machine(DescribeError::NotATree))?;
    let machine = Machine::describe(tree).map_err(Failure::Machine)?;
    let tree = Fdt::new(tree).map_err(|_| Failure::Machine(DescribeError::NotATree))?;
    let clock = tree.find_compatible(&["arm,pl031"]).and_then(|node| node.reg()?.next());
    let clock = clock.and_then(|region| {
        let size = u64::try_from(region.size?).ok()?;
        HostRange::new(HostAddr::new(region.starting_address.addr() as u64), size)
    });
    Ok(Host { machine, clock })
}
