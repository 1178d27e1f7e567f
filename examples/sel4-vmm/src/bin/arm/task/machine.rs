//! The machine: its device tree, which the kernel has passed on.

use el2_vmm::host::{DescribeError, HostAddr, HostRange, Machine};
use fdt::Fdt;

use super::Failure;

/// `SEL4_BOOTINFO_HEADER_FDT`: the number of the chunk with the device tree.
const DEVICE_TREE: u64 = 6;
/// Bytes of a chunk's header: number and length, in words.
const HEADER: usize = 16;

/// The machine, and what el2-vmm has no use for.
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

/// The chunk with this number.
fn chunk(mut extra: &[u8], number: u64) -> Option<&[u8]> {
    loop {
        let (header, _) = extra.split_at_checked(HEADER)?;
        let [id, length] = [header.first_chunk(), header.last_chunk()].map(|word| word.map_or(0, |word| u64::from_le_bytes(*word)));
        let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
        let (chunk, rest) = extra.split_at_checked(length)?;
        if id == number {
            return chunk.get(HEADER..);
        }
        extra = rest;
    }
}
