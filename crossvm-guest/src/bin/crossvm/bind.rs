//! `bind`.

use clap::Args;
use crossvm_guest::{Scope, System};
use serde::Serialize;

use crate::failure::Failure;
use crate::options::Run;
use crate::output::{Format, print, print_json};

/// Give the connections to the kernel's uio_pci_generic (which must be loaded). Does nothing where that is done.
#[derive(Debug, Args)]
pub(crate) struct Bind {
    /// Take them from other drivers too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: Format,
}

/// A bound connection, as JSON shows it.
#[derive(Debug, Serialize)]
struct Bound {
    address: String,
    device: String,
}

impl Run for Bind {
    /// Binds the connections and prints which they are.
    fn run(self, system: &System) -> Result<(), Failure> {
        let bound = system.bind(if self.all { Scope::All } else { Scope::Free })?;
        let bound = bound.iter().map(|bound| Bound { address: bound.address.to_string(), device: bound.device.display().to_string() });
        match self.format.json {
            true => print_json(&bound.collect::<Vec<_>>()),
            false => print(&bound.map(|Bound { address, device }| format!("{address} {device}\n")).collect::<String>()),
        }
    }
}
