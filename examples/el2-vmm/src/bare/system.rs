//! What all CPUs share once the system is composed.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossvm_manifest::Topology;
use spin::{Mutex, Once};
use vmm_common::components::{Request, Seat};
use vmm_common::dataport::Dataports;
use vmm_common::host::{Machine, PhysicalMemory};
use vmm_common::platform::{Platform, Text};
use vmm_common::vm::{Resources, Vm};
use vmm_common::wiring::Mailboxes;

use super::hardware::{self, Hardware};

/// The composed system.
pub(super) static SYSTEM: Once<System> = Once::new();

/// What all CPUs share.
#[derive(Debug)]
pub(super) struct System {
    pub(super) machine: Machine,
    pub(super) topology: &'static Topology,
    pub(super) mailboxes: Mailboxes,
    pub(super) seats: Vec<Seat<Hardware>>,
    /// The VMs, by their number.
    pub(super) guests: Vec<Guest>,
    /// How many VMs have not stopped.
    pub(super) running: AtomicUsize,
}

/// A VM, from when its parts are known.
#[derive(Debug)]
pub(super) struct Guest {
    /// What it is made of, until the CPU of its first vCPU takes it.
    pub(super) launch: Mutex<Option<Launch>>,
    /// The VM, once that CPU has composed it. The lock is not fair: it is held for a short time only, and where CPUs are threads of a host that
    /// has more of them than it can run, all would wait for the one whose turn it is and which does not run.
    pub(super) vm: Once<Mutex<Box<Vm<Hardware>>>>,
    /// Its RAM, for the vCPU that boots it.
    pub(super) ram: Mutex<PhysicalMemory>,
    /// The physical count when it was booted.
    pub(super) epoch: AtomicU64,
}

/// What a CPU needs to compose its VM.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) resources: Resources<Hardware>,
    /// The memory of each connection, by its place in the topology.
    pub(super) dataports: &'static [Dataports],
}

impl System {
    /// How many VMs there are.
    pub(super) fn vms(&self) -> u8 {
        u8::try_from(self.mailboxes.vms.len()).unwrap_or(u8::MAX)
    }

    /// The name of VM `number`.
    pub(super) fn name_of(&self, number: u8) -> &'static str {
        self.topology.vms.get(usize::from(number)).map_or("?", |vm| vm.name.as_str())
    }

    /// The number of the VM of this name.
    pub(super) fn number_of(&self, name: &str) -> u8 {
        let number = self.topology.vms.iter().position(|vm| vm.name == name);
        number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
    }

    /// Somebody has typed `byte` for VM `vm`.
    pub(super) fn typed(&self, vm: u8, byte: u8) {
        if let Some(mailbox) = self.mailboxes.vms.get(usize::from(vm)) {
            mailbox.typed(Hardware, byte);
        }
    }

    /// Tells who has the focus.
    pub(super) fn print_focus(&self, vm: u8) {
        if let Some(vm) = self.topology.vms.get(usize::from(vm)) {
            Hardware.print(Text::Vmm(format_args!("what you type goes to {}", vm.name)));
        }
    }

    /// Has a component serve what this CPU's guest has sent.
    pub(super) fn serve_component(&self, request: Request) {
        if let Some(seat) = self.seats.get(usize::from(request.component)) {
            seat.serve(request.event, Hardware);
        }
    }

    /// A VM has stopped. The last one switches the machine off.
    pub(super) fn vm_stopped(&self) {
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            for seat in &self.seats {
                seat.report(Hardware);
            }
            Hardware.print(Text::Vmm(format_args!("record=end reason=all-vms-stopped")));
            hardware::power_off();
        }
    }
}
