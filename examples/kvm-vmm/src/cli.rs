//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A VMM on KVM: runs the VMs of a manifest, connected by shared memory and events.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the VMs of a manifest until all have stopped.
    ///
    /// The guests' consoles come out line by line as `[NAME] text`, records of the VMM as `[vmm] record=...`. What is typed goes to the first VM;
    /// Ctrl-A and a digit chooses another one, Ctrl-A twice types one Ctrl-A. SIGTERM and SIGINT stop all VMs and end with all records.
    Run(Run),
    /// Says whether kernels run here. Ends with status 1 and the reason where they do not.
    Probe(Probe),
}

/// `kvm-vmm run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The manifest, in TOML. Kernels and initial RAM disks are files, relative to it.
    pub(crate) manifest: PathBuf,
    /// Run only the VM of this name; may be given several times. The other VMs are somewhere else, see --link, or absent. Native components run
    /// here if they are connected with a VM that does.
    #[arg(long, value_name = "VM")]
    pub(crate) only: Vec<String>,
    /// Where the interrupt controllers behind the local APICs are emulated.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) irqchip: Irqchip,
    /// Emit through exits to this program instead of ioeventfds.
    #[arg(long)]
    pub(crate) no_ioeventfd: bool,
    /// Whenever a guest has written a line with this text, tell what its connections have cost in exits so far: record=exits-so-far.
    #[arg(long, value_name = "TEXT")]
    pub(crate) exits_at: Option<String>,
    /// Connect with the VMs that other processes run of the same manifest with the same SOCKET. It is the start of the names of their sockets and
    /// locks: who can write in its folder can connect.
    #[arg(long, value_name = "SOCKET", requires = "only")]
    pub(crate) link: Option<PathBuf>,
    /// How long to wait for processes of other VMs that do not run yet, before the VMs start without them. Those that run are waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "link")]
    pub(crate) wait: u64,
}

/// `kvm-vmm probe`
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// As one object of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where interrupt controllers are emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Irqchip {
    /// All of them in the kernel.
    #[default]
    Kernel,
    /// x86: the local APICs in the kernel, IOAPIC and 8259 in this program.
    Split,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_vms_can_be_chosen() {
        let cli = Cli::parse_from(["kvm-vmm", "run", "a.toml", "--only", "vm0", "--only", "vm1", "--irqchip", "split", "--no-ioeventfd"]);
        let Command::Run(run) = cli.command else { panic!("another command") };
        assert_eq!(
            (run.only, run.irqchip, run.no_ioeventfd, run.link),
            (vec!["vm0".to_owned(), "vm1".to_owned()], Irqchip::Split, true, None)
        );
    }
}
