//! What the root task does.
//!
//! ```text
//!   scenario ── command ──▶ Stage ──▶ Guest: a thread      Component: a thread
//!                             │         │ fault               │ signal
//!                             └◀────────┴─ receive ◀──────────┘        the guest's Backend: VSpace, PciBus, Lines, Interrupt
//! ```

mod account;
mod failing;
mod failures;
mod guest;
mod lines;
mod sabotage;
mod scenario;
mod stage;

use sel4_vmm::println;
use sel4_vmm::task::{self, Estate, Root};

/// The root task.
pub(crate) fn main(root: Root) -> ! {
    let memory: u64 = root.boot.untyped().filter(|untyped| !untyped.device).map(|untyped| 1 << untyped.bits).sum();
    println!("[vmm] check=memory untyped={memory}");
    let reason = match Estate::new(&root) {
        Err(trouble) => {
            println!("[vmm] trouble: {trouble}");
            "no-memory"
        }
        Ok(estate) => match scenario::play(estate.system()) {
            Ok(()) => "done",
            Err(failure) => {
                println!("[vmm] trouble: {failure}");
                failure.reason()
            }
        },
    };
    task::end(reason)
}
