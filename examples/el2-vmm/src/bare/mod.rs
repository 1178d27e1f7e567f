//! The hardware: EL2 of a 64-bit Arm processor, on QEMU's `virt` machine.
//!
//! ```text
//!   entry: translation on, a stack ─▶ boot_main: device tree ─▶ map ─▶ heap ─▶ compose ─▶ wake the other CPUs ─┐
//!                                                                                                              ▼
//!                                     secondary_main ──────────────────────────────────────────▶ run: one vCPU each
//! ```
//!
//! | where | what |
//! | --- | --- |
//! | `link.ld`, `image` | the VMM's memory layout |
//! | `entry` | first instructions, boot map |
//! | `map` | the VMM's own map |
//! | `heap`, `mmio`, `registers` | memory to compose with, device registers, system registers |
//! | `gic` | the physical interrupt controller |
//! | `console` | the physical serial port |
//! | `compose`, `system` | from the topology to what each CPU needs |
//! | `start`, `run` | a VM's composition and boots, a vCPU's life |
//! | `el1`, `features`, `debug`, `world` | a guest's registers, the switch to it |
//! | `hardware`, `cache` | what the portable part asks for |
//! | `panic` | the VMM's own faults |

mod cache;
mod compose;
mod console;
mod debug;
mod el1;
mod entry;
mod features;
mod gic;
mod hardware;
mod heap;
mod image;
mod map;
mod mmio;
mod panic;
mod registers;
mod run;
mod start;
mod system;
mod world;

use core::fmt;

use smccc::{Smc, psci};
use vmm_common::config;
use vmm_common::host::{Cpu, CpuId, HostAddr, HostRange, Machine, Mpidr};
use vmm_common::platform::{Platform, Text};

use entry::Start;
use hardware::Hardware;
use registers::read_register;
use system::{SYSTEM, System};

/// Where RAM starts on this machine, and so where QEMU leaves the device tree.
const RAM_BASE: HostAddr = HostAddr::new(0x4000_0000);

/// The first CPU, from `entry`: memory is mapped by the boot map, interrupts are masked.
#[unsafe(no_mangle)]
extern "C" fn boot_main() -> ! {
    hardware::set_current_cpu(CpuId::BOOT, Mpidr::new(read_register!("mpidr_el1")));
    match boot() {
        Ok(system) => run_cpu(system, CpuId::BOOT),
        Err(error) => {
            Hardware.print(Text::Vmm(format_args!("cannot start: {error}")));
            Hardware.print(Text::Vmm(format_args!("record=end reason=cannot-start")));
            hardware::power_off()
        }
    }
}

/// Every other CPU, from `entry`: the final map is in force, interrupts are masked.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(cpu: u64) -> ! {
    let cpu = CpuId::new(u8::try_from(cpu).unwrap_or(u8::MAX));
    hardware::set_current_cpu(cpu, Mpidr::new(read_register!("mpidr_el1")));
    match SYSTEM.get() {
        Some(system) => run_cpu(system, cpu),
        // A CPU is woken when the system is composed.
        None => hardware::power_off(),
    }
}

fn boot() -> Result<&'static System, BootError> {
    // SAFETY: the boot map maps the first 20 MiB of RAM, of which the VMM takes only what is behind the first 4.
    let tree = unsafe { compose::device_tree(RAM_BASE) };
    let machine = Machine::describe(tree).map_err(BootError::Machine)?;
    let tables = map::install(&machine).map_err(BootError::Map)?;
    // SAFETY: the final map is in force, and this is the one call.
    unsafe { heap::start() };
    // SAFETY: the map just installed has these ranges as Device memory, and neither device accesses memory by itself.
    unsafe {
        console::open(machine.uart);
        gic::start(machine.gic);
    }
    let system = compose::compose(machine).map_err(BootError::Compose)?;
    let system = SYSTEM.call_once(|| system);
    let (vms, connections) = (system.topology.vms.len(), system.topology.connections.len());
    let version = env!("CARGO_PKG_VERSION");
    Hardware.print(Text::Vmm(format_args!("record=start version={version} vms={vms} connections={connections}")));
    let vcpus = config::places(system.topology).count();
    for cpu in system.machine.cpus.iter().take(vcpus).skip(1) {
        wake(*cpu, tables)?;
    }
    Ok(system)
}

/// Starts another CPU on its vCPU.
fn wake(cpu: Cpu, tables: HostAddr) -> Result<(), BootError> {
    extern crate alloc;

    let number = cpu.id.get();
    let start = alloc::boxed::Box::leak(alloc::boxed::Box::new(Start {
        tables: tables.get(),
        stack: image::stack_end(number),
        cpu: u64::from(number),
    }));
    let address = core::ptr::from_mut(start).expose_provenance() as u64;
    // The CPU reads it before its caches are on.
    if let Some(range) = HostRange::new(HostAddr::new(address), size_of::<Start>() as u64) {
        cache::clean(range);
    }
    let entry = entry::secondary_start as *const () as u64;
    psci::cpu_on::<Smc>(cpu.mpidr.get(), entry, address).map_err(|error| BootError::Wake { cpu: cpu.id, error })
}

fn run_cpu(system: &'static System, cpu: CpuId) -> ! {
    let mpidr = Mpidr::new(read_register!("mpidr_el1"));
    if gic::enable_interface(cpu, mpidr).is_none() {
        Hardware.print(Text::Vmm(format_args!("CPU {cpu} has no redistributor: its VM gets no interrupts")));
    }
    if cpu == CpuId::BOOT {
        gic::enable(system.machine.uart_interrupt, cpu, mpidr);
    }
    // As many CPUs are woken as there are vCPUs, at least the first.
    match config::places(system.topology).find(|(number, _)| *number == cpu) {
        Some((_, place)) => run::run_vcpu(system, place),
        None => hardware::power_off(),
    }
}

/// Why the VMM cannot start.
#[derive(Debug)]
enum BootError {
    Machine(vmm_common::host::DescribeError),
    Map(vmm_common::translation::MapError),
    Compose(compose::ComposeError),
    Wake { cpu: CpuId, error: psci::error::Error },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::Map(error) => write!(f, "the VMM's own map: {error}"),
            Self::Compose(error) => error.fmt(f),
            Self::Wake { cpu, error } => write!(f, "CPU {cpu} does not start: {error}"),
        }
    }
}
