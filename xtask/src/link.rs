//! `cargo xtask link`: two VMs, each in a kvm-vmm of its own, connected through a socket; each of the two is killed, and comes back.

mod checks;
mod story;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::architecture::Architecture;
use crate::launch::{Hypervisor, Verdict, kvm};
use crate::output;
use crate::setup::{self, Existing, Ready};
use crate::system::{ConnectionSpec, System, VmSpec};
use crate::trial::report::{self, Check, Machine};
use crate::trial::{self, Flags, Show, Trial};
use crate::workspace::Workspace;
use story::Story;

/// How long a run may take, in seconds, on a machine that has much else to do.
pub(crate) const TIMEOUT: u64 = 900;

/// The VMs: the first writes to the lower half of the dataports.
const VMS: [(&str, &str); 2] = [("vm0", "first"), ("vm1", "second")];
/// The connections: through the stock driver with INTx, and through ours with MSI-X.
const CONNECTIONS: [(&str, u64); 2] = [("wire", 4 << 10), ("wire-msix", 64 << 10)];
const MEMORY: u64 = 256 << 20;

/// Run two VMs in two processes of kvm-vmm, kill each of them, and verify that the other one lives and that their traffic resumes.
///
/// The VMs send each other beats for ever, each checked by who receives it. Each process is killed once with SIGKILL: the other guest must see
/// that its emits are dropped, and go on; the restarted one must find it again. A process that runs a VM which runs already must refuse.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    kvm: kvm::Flags,

    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT)]
    timeout: u64,
}

/// What a run has shown.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// All checks passed.
    pub(crate) ok: bool,
    /// Why not, one sentence for each failed check.
    pub(crate) reasons: Vec<String>,
    /// Wall time of the run, from its start to its end.
    seconds: f64,
    #[serde(flatten)]
    machine: Machine,
    checks: Vec<Check>,
    /// The console of the run.
    pub(crate) log: String,
}

impl Report {
    /// The report for a person.
    pub(crate) fn show(&self) -> String {
        let passed = self.checks.iter().filter(|check| check.ok).count();
        let (failure, table) = (report::failure(&self.reasons), report::checks_table(&self.checks));
        let (checks, seconds) = (self.checks.len(), self.seconds);
        format!("{failure}{table}\n{passed} of {checks} checks passed in {seconds:.1} s on {}. Console: {}\n", self.machine, self.log)
    }
}

/// Runs it as the flags say.
pub(crate) fn link(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let Arguments { flags, kvm, timeout } = arguments;
    let ready = setup::setup(workspace, Existing::Keep, kvm.arch.unwrap_or(Architecture::Amd64))?;
    let report = play(workspace, &ready, *kvm, flags.show(), Duration::from_secs(*timeout))?;
    if let Some(path) = &flags.report {
        report::write(&report, path)?;
    }
    output::line(format!("\n{}", report.show()));
    if !report.ok {
        let first = report.reasons.first().map_or("for no reason", String::as_str);
        bail!("the trial failed: {first} (all reasons are above the table). Console: {}", report.log);
    }
    Ok(())
}

/// Builds what it needs, runs it and verifies it.
pub(crate) fn play(workspace: &Workspace, ready: &Ready, flags: kvm::Flags, show: Show, timeout: Duration) -> Result<Report> {
    let architecture = ready.kernel.architecture;
    let hypervisor = Hypervisor::Kvm(kvm::Kvm { architecture, flags, script: Some(kvm::Script::Kills) });
    let interrupts = hypervisor.interrupts(None)?;
    let mut system = system(&ready.kernel.image, &trial::initramfs(workspace, ready)?, architecture.console());
    for vm in &mut system.vms {
        vm.command_line = interrupts.command_line(&vm.command_line);
    }
    let trial = Trial {
        name: format!("link-{}", interrupts.mark()),
        what: format!("running two Debian kernels under two processes of {} on {interrupts}, and killing these", hypervisor.name()),
        hypervisor,
        system,
        interrupts,
        show,
        timeout,
    };
    let (story, run) = trial::again(|| {
        let mut story = Story::default();
        let run = trial::watch(workspace, ready, &trial, |line| {
            story.add(line);
            Verdict::GoOn
        })?;
        Ok((story, run))
    })?;
    let checks = checks::all(&story, &run);
    let reasons: Vec<String> = checks.iter().filter(|check| !check.ok).map(|check| format!("{}: {}", check.name, check.detail)).collect();
    let machine = Machine::of(interrupts, &run);
    Ok(Report { ok: reasons.is_empty(), reasons, seconds: run.took.as_secs_f64(), machine, checks, log: run.log })
}

fn system(kernel: &Path, initrd: &Path, console: &str) -> System {
    let vm = |(name, half): (&str, &str)| {
        // Each byte of the console costs exits; complaints come through.
        let line = format!("console={console} loglevel=5 panic=-1 crossvm.vm={name} demo.survive={half}");
        VmSpec { memory: MEMORY, initrd: Some(initrd.to_owned()), ..VmSpec::new(name, kernel.to_owned(), line) }
    };
    let connection = |(name, size): (&str, u64)| ConnectionSpec::new(name, VMS.map(|(name, _)| name), size);
    System { vms: VMS.map(vm).to_vec(), components: Vec::new(), connections: CONNECTIONS.map(connection).to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_manifest::Image;

    #[test]
    fn the_system_can_be_composed() {
        let system = system(Path::new("k"), Path::new("i"), "ttyS0");
        let topology = system.topology(|_| Ok(Image { address: 0, size: 1 })).unwrap();
        assert_eq!((topology.vms.len(), topology.connections.len()), (2, 2));
    }
}
