//! What seL4 answers, case by case: the same small programs run on real kernels and on the simulated one of `crossvm-testkit`.
//!
//! ```text
//!   cases ──▶ run ──▶ K: Kernel + Threads, a real kernel ──▶ lines ─┐
//!                └──▶ SimKernel                          ──▶ lines ─┴─▶ equal, to each other and to the recorded list
//! ```
//!
//! Each [`Case`] starts with empty slots and unused untyped memory, makes a few calls, and says in a line what came of them: codes of errors,
//! badges, what was loaded. No line depends on where anything lies in memory. What was recorded from seL4 5.0.0 is [`X86_64_5_0_0`], a line for each
//! case with its name, a tab, and the outcome.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a case has to work with | [`Bench`] |
//! | signals and badges | `notifications` |
//! | copies, rights, revocation | `capabilities` |
//! | making objects | `untyped` |
//! | memory that is mapped | `frames`, `rights` |
//! | translation tables and roots | `tables` |
//! | threads | `threads` |
//! | calls that nobody has chosen | `walks` |
#![no_std]
#![forbid(unsafe_code)]

mod bench;
mod capabilities;
mod frames;
mod notifications;
mod rights;
mod tables;
mod threads;
mod untyped;
mod walks;

pub use bench::{Bench, Outcome, Probe, Resources};

use core::fmt::Write as _;

use crossvm_sel4::kernel::{KernelError, Threads};

/// What seL4 5.0.0 has answered on x86-64: `cargo xtask sel4 semantics` runs the cases again and compares.
pub const X86_64_5_0_0: &str = include_str!("../outcomes/x86_64-5.0.0.tsv");

/// What seL4 16.0.0-dev (commit 1326364b) has answered on x86-64.
///
/// No verb runs the cases on an installed kernel: whoever has one builds the root task `sel4-semantics` of `examples/sel4-vmm` with `SEL4_PREFIX`, boots it, and
/// compares what it prints.
pub const X86_64_16_0_0_DEV: &str = include_str!("../outcomes/x86_64-16.0.0-dev.tsv");

/// What seL4 16.0.0-dev (commit 1326364b) has answered on aarch64 with hypervisor support and physical addresses of 44 bits. As above.
pub const AARCH64_16_0_0_DEV: &str = include_str!("../outcomes/aarch64-16.0.0-dev.tsv");

/// A case.
#[derive(Debug)]
pub struct Case<K, P> {
    /// What it shows.
    pub name: &'static str,
    run: fn(&mut Bench<'_, K, P>) -> Result<(), KernelError>,
}

/// All cases.
pub fn cases<K: Threads, P: Probe>() -> impl Iterator<Item = Case<K, P>> {
    let signals = notifications::cases().into_iter().chain(capabilities::cases()).chain(untyped::cases());
    let memory = frames::cases().into_iter().chain(rights::cases()).chain(tables::cases());
    signals.chain(memory).chain(threads::cases())
}

/// Runs all cases, and random walks behind them. `each` gets their names and outcomes, in order.
pub fn run<K: Threads, P: Probe>(kernel: &K, resources: &Resources, probe: &mut P, mut each: impl FnMut(&str, &str)) {
    for case in cases::<K, P>() {
        let mut bench = Bench::new(kernel, resources, probe);
        let ended = (case.run)(&mut bench);
        each(case.name, &bench.end(ended));
    }
    for seed in 1..=walks::COUNT {
        let mut name = heapless::String::<16>::new();
        // A name of this length fits.
        let _ = write!(name, "walk {seed}");
        let mut bench = Bench::new(kernel, resources, probe);
        let ended = walks::walk(&mut bench, seed);
        each(&name, &bench.end(ended));
    }
}
