//! The other end of a guest's connections, in a protection domain of its own.
#![cfg_attr(thread, no_std, no_main)]

#[cfg(thread)]
#[expect(unsafe_code, reason = "the program's start looks for this name")]
#[unsafe(no_mangle)]
extern "C" fn main(connections: u64) -> ! {
    sel4_guest::raw::peer(connections)
}

#[cfg(not(thread))]
fn main() {
    println!("sel4-peer is a component for seL4: `cargo xtask sel4` builds and runs it");
}
