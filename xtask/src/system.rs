//! A system as the user describes it: names and files. It becomes a [`Topology`] once the files have addresses.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use crossvm_manifest::{Component, ComponentKind, Connection, End, Image, MAX_COMMAND_LINE, Peer, Rights, Topology, Vm, text};

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
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) command_line: String,
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
    /// Size of the dataport in bytes.
    pub(crate) size: u64,
    pub(crate) ends: [EndSpec; 2],
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndSpec {
    /// Name of a VM or component.
    pub(crate) peer: String,
    pub(crate) rights: Rights,
}

impl EndSpec {
    /// An end that may read and write.
    pub(crate) fn writer(peer: &str) -> Self {
        Self { peer: peer.to_owned(), rights: Rights::ReadWrite }
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
            let machine = Vm { name, memory: vm.memory, kernel, initrd, command_line };
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
            let connection = Connection { name, size: connection.size, ends };
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
        Ok(End { peer, rights: end.rights })
    }

    fn peers(&self) -> Vec<&str> {
        self.vms.iter().map(|vm| vm.name.as_str()).chain(self.components.iter().map(|component| component.name.as_str())).collect()
    }

    /// A problem with names in place of positions.
    fn explain(&self, problem: crossvm_manifest::Problem) -> String {
        use crossvm_manifest::{NameRule, Problem};
        let connection = |index: usize| {
            self.connections.get(index).map_or_else(|| index.to_string(), |connection| format!("`{}`", connection.name.escape_debug()))
        };
        match problem {
            Problem::PeerName { peer: Peer::Vm(index) } => {
                let name = self.vms.get(usize::from(index)).map_or("?", |vm| vm.name.as_str());
                format!("VM `{}`: {}", name.escape_debug(), NameRule::Peer)
            }
            Problem::PeerName { peer: Peer::Component(index) } => {
                let name = self.components.get(usize::from(index)).map_or("?", |component| component.name.as_str());
                format!("component `{}`: {}", name.escape_debug(), NameRule::Peer)
            }
            Problem::ConnectionName { connection: index } => format!("connection {}: {}", connection(index), NameRule::Connection),
            Problem::Memory { vm } => {
                let name = self.vms.get(vm).map_or("?", |vm| vm.name.as_str());
                format!("VM `{name}`: the memory must be a positive multiple of 2 MiB")
            }
            Problem::Size { connection: index } => {
                format!("connection {}: the size must be a positive multiple of 4 KiB", connection(index))
            }
            Problem::Loop { connection: index } => format!("connection {}: both ends are the same", connection(index)),
            Problem::NoVm { connection: index } => {
                format!("connection {}: neither end is a VM; one must be, components only answer VMs", connection(index))
            }
            Problem::SameConnectionName { connection: index } => {
                format!("connection {}: one of its ends has another connection of this name", connection(index))
            }
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        let vm = |name: &str| VmSpec {
            name: name.to_owned(),
            memory: 64 << 20,
            kernel: PathBuf::from("Image"),
            initrd: Some(PathBuf::from("initrd")),
            command_line: String::new(),
        };
        System {
            vms: vec![vm("a"), vm("b")],
            components: vec![ComponentSpec { name: "mirror".to_owned(), kind: ComponentKind::Reverse }],
            connections: vec![ConnectionSpec {
                name: "wire".to_owned(),
                size: 4096,
                ends: [EndSpec::writer("b"), EndSpec { peer: "mirror".to_owned(), rights: Rights::Read }],
            }],
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
        assert_eq!([ends[0].rights, ends[1].rights], [Rights::ReadWrite, Rights::Read]);
        assert_eq!(topology.vms[1].initrd, Some(Image { address: 0x4200_0000, size: 5 }));
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
        assert!(error(|system| system.connections[0].size = 5).contains("connection `wire`: the size"));
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
