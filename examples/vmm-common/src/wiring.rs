//! Who hears of whose events, and with which memory: a topology's mailboxes, the ends of its connections, its components.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crossvm_manifest::{Peer, Topology};

use crate::components::{Component, Port, Seat};
use crate::config::{self, Memories, OwnEnd};
use crate::host::CpuId;
use crate::mail::{Mailbox, Notify};
use crate::platform::Platform;

/// Where events arrive. Mailboxes live for ever.
#[derive(Debug)]
pub struct Mailboxes {
    /// Those of the VMs, by their number.
    pub vms: Vec<&'static Mailbox>,
    /// Those of the components, by their number.
    pub components: Vec<&'static Mailbox>,
}

impl Mailboxes {
    /// One for each VM and each component.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        let leak = |mailbox| &*Box::leak(Box::new(mailbox));
        // The CPU of the first vCPU looks after the mail, whether that vCPU is on or off.
        let cpu = |vm| config::cpus(topology, vm).first().copied().unwrap_or(CpuId::BOOT);
        let vms = (0..).zip(&topology.vms).map(|(number, _)| leak(Mailbox::for_vm(cpu(number)))).collect();
        let components = topology.components.iter().map(|_| leak(Mailbox::for_component())).collect();
        Self { vms, components }
    }

    /// That of `peer`.
    #[must_use]
    pub fn of(&self, peer: Peer) -> Option<&'static Mailbox> {
        match peer {
            Peer::Vm(index) => self.vms.get(usize::from(index)).copied(),
            Peer::Component(index) => self.components.get(usize::from(index)).copied(),
        }
    }

    /// The ends of `peer`, each with what signals the other end.
    pub fn wires<'a, P: Platform>(
        &'a self,
        topology: &'a Topology,
        peer: Peer,
        platform: P,
    ) -> impl Iterator<Item = (OwnEnd<'a>, Notify<P>)> {
        config::ends(topology, peer).filter_map(move |end| Some((end, Notify::new(self.of(end.peer)?, end.peer_event, platform))))
    }

    /// The components, in their seats. `memories` has the memory of each connection, in the topology's order.
    #[must_use]
    pub fn seats<P: Platform>(&self, topology: &Topology, memories: &[Memories], platform: P) -> Vec<Seat<P>> {
        let described = (0..).zip(topology.components.iter().zip(&self.components));
        let seat = |(number, (component, mailbox)): (u8, (&crossvm_manifest::Component, &&'static Mailbox))| {
            let wires = self.wires(topology, Peer::Component(number), platform);
            let ports = wires.filter_map(|(end, emit)| {
                let dataports = memories.get(end.index)?.clone();
                Some(Port { name: end.connection.name.clone(), event: end.event, dataports, emit, received: 0, emitted: 0 })
            });
            Seat::new(component.name.clone(), mailbox, Component::new(component.kind, ports))
        };
        described.map(seat).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::Recorder;
    use crossvm_core::Notifier;
    use crossvm_manifest::{ComponentKind, Connection, Device, End, Image, Interrupt, Reboot, Vm, text};

    #[test]
    fn what_one_end_emits_the_other_end_is_told_under_its_own_number() {
        let mut topology = Topology::default();
        for (name, vcpus) in [("a", 2), ("b", 1)] {
            let kernel = Image { address: 0x4220_0000, size: 0x1000 };
            let (device, on_reboot) = (Device::default(), Reboot::default());
            let (name, command_line) = (text(name).unwrap(), text("").unwrap());
            let vm = Vm { name, memory: 256 << 20, vcpus, device, on_reboot, kernel, initrd: None, command_line };
            topology.vms.push(vm).unwrap();
        }
        topology.components.push(crossvm_manifest::Component { name: text("sum").unwrap(), kind: ComponentKind::Digest }).unwrap();
        for (name, peers) in [("crc", [Peer::Component(0), Peer::Vm(1)]), ("wire", [Peer::Vm(0), Peer::Vm(1)])] {
            let ends = peers.map(|peer| End { peer, interrupt: Interrupt::Own });
            let dataports = core::iter::empty::<crossvm_manifest::Dataport>().collect();
            topology.connections.push(Connection { name: text(name).unwrap(), dataports, ends }).unwrap();
        }
        let (mailboxes, platform) = (Mailboxes::new(&topology), Recorder::new());
        // b's events go to a, whose vCPUs come first, and to the component.
        for (_, notify) in mailboxes.wires(&topology, Peer::Vm(1), platform) {
            notify.notify().unwrap();
        }
        assert_eq!(platform.kicks(), [CpuId::new(0)]);
        let taken = |peer| mailboxes.of(peer).unwrap().take().map(|(event, count)| (event.bit(), count)).collect::<Vec<_>>();
        assert_eq!((taken(Peer::Vm(0)), taken(Peer::Component(0)), taken(Peer::Vm(1))), ([(0, 1)].to_vec(), [(0, 1)].to_vec(), Vec::new()));
        assert_eq!(mailboxes.of(Peer::Vm(2)).map(|_| ()), None);

        let seats = mailboxes.seats(&topology, &[Memories::new(), Memories::new()], platform);
        for (_, notify) in mailboxes.wires(&topology, Peer::Vm(1), platform).take(1) {
            notify.notify().unwrap();
        }
        seats[0].serve(crossvm_core::EventId::new(0).unwrap(), platform);
        assert_eq!(taken(Peer::Vm(1)), [(0, 1)], "the component has answered");
    }
}
