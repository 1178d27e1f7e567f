//! The root task.
//!
//! ```text
//!   root_task: what the kernel tells ─▶ cspace: more slots ─▶ memory: RAM, registers ─▶ compose: one Guest each ─▶ run
//!
//!   run:  seL4_Recv ─▶ a fault of a vCPU ──▶ VcpuInjector::serve │ trap ─▶ Vm::serve ──▶ Vm::next ─▶ Vgic::load ─▶ resume
//!            ▲         a signal: somebody has mail ────────────────────────────────────▶ Vm::next ─▶ Vgic::load
//!            └──────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | where | what |
//! | --- | --- |
//! | `cspace` | a CSpace with room for the frames of guests |
//! | `memory`, `map`, `heap` | memory by its physical address, mapped where it is |
//! | `machine` | what the device tree tells beside what vmm-common reads |
//! | `platform`, `space`, `console` | what vmm-common's library asks for |
//! | `compose`, `guest`, `thread` | from the topology to threads with vCPUs |
//! | `run` | the loop |

mod compose;
mod console;
mod cspace;
mod guest;
mod heap;
mod machine;
mod map;
mod memory;
mod platform;
mod run;
mod space;
mod thread;

extern crate alloc;

use core::fmt;

use crossvm_sel4::libsel4::{BootInfo, Libsel4, slots};
use vmm_common::platform::Text;

/// Called by the first instructions, once.
///
/// # Safety
///
/// `info` is what the kernel has given.
#[unsafe(no_mangle)]
unsafe extern "C" fn root_task(info: *const u8) -> ! {
    // SAFETY: the caller's promise; nobody unmaps the frames.
    let info = unsafe { BootInfo::new(info) };
    // SAFETY: the root task's own buffer; it has one thread. What it unmaps and deletes, it has mapped for guests.
    let kernel = unsafe { Libsel4::new(info.ipc_buffer(), slots::CSPACE) };
    if let Err(error) = start(kernel, &info) {
        console::print(Text::Vmm(format_args!("cannot start: {error}")), |_| 0);
        console::print(Text::Vmm(format_args!("record=end reason=cannot-start")), |_| 0);
    }
    // Whoever has started the machine switches it off.
    kernel.halt()
}

fn start(kernel: Libsel4, info: &BootInfo) -> Result<(), Failure> {
    heap::start();
    let (kernel, empty) = cspace::enlarge(kernel, info)?;
    let machine = machine::describe(info.extra())?;
    let system = compose::compose(kernel, info, empty, machine)?;
    run::run(system)
}

/// Why the root task cannot go on.
#[derive(Debug)]
enum Failure {
    /// The kernel, or what of its objects was to be made.
    Space(&'static str, crossvm_sel4::vspace::SpaceError),
    /// The machine's device tree.
    Machine(vmm_common::host::DescribeError),
    /// The command line or the topology.
    Config(vmm_common::config::ConfigError),
    /// Memory has run out.
    Memory(vmm_common::host::OutOfMemory),
    /// No untyped memory of the kernel is at this physical address.
    NoUntyped(u64),
    /// The rest.
    Other(alloc::string::String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Space(what, error) => write!(f, "{what}: {error}"),
            Self::Machine(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::NoUntyped(address) => {
                write!(
                    f,
                    "the kernel gave no untyped memory at {address:#x}, or what is there was needed before: it was built for another machine"
                )
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Failure {
    /// The kernel has refused `what`.
    fn kernel(what: &'static str) -> impl Fn(crossvm_sel4::kernel::KernelError) -> Self {
        move |error| Self::Space(what, error.into())
    }

    /// No slot or memory for `what`.
    fn objects(what: &'static str) -> impl Fn(crossvm_sel4::objects::ObjectError) -> Self {
        move |error| Self::Space(what, error.into())
    }
}
