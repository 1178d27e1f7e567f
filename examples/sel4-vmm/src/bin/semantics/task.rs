//! What the root task does.

use crossvm_sel4::kernel::{CPtr, Kernel, Object};
use crossvm_sel4::libsel4::{UntypedMemory, slots};
use crossvm_sel4_semantics::{Resources, run};
use sel4_vmm::println;
use sel4_vmm::task::{self, Root};

use crate::probe::Prober;

/// Untyped memory for the cases, and for what is there all the time.
const CASES: u8 = 23;
const KEPT: u8 = 16;
/// Where the cases map in the root task's address space: far from everything.
const WINDOW: u64 = 3 << 39;

/// The root task.
pub(crate) fn main(root: Root) -> ! {
    let Root { kernel, boot } = root;
    let enough = |memory: &UntypedMemory| !memory.device && memory.bits > CASES;
    let memory = boot.untyped().find(enough).expect("there is a piece of 16 MiB").slot;

    let first = CPtr::new(boot.empty().start);
    let (untyped, kept, rest) = (first, first.offset(1), first.offset(2));
    kernel.retype(memory, Object::Untyped(CASES), untyped).expect("memory for the cases");
    kernel.retype(memory, Object::Untyped(KEPT), kept).expect("memory for a thread");
    let guard_bits = 64 - boot.cspace_bits();
    let mut prober = Prober::new(kernel, kept, rest, guard_bits).expect("a thread that probes");

    let resources = Resources {
        untyped,
        slots: rest.offset(Prober::SLOTS),
        thread: slots::TCB,
        cspace: slots::CSPACE,
        guard_bits,
        asid_pool: slots::ASID_POOL,
        vspace: slots::VSPACE,
        window: WINDOW,
    };
    assert!(resources.slots.raw() + Resources::SLOTS <= boot.empty().end, "the CSpace has not enough slots");
    let mut cases = 0;
    run(&kernel, &resources, &mut prober, |name, outcome| {
        println!("[vmm] case {name}: {outcome}");
        cases += 1;
    });
    println!("[vmm] check=cases count={cases}");
    task::end("done")
}
