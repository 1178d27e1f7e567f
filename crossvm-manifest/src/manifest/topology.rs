//! From a manifest to the topology that a VMM composes.

use super::{Connection, Manifest, Vm};
use crate::{Component, Connection as Wired, End, Error, Image, Interrupt, Peer, Problem, Topology, text};

/// Where a VM's images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// The kernel.
    pub kernel: Image,
    /// The initial RAM disk.
    pub initrd: Option<Image>,
}

impl Manifest {
    /// The topology, with each VM's images where `place` says. A VMM that loads them from files itself says nothing of use there.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::NoSpace`] or [`Error::Problem`]: never for a manifest that was read without mistakes.
    pub fn topology(&self, mut place: impl FnMut(&Vm) -> Images) -> Result<Topology, Error> {
        let mut topology = Topology::default();
        for vm in &self.vms {
            let Images { kernel, initrd } = place(vm);
            let (name, command_line) = (text(&vm.name)?, text(&vm.command_line)?);
            let Vm { memory, vcpus, device, on_reboot, .. } = *vm;
            let vm = crate::Vm { name, memory, vcpus, device, on_reboot, kernel, initrd, command_line };
            topology.vms.push(vm).map_err(|_| Error::NoSpace)?;
        }
        for component in &self.components {
            let component = Component { name: text(&component.name)?, kind: component.kind };
            topology.components.push(component).map_err(|_| Error::NoSpace)?;
        }
        for connection in &self.connections {
            let Connection { name, dataports, ends, .. } = connection;
            let dataports = dataports.as_slice().try_into().map_err(|_| Error::NoSpace)?;
            let [one, other] = ends;
            let ends = [self.end(one)?, self.end(other)?];
            let connection = Wired { name: text(name)?, dataports, ends };
            topology.connections.push(connection).map_err(|_| Error::NoSpace)?;
        }
        topology.check().map_err(Error::Problem)?;
        Ok(topology)
    }

    fn end(&self, end: &super::End) -> Result<End, Error> {
        let place = |position: Option<usize>| position.and_then(|index| u8::try_from(index).ok());
        let vm = place(self.vms.iter().position(|vm| vm.name == end.peer)).map(Peer::Vm);
        let component = place(self.components.iter().position(|component| component.name == end.peer)).map(Peer::Component);
        let peer = vm.or(component).ok_or(Error::Problem(Problem::UnknownPeer { connection: 0 }))?;
        let ends = self.connections.iter().flat_map(|connection| &connection.ends);
        let usual = || Interrupt::usual(ends.filter(|other| other.peer == end.peer).count());
        Ok(End { peer, interrupt: end.interrupt.unwrap_or_else(usual) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;
    use crate::manifest::Source;

    #[test]
    fn names_become_numbers_and_lines_the_usual_ones() {
        let text = r#"
            [vm.a]
            kernel = "Image"
            vcpus = 2
            [vm.b]
            kernel = "Image"
            command-line = "quiet"
            [component.mirror]
            kind = "reverse"
            [[connection]]
            name = "lines"
            between = ["mirror", "b"]
            size = "64 KiB"
            [[connection]]
            name = "frames"
            between = ["a", "b"]
            size = "4 KiB"
            rights = { b = "r" }
            interrupt = { a = "shared" }
        "#;
        let manifest = Manifest::parse(&Source::new("x", text)).unwrap();
        let image = |address| Image { address, size: 1 };
        let places = |vm: &Vm| Images { kernel: image(vm.vcpus.into()), initrd: (vm.name == "b").then(|| image(7)) };
        let topology = manifest.topology(places).unwrap();
        let vms: Vec<_> = topology.vms.iter().map(|vm| (vm.name.as_str(), vm.vcpus, vm.kernel, vm.initrd)).collect();
        assert_eq!(vms, [("a", 2, image(2), None), ("b", 1, image(1), Some(image(7)))]);
        assert_eq!((topology.vms[1].command_line.as_str(), topology.components[0].name.as_str()), ("quiet", "mirror"));
        let end = |peer, interrupt| End { peer, interrupt };
        let (own, shared) = (Interrupt::Own, Interrupt::Shared);
        assert_eq!(topology.connections[0].ends, [end(Peer::Component(0), own), end(Peer::Vm(1), own)]);
        assert_eq!(topology.connections[1].ends, [end(Peer::Vm(0), shared), end(Peer::Vm(1), own)]);
        assert_eq!(topology.connections[1].dataports[0].rights, [Rights::ReadWrite, Rights::Read]);
    }
}
