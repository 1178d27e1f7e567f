//! The VMM's own map: what it uses, at the same address, with no more rights than needed.

use vmm_common::host::{HostAddr, HostRange, Machine, PagePool, PhysicalMemory};
use vmm_common::translation::{El2Attributes, MapError, Tables};

use super::{entry, image};

const PAGE: u64 = 4096;

/// Builds the map of `machine` and puts it in force. Gives the address of its tables, for the other CPUs.
pub(super) fn install(machine: &Machine) -> Result<HostAddr, MapError> {
    let pool = image::tables().ok_or(MapError::Exhausted)?;
    // SAFETY: the linker script keeps the range for the tables alone, and the boot map maps it as memory.
    let memory = unsafe { PhysicalMemory::new(pool) };
    let mut tables = Tables::new(PagePool::new(memory))?;
    let mut map = |range: HostRange, attributes: El2Attributes| {
        let range = range.widened(PAGE).ok_or(MapError::Misaligned)?;
        tables.map(range.start().get(), range.start(), range.size(), attributes.into())
    };
    for device in machine.gic.registers().chain([machine.uart]) {
        map(device, El2Attributes::Device)?;
    }
    let image = image::all().ok_or(MapError::OutOfRange)?;
    for ram in &machine.ram {
        for part in around(*ram, image).into_iter().flatten() {
            map(part, El2Attributes::Data)?;
        }
    }
    if let Some(part) = image::code() {
        map(part, El2Attributes::Code)?;
    }
    if let Some(part) = image::constants() {
        map(part, El2Attributes::Constants)?;
    }
    for part in image::data() {
        map(part, El2Attributes::Data)?;
    }
    let root = tables.root();
    // SAFETY: the tables map the image, the device tree and the devices at their addresses, as was just done.
    unsafe { entry::switch_tables(root.get(), entry::CONTROL) };
    Ok(root)
}

/// What of `ram` lies below and above `hole`.
fn around(ram: HostRange, hole: HostRange) -> [Option<HostRange>; 2] {
    if !ram.overlaps(hole) {
        return [Some(ram), None];
    }
    let below = hole.start().get().checked_sub(ram.start().get()).and_then(|size| HostRange::new(ram.start(), size));
    let next = hole.last().checked_add(1);
    let above = next.and_then(|next| HostRange::new(next, ram.last().get().checked_sub(next.get())?.checked_add(1)?));
    [below, above]
}
