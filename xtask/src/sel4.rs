//! `cargo xtask sel4`: crossvm on seL4, tried on real kernels.

mod kernel;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use kernel::{Variant, prefix};

use crate::output;

/// Build seL4 5.0.0, and run root tasks on it that verify crossvm.
///
/// The kernel's sources come from a package of the crates' registry, and its build needs a C compiler for x86-64, make and Python: what is
/// missing is installed, after a word about it. Nothing of the kernel enters the repository.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the kernel, and print where it is: what SEL4_PREFIX may name
    Kernel {
        /// With VT-x, for guests in vCPUs
        #[arg(long)]
        vtx: bool,
    },
}

/// Does what the user wants.
pub(crate) fn sel4(arguments: &Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Kernel { vtx } => {
            let prefix = prefix(if vtx { Variant::Vtx } else { Variant::Plain })?;
            output::line(prefix.display());
        }
    }
    Ok(())
}
