//! What the root task does: the VM, then the trial.

use crossvm_sel4::kernel::Threads;
use crossvm_sel4::libsel4::slots;
use sel4_vmm::println;
use sel4_vmm::task::{self, Estate, Root, Trouble};

use crate::machine::Machine;
use crate::peers::PRIORITY;
use crate::sabotage::Sabotage;
use crate::trial::Trial;

/// The root task.
pub(crate) fn main(root: Root) -> ! {
    match run(&root) {
        Ok(()) => task::end("done"),
        Err(trouble) => {
            println!("[vmm] panic: {trouble}");
            task::end("failed")
        }
    }
}

fn run(root: &Root) -> Result<(), Trouble> {
    let estate = Estate::new(root)?;
    let system = estate.system();
    let bytes = system.objects().try_borrow().map_or(0, |objects| objects.free_bytes());
    println!("[vmm] check=memory untyped={bytes}");
    root.kernel.set_priority(slots::TCB, slots::TCB, PRIORITY)?;
    Trial::new(Machine::new(system, Sabotage::chosen())?)?.run()
}
