//! A system as the user describes it: names and files. It becomes a [`Topology`] once the files have addresses.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use crossvm_manifest::{
    Component, ComponentKind, Connection, Dataport, Device, End, Image, Interrupt, MAX_COMMAND_LINE, MAX_DATAPORTS, Peer, Problem, Reboot,
    Rights, Topology, Vm, Width, text,
};

/// Guest RAM where nothing else is said.
pub(crate) const DEFAULT_MEMORY: u64 = 256 << 20;

/// Virtual machines, native components and what connects them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) vms: Vec<VmSpec>,
    pub(crate) components: Vec<ComponentSpec>,
    pub(crate) connections: Vec<ConnectionSpec>,
}

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VmSpec {
    pub(crate) name: String,
    /// Guest RAM in bytes.
    pub(crate) memory: u64,
    pub(crate) vcpus: u8,
    pub(crate) device: Device,
    pub(crate) on_reboot: Reboot,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) command_line: String,
}

impl VmSpec {
    /// A VM with one vCPU, the usual memory and no initial RAM disk.
    pub(crate) fn new(name: &str, kernel: PathBuf, command_line: String) -> Self {
        Self {
            name: name.to_owned(),
            memory: DEFAULT_MEMORY,
            vcpus: 1,
            device: Device::default(),
            on_reboot: Reboot::default(),
            kernel,
            initrd: None,
            command_line,
        }
    }
}

/// One native component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentSpec {
    pub(crate) name: String,
    pub(crate) kind: ComponentKind,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectionSpec {
    pub(crate) name: String,
    pub(crate) dataports: Vec<Dataport>,
    pub(crate) ends: [EndSpec; 2],
}

impl ConnectionSpec {
    /// A connection of these two with one dataport that both may write.
    pub(crate) fn new(name: &str, peers: [&str; 2], size: u64) -> Self {
        Self {
            name: name.to_owned(),
            dataports: vec![Dataport { size, rights: [Rights::ReadWrite; 2], width: Width::default() }],
            ends: peers.map(EndSpec::new),
        }
    }
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndSpec {
    /// Name of a VM or component.
    pub(crate) peer: String,
    /// The interrupt line. `None`: the usual one, see [`Interrupt::usual`].
    pub(crate) interrupt: Option<Interrupt>,
}

impl EndSpec {
    /// An end whose interrupt line is the usual one.
    pub(crate) fn new(peer: &str) -> Self {
        Self { peer: peer.to_owned(), interrupt: None }
    }
}

impl System {
    /// The topology, with every file where `place` says that it is in memory.
    pub(crate) fn topology(&self, mut place: impl FnMut(&PathBuf) -> Result<Image>) -> Result<Topology> {
        let mut topology = Topology::default();
        for vm in &self.vms {
            let context = || format!("VM `{}`", vm.name);
            let command_line = text(&vm.command_line)
                .map_err(|_| anyhow!("the kernel command line has {} bytes; at most {MAX_COMMAND_LINE} fit", vm.command_line.len()))
                .with_context(context)?;
            let kernel = place(&vm.kernel).with_context(context)?;
            let initrd = vm.initrd.as_ref().map(&mut place).transpose().with_context(context)?;
            let name = text(&vm.name).with_context(context)?;
            let VmSpec { memory, vcpus, device, on_reboot, .. } = *vm;
            let machine = Vm { name, memory, vcpus, device, on_reboot, kernel, initrd, command_line };
            topology.vms.push(machine).map_err(|_| anyhow!("more than {} VMs", crossvm_manifest::MAX_VMS))?;
        }
        for component in &self.components {
            let name = text(&component.name).with_context(|| format!("component `{}`", component.name))?;
            let component = Component { name, kind: component.kind };
            topology.components.push(component).map_err(|_| anyhow!("more than {} components", crossvm_manifest::MAX_COMPONENTS))?;
        }
        for connection in &self.connections {
            let context = || format!("connection `{}`", connection.name);
            let name = text(&connection.name).with_context(context)?;
            let [a, b] = &connection.ends;
            let ends = [self.end(a).with_context(context)?, self.end(b).with_context(context)?];
            let dataports = connection.dataports.as_slice().try_into();
            let dataports = dataports.map_err(|_| anyhow!("more than {MAX_DATAPORTS} dataports")).with_context(context)?;
            let connection = Connection { name, dataports, ends };
            topology.connections.push(connection).map_err(|_| anyhow!("more than {} connections", crossvm_manifest::MAX_CONNECTIONS))?;
        }
        topology.check().map_err(|problem| anyhow!("{}", self.explain(problem)))?;
        Ok(topology)
    }

    fn end(&self, end: &EndSpec) -> Result<End> {
        let vm = self.vms.iter().position(|vm| vm.name == end.peer).and_then(|index| u8::try_from(index).ok());
        let component = self.components.iter().position(|component| component.name == end.peer).and_then(|index| u8::try_from(index).ok());
        let peer = match (vm, component) {
            (Some(index), _) => Peer::Vm(index),
            (None, Some(index)) => Peer::Component(index),
            (None, None) => bail!("`{}` is neither a VM nor a component; there are: {}", end.peer, self.peers().join(", ")),
        };
        Ok(End { peer, interrupt: end.interrupt.unwrap_or_else(|| self.usual_interrupt(&end.peer)) })
    }

    fn usual_interrupt(&self, peer: &str) -> Interrupt {
        let ends = self.connections.iter().flat_map(|connection| &connection.ends).filter(|end| end.peer == peer).count();
        Interrupt::usual(ends)
    }

    fn peers(&self) -> Vec<&str> {
        self.vms.iter().map(|vm| vm.name.as_str()).chain(self.components.iter().map(|component| component.name.as_str())).collect()
    }

    /// A problem with names in place of positions.
    fn explain(&self, problem: Problem) -> String {
        let text = problem.to_string();
        let vm = |index: usize| self.vms.get(index).map(|vm| format!("VM `{}`", vm.name.escape_debug()));
        let component = |index: usize| self.components.get(index).map(|component| format!("component `{}`", component.name.escape_debug()));
        let subject = match problem {
            Problem::PeerName { peer: Peer::Vm(index) } => vm(index.into()),
            Problem::PeerName { peer: Peer::Component(index) } => component(index.into()),
            Problem::Memory { vm: index } | Problem::Vcpus { vm: index } | Problem::BusFull { vm: index } => vm(index),
            Problem::ConnectionName { connection }
            | Problem::SameConnectionName { connection }
            | Problem::Size { connection, .. }
            | Problem::TooLarge { connection, .. }
            | Problem::Registers { connection }
            | Problem::NobodyWrites { connection, .. }
            | Problem::ComponentNeeds { connection, .. }
            | Problem::UnknownPeer { connection }
            | Problem::Loop { connection }
            | Problem::NoVm { connection } => {
                self.connections.get(connection).map(|connection| format!("connection `{}`", connection.name.escape_debug()))
            }
            _ => None,
        };
        // What has a subject begins with it: "connection 3: …".
        match (subject, text.split_once(": ")) {
            (Some(subject), Some((_, rest))) => format!("{subject}: {rest}"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        let vm = |name: &str| VmSpec {
            memory: 64 << 20,
            initrd: Some(PathBuf::from("initrd")),
            ..VmSpec::new(name, PathBuf::from("Image"), String::new())
        };
        System {
            vms: vec![vm("a"), vm("b")],
            components: vec![ComponentSpec { name: "mirror".to_owned(), kind: ComponentKind::Reverse }],
            connections: vec![ConnectionSpec::new("wire", ["b", "mirror"], 4096)],
        }
    }

    fn place(_: &PathBuf) -> Result<Image> {
        Ok(Image { address: 0x4200_0000, size: 5 })
    }

    #[test]
    fn names_become_positions() {
        let topology = system().topology(place).unwrap();
        let ends = topology.connections[0].ends;
        assert_eq!([ends[0].peer, ends[1].peer], [Peer::Vm(1), Peer::Component(0)]);
        assert_eq!(topology.vms[1].initrd, Some(Image { address: 0x4200_0000, size: 5 }));
    }

    #[test]
    fn connections_share_a_line_where_there_are_more_than_lines() {
        let mut system = system();
        system.connections = (0..32).map(|number| ConnectionSpec::new(&number.to_string(), ["a", "b"], 4096)).collect();
        system.connections[0].ends[0].interrupt = Some(Interrupt::Own);
        let topology = system.topology(place).unwrap();
        let lines = |connection: usize| topology.connections[connection].ends.map(|end| end.interrupt);
        assert_eq!((lines(0), lines(31)), ([Interrupt::Own, Interrupt::Shared], [Interrupt::Shared; 2]));
        system.connections.pop();
        assert_eq!(system.topology(place).unwrap().connections[30].ends.map(|end| end.interrupt), [Interrupt::Own; 2]);
    }

    #[test]
    fn mistakes_are_told_by_name() {
        let error = |change: fn(&mut System)| {
            let mut system = system();
            change(&mut system);
            format!("{:#}", system.topology(place).unwrap_err())
        };
        let unknown = error(|system| system.connections[0].ends[0].peer = "c".to_owned());
        assert_eq!(unknown, "connection `wire`: `c` is neither a VM nor a component; there are: a, b, mirror");
        assert!(error(|system| system.vms[1].memory = 5).contains("VM `b`: the memory"));
        let read_only = error(|system| system.connections[0].dataports[0].rights = [Rights::Read; 2]);
        assert_eq!(read_only, "connection `wire`: neither end may write to dataport 0; one must");
        let needs = error(|system| system.components[0].kind = ComponentKind::Digest);
        assert!(needs.starts_with("connection `wire`: a component of kind `digest` must have a dataport 1"), "{needs}");
        let own = |system: &mut System| {
            system.connections = (0..32).map(|number| ConnectionSpec::new(&number.to_string(), ["a", "b"], 4096)).collect();
            system.connections.iter_mut().for_each(|connection| connection.ends[1].interrupt = Some(Interrupt::Own));
        };
        assert!(error(own).starts_with("VM `b`: too many connections"));
        assert_eq!(error(|system| system.vms[1].vcpus = 9), "VM `b`: it must have 1 to 8 vCPUs");
        assert!(error(|system| system.connections[0].dataports[0].size = 5).contains("connection `wire`: the size of dataport 0 must be"));
        assert!(error(|system| system.connections[0].ends[1].peer = "b".to_owned()).contains("both ends"));
        assert!(error(|system| system.vms[0].command_line = "x".repeat(2000)).contains("2000 bytes; at most 1024"));
        let twice = error(|system| {
            system.connections.clear();
            system.vms[1].name = "a".to_owned();
        });
        assert!(twice.contains("same name"));
        let rule = crossvm_manifest::NameRule::Peer;
        assert_eq!(error(|system| system.vms[0].name = "vmm".to_owned()), format!("VM `vmm`: {rule}"));
        let component = error(|system| {
            system.connections.clear();
            system.components[0].name = "a]".to_owned();
        });
        assert_eq!(component, format!("component `a]`: {rule}"));
        assert!(error(|system| system.connections[0].name = "a b".to_owned()).starts_with("connection `a b`: the name of a connection"));
        let without_vm = error(|system| {
            system.components.push(ComponentSpec { name: "other".to_owned(), kind: ComponentKind::Reverse });
            system.connections[0].ends[0].peer = "other".to_owned();
        });
        assert_eq!(without_vm, "connection `wire`: neither end is a VM; one must be, components only answer VMs");
    }
}
