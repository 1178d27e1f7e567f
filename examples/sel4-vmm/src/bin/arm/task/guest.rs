//! A VM with its vCPUs, and its boots.

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crossvm_manifest::Image;
use vmm_common::guest::derive_seed;
use vmm_common::host::{HostAddr, HostRange, PhysicalMemory};
use vmm_common::vm::{Images, Vm};

use super::compose::{System, loaded};
use super::platform::Task;
use super::thread::Thread;

/// A VM.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) number: u8,
    pub(super) vm: Box<Vm<Task>>,
    pub(super) vcpus: Vec<Thread>,
    pub(super) ram: PhysicalMemory,
}

impl Guest {
    /// Boots it. None of its vCPUs runs.
    pub(super) fn boot(&mut self, system: &'static System) -> Result<(), String> {
        let description = system.topology.vms.get(usize::from(self.number)).ok_or("there is no such VM")?;
        let bytes = |image: Image| {
            let range = HostRange::new(HostAddr::new(image.address), image.size);
            // SAFETY: `compose` has mapped the images; nobody writes to them.
            range.map_or(&[][..], |range| unsafe { loaded(range) })
        };
        let images = Images {
            kernel: bytes(description.kernel),
            initrd: description.initrd.map_or(&[], bytes),
            command_line: &description.command_line,
            seed: derive_seed(&system.machine.seed, self.number, self.vm.boots()),
        };
        let boot = self.vm.prepare_boot(self.ram.range().size(), &images).map_err(|error| error.to_string())?;
        let start = boot.load(&mut self.ram, &images, Task(system)).map_err(|error| error.to_string())?;
        self.vm.start(start, description.memory);
        Ok(())
    }
}
