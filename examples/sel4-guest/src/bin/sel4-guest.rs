//! A guest that is a seL4 thread: obeys the commands of `sel4-vmm`.
#![cfg_attr(thread, no_std, no_main)]

#[cfg(thread)]
#[expect(unsafe_code, reason = "the program's start looks for this name")]
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    sel4_guest::raw::start(sel4_guest::obey)
}

#[cfg(not(thread))]
fn main() {
    println!("sel4-guest is a guest that is a seL4 thread: `cargo xtask sel4` builds and runs it");
}
