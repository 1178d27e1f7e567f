//! The root task's own failures.

use core::panic::PanicInfo;

use crate::println;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(location) => println!("[vmm] record=panic at={}:{}", location.file(), location.line()),
        None => println!("[vmm] record=panic"),
    }
    println!("[vmm] panic: {}", info.message());
    super::end("panic")
}
