//! What the root task does.

use sel4_vmm::println;
use sel4_vmm::task::{self, Root};

/// The root task.
pub(crate) fn main(root: Root) -> ! {
    let memory: u64 = root.boot.untyped().filter(|untyped| !untyped.device).map(|untyped| 1 << untyped.bits).sum();
    println!("[vmm] check=memory untyped={memory}");
    task::end("done")
}
