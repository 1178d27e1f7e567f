//! Makes a VM of what a topology says.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use crossvm_core::device::Name;
use crossvm_core::{Connection, CrossVm, DataportEnd, InterruptMode, Parts};
use crossvm_kvm::{EmitFds, GsiPool, GuestSpace};
use crossvm_manifest::{Peer, Topology};
use crossvm_pci::{HostBridge, PciBus};
use vmm_common::config::{self, OwnEnd};
use vmm_common::console::LineBuffer;
use vmm_common::vm::{BarTable, Limited, own_lines};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{COMPLAINTS, DUMPS, MOVE_RECORDS, Machine, Port, REBOOT_RECORDS, State};
use crate::arch::board::{Board, Cpu, Hardware, Images};
use crate::arch::map;
use crate::bell::Ringer;
use crate::cli::Irqchip;
use crate::console::Output;
use crate::exits::{ExitCounts, RegisterExits};
use crate::vm::Power;
use crate::wires::Wires;

/// How VMs are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Where the interrupt controllers are.
    pub(crate) irqchip: Irqchip,
    /// Whether EMIT is an ioeventfd.
    pub(crate) ioeventfd: bool,
}

/// What a VM is to be.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The topology.
    pub(crate) topology: &'a Topology,
    /// The VM's number in it.
    pub(crate) number: u8,
    /// What it boots from.
    pub(crate) images: Images,
    /// What its connections are made of.
    pub(crate) wires: &'a Wires,
    /// How it is made.
    pub(crate) settings: Settings,
    /// What a line of the guest has in it at which exits are told.
    pub(crate) exits_at: Option<&'a str>,
    /// Where it writes.
    pub(crate) output: &'a Output,
}

/// Makes a VM, ready to run, and its vCPUs.
///
/// # Errors
/// Where KVM or the machine does not give what it needs, or its images do not fit.
pub(crate) fn compose(plan: &Plan<'_>) -> Result<(Arc<Machine>, Vec<Cpu>)> {
    let number = usize::from(plan.number);
    let vm = plan.topology.vms.get(number).ok_or_else(|| anyhow!("there is no VM {number}"))?;
    let mut hardware = Hardware::new(vm.memory, vm.vcpus, plan.images.clone())?;
    let interrupts = hardware.interrupts(plan.settings.irqchip)?;
    let mut memory = GuestSpace::new(Arc::clone(hardware.vm())).context("guest memory")?.with_address_bits(hardware.address_bits());
    for region in hardware.regions() {
        memory.add_ram(Arc::clone(region)).context("guest RAM")?;
    }
    for device in map::devices() {
        memory.add_device(device).context("a device's addresses")?;
    }
    let high_window = map::high_window(hardware.address_bits(), vm.memory);
    let mut bus = PciBus::new(HostBridge::default(), map::PCI_WINDOW);
    if let Some(window) = high_window {
        bus = bus.with_window(window).map_err(|error| anyhow!("the bridge's upper window: {error}"))?;
    }
    let mut backend = Parts { memory, pci: bus, irqs: GsiPool::new(map::connection_irqs()), interrupts };
    let mut connections = Box::new(CrossVm::new(config::device(vm.device)));
    let control = EventFd::new(EFD_NONBLOCK | libc::EFD_CLOEXEC).context("an eventfd")?;
    let ports = connect(plan, &mut backend, &mut connections, &control)?;
    hardware.describe(&backend.pci)?;
    let cpus = hardware.power_on()?;
    let mut bars = BarTable::new();
    bars.update(&connections, |_| {});
    let windows = std::iter::once(map::PCI_WINDOW).chain(high_window).collect();
    let emit = plan.settings.ioeventfd.then(|| EmitFds::new(Arc::clone(hardware.vm())));
    let mut state = State {
        backend,
        connections,
        ports,
        emit,
        board: Board::new(),
        line: LineBuffer::new(),
        bars,
        moves: Limited::new(MOVE_RECORDS),
        reboots: Limited::new(REBOOT_RECORDS),
        watch: plan.exits_at.map(super::watch::Watch::new),
        complaints: Limited::new(COMPLAINTS),
        dumps: Limited::new(DUMPS),
        behind: false,
        boots: 1,
    };
    state.set_up_bus();
    let machine = Machine {
        name: vm.name.as_str().to_owned(),
        number: plan.number,
        output: plan.output.clone(),
        on_reboot: vm.on_reboot,
        power: Power::new(cpus.len()),
        exits: ExitCounts::default(),
        control,
        threads: Mutex::default(),
        hardware,
        windows,
        state: Mutex::new(state),
    };
    machine.follow(&mut machine.lock());
    Ok((Arc::new(machine), cpus))
}

/// Installs all connections of the VM, in the order of the topology.
fn connect(plan: &Plan<'_>, backend: &mut super::Backend, connections: &mut super::Connections, control: &EventFd) -> Result<Vec<Port>> {
    let own = Peer::Vm(plan.number);
    let ends: Vec<OwnEnd<'_>> = config::ends(plan.topology, own).collect();
    let wanted = ends.iter().filter(|end| end.interrupt == InterruptMode::OwnLine).count();
    let mut own_left = own_lines(wanted, ends.len().saturating_sub(wanted), map::CONNECTION_IRQS);
    let mut described = Vec::new();
    let mut parts = Vec::new();
    for end in ends {
        let name = end.connection.name.as_str();
        let (wire, bell, other) =
            plan.wires.end(plan.topology, own, end.index).with_context(|| format!("connection `{name}` has no wire"))?;
        let dataports = wire.dataports().with_context(|| format!("connection `{name}`"))?;
        let interrupt = match (end.interrupt, own_left.checked_sub(1)) {
            (InterruptMode::OwnLine, Some(left)) => {
                own_left = left;
                InterruptMode::OwnLine
            }
            _ => InterruptMode::SharedLine,
        };
        let name = Name::new(name).with_context(|| format!("the name `{name}` does not fit its register"))?;
        let ringer = Ringer::new(Arc::clone(other), control).context("an eventfd")?;
        let mut connection = Connection::new(name).with_emit(ringer).with_event(end.event).with_interrupt(interrupt);
        for ((rights, width), dataport) in end.dataports().zip(dataports.iter().cloned()) {
            connection = connection.with_dataport_end(DataportEnd { dataport, rights, width })?;
        }
        described.push(connection);
        parts.push((end.event, Arc::clone(bell), Arc::clone(other), dataports));
    }
    let ids = connections.install(backend, described).map_err(|error| anyhow!("{error}"))?;
    let port = |(id, (event, bell, other, dataports))| {
        let bdf = connections.status(id)?.bdf;
        Some(Port { id, bdf, event, bell, other, dataports, exits: RegisterExits::default() })
    };
    Ok(ids.into_iter().zip(parts).filter_map(port).collect())
}
