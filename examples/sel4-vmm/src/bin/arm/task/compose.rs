//! From the topology to guests.

extern crate alloc;

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::slice;

use crossvm_core::EventId;
use crossvm_manifest::{Peer, Topology};
use crossvm_sel4::kernel::{CPtr, Kernel as _, Object, Threads as _};
use crossvm_sel4::libsel4::{BootInfo, Libsel4, slots};
use crossvm_sel4::objects::Objects as _;
use crossvm_sel4::{Frame, FrameDataport, NotificationNotifier, ObjectPool, OwnSpace};
use vmm_common::components::Seat;
use vmm_common::config::{self, ConfigError, Memories};
use vmm_common::dataport::SharedMemory;
use vmm_common::host::{FreeMemory, HostAddr, HostGic, HostRange, Machine, PhysicalMemory};
use vmm_common::platform::Platform as _;
use vmm_common::vm::{GuestGic, Resources, Vm};
use vmm_common::wiring::Mailboxes;

use sel4_vmm::arm::uptime::Uptime;

use super::Failure;
use super::console::{self, Clock};
use super::cspace;
use super::guest::Guest;
use super::machine::Host;
use super::map::{Objectry, Pool};
use super::memory::Memory;
use super::platform::Task;
use super::space::GuestPhysical;
use super::thread::Thread;

/// What stays the same while guests run.
#[derive(Debug)]
pub(super) struct System {
    pub(super) kernel: Libsel4,
    pub(super) machine: Machine,
    pub(super) topology: &'static Topology,
    pub(super) memory: &'static RefCell<Memory>,
    /// The root task's notification, with a badge for each vCPU, by the number of its CPU.
    pub(super) kicks: Vec<NotificationNotifier<Libsel4>>,
    clock: Option<(Clock, u64)>,
    uptime: Cell<Uptime>,
}

/// The composed system.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) system: &'static System,
    pub(super) mailboxes: Mailboxes,
    pub(super) seats: Vec<Seat<Task>>,
    pub(super) guests: Vec<Guest>,
    /// Where the faults of all vCPUs arrive, and the root task's signals.
    pub(super) endpoint: CPtr,
}

impl System {
    /// The number of the VM of this name.
    pub(super) fn number_of(&self, name: &str) -> u8 {
        let number = self.topology.vms.iter().position(|vm| vm.name == name);
        number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
    }

    /// Since the root task was started: the kernel keeps the processor's counter to itself unless it was built to give it away.
    pub(super) fn uptime_ms(&self) -> u64 {
        let seconds = self.clock.map(|(clock, start)| clock.seconds().saturating_sub(start));
        let mut uptime = self.uptime.get();
        let now = uptime.milliseconds(seconds);
        self.uptime.set(uptime);
        now
    }

    /// The root task's loop has turned once more.
    pub(super) fn turn(&self) {
        let mut uptime = self.uptime.get();
        uptime.turn();
        self.uptime.set(uptime);
    }
}

/// What the loader has put at `range`.
///
/// # Safety
///
/// The root task has mapped the range, and nobody ever writes to it.
pub(super) unsafe fn loaded(range: HostRange) -> &'static [u8] {
    // SAFETY: the caller's promise; RAM is initialised.
    unsafe { slice::from_raw_parts(range.start().pointer(), usize::try_from(range.size()).unwrap_or(0)) }
}

/// A frame of 2 MiB.
const LARGE: u64 = 2 << 20;
/// A page.
const PAGE: u64 = 4096;
/// Where event pages appear in the root task's own address space: 2 MiB for each guest, below all devices and RAM.
const WINDOWS: u64 = 0x0200_0000;

/// Composes the system for `machine`.
pub(super) fn compose(kernel: Libsel4, info: &BootInfo, empty: Range<u64>, host: Host) -> Result<Composed, Failure> {
    let Host { machine, clock } = host;
    let count = usize::try_from(empty.end - empty.start).unwrap_or(0);
    let mut pool: Pool = ObjectPool::new(kernel, CPtr::new(empty.start), count).map_err(Failure::objects("slots"))?;
    for untyped in cspace::untyped(kernel, info).filter(|untyped| !untyped.device) {
        pool.add_untyped(untyped.slot, untyped.bits).map_err(Failure::objects("the kernel's memory"))?;
    }
    let objects: Objectry = Box::leak(Box::new(RefCell::new(pool)));
    let memory: &'static RefCell<Memory> = Box::leak(Box::new(RefCell::new(Memory::new(kernel, objects, cspace::untyped(kernel, info)))));
    let clock = registers(memory, &machine, clock)?;

    let blob = config::locate_topology(&machine.boot_arguments).map_err(Failure::Config)?;
    let whole = blob.widened(LARGE).ok_or(Failure::Config(ConfigError::NotInRam(blob)))?;
    memory.borrow_mut().take_memory(&[whole])?;
    // SAFETY: mapped now; kept out of the free memory below.
    let bytes = unsafe { loaded(blob) };
    // All vCPUs share the machine's one CPU.
    let topology = config::read_topology(bytes, &machine.ram, vmm_common::host::MAX_CPUS).map_err(Failure::Config)?;
    let topology: &'static Topology = Box::leak(Box::new(topology));

    let images: Vec<HostRange> = config::images(topology).filter_map(|image| image.widened(LARGE)).collect();
    let mut free = free_memory(&machine, info, images.iter().copied().chain([whole]))?;
    let (rams, shared) = allocate(topology, &mut free)?;
    let mut unique = images;
    unique.sort_by_key(|image| image.start());
    unique.dedup();
    let all: Vec<HostRange> = unique.into_iter().chain(rams.iter().copied()).chain(shared.iter().flatten().copied()).collect();
    memory.borrow_mut().take_memory(&all)?;

    let (endpoint, kicks, kernel) = objects_of_the_task(kernel, objects, topology)?;
    let system: &'static System = Box::leak(Box::new(System { kernel, machine, topology, memory, kicks, clock, uptime: Cell::default() }));
    let (dataports, memories) = dataports(system, &shared)?;
    let mailboxes = Mailboxes::new(topology);
    let seats = mailboxes.seats(topology, &memories, Task(system));
    let mut guests = Vec::new();
    for (number, ram) in (0u8..).zip(rams) {
        guests.push(guest(system, objects, endpoint, number, ram, &mailboxes, &dataports)?);
    }
    Ok(Composed { system, mailboxes, seats, guests, endpoint })
}

/// Takes the registers that are used: serial port, clock, and with GICv2 the guests' CPU interface.
fn registers(memory: &RefCell<Memory>, machine: &Machine, clock: Option<HostRange>) -> Result<Option<(Clock, u64)>, Failure> {
    let page = |range: HostRange| HostRange::new(range.start(), PAGE);
    let interface = match machine.gic {
        HostGic::V2 { virtual_interface, .. } => page(virtual_interface),
        HostGic::V3 { .. } => None,
    };
    let clock = clock.and_then(page);
    let ranges: Vec<HostRange> = [interface, page(machine.uart), clock].into_iter().flatten().collect();
    memory.borrow_mut().take_registers(&ranges)?;
    // SAFETY: mapped now.
    unsafe { console::open(machine.uart) };
    Ok(clock.map(|range| {
        // SAFETY: as above.
        let clock = unsafe { Clock::new(range) };
        (clock, clock.seconds())
    }))
}

/// The RAM behind the kernel's own, without the images.
fn free_memory(machine: &Machine, info: &BootInfo, used: impl Iterator<Item = HostRange>) -> Result<FreeMemory, Failure> {
    let own = info.untyped().filter(|untyped| !untyped.device).map(|untyped| untyped.address + (1 << untyped.bits)).max().unwrap_or(0);
    let mut free = FreeMemory::new();
    for ram in &machine.ram {
        let behind = ram.start().get().max(own);
        if let Some(range) = ram.last().get().checked_sub(behind).and_then(|last| HostRange::new(HostAddr::new(behind), last + 1)) {
            free.add(range).map_err(Failure::Memory)?;
        }
    }
    for range in used {
        free.remove(range).map_err(Failure::Memory)?;
    }
    Ok(free)
}

/// RAM for each VM, and memory for the dataports of each connection.
fn allocate(topology: &Topology, free: &mut FreeMemory) -> Result<(Vec<HostRange>, Vec<Vec<HostRange>>), Failure> {
    let mut rams = Vec::new();
    for vm in &topology.vms {
        rams.push(free.allocate(vm.memory, crossvm_core::FrameSize::MIB_2).map_err(Failure::Memory)?);
    }
    let mut shared = Vec::new();
    for connection in &topology.connections {
        let ranges = connection.dataports.iter().map(|dataport| SharedMemory::take_range(free, dataport.size));
        shared.push(ranges.collect::<Result<Vec<_>, _>>().map_err(Failure::Memory)?);
    }
    Ok((rams, shared))
}

/// The dataports of each connection.
type Dataports = Vec<Vec<FrameDataport<&'static [Frame]>>>;

/// The dataports of each connection, and their memory for components.
fn dataports(system: &'static System, shared: &[Vec<HostRange>]) -> Result<(Dataports, Vec<Memories>), Failure> {
    let (mut dataports, mut memories) = (Vec::new(), Vec::new());
    for ranges in shared {
        let (mut of_connection, mut memory_of) = (Vec::new(), Memories::new());
        for range in ranges {
            let frames: &'static [Frame] = system.memory.borrow().run(*range)?.dataport_frames().leak();
            of_connection.push(FrameDataport::new(frames).map_err(|error| Failure::Other(error.to_string()))?);
            // SAFETY: RAM that was free and is the dataport's from now on, mapped for the root task.
            let whole: &'static PhysicalMemory = Box::leak(Box::new(unsafe { PhysicalMemory::new(*range) }));
            whole.clear();
            // A guest may map it past the caches: nothing of what was written here may be written back later.
            Task(system).clean_and_invalidate(*range);
            // A connection has no more dataports than this holds.
            let _ = memory_of.push(whole);
        }
        dataports.push(of_connection);
        memories.push(memory_of);
    }
    Ok((dataports, memories))
}

/// The endpoint for faults, the notification for kicks, which is bound to the root task, and a handle that knows the list registers.
fn objects_of_the_task(
    kernel: Libsel4,
    mut objects: Objectry,
    topology: &Topology,
) -> Result<(CPtr, Vec<NotificationNotifier<Libsel4>>, Libsel4), Failure> {
    let none = Failure::objects("the root task's own objects");
    let failed = Failure::kernel("the root task's own objects");
    let endpoint = objects.allocate_slots(3).map_err(&none)?;
    let (notification, scratch) = (endpoint.offset(1), endpoint.offset(2));
    objects.create(Object::Endpoint, endpoint).map_err(&none)?;
    objects.create(Object::Notification, notification).map_err(&none)?;
    kernel.bind_notification(slots::TCB, notification).map_err(&failed)?;
    let mut kicks = Vec::new();
    for (cpu, _) in config::places(topology) {
        let slot = objects.allocate_slots(1).map_err(&none)?;
        let event = EventId::new(cpu.get()).ok_or_else(|| Failure::Other("too many vCPUs".to_string()))?;
        kicks.push(NotificationNotifier::mint(kernel, notification, slot, event).map_err(&failed)?);
    }
    let mut kernel = kernel;
    objects.create(Object::Vcpu, scratch).map_err(&none)?;
    kernel.count_list_registers(scratch).map_err(&failed)?;
    objects.destroy(scratch);
    Ok((endpoint, kicks, kernel))
}

/// Composes VM `number`. It is off.
fn guest(
    system: &'static System,
    mut objects: Objectry,
    endpoint: CPtr,
    number: u8,
    ram: HostRange,
    mailboxes: &Mailboxes,
    dataports: &Dataports,
) -> Result<Guest, Failure> {
    let (kernel, topology) = (system.kernel, system.topology);
    let failed = |what| move |error| Failure::Space(what, error);
    let root = objects.allocate_slots(1).map_err(Failure::objects("a guest's address space"))?;
    objects.create(Object::VSpace, root).map_err(Failure::objects("a guest's address space"))?;
    kernel.assign_asid(slots::ASID_POOL, root).map_err(Failure::kernel("a guest's address space"))?;
    // SAFETY: the root task's own space; each guest has a window of its own, and nothing else is between the root task and the devices.
    let window = unsafe { OwnSpace::new(slots::VSPACE, WINDOWS + u64::from(number) * LARGE, LARGE) };
    let window = window.ok_or_else(|| Failure::Other("a guest's window".to_string()))?;
    let space = GuestPhysical::new(kernel, objects, system.memory, root, ram.size(), window).map_err(failed("a guest's address space"))?;
    let root = space.root();
    let gic = match system.machine.gic {
        HostGic::V2 { virtual_interface, .. } => GuestGic::V2 { virtual_interface },
        HostGic::V3 { .. } => GuestGic::V3,
    };
    let (Some(vm), Some(mailbox)) = (topology.vms.get(usize::from(number)), mailboxes.of(Peer::Vm(number))) else {
        return Err(Failure::Other("a VM without a mailbox".to_string()));
    };
    let resources = Resources {
        name: vm.name.clone(),
        cpus: config::cpus(topology, number),
        mailbox,
        on_reboot: vm.on_reboot,
        device: config::device(vm.device),
        gic,
        memory: space,
        platform: Task(system),
    };
    let name = &vm.name;
    let refused = |error: vmm_common::vm::ComposeError<Task>| Failure::Other(alloc::format!("{name}: {error}"));
    let mut vm = Box::new(Vm::new(resources).map_err(refused)?);
    let wires = mailboxes.wires(topology, Peer::Vm(number), Task(system));
    let ends = wires.filter_map(|(end, emit)| Some((end, dataports.get(end.index)?.iter().copied(), emit)));
    vm.connect(ends).map_err(refused)?;
    vm.add_ram(ram).map_err(refused)?;
    let mut vcpus = Vec::new();
    for (cpu, place) in config::places(topology).filter(|(_, place)| place.vm == number) {
        vcpus.push(Thread::new(kernel, objects, (cpu, place.vcpu), root, endpoint).map_err(failed("a vCPU"))?);
    }
    // SAFETY: RAM that was free and is the guest's from now on, mapped for the root task.
    let ram = unsafe { PhysicalMemory::new(ram) };
    Ok(Guest { number, vm, vcpus, ram })
}
