//! The VMM's own faults: printed, then the machine is switched off.

use core::panic::PanicInfo;

use super::registers::read_register;
use super::{console, hardware};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let cpu = hardware::current_cpu();
    match info.location() {
        Some(location) => console::print_last(format_args!("record=panic cpu={cpu} at={}:{}", location.file(), location.line())),
        None => console::print_last(format_args!("record=panic cpu={cpu}")),
    }
    console::print_last(format_args!("panic: {}", info.message()));
    hardware::power_off()
}

/// An exception at EL2, from the vectors: the kind is that of the vector.
#[unsafe(no_mangle)]
extern "C" fn own_exception(kind: u64) -> ! {
    let kind = ["synchronous", "irq", "fiq", "serror"].get(usize::try_from(kind).unwrap_or(0)).unwrap_or(&"unknown");
    let (esr, far) = (read_register!("esr_el2"), read_register!("far_el2"));
    let elr = read_register!("elr_el2");
    let cpu = hardware::current_cpu();
    console::print_last(format_args!("record=panic cpu={cpu} exception={kind} esr={esr:#x} elr={elr:#x} far={far:#x}"));
    hardware::power_off()
}
