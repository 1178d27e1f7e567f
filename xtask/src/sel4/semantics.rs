//! What `cargo xtask sel4 semantics` verifies: that the kernel answers as recorded.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::launch::console::{Line, Source};
use crate::output;
use crate::trial::fields::Fields;
use crate::trial::findings::Finding;
use crate::trial::report::Check;
use crate::workspace::Workspace;

use super::kernel::Variant;
use super::machine::Machine;
use super::trial::{Expected, Flags, Trial};

/// The trial.
pub(crate) const TRIAL: Trial = Trial {
    task: "sel4-semantics",
    variant: Variant::Plain,
    machine: Machine::Qemu,
    expected: &[Expected { name: "cases", verify: cases }],
    transcript: Some(compare),
    sabotage: None,
};

/// What was recorded: a line for each case, its name, a tab, and the outcome.
const RECORDED: &str = include_str!("../../../crossvm-sel4/semantics/outcomes/x86_64-5.0.0.tsv");
/// Its path in the workspace.
const PATH: &str = "crossvm-sel4/semantics/outcomes/x86_64-5.0.0.tsv";
/// Differences that are shown.
const SHOWN: usize = 5;

/// Runs the cases, and records what comes of them.
pub(super) fn record(workspace: &Workspace, flags: &Flags) -> Result<()> {
    let report = Trial { transcript: None, ..TRIAL }.run(workspace, Duration::from_secs(flags.timeout), flags.verbose)?;
    if !report.ok {
        bail!("nothing is recorded: {}. Console: {}", report.reasons.join("; "), report.log);
    }
    let console = fs::read_to_string(&report.log).with_context(|| format!("cannot read {}", report.log))?;
    let lines: Vec<_> = console.split('\n').map(|line| Line::parse(Duration::ZERO, line)).collect();
    let found = outcomes(&lines);
    fs::write(workspace.root().join(PATH), &found).with_context(|| format!("cannot write {PATH}"))?;
    output::line(format!("{} cases recorded in {PATH}", found.lines().count()));
    Ok(())
}

/// The cases of a console, as they are recorded.
fn outcomes(lines: &[Line]) -> String {
    let cases = lines.iter().filter(|line| line.source == Source::Vmm).filter_map(|line| line.text.strip_prefix("case ")?.split_once(": "));
    cases.map(|(name, outcome)| format!("{name}\t{outcome}\n")).collect()
}

fn cases(fields: &Fields) -> Finding {
    let count = fields.number("count").ok_or("the root task does not say how many")?;
    Ok(format!("{count} cases have run"))
}

fn compare(lines: &[Line]) -> Check {
    Check::new("as-recorded", differences(&outcomes(lines), RECORDED))
}

/// Compares what was found with what was recorded.
fn differences(found: &str, recorded: &str) -> Finding {
    let mut differences = Vec::new();
    let mut pairs = found.lines().zip(recorded.lines());
    for (found, recorded) in pairs.by_ref().filter(|(found, recorded)| found != recorded) {
        differences.push(format!("'{}', recorded as '{}'", found.replace('\t', ": "), recorded.replace('\t', ": ")));
    }
    let (count, expected) = (found.lines().count(), recorded.lines().count());
    if count != expected {
        differences.push(format!("{count} cases, recorded were {expected}"));
    }
    if differences.is_empty() {
        return Ok(format!("{count} cases answered as recorded"));
    }
    let hidden = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    let more = if hidden == 0 { String::new() } else { format!("; and {hidden} more") };
    Err(differences.join("; ") + &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_changes_and_a_case_that_is_missing_are_told() {
        assert!(differences("a\tok\nb\tno\n", "a\tok\nb\tno\n").is_ok());
        let changed = differences("a\tok\nb\tno\n", "a\tok\nb\tyes\n").unwrap_err();
        assert_eq!(changed, "'b: no', recorded as 'b: yes'");
        assert_eq!(differences("a\tok\n", "a\tok\nb\tyes\n").unwrap_err(), "1 cases, recorded were 2");
    }
}
