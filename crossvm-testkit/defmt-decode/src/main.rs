//! Logs a value of every public type of the crates that run without std, with defmt. `tests/decode.rs` runs it, decodes what it logs with its
//! own strings, and compares; the test also finds a type that is missing here.

#[cfg(target_os = "linux")]
mod arm;
#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod guest;
#[cfg(target_os = "linux")]
mod logger;
#[cfg(target_os = "linux")]
mod manifest;
#[cfg(target_os = "linux")]
mod pci;
#[cfg(target_os = "linux")]
mod values;
#[cfg(target_os = "linux")]
mod x86;

#[cfg(target_os = "linux")]
fn main() {
    values::log();
    pci::log();
    manifest::log();
    arm::log();
    x86::log();
    guest::log();
    channel::log();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("Nothing to run here: only on Linux is it known where the linker puts defmt's strings.");
}
