//! What only EL2 can do: turn translation on, copy, jump.

mod entry;
mod serial;

use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::slice;

use fdt::Fdt;
use sel4_loader::arguments::{Arguments, BadParameter, Loaded};
use sel4_loader::plan::{Plan, PlanError, Span};
use sel4_loader::tables::{self, Places};
use sel4_loader::tree::{self, HEADER_BYTES};

use serial::Serial;

/// Where RAM starts, and so where QEMU leaves the device tree.
const RAM: u64 = 0x4000_0000;
/// The RAM that the loader has mapped: one GiB.
const MAPPED: Span = Span { start: RAM, end: RAM + (1 << 30) };

/// Why nothing is booted.
enum Failure {
    Tree,
    Parameter(BadParameter),
    Plan(PlanError),
    /// A segment is not in its file.
    Piece,
    /// The kernel is linked to where it cannot be mapped.
    Tables,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree => {
                f.write_str("there is no device tree at the start of RAM: start the loader as an ELF kernel of QEMU's virt machine")
            }
            Self::Parameter(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::Piece => f.write_str("a file is shorter than its segments"),
            Self::Tables => f.write_str("the kernel is linked to where the loader cannot map it"),
        }
    }
}

/// From `entry`: translation is on, this is the one CPU.
#[unsafe(no_mangle)]
extern "C" fn load() -> ! {
    let Err(failure) = boot();
    // As el2-vmm does, for the program that reads the console.
    let _ = write!(Serial, "[vmm] cannot start: {failure}\r\n[vmm] record=end reason=cannot-start\r\n");
    entry::power_off()
}

/// Memory at `start`.
///
/// # Safety
///
/// The range lies in the first GiB of RAM, and nobody writes to it while the slice is used.
unsafe fn memory(start: u64, size: u64) -> &'static [u8] {
    // SAFETY: mapped by the loader's tables, and RAM is initialised; the rest is the caller's promise.
    unsafe {
        slice::from_raw_parts(core::ptr::with_exposed_provenance(usize::try_from(start).unwrap_or(0)), usize::try_from(size).unwrap_or(0))
    }
}

/// Memory at `start`, to write to.
///
/// # Safety
///
/// As for [`memory`]; nobody else reads it either.
unsafe fn memory_mut(start: u64, size: u64) -> &'static mut [u8] {
    // SAFETY: as in `memory`.
    unsafe {
        slice::from_raw_parts_mut(
            core::ptr::with_exposed_provenance_mut(usize::try_from(start).unwrap_or(0)),
            usize::try_from(size).unwrap_or(0),
        )
    }
}

/// A file that QEMU has loaded; empty where it is not in the RAM that is mapped.
fn file(loaded: Loaded) -> &'static [u8] {
    match Span::new(loaded.address, loaded.size) {
        // SAFETY: in RAM; the plan keeps what is written away from the files.
        Some(span) if span.start >= MAPPED.start && span.end <= MAPPED.end => unsafe { memory(loaded.address, loaded.size) },
        _ => &[],
    }
}

fn boot() -> Result<core::convert::Infallible, Failure> {
    // SAFETY: nothing is written there.
    let header = unsafe { memory(RAM, HEADER_BYTES as u64) };
    let header = header.first_chunk().ok_or(Failure::Tree)?;
    let lengths = tree::lengths(header).ok_or(Failure::Tree)?;
    // SAFETY: below the loader, as the length is bounded by 4 MiB; nothing is written there.
    let tree_bytes = unsafe { memory(RAM, lengths.total.into()) };
    let tree = Fdt::new(tree_bytes).map_err(|_| Failure::Tree)?;
    let line = tree.find_node("/chosen").and_then(|node| node.property("bootargs")).and_then(|property| property.as_str()).unwrap_or("");
    let arguments = Arguments::parse(line).map_err(Failure::Parameter)?;

    let span = |loaded: Loaded| Span::new(loaded.address, loaded.size).unwrap_or(MAPPED);
    let own = entry::image();
    let occupied = [Span { start: RAM, end: own.end }, span(arguments.kernel), span(arguments.root)];
    let (kernel, root) = (file(arguments.kernel), file(arguments.root));
    let plan = Plan::new(kernel, root, lengths.used.into(), MAPPED, &occupied).map_err(Failure::Plan)?;
    if plan.pieces().any(|piece| piece.is_none()) {
        return Err(Failure::Piece);
    }
    for target in [plan.kernel, plan.root] {
        // SAFETY: RAM that nothing occupies, as the plan has checked.
        unsafe { memory_mut(target.start, target.end - target.start) }.fill(0);
    }
    for piece in plan.pieces().flatten() {
        // SAFETY: inside of the kernel's or the root task's place, which nobody uses.
        unsafe { memory_mut(piece.to, piece.bytes.len() as u64) }.copy_from_slice(piece.bytes);
    }
    // SAFETY: as above: the tree's place.
    let copy = unsafe { memory_mut(plan.tree.start, lengths.used.into()) };
    if let Some(used) = tree_bytes.get(..copy.len()) {
        copy.copy_from_slice(used);
    }
    if let Some(total) = copy.get_mut(tree::TOTAL_AT..tree::TOTAL_AT + 4) {
        total.copy_from_slice(&tree::total(lengths.used));
    }
    let (root_table, level1, level2, places): (_, _, _, Places) = entry::tables();
    tables::fill(root_table, level1, level2, places, plan.kernel, plan.kernel_virtual).ok_or(Failure::Tables)?;
    for span in [plan.kernel, plan.tree, plan.root] {
        entry::clean(span);
    }
    let _ = write!(Serial, "[loader] kernel at {:#x}, root task at {:#x}\r\n", plan.kernel.start, plan.root.start);
    // SAFETY: the kernel is in memory and mapped where it is linked to; the arguments are those of its boot protocol.
    unsafe { entry::enter(&plan) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = write!(Serial, "[vmm] record=panic cpu=0\r\n[vmm] panic: {info}\r\n");
    entry::power_off()
}
