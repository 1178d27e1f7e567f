//! What the root task does: the VM, then the trial.

use core::cell::RefCell;

use crossvm_sel4::kernel::Threads;
use crossvm_sel4::libsel4::slots;
use sel4_vmm::pc::{Failure, SpaceMap, System};
use sel4_vmm::println;
use sel4_vmm::task::{self, Root};

use crate::machine::Machine;
use crate::peers::PRIORITY;
use crate::sabotage::Sabotage;
use crate::trial::Trial;

/// The root task.
pub(crate) fn main(root: Root) -> ! {
    match run(&root) {
        Ok(()) => task::end("done"),
        Err(failure) => {
            println!("[vmm] panic: {failure}");
            task::end("failed")
        }
    }
}

fn run(root: &Root) -> Result<(), Failure> {
    let objects = RefCell::new(System::pool(root)?);
    let system = System { kernel: root.kernel, objects: &objects };
    let bytes = objects.try_borrow().map_or(0, |pool| pool.free_bytes());
    println!("[vmm] check=memory untyped={bytes}");
    root.kernel.set_priority(slots::TCB, slots::TCB, PRIORITY)?;
    let machine = Machine::new(system, &mut SpaceMap::own(system), Sabotage::chosen())?;
    Trial::new(machine)?.run()
}
