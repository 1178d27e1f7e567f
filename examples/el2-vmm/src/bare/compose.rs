//! From the topology to what each CPU needs.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::slice;
use core::sync::atomic::{AtomicU64, AtomicUsize};

use crossvm_core::FrameSize;
use crossvm_manifest::{Peer, Topology};
use spin::{Mutex, Once};
use vmm_common::config::{self, ConfigError, Memories};
use vmm_common::dataport::{Dataports, SharedMemory};
use vmm_common::host::{FreeMemory, HostAddr, HostGic, HostRange, Machine, OutOfMemory, PagePool, PhysicalMemory};
use vmm_common::translation::{Stage2, Stage2Error};
use vmm_common::vm::{GuestGic, Resources};
use vmm_common::wiring::Mailboxes;

use super::cache;
use super::hardware::Hardware;
use super::image;
use super::system::{Guest, Launch, System};

/// Why the system cannot be composed.
#[derive(Debug)]
pub(super) enum ComposeError {
    /// The command line or the topology.
    Config(ConfigError),
    /// Memory has run out.
    Memory(OutOfMemory),
    /// A guest's translation tables.
    Tables(Stage2Error),
    /// A dataport is no whole number of pages.
    Dataport,
    /// The VMM's image has no size: a fault of the linker script.
    Image,
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Tables(error) => write!(f, "a guest's translation tables: {error:?}"),
            Self::Dataport => f.write_str("the size of a dataport is no multiple of 4 KiB"),
            Self::Image => f.write_str("the VMM's image has no size"),
        }
    }
}

impl From<ConfigError> for ComposeError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<OutOfMemory> for ComposeError {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

/// What the loader has put at `range`.
///
/// # Safety
///
/// The range is RAM in the VMM's map, and nobody ever writes to it.
pub(super) unsafe fn loaded(range: HostRange) -> &'static [u8] {
    // SAFETY: the caller's promise; RAM is initialised.
    unsafe { slice::from_raw_parts(range.start().pointer(), usize::try_from(range.size()).unwrap_or(0)) }
}

/// Composes the system for `machine`.
pub(super) fn compose(machine: Machine) -> Result<System, ComposeError> {
    let blob = config::locate_topology(&machine.boot_arguments)?;
    if !machine.ram.iter().any(|ram| ram.covers(blob)) {
        return Err(ConfigError::NotInRam(blob).into());
    }
    // SAFETY: in RAM, so in the map; kept out of the free memory below.
    let bytes = unsafe { loaded(blob) };
    let topology: &'static Topology = Box::leak(Box::new(config::read_topology(bytes, &machine.ram, machine.cpus.len())?));
    let mut free = free_memory(&machine, topology, blob)?;

    let mut dataports = Vec::new();
    for connection in &topology.connections {
        let mut all = Dataports::new();
        for dataport in &connection.dataports {
            let range = SharedMemory::take_range(&mut free, dataport.size)?;
            // SAFETY: the range was free RAM and is the dataport's from now on.
            let memory = unsafe { SharedMemory::new(range) }.ok_or(ComposeError::Dataport)?;
            all.push(memory).map_err(|_| ComposeError::Dataport)?;
            // A guest may map it past the caches: nothing of what was written here may be written back later.
            cache::clean_and_invalidate(range);
        }
        dataports.push(all);
    }
    let dataports: &'static [Dataports] = dataports.leak();
    let mailboxes = Mailboxes::new(topology);
    let memories: Vec<Memories> = dataports.iter().map(|all| all.iter().map(|dataport| dataport.memory()).collect()).collect();
    let seats = mailboxes.seats(topology, &memories, Hardware);

    let gic = match machine.gic {
        HostGic::V2 { virtual_interface, .. } => GuestGic::V2 { virtual_interface },
        HostGic::V3 { .. } => GuestGic::V3,
    };
    let mut guests = Vec::new();
    for (number, (vm, mailbox)) in (0..).zip(topology.vms.iter().zip(&mailboxes.vms)) {
        let device = config::device(vm.device);
        let connections = config::ends(topology, Peer::Vm(number)).count();
        let pages = free.allocate(PagePool::size_for(device.event_bar.size(), connections), FrameSize::MIB_2)?;
        let ram = free.allocate(vm.memory, FrameSize::MIB_2)?;
        // SAFETY: both ranges were free RAM and are the VM's from now on.
        let (pages, ram) = unsafe { (PhysicalMemory::new(pages), PhysicalMemory::new(ram)) };
        let cpus = config::cpus(topology, number);
        let memory = Stage2::new(PagePool::new(pages), Hardware).map_err(ComposeError::Tables)?;
        let (name, on_reboot) = (vm.name.clone(), vm.on_reboot);
        let resources = Resources { name, cpus, mailbox, on_reboot, device, gic, memory, platform: Hardware };
        guests.push(Guest {
            launch: Mutex::new(Some(Launch { resources, dataports })),
            vm: Once::new(),
            ram: Mutex::new(ram),
            epoch: AtomicU64::new(0),
        });
    }
    let running = AtomicUsize::new(guests.len());
    Ok(System { machine, topology, mailboxes, seats, guests, running })
}

/// The machine's RAM without the device tree, the VMM, the topology and the images.
fn free_memory(machine: &Machine, topology: &Topology, blob: HostRange) -> Result<FreeMemory, ComposeError> {
    let mut free = FreeMemory::new();
    for ram in &machine.ram {
        free.add(*ram)?;
    }
    let image = image::all().ok_or(ComposeError::Image)?;
    free.remove(image)?;
    // What lies below the VMM is the device tree's.
    let below = machine.ram.iter().map(|ram| ram.start()).min().filter(|start| *start < image.start());
    if let Some(tree) = below.and_then(|start| HostRange::new(start, image.start().get().checked_sub(start.get())?)) {
        free.remove(tree)?;
    }
    for used in config::images(topology).chain([blob]) {
        free.remove(used.widened(4096).unwrap_or(used))?;
    }
    Ok(free)
}

/// The device tree that QEMU leaves at the start of RAM.
///
/// # Safety
///
/// `start` is the start of RAM, at least 4 MiB of it are in the VMM's map, and nobody ever writes to them.
pub(super) unsafe fn device_tree(start: HostAddr) -> &'static [u8] {
    const LARGEST: u64 = 4 << 20;
    let Some(header) = HostRange::new(start, 8) else { return &[] };
    // SAFETY: the caller's promise.
    let header = unsafe { loaded(header) };
    // Magic number, then total size, both big-endian (Devicetree Specification, §5.2).
    let size = match header.as_chunks::<4>().0 {
        [[0xd0, 0x0d, 0xfe, 0xed], size] => u64::from(u32::from_be_bytes(*size)),
        _ => 0,
    };
    // SAFETY: as above; the size is bounded.
    HostRange::new(start, size.min(LARGEST)).map_or(&[], |range| unsafe { loaded(range) })
}
