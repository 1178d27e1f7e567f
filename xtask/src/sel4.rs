//! `cargo xtask sel4`: crossvm on seL4, tried on real kernels.

mod kernel;
mod machine;
pub(crate) mod semantics;
pub(crate) mod smoke;
pub(crate) mod trial;
pub(crate) mod vtx;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::host::Tool;
use crate::output;
use crate::workspace::Workspace;
pub(crate) use kernel::{Variant, prefix};
use trial::Flags;

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
    /// Try connections between guests and components that are threads in address spaces of their own, in QEMU
    Smoke {
        #[command(flatten)]
        flags: Flags,

        /// Make a mistake on purpose; the run must then fail
        #[arg(long, value_enum, value_name = "MISTAKE")]
        sabotage: Option<smoke::Sabotage>,
    },
    /// Compare what the kernel answers with what was recorded, case by case, in QEMU
    Semantics {
        #[command(flatten)]
        flags: Flags,
        /// Record what the kernel answers
        #[arg(long)]
        bless: bool,
    },
    /// Try connections of a guest in a vCPU with VT-x, in Bochs, twice: both runs must show the same
    Vtx {
        #[command(flatten)]
        flags: Flags,

        /// Make a mistake on purpose: the trial must fail
        #[arg(long, value_name = "MISTAKE")]
        sabotage: Option<vtx::Sabotage>,
    },
}

/// The system's tools that this takes.
pub(crate) fn tools() -> Vec<Tool> {
    [kernel::tools(), machine::TOOLS.to_vec()].concat()
}

/// Does what the user wants.
pub(crate) fn sel4(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    match &arguments.verb {
        Verb::Kernel { vtx } => {
            let prefix = prefix(if *vtx { Variant::Vtx } else { Variant::Plain })?;
            output::line(prefix.display());
        }
        Verb::Smoke { flags, sabotage } => smoke::trial(*sabotage).play(workspace, flags)?,
        Verb::Semantics { flags, bless: false } => semantics::TRIAL.play(workspace, flags)?,
        Verb::Semantics { flags, bless: true } => semantics::record(workspace, flags)?,
        Verb::Vtx { flags, sabotage } => vtx::play(workspace, flags, *sabotage)?,
    }
    Ok(())
}
