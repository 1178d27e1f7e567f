//! What a VM monitor itself has against a manifest, told like every other mistake.

use super::diagnostic::{Collector, Kind};
use super::{Diagnostics, Manifest, Source};

/// A part of a manifest. The indices are positions in its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The kernel of a VM.
    Kernel {
        /// The VM.
        vm: usize,
    },
    /// The initial RAM disk of a VM.
    Initrd {
        /// The VM.
        vm: usize,
    },
    /// The memory of a VM.
    Memory {
        /// The VM.
        vm: usize,
    },
    /// The vCPUs of a VM.
    Vcpus {
        /// The VM.
        vm: usize,
    },
    /// The name of a VM.
    VmName {
        /// The VM.
        vm: usize,
    },
    /// The name of a component.
    ComponentName {
        /// The component.
        component: usize,
    },
    /// A connection.
    Connection {
        /// The connection.
        connection: usize,
    },
}

/// Why a VM monitor does not take a manifest that is good otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What is there.
    pub label: String,
    /// How to mend it.
    pub help: String,
}

impl Manifest {
    /// Tells objections with their places in the text. `source` is what the manifest was read from.
    ///
    /// # Errors
    /// All of them, if there are any.
    pub fn check_objections(&self, source: &Source, objections: impl IntoIterator<Item = Objection>) -> Result<(), Diagnostics> {
        let mut found = Collector::new(source);
        for Objection { place, message, label, help } in objections {
            let at = match place {
                Place::Kernel { vm } => self.vms.get(vm).map(|vm| &vm.at.kernel),
                Place::Initrd { vm } => self.vms.get(vm).map(|vm| vm.at.initrd.as_ref().unwrap_or(&vm.at.name)),
                Place::Memory { vm } => self.vms.get(vm).map(|vm| &vm.at.memory),
                Place::Vcpus { vm } => self.vms.get(vm).map(|vm| &vm.at.vcpus),
                Place::VmName { vm } => self.vms.get(vm).map(|vm| &vm.at.name),
                Place::ComponentName { component } => self.components.get(component).map(|component| &component.at),
                Place::Connection { connection } => self.connections.get(connection).map(|connection| &connection.at.name),
            };
            found.report(Kind::Platform, at.unwrap_or(&(0..0)), message, label, help);
        }
        found.finish(())
    }
}
