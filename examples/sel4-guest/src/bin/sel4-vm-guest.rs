//! A guest in a VT-x vCPU: obeys the commands of `sel4-vmm`.
#![cfg_attr(machine, no_std, no_main)]

#[cfg(machine)]
#[expect(unsafe_code, reason = "the program's start looks for this name")]
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    sel4_guest::raw::start(sel4_guest::obey)
}

#[cfg(not(machine))]
fn main() {
    println!("sel4-vm-guest is a guest in a VT-x vCPU: `cargo xtask sel4` builds and runs it");
}
