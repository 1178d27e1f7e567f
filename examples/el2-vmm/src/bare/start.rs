//! Composing a VM, and booting it.

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::sync::atomic::Ordering;

use crossvm_manifest::{Image, Peer};
use spin::Mutex;
use vmm_common::config;
use vmm_common::guest::derive_seed;
use vmm_common::host::{HostAddr, HostRange};
use vmm_common::platform::Platform;
use vmm_common::vm::{Images, Vm};

use super::compose::loaded;
use super::hardware::Hardware;
use super::system::{Guest, System};
use super::{cache, el1};

/// Composes VM `number` out of its parts and boots it. Its vCPUs find it in `guest` then.
pub(super) fn compose(system: &'static System, number: u8, guest: &'static Guest) -> Result<(), String> {
    let launch = guest.launch.lock().take().ok_or("it has been composed before")?;
    let mut vm = Box::new(Vm::new(launch.resources).map_err(|error| error.to_string())?);
    let wires = system.mailboxes.wires(system.topology, Peer::Vm(number), Hardware);
    let ends = wires.filter_map(|(end, emit)| Some((end, launch.dataports.get(end.index)?.iter().copied(), emit)));
    vm.connect(ends).map_err(|error| error.to_string())?;
    let ram = guest.ram.lock().range();
    vm.add_ram(ram).map_err(|error| error.to_string())?;
    let vm = guest.vm.call_once(|| Mutex::new(vm));
    boot(system, number, guest, vm)?;
    cache::invalidate_instructions();
    for cpu in config::cpus(system.topology, number) {
        Hardware.kick(cpu);
    }
    Ok(())
}

/// Boots VM `number`, none of whose vCPUs is in the guest.
pub(super) fn boot(
    system: &'static System,
    number: u8,
    guest: &'static Guest,
    vm: &'static Mutex<Box<Vm<Hardware>>>,
) -> Result<(), String> {
    let description = system.topology.vms.get(usize::from(number)).ok_or("there is no such VM")?;
    let bytes = |image: Image| {
        let range = HostRange::new(HostAddr::new(image.address), image.size);
        // SAFETY: the images lie in RAM, as the topology's check says, and outside of the free memory: nobody writes to them.
        range.map_or(&[][..], |range| unsafe { loaded(range) })
    };
    let mut memory = guest.ram.lock();
    let (boot, images) = {
        let mut vm = vm.lock();
        let images = Images {
            kernel: bytes(description.kernel),
            initrd: description.initrd.map_or(&[], bytes),
            command_line: &description.command_line,
            seed: derive_seed(&system.machine.seed, number, vm.boots()),
        };
        (vm.prepare_boot(memory.range().size(), &images).map_err(|error| error.to_string())?, images)
    };
    let start = boot.load(&mut memory, &images, Hardware).map_err(|error| error.to_string())?;
    guest.epoch.store(el1::count(), Ordering::Release);
    vm.lock().start(start, description.memory);
    Ok(())
}
