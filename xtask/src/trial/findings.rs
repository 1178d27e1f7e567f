//! Checks that every run makes: of the hypervisor, and of each guest's boot, BARs, console and end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Run;
use super::report::Check;
use super::transcript::{Guest, Life, POWER_OFF, Transcript};
use crate::launch::{Ended, Interrupts};
use crate::progress::seconds;

/// What a check has seen, or why it failed.
pub(crate) type Finding = Result<String, String>;

/// Why a run failed, what explains the most first: what the guests say themselves, then what fails others. A VM that crashed fails its
/// connections too.
pub(crate) fn reasons(transcript: &Transcript, checks: &[Check]) -> Vec<String> {
    const CAUSES: [&str; 4] = ["hypervisor", "power-off-", "console-", "boot-"];
    let mut failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    failed.sort_by_key(|check| CAUSES.iter().position(|cause| check.name.starts_with(cause)).unwrap_or(CAUSES.len()));
    let failed = failed.iter().map(|check| format!("{}: {}", check.name, check.detail));
    transcript.failures.iter().cloned().chain(failed).collect()
}

/// The hypervisor came up, and ended when all VMs had.
pub(crate) fn hypervisor(transcript: &Transcript, run: &Run) -> Finding {
    if let Some(panic) = &transcript.panic {
        return Err(format!("the hypervisor failed: {panic}"));
    }
    ended(run)?;
    if !transcript.started {
        return Err("the hypervisor did not announce itself".to_owned());
    }
    match transcript.end.as_deref() {
        Some("all-vms-stopped") => Ok(format!("ended by itself after {}", seconds(run.took))),
        Some(reason) => Err(format!("the hypervisor ended early: {reason}")),
        None => Err("the machine ended without the hypervisor's last record: it crashed".to_owned()),
    }
}

/// The run came to its end by itself.
pub(crate) fn ended(run: &Run) -> Result<(), String> {
    match &run.ended {
        Ended::PoweredOff => Ok(()),
        Ended::Failed(why) => Err(why.clone()),
        Ended::Mute(after) => Err(format!("no guest has said anything in {}", seconds(*after))),
        Ended::TimedOut(after) => Err(format!("the machine was still running after {}", seconds(*after))),
        Ended::Interrupted => Err("interrupted by the user".to_owned()),
        Ended::Stopped => Err("the machine was still running after a failure and was stopped".to_owned()),
    }
}

/// The guest's kernel is that of the package, and has brought up `vcpus` CPUs, each time that it booted.
pub(crate) fn boot(guest: &Guest, kernel: &str, vcpus: u8) -> Finding {
    let mut times = Vec::new();
    for life in &guest.lives {
        let ready = life.ready.as_ref().ok_or("the kernel did not reach user space")?;
        if ready.kernel != kernel {
            return Err(format!("the guest runs kernel {}, the package has {kernel}", ready.kernel));
        }
        if ready.cpus != Some(vcpus.into()) {
            return Err(format!("the kernel has brought up {} of {vcpus} CPUs", ready.cpus.unwrap_or(0)));
        }
        times.push(seconds(ready.uptime));
    }
    if times.is_empty() {
        return Err("the kernel did not reach user space".to_owned());
    }
    let cpus = if vcpus == 1 { String::new() } else { format!(" on {vcpus} vCPUs") };
    Ok(format!("Linux {kernel}{cpus} in user space after {}", times.join(", again ")))
}

/// Whether a guest's kernel moves BARs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moves {
    /// It does: nothing else shows that memory follows.
    Expected,
    /// It leaves them where they are if that is good, as on a PC, whose firmware has placed them.
    Optional,
}

impl From<Interrupts> for Moves {
    fn from(interrupts: Interrupts) -> Self {
        match interrupts {
            Interrupts::Gic(_) => Self::Expected,
            Interrupts::Pc { .. } => Self::Optional,
        }
    }
}

/// Where the guest sees its BARs is where the hypervisor has last put them; and Linux has moved some, where that is expected.
pub(crate) fn bars(life: &Life, moves: Moves) -> Finding {
    if life.bars.is_empty() {
        return Err("the guest reports no BARs".to_owned());
    }
    let functions: BTreeSet<_> = life.bar_moves.iter().map(|moved| (moved.function.as_str(), moved.bar)).collect();
    let mut placed = Vec::new();
    for (function, bar) in functions {
        let mut history = life.bar_moves.iter().filter(|moved| moved.function == function && moved.bar == bar);
        let Some(first) = history.next() else { continue };
        let last = history.next_back().unwrap_or(first);
        placed.push((bar, last.to, first.from != last.to));
    }
    let mut moved = 0;
    for bar in &life.bars {
        let Some(place) = placed.iter().position(|(number, address, _)| (*number, *address) == (bar.bar, bar.address)) else {
            if moves == Moves::Optional {
                continue;
            }
            let place = format!("the guest sees BAR {} of `{}` at {:#x}", bar.bar, bar.connection, bar.address);
            return Err(format!("{place}, where the hypervisor has not moved such a BAR last"));
        };
        moved += usize::from(placed.swap_remove(place).2);
    }
    if moves == Moves::Optional {
        // What has not been moved is where it was: that it is there its data show.
        if let Some((bar, address, _)) = placed.first() {
            return Err(format!("the hypervisor has moved a BAR {bar} to {address:#x}, where the guest sees none"));
        }
        return Ok(format!("Linux moved {moved} of {} and left the others; all moves are where the guest sees them", life.bars.len()));
    }
    if moved == 0 {
        return Err("Linux moved no BAR, so nothing shows that memory follows".to_owned());
    }
    Ok(format!("Linux moved {moved} of {}; all are where the guest sees them", life.bars.len()))
}

/// The kernel had nothing to complain about.
pub(crate) fn console(guest: &Guest) -> Finding {
    match guest.complaints.as_slice() {
        [] if guest.last().ready.is_none() => Err("the guest's boot was not seen to its end".to_owned()),
        [] => Ok("no complaint about PCI, interrupts or memory".to_owned()),
        [first, rest @ ..] => Err(format!("the kernel complains ({} lines): {first}", rest.len() + 1)),
    }
}

/// The guest switched itself off.
pub(crate) fn power_off(guest: &Guest) -> Finding {
    match guest.stop.as_deref() {
        Some(POWER_OFF) => Ok("switched itself off".to_owned()),
        Some(reason) => Err(format!("the VM stopped by {reason}, not by switching itself off")),
        None => Err("the VM never stopped by itself".to_owned()),
    }
}

/// How long something took, from a number of milliseconds that a guest has printed.
pub(crate) fn took(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(String::new, |ms| format!(" in {}", seconds(Duration::from_millis(ms))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::report::BarMove;
    use crate::trial::transcript::GuestBar;

    #[test]
    fn moves_are_expected_or_optional_and_never_ignored() {
        let bar = |bar, address| GuestBar { connection: "wire".to_owned(), bar, address, size: 4096 };
        let moved = |bar, to| BarMove { function: "00:01.0".to_owned(), bar, from: 0x1000, to };
        let life =
            |bar_moves: &[BarMove]| Life { bars: vec![bar(0, 0x2000), bar(1, 0x3000)], bar_moves: bar_moves.to_vec(), ..Life::default() };
        let both = [moved(0, 0x2000), moved(1, 0x3000)];
        for (moves, kind, ok) in [
            (&both[..], Moves::Expected, true),
            (&both, Moves::Optional, true),
            (&both[..1], Moves::Expected, false),
            (&both[..1], Moves::Optional, true),
            (&[], Moves::Expected, false),
            (&[], Moves::Optional, true),
            (&[moved(0, 0x9000)], Moves::Optional, false),
        ] {
            assert_eq!(bars(&life(moves), kind).is_ok(), ok, "{moves:?} {kind:?}");
        }
        assert!(bars(&Life::default(), Moves::Optional).is_err());
    }
}
