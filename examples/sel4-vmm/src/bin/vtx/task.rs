//! What the root task does.

use sel4_vmm::println;
use sel4_vmm::task::bootinfo::Kind;
use sel4_vmm::task::{self, BootInfo};

/// The root task.
pub(crate) fn main(bootinfo: BootInfo) -> ! {
    let memory: u64 = bootinfo.untyped().filter(|untyped| untyped.kind == Kind::Memory).map(|untyped| 1 << untyped.bits).sum();
    println!("[vmm] check=memory untyped={memory}");
    task::end("done")
}
