//! Which of a topology's VMs, components and connections are this process's.

use std::fmt;

use crossvm_manifest::{Peer, Topology};
use sha2::{Digest, Sha256};

/// Who is at the two ends of a connection, as this process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Both ends are in this process.
    Here,
    /// One end is a VM of this process, the other one a VM of another.
    Between {
        /// The VM of this process.
        own: u8,
        /// The VM of the other one.
        other: u8,
    },
    /// Neither end is in this process.
    Elsewhere,
}

/// Why a process cannot run the VMs that it was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShareError {
    /// The manifest has no VM of this name.
    UnknownVm {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// No VM is left to run.
    NoVm,
    /// A component is connected with VMs of different processes: it has one place.
    SplitComponent {
        /// The component.
        component: String,
        /// A VM of this process that it is connected with.
        own: String,
        /// One of another process.
        other: String,
    },
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVm { name, known } => write!(f, "the manifest has no VM `{name}`; there are: {}", known.join(", ")),
            Self::NoVm => f.write_str("there is no VM to run"),
            Self::SplitComponent { component, own, other } => write!(
                f,
                "the component `{component}` is connected with `{own}`, which runs here, and with `{other}`, which runs elsewhere: a component runs in the process of the VMs that it is connected with; run `{own}` and `{other}` in one process, or give each a \
                 component of its own"
            ),
        }
    }
}

impl std::error::Error for ShareError {}

/// What of a topology is this process's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    vms: Vec<bool>,
    components: Vec<bool>,
    places: Vec<Place>,
}

impl Share {
    /// The share of a process that runs the VMs with the names `only`, all of them where there are none, and the components that they are connected
    /// with.
    ///
    /// # Errors
    /// [`ShareError`].
    pub(crate) fn new(topology: &Topology, only: &[String]) -> Result<Self, ShareError> {
        let known = || topology.vms.iter().map(|vm| vm.name.as_str().to_owned()).collect();
        if let Some(name) = only.iter().find(|name| topology.vms.iter().all(|vm| vm.name != name.as_str())) {
            return Err(ShareError::UnknownVm { name: name.clone(), known: known() });
        }
        let vms: Vec<bool> = topology.vms.iter().map(|vm| only.is_empty() || only.iter().any(|name| vm.name == name.as_str())).collect();
        if !vms.contains(&true) {
            return Err(ShareError::NoVm);
        }
        let components = (0..topology.components.len()).map(|component| !peers(topology, &vms, component).0.is_empty()).collect();
        let places = topology.connections.iter().map(|connection| place(&vms, connection.ends.map(|end| end.peer))).collect();
        Ok(Self { vms, components, places })
    }

    /// That the VMs that are not of this process can run in others: no component of this one is connected with one of them.
    ///
    /// # Errors
    /// [`ShareError::SplitComponent`].
    pub(crate) fn check_split(&self, topology: &Topology) -> Result<(), ShareError> {
        let name = |vm: u8| topology.vms.get(usize::from(vm)).map_or_else(String::new, |vm| vm.name.as_str().to_owned());
        for (number, component) in topology.components.iter().enumerate() {
            let (own, others) = peers(topology, &self.vms, number);
            if let (Some(own), Some(other)) = (own.first(), others.first()) {
                let component = component.name.as_str().to_owned();
                return Err(ShareError::SplitComponent { component, own: name(*own), other: name(*other) });
            }
        }
        Ok(())
    }

    /// Whether `peer` is of this process.
    pub(crate) fn has(&self, peer: Peer) -> bool {
        let (list, index) = match peer {
            Peer::Vm(index) => (&self.vms, index),
            Peer::Component(index) => (&self.components, index),
        };
        list.get(usize::from(index)).copied().unwrap_or(false)
    }

    /// The numbers of this process's VMs.
    pub(crate) fn vms(&self) -> impl Iterator<Item = u8> + '_ {
        (0..).zip(&self.vms).filter(|(_, own)| **own).map(|(vm, _)| vm)
    }

    /// Where the ends of the connection with this index are.
    pub(crate) fn place(&self, connection: usize) -> Place {
        self.places.get(connection).copied().unwrap_or(Place::Elsewhere)
    }

    /// The pairs of an own VM and one of another process that are connected, each once, each with its connections' indices.
    pub(crate) fn pairs(&self) -> Vec<(u8, u8, Vec<usize>)> {
        let mut pairs: Vec<(u8, u8, Vec<usize>)> = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let Place::Between { own, other } = *place else { continue };
            match pairs.iter_mut().find(|(one, two, _)| (*one, *two) == (own, other)) {
                Some((_, _, connections)) => connections.push(index),
                None => pairs.push((own, other, vec![index])),
            }
        }
        pairs
    }
}

/// The VMs that component `component` is connected with: those of this process, and others.
fn peers(topology: &Topology, vms: &[bool], component: usize) -> (Vec<u8>, Vec<u8>) {
    let peers = topology.connections.iter().filter_map(|connection| {
        let [one, other] = connection.ends.map(|end| end.peer);
        match (one, other) {
            (Peer::Component(index), Peer::Vm(vm)) | (Peer::Vm(vm), Peer::Component(index)) if usize::from(index) == component => Some(vm),
            _ => None,
        }
    });
    peers.partition(|vm| vms.get(usize::from(*vm)).copied().unwrap_or(false))
}

fn place(vms: &[bool], ends: [Peer; 2]) -> Place {
    let here = |vm: u8| vms.get(usize::from(vm)).copied().unwrap_or(false);
    match ends {
        [Peer::Vm(one), Peer::Vm(other)] => match (here(one), here(other)) {
            (true, true) => Place::Here,
            (true, false) => Place::Between { own: one, other },
            (false, true) => Place::Between { own: other, other: one },
            (false, false) => Place::Elsewhere,
        },
        // A component is where its VMs are.
        [Peer::Vm(vm), Peer::Component(_)] | [Peer::Component(_), Peer::Vm(vm)] if here(vm) => Place::Here,
        _ => Place::Elsewhere,
    }
}

/// What two processes must agree on, in hexadecimal: the VMs' names, the components and the connections. Kernels, command lines and sizes of
/// memory are each process's own business.
pub(crate) fn digest(topology: &Topology) -> String {
    let names: Vec<&str> = topology.vms.iter().map(|vm| vm.name.as_str()).collect();
    // Plain data with text keys: it always has a form in JSON.
    let text = serde_json::to_vec(&(names, &topology.components, &topology.connections)).unwrap_or_default();
    Sha256::digest(text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crossvm_manifest::{
        Component, ComponentKind, Connection, Dataport, Device, End, Image, Interrupt, Reboot, Rights, Vm, Width, text,
    };

    /// VMs `vm0`, `vm1`, … and the given connections between peers; each has a dataport of 64 KiB and one of 4 KiB.
    pub(crate) fn topology(vms: usize, connections: &[[Peer; 2]]) -> Topology {
        let mut topology = Topology::default();
        for number in 0..vms {
            let kernel = Image { address: 0, size: 0 };
            let (device, on_reboot) = (Device::default(), Reboot::default());
            let (name, command_line) = (text(&format!("vm{number}")).unwrap(), text("").unwrap());
            topology.vms.push(Vm { name, memory: 2 << 20, vcpus: 1, device, on_reboot, kernel, initrd: None, command_line }).unwrap();
        }
        topology.components.push(Component { name: text("mirror").unwrap(), kind: ComponentKind::Reverse }).unwrap();
        for (number, peers) in connections.iter().enumerate() {
            let ends = peers.map(|peer| End { peer, interrupt: Interrupt::Own });
            let dataport = |size| Dataport { size, rights: [Rights::ReadWrite; 2], width: Width::Bits32 };
            let dataports = [64 << 10, 4 << 10].map(dataport).into_iter().collect();
            topology.connections.push(Connection { name: text(&format!("c{number}")).unwrap(), dataports, ends }).unwrap();
        }
        topology
    }

    pub(crate) fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const VMS: [Peer; 3] = [Peer::Vm(0), Peer::Vm(1), Peer::Vm(2)];
    const MIRROR: Peer = Peer::Component(0);

    #[test]
    fn every_connection_and_component_has_one_place() {
        let topology = topology(3, &[[VMS[0], VMS[1]], [VMS[2], VMS[0]], [MIRROR, VMS[0]], [VMS[1], VMS[2]], [VMS[1], VMS[0]]]);
        let share = Share::new(&topology, &names(&["vm0"])).unwrap();
        assert_eq!(share.vms().collect::<Vec<_>>(), [0]);
        assert!(share.has(VMS[0]) && share.has(MIRROR) && !share.has(VMS[1]));
        let places: Vec<Place> = (0..6).map(|connection| share.place(connection)).collect();
        let between = |other| Place::Between { own: 0, other };
        assert_eq!(places, [between(1), between(2), Place::Here, Place::Elsewhere, between(1), Place::Elsewhere]);
        assert_eq!(share.pairs(), [(0, 1, vec![0, 4]), (0, 2, vec![1])]);

        let others = Share::new(&topology, &names(&["vm2", "vm1"])).unwrap();
        assert!(!others.has(MIRROR));
        assert_eq!(others.place(3), Place::Here);
        assert_eq!(others.pairs(), [(1, 0, vec![0, 4]), (2, 0, vec![1])]);

        let all = Share::new(&topology, &[]).unwrap();
        assert!(all.pairs().is_empty() && all.has(MIRROR));
    }

    #[test]
    fn a_component_between_processes_and_unknown_vms_are_refused() {
        let topology = topology(2, &[[MIRROR, VMS[0]], [VMS[1], MIRROR]]);
        let check = |only: &[&str]| Share::new(&topology, &names(only)).unwrap().check_split(&topology);
        let error = check(&["vm1"]).unwrap_err();
        assert_eq!(error, ShareError::SplitComponent { component: "mirror".into(), own: "vm1".into(), other: "vm0".into() });
        assert_eq!((check(&["vm1", "vm0"]), check(&[])), (Ok(()), Ok(())));
        assert!(Share::new(&topology, &names(&["vm1"])).unwrap().has(MIRROR), "it serves those that are here");
        let error = Share::new(&topology, &names(&["vm7"])).unwrap_err();
        assert_eq!(error.to_string(), "the manifest has no VM `vm7`; there are: vm0, vm1");
        assert_eq!(Share::new(&Topology::default(), &[]), Err(ShareError::NoVm));
    }

    #[test]
    fn the_digest_is_of_what_both_must_agree_on() {
        let one = topology(2, &[[VMS[0], VMS[1]]]);
        let mut other = one.clone();
        other.vms[0].memory *= 2;
        other.vms[0].command_line = text("quiet").unwrap();
        assert_eq!(digest(&one), digest(&other));
        assert_eq!(digest(&one).len(), 64);
        other.connections[0].dataports[0].size *= 2;
        assert_ne!(digest(&one), digest(&other));
        let mut other = one.clone();
        other.vms[1].name = text("vm9").unwrap();
        assert_ne!(digest(&one), digest(&other));
    }
}
