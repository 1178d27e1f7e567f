//! What the demonstration consists of: two Linux VMs, a native component, three connections.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use crossvm_manifest::{ComponentKind, Reboot};

use crate::system::{ComponentSpec, ConnectionSpec, System, VmSpec};

/// The VMs, by name.
pub(super) const VMS: [&str; 2] = ["vm0", "vm1"];
/// The native component.
const MIRROR: &str = "mirror";
/// Bytes that go through `bulk`.
pub(super) const BULK_BYTES: u64 = 64 << 20;
/// Round trips over `ping`.
pub(super) const PINGS: u64 = 10_000;
const MEMORY: u64 = 256 << 20;

/// A connection of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(super) struct DemoConnection {
    pub(super) name: &'static str,
    size: u64,
    pub(super) ends: Ends,
}

/// Who is connected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    /// Two VMs.
    Vms([&'static str; 2]),
    /// A VM and a native component.
    VmAndComponent {
        /// The VM.
        vm: &'static str,
        /// The component.
        component: &'static str,
    },
}

impl Ends {
    /// The names of both.
    pub(super) fn peers(self) -> [&'static str; 2] {
        match self {
            Self::Vms(names) => names,
            Self::VmAndComponent { vm, component } => [vm, component],
        }
    }
}

/// The connections, in the order in which the VMs see them.
pub(super) const CONNECTIONS: [DemoConnection; 3] = [
    DemoConnection { name: "reverse", size: 64 << 10, ends: Ends::VmAndComponent { vm: "vm0", component: MIRROR } },
    DemoConnection { name: "bulk", size: 1 << 20, ends: Ends::Vms(VMS) },
    DemoConnection { name: "ping", size: 4 << 10, ends: Ends::Vms(VMS) },
];

/// A mistake made on purpose: the demonstration must notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// vm0 changes one byte of the bulk data behind its own back
    CorruptByte,
    /// vm1's kernel crashes in the middle of the bulk data
    KillGuest,
    /// vm1 leaves one ping without an answer
    MutePeer,
}

impl Sabotage {
    /// The VM that makes the mistake, and the parameter of its kernel that asks for it.
    fn parameter(self) -> (&'static str, &'static str) {
        match self {
            Self::CorruptByte => ("vm0", "demo.sabotage=corrupt"),
            Self::KillGuest => ("vm1", "demo.sabotage=die"),
            Self::MutePeer => ("vm1", "demo.sabotage=mute"),
        }
    }

    /// The check that must fail.
    pub(crate) fn culprit(self) -> &'static str {
        match self {
            Self::CorruptByte => "bulk",
            Self::KillGuest => "power-off-vm1",
            Self::MutePeer => "ping",
        }
    }

    /// Checks that must pass all the same: the failure is the intended one and nothing else.
    pub(crate) fn untouched(self) -> &'static [&'static str] {
        match self {
            Self::CorruptByte => {
                &["hypervisor", "boot-vm0", "boot-vm1", "reverse", "ping", "console-vm0", "console-vm1", "power-off-vm0", "power-off-vm1"]
            }
            Self::KillGuest => &["boot-vm0", "boot-vm1", "devices-vm0", "devices-vm1", "reverse", "console-vm0"],
            Self::MutePeer => &["boot-vm0", "boot-vm1", "reverse", "bulk", "console-vm0", "console-vm1"],
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CorruptByte => "corrupt-byte",
            Self::KillGuest => "kill-guest",
            Self::MutePeer => "mute-peer",
        })
    }
}

/// The whole system, with this kernel and initial RAM disk in both VMs.
pub(super) fn system(kernel: &Path, initrd: &Path, sabotage: Option<Sabotage>) -> System {
    let vm = |name: &str| {
        // A kernel that panics resets at once, so that the hypervisor learns of it.
        let mut command_line = format!("console=ttyAMA0 panic=-1 crossvm.vm={name}");
        if let Some(sabotage) = sabotage {
            // Nobody needs to wait long for what is known to fail.
            command_line.push_str(" demo.timeout=20");
            let (victim, parameter) = sabotage.parameter();
            if victim == name {
                command_line.push_str(&format!(" {parameter}"));
            }
        }
        // A VM that crashes on purpose is not to start again.
        let on_reboot = if sabotage.is_some() { Reboot::Stop } else { Reboot::Restart };
        VmSpec { memory: MEMORY, initrd: Some(initrd.to_owned()), on_reboot, ..VmSpec::new(name, kernel.to_owned(), command_line) }
    };
    let connection = |connection: &DemoConnection| ConnectionSpec::new(connection.name, connection.ends.peers(), connection.size);
    System {
        vms: VMS.map(vm).to_vec(),
        components: vec![ComponentSpec { name: MIRROR.to_owned(), kind: ComponentKind::Reverse }],
        connections: CONNECTIONS.iter().map(connection).collect(),
    }
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::Image;

    use super::*;

    #[test]
    fn the_system_can_be_composed() {
        let system = system(Path::new("Image"), Path::new("initrd"), None);
        let topology = system.topology(|_| Ok(Image { address: 0x4200_0000, size: 1 })).unwrap();
        assert_eq!((topology.vms.len(), topology.components.len(), topology.connections.len()), (2, 1, 3));
        assert!(topology.vms.iter().all(|vm| !vm.command_line.contains("demo.")));
    }

    #[test]
    fn a_sabotage_reaches_its_vm_only() {
        let system = system(Path::new("Image"), Path::new("initrd"), Some(Sabotage::KillGuest));
        assert!(!system.vms[0].command_line.contains("sabotage"));
        assert!(system.vms[1].command_line.ends_with("demo.sabotage=die"));
    }

    #[test]
    fn no_sabotage_expects_its_own_check_to_pass() {
        for sabotage in Sabotage::value_variants() {
            assert!(!sabotage.untouched().contains(&sabotage.culprit()));
        }
    }
}
