//! What to compose: the VMM's command line, and who is connected with whom.

use core::fmt;

use crossvm_arm::VcpuId;
use crossvm_core::device::{EventBarSize, Profile};
use crossvm_core::{BarWidth, Config, EventId, InterruptMode, Rights};
use crossvm_manifest::{Connection, Device, EventBar, Interrupt, Peer, Topology, Vm, Width};

use crate::host::{CpuId, HostAddr, HostRange, PhysicalMemory};
use crate::map;

/// The parameter of the VMM's command line that says where the topology is: `crossvm.topology=ADDRESS,SIZE`.
const TOPOLOGY: &str = "crossvm.topology=";

/// Why the VMM does not know what to compose.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The parameter is missing.
    NoTopology,
    /// The parameter is not an address and a size.
    BadTopology,
    /// The bytes are no topology.
    Decode(crossvm_manifest::Error),
    /// More vCPUs than CPUs.
    TooFewCpus {
        /// vCPUs of all VMs of the topology.
        vcpus: usize,
        /// CPUs of the machine.
        cpus: usize,
    },
    /// There is nothing to run.
    NoVms,
    /// An image does not lie in the machine's RAM.
    NotInRam(HostRange),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTopology => write!(f, "the VMM's command line lacks {TOPOLOGY}ADDRESS,SIZE: give it with QEMU's -append"),
            Self::BadTopology => write!(f, "{TOPOLOGY} needs two numbers in hexadecimal: ADDRESS,SIZE"),
            Self::Decode(error) => write!(f, "the topology: {error}"),
            Self::TooFewCpus { vcpus, cpus } => {
                write!(f, "{vcpus} vCPUs need as many CPUs, the VMM can use {cpus} of the machine's: start QEMU with -smp {vcpus}")
            }
            Self::NoVms => write!(f, "the topology has no VM"),
            Self::NotInRam(range) => write!(f, "the image at {range} does not lie in the machine's RAM"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Where the topology is.
///
/// # Errors
/// [`ConfigError::NoTopology`] or [`ConfigError::BadTopology`].
pub fn locate_topology(boot_arguments: &str) -> Result<HostRange, ConfigError> {
    let value = boot_arguments.split_whitespace().find_map(|word| word.strip_prefix(TOPOLOGY)).ok_or(ConfigError::NoTopology)?;
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (address, size) = value.split_once(',').ok_or(ConfigError::BadTopology)?;
    let range = number(address).zip(number(size)).and_then(|(address, size)| HostRange::new(HostAddr::new(address), size));
    range.ok_or(ConfigError::BadTopology)
}

/// Decodes the topology and checks that this machine can run it.
///
/// # Errors
/// [`ConfigError`].
pub fn read_topology(bytes: &[u8], ram: &[HostRange], cpus: usize) -> Result<Topology, ConfigError> {
    let topology = Topology::decode(bytes).map_err(ConfigError::Decode)?;
    if topology.vms.is_empty() {
        return Err(ConfigError::NoVms);
    }
    let vcpus = topology.vms.iter().map(vcpus).sum();
    if vcpus > cpus {
        return Err(ConfigError::TooFewCpus { vcpus, cpus });
    }
    for image in images(&topology) {
        if !ram.iter().any(|ram| ram.covers(image)) {
            return Err(ConfigError::NotInRam(image));
        }
    }
    Ok(topology)
}

/// How many vCPUs a VM has.
fn vcpus(vm: &Vm) -> usize {
    usize::from(vm.vcpus)
}

/// A vCPU of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the VM.
    pub vm: u8,
    /// The vCPU.
    pub vcpu: VcpuId,
}

/// All vCPUs of all VMs, each with the CPU that it has for itself: the first CPUs are those of the first VM.
pub fn places(topology: &Topology) -> impl Iterator<Item = (CpuId, Place)> + '_ {
    let of = |(vm, description): (u8, &Vm)| {
        let vcpus = (0u8..).map_while(VcpuId::new).take(vcpus(description));
        vcpus.map(move |vcpu| Place { vm, vcpu }).collect::<heapless::Vec<_, { map::VCPUS }>>()
    };
    let all = (0u8..).zip(&topology.vms).flat_map(of);
    (0u8..).map(CpuId::new).zip(all)
}

/// The CPUs of the vCPUs of VM `vm`, in their order.
#[must_use]
pub fn cpus(topology: &Topology, vm: u8) -> heapless::Vec<CpuId, { map::VCPUS }> {
    places(topology).filter(|(_, place)| place.vm == vm).map(|(cpu, _)| cpu).collect()
}

/// Where the images of all VMs are; empty ones left out.
pub fn images(topology: &Topology) -> impl Iterator<Item = HostRange> + '_ {
    let all = topology.vms.iter().flat_map(|vm| core::iter::once(vm.kernel).chain(vm.initrd));
    all.filter_map(|image| HostRange::new(HostAddr::new(image.address), image.size))
}

/// The memory of a connection's dataports, in their order.
pub type Memories = heapless::Vec<&'static PhysicalMemory, { crossvm_manifest::MAX_DATAPORTS }>;

/// Which of a connection's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    One,
    Other,
}

/// One end of a connection, as the one at this end sees it.
#[derive(Debug, Clone, Copy)]
pub struct OwnEnd<'a> {
    /// Its place in the topology's list.
    pub index: usize,
    /// The connection.
    pub connection: &'a Connection,
    /// How its events interrupt.
    pub interrupt: InterruptMode,
    /// The event id that the other end's events arrive under: the how-manieth connection of this peer it is.
    pub event: EventId,
    /// Who is at the other end.
    pub peer: Peer,
    /// The event id that this end's events arrive under at the other end.
    pub peer_event: EventId,
    side: Side,
}

impl OwnEnd<'_> {
    /// What this end may do with each dataport, and how wide the addresses are where it may be.
    pub fn dataports(&self) -> impl Iterator<Item = (Rights, BarWidth)> {
        self.connection.dataports.iter().map(|dataport| {
            let [one, other] = dataport.rights;
            let rights = match self.side {
                Side::One => one,
                Side::Other => other,
            };
            let rights = match rights {
                crossvm_manifest::Rights::Read => Rights::Read,
                crossvm_manifest::Rights::ReadWrite => Rights::ReadWrite,
            };
            let width = match dataport.width {
                Width::Bits32 => BarWidth::Bits32,
                Width::Bits64 => BarWidth::Bits64,
            };
            (rights, width)
        })
    }
}

/// How the connections of a VM look to its guest.
#[must_use]
pub fn device(device: Device) -> Config {
    let profile = match device.profile {
        crossvm_manifest::Profile::Reference => Profile::Reference,
        crossvm_manifest::Profile::Extended => Profile::Extended,
    };
    let event_bar = match device.event_bar {
        EventBar::Kib4 => EventBarSize::Kib4,
        EventBar::Kib16 => EventBarSize::Kib16,
        EventBar::Kib64 => EventBarSize::Kib64,
    };
    Config { profile, event_bar, ..Config::default() }
}

/// The ends of `peer`, in the order of the topology. At most 64: a topology has no more connections.
pub fn ends(topology: &Topology, peer: Peer) -> impl Iterator<Item = OwnEnd<'_>> {
    let own = topology.connections.iter().enumerate().filter_map(move |(index, connection)| {
        let [one, other] = connection.ends;
        let (side, own, other) = match (one.peer == peer, other.peer == peer) {
            (true, _) => (Side::One, one, other),
            (false, true) => (Side::Other, other, one),
            _ => return None,
        };
        let interrupt = match own.interrupt {
            Interrupt::Own => InterruptMode::OwnLine,
            Interrupt::Shared => InterruptMode::SharedLine,
        };
        Some((index, connection, side, interrupt, other.peer, number_at(topology, other.peer, index)?))
    });
    (0..).zip(own).filter_map(|(number, (index, connection, side, interrupt, peer, peer_event))| {
        Some(OwnEnd { index, connection, interrupt, event: EventId::new(number)?, peer, peer_event, side })
    })
}

/// The how-manieth connection of `peer` the connection `index` is.
fn number_at(topology: &Topology, peer: Peer, index: usize) -> Option<EventId> {
    let has = |connection: &&Connection| connection.ends.iter().any(|end| end.peer == peer);
    EventId::new(u8::try_from(topology.connections.iter().take(index).filter(has).count()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_manifest::{Component, ComponentKind, Dataport, End, Image, Reboot, text};

    fn topology() -> Topology {
        let mut topology = Topology::default();
        for name in ["vm0", "vm1"] {
            let kernel = Image { address: 0x4220_0000, size: 0x1000 };
            let vm = Vm {
                name: text(name).unwrap(),
                memory: 256 << 20,
                vcpus: 1,
                device: Device::default(),
                on_reboot: Reboot::default(),
                kernel,
                initrd: None,
                command_line: text("").unwrap(),
            };
            topology.vms.push(vm).unwrap();
        }
        topology.components.push(Component { name: text("mirror").unwrap(), kind: ComponentKind::Reverse }).unwrap();
        for (name, peers) in
            [("bulk", [Peer::Vm(0), Peer::Vm(1)]), ("reverse", [Peer::Component(0), Peer::Vm(1)]), ("ping", [Peer::Vm(1), Peer::Vm(0)])]
        {
            let ends = peers.map(|peer| End { peer, interrupt: Interrupt::Own });
            let dataport = Dataport { size: 4096, rights: [crossvm_manifest::Rights::ReadWrite; 2], width: Width::Bits32 };
            let dataports = [dataport].into_iter().collect();
            topology.connections.push(Connection { name: text(name).unwrap(), dataports, ends }).unwrap();
        }
        topology
    }

    #[test]
    fn the_topology_is_found_on_the_command_line() {
        let range = HostRange::new(HostAddr::new(0x4200_0000), 0x456).unwrap();
        assert_eq!(locate_topology("a=b crossvm.topology=0x42000000,0x456 c"), Ok(range));
        assert_eq!(locate_topology("crossvm.topology"), Err(ConfigError::NoTopology));
        for bad in ["1,2", "0x1", "0x1,0x", "0x1,0x0", "0xffffffffffffffff,0x2", "0x1,0x2,0x3", ""] {
            assert_eq!(locate_topology(&std::format!("crossvm.topology={bad}")), Err(ConfigError::BadTopology), "{bad}");
        }
    }

    #[test]
    fn both_ends_agree_on_event_ids() {
        let topology = topology();
        let peers = [Peer::Vm(0), Peer::Vm(1), Peer::Component(0)];
        for own in peers.iter().flat_map(|peer| ends(&topology, *peer).map(move |end| (*peer, end))) {
            let (peer, own) = own;
            let other = ends(&topology, own.peer).find(|end| end.index == own.index).unwrap();
            assert_eq!((other.peer, other.event, other.peer_event), (peer, own.peer_event, own.event));
        }
        let ids = |peer| ends(&topology, peer).map(|end| end.event.bit()).collect::<std::vec::Vec<_>>();
        assert_eq!(ids(Peer::Vm(0)), [0, 1]);
        assert_eq!(ids(Peer::Vm(1)), [0, 1, 2]);
        assert_eq!(ids(Peer::Component(0)), [0]);
    }

    #[test]
    fn each_end_has_its_own_rights_and_interrupt() {
        let mut topology = topology();
        let second =
            Dataport { size: 8192, rights: [crossvm_manifest::Rights::ReadWrite, crossvm_manifest::Rights::Read], width: Width::Bits64 };
        // `ping`, whose first end is vm1.
        topology.connections[2].dataports.push(second).unwrap();
        topology.connections[2].ends[1].interrupt = Interrupt::Shared;
        let end = |vm| ends(&topology, Peer::Vm(vm)).last().unwrap();
        assert_eq!((end(0).interrupt, end(1).interrupt), (InterruptMode::SharedLine, InterruptMode::OwnLine));
        let first = (Rights::ReadWrite, BarWidth::Bits32);
        assert!(end(0).dataports().eq([first, (Rights::Read, BarWidth::Bits64)]));
        assert!(end(1).dataports().eq([first, (Rights::ReadWrite, BarWidth::Bits64)]));
    }

    #[test]
    fn every_vcpu_has_a_cpu_of_its_own() {
        let mut topology = topology();
        topology.vms[0].vcpus = 2;
        topology.vms[1].vcpus = 3;
        let places: std::vec::Vec<_> = places(&topology).map(|(cpu, place)| (cpu.get(), place.vm, place.vcpu.index())).collect();
        assert_eq!(places, [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 1, 2)]);
        assert_eq!(cpus(&topology, 1), [2, 3, 4].map(CpuId::new));
    }

    #[test]
    fn what_the_machine_cannot_run_is_refused() {
        let topology = topology();
        let mut buffer = [0; 1024];
        let bytes = topology.encode(&mut buffer).unwrap();
        let ram = [HostRange::new(HostAddr::new(0x4000_0000), 0x4000_0000).unwrap()];
        assert_eq!(read_topology(bytes, &ram, 2), Ok(topology.clone()));
        assert_eq!(read_topology(bytes, &ram, 1), Err(ConfigError::TooFewCpus { vcpus: 2, cpus: 1 }));
        assert!(matches!(read_topology(bytes, &[], 2), Err(ConfigError::NotInRam(_))));
        assert!(matches!(read_topology(b"nonsense", &ram, 2), Err(ConfigError::Decode(_))));
        let refused = |change: fn(&mut Topology)| {
            let mut topology = topology.clone();
            change(&mut topology);
            let mut buffer = [0; 1024];
            read_topology(topology.encode(&mut buffer).unwrap(), &ram, 2)
        };
        assert_eq!(refused(|topology| topology.vms[1].vcpus = 2), Err(ConfigError::TooFewCpus { vcpus: 3, cpus: 2 }));
        let mut buffer = [0; 64];
        let nothing = Topology::default().encode(&mut buffer).unwrap();
        assert_eq!(read_topology(nothing, &ram, 2), Err(ConfigError::NoVms));
    }
}
