//! The driver's test in a real guest: `examples/driver-test` under the EL2 hypervisor.

use std::time::Duration;

use anyhow::{Result, bail};
use crossvm_manifest::{ComponentKind, Dataport, Device, Interrupt, Profile, Rights, Width};

use super::{Warnings, build};
use crate::architecture::Architecture;
use crate::guest::{self, Series};
use crate::launch::console::{Line, Source};
use crate::launch::{Cpu, Ended, Gic, Input, Layout, Machine, Output, Patience, Verdict};
use crate::progress::{seconds, step};
use crate::run::DEFAULT_CPU;
use crate::setup::{self, Ready};
use crate::system::{ComponentSpec, ConnectionSpec, System, VmSpec};
use crate::workspace::Workspace;
use crate::{output, programs};

const VM: &str = "guest";
/// How long a run may take, on a machine that has much else to do.
const TIMEOUT: Duration = Duration::from_secs(300);
/// What the guest must report, in this order, of connections of the extended profile.
const EXTENDED: &[&str] =
    &["identity", "calls", "events", "maps", "removal", "crowd", "early", "identity-intx", "events-intx", "early-intx", "dmesg"];
/// The same of those of the reference profile.
const REFERENCE: &[&str] = &["identity-reference", "events-reference", "early-reference", "dmesg"];

/// Where the driver is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) series: Series,
    pub(crate) gic: Gic,
    pub(crate) profile: Profile,
    /// How many vCPUs the guest has.
    pub(crate) vcpus: u8,
}

/// Boots a guest that tests the driver, and fails unless all its checks pass.
pub(crate) fn test(workspace: &Workspace, ready: &Ready, trial: Trial) -> Result<()> {
    let Trial { series, gic, profile, vcpus } = trial;
    let (expect, checks) = match profile {
        Profile::Extended => ("msix", EXTENDED),
        Profile::Reference => ("reference", REFERENCE),
    };
    let kernel = setup::kernel(series, Architecture::Arm64)?;
    let module = build(workspace, &kernel, Warnings::Errors)?;
    let hypervisor = programs::build_vmm(workspace, &ready.toolchain)?;
    let programs = programs::build_guest(workspace, &ready.toolchain, Architecture::Arm64)?;
    let folder = workspace.output()?;
    let name = format!("driver-{series}-gic{gic}-{expect}");
    let initramfs = folder.join(format!("{name}.cpio"));
    let image = kernel.image.clone();
    guest::write_initramfs(&kernel.with_module(module), &ready.userland, &programs, &initramfs)?;
    let command_line = format!("console=ttyAMA0 panic=-1 rdinit=/driver-test driver-test.expect={expect}");
    let device = Device { profile, ..Device::default() };
    let vm = VmSpec { device, initrd: Some(initramfs), vcpus, ..VmSpec::new(VM, image, command_line) };
    let log = folder.join(format!("{name}.log"));
    let machine = Machine {
        hypervisor,
        layout: Layout::new(&system(vm), &folder.join(format!("{name}.topology")))?,
        cpu: Cpu(DEFAULT_CPU.to_owned()),
        gic,
        extra: Vec::new(),
        input: Input::Nothing,
        output: Output::Lines,
        log: log.clone(),
    };
    let mut transcript = Transcript::default();
    let ended = step(&format!("testing crossvm.ko in Linux {series} on a GICv{gic}"), |_| {
        machine.run(Patience::Limit(TIMEOUT), |line| {
            transcript.add(&line);
            Verdict::GoOn
        })
    })?;
    output::line(transcript.findings.join("\n"));
    let why = match ended {
        Ended::PoweredOff => transcript.verdict(checks),
        Ended::Interrupted | Ended::Stopped => Err("interrupted".to_owned()),
        Ended::TimedOut(after) | Ended::Mute(after) => Err(format!("not done after {}", seconds(after))),
        Ended::Failed(why) => Err(why),
    };
    match why {
        Ok(()) => Ok(()),
        Err(why) => bail!("the driver's test in Linux {series} on a GICv{gic} failed: {why}. Console: {}", log.display()),
    }
}

/// One VM, and native components that answer each of its events. The guest's program knows it.
fn system(vm: VmSpec) -> System {
    let dataport = |size, guest, component| Dataport { size, rights: [guest, component], width: Width::default() };
    let (read, write) = (Rights::Read, Rights::ReadWrite);
    let parts = [
        ("mirror", ComponentKind::Reverse, vec![dataport(64 << 10, write, write)]),
        ("sum", ComponentKind::Digest, vec![dataport(12 << 10, write, read), dataport(4 << 10, read, write)]),
        ("feed", ComponentKind::Source, vec![dataport(8 << 10, read, write)]),
    ];
    let components = parts.iter().map(|(name, kind, _)| ComponentSpec { name: format!("the-{name}"), kind: *kind }).collect();
    let connections = parts.into_iter().map(|(name, _, dataports)| {
        let peers = [VM, &format!("the-{name}")];
        let mut connection = ConnectionSpec { dataports, ..ConnectionSpec::new(name, peers, 4096) };
        // Two share a line, so that the driver has to tell whose interrupt it is, and to leave no line high behind it.
        let interrupt = if name == "feed" { Interrupt::Own } else { Interrupt::Shared };
        connection.ends[0].interrupt = Some(interrupt);
        connection
    });
    System { connections: connections.collect(), components, vms: vec![vm] }
}

/// What the guest has reported.
#[derive(Debug, Default)]
struct Transcript {
    findings: Vec<String>,
}

impl Transcript {
    fn add(&mut self, line: &Line) {
        if let (Source::Vm(_), Some(finding)) = (&line.source, line.text.strip_prefix("DRIVER ")) {
            self.findings.push(finding.trim_end().to_owned());
        }
    }

    /// Whether all checks passed and nothing else was reported.
    fn verdict(&self, checks: &[&str]) -> Result<(), String> {
        let expected = checks.iter().map(|check| format!("check={check} ok=1")).chain(["done".to_owned()]);
        let mut findings = self.findings.iter();
        for expected in expected {
            match findings.next() {
                Some(finding) if *finding == expected || finding.starts_with(&format!("{expected} ")) => {}
                Some(finding) => return Err(format!("`{finding}` instead of `{expected}`")),
                None => return Err(format!("nothing instead of `{expected}`")),
            }
        }
        findings.next().map_or(Ok(()), |finding| Err(format!("`{finding}` after the end")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(lines: &[String]) -> Transcript {
        let mut transcript = Transcript::default();
        lines.iter().for_each(|line| transcript.add(&Line::parse(Duration::ZERO, line)));
        transcript
    }

    fn good() -> Vec<String> {
        let checks = EXTENDED.iter().map(|check| format!("[guest] DRIVER check={check} ok=1 events=5\r"));
        checks.chain(["[guest] DRIVER done".to_owned(), "[vmm] record=end".to_owned()]).collect()
    }

    #[test]
    fn all_checks_and_the_end_must_be_there() {
        assert_eq!(transcript(&good()).verdict(EXTENDED), Ok(()));
        for missing in 0..=EXTENDED.len() {
            let mut lines = good();
            lines.remove(missing);
            assert!(transcript(&lines).verdict(EXTENDED).is_err(), "without line {missing}");
        }
        let mut lines = good();
        lines.insert(3, "[guest] DRIVER fail check=maps reason=none".to_owned());
        assert!(transcript(&lines).verdict(EXTENDED).unwrap_err().starts_with("`fail check=maps reason=none` instead of"));
        let mut lines = good();
        lines.push("[guest] DRIVER fail check=crash reason=status_139".to_owned());
        assert!(transcript(&lines).verdict(EXTENDED).is_err(), "a crash after the end");
    }

    #[test]
    fn a_kernel_cannot_pass_for_the_test() {
        let lines = good().iter().map(|line| line.replace("DRIVER", "[    1.0] DRIVER")).collect::<Vec<_>>();
        assert!(transcript(&lines).verdict(EXTENDED).is_err());
    }
}
