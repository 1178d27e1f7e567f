//! `cargo xtask test`: everything that must hold before a change goes in, and what CI runs.

mod steps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use console::style;

use crate::interrupt;
use crate::output;
use crate::progress::seconds;
use crate::workspace::Workspace;
use steps::{Context, STEPS, Step};

/// Run every test: formatting, lints, unit and property and doc tests, documentation, bare-metal builds, the demonstration.
///
/// The last line says how many steps passed, failed and were skipped; the exit status is 0 only if none failed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run only this step; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,

    /// Name the steps and run none
    #[arg(long)]
    list: bool,
}

struct Outcome {
    name: &'static str,
    took: Duration,
    /// The reason, where it failed.
    failure: Option<String>,
}

/// Runs the steps.
pub(crate) fn test(workspace: &Workspace, arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for step in STEPS {
            output::line(format!("{:<21} {}", step.name, step.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&arguments.only)?;
    let mut context = Context::new(workspace);
    let mut outcomes = Vec::new();
    for (place, step) in chosen.iter().enumerate() {
        if interrupt::requested() {
            break;
        }
        output::line(format!("\n{}", style(format!("=== {}/{} {}: {}", place + 1, chosen.len(), step.name, step.what)).bold()));
        let started = Instant::now();
        let failure = (step.run)(&mut context).err().map(|error| format!("{error:#}"));
        let took = started.elapsed();
        match &failure {
            None => output::line(format!("{} {} ({})", style("=== ok").green(), step.name, seconds(took))),
            Some(why) => output::line(format!("{} {} ({}): {why}", style("=== FAILED").red().bold(), step.name, seconds(took))),
        }
        outcomes.push(Outcome { name: step.name, took, failure });
    }
    output::line(format!("\n{}", summary(&outcomes)));
    let failed: Vec<&str> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).map(|outcome| outcome.name).collect();
    let skipped = STEPS.len() - outcomes.len();
    if !failed.is_empty() {
        output::line(format!("\nfailed: {}; repeat one with `cargo xtask test --only STEP`", failed.join(", ")));
    }
    output::line(format!("\n{} passed, {} failed, {skipped} skipped", outcomes.len() - failed.len(), failed.len()));
    Ok(if failed.is_empty() && !interrupt::requested() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>> {
    for name in only {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!("--only {name}: there is no such step; the steps are: {}", names.join(", "));
        }
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

fn summary(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let mark = if outcome.failure.is_some() { "FAILED" } else { "ok" };
        let why = outcome.failure.as_ref().and_then(|why| why.lines().next()).map_or_else(String::new, |why| format!("  {why}"));
        format!("{mark:<7} {:<21} {:>7}{why}", outcome.name, seconds(outcome.took))
    };
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_and_keep_their_order() {
        assert_eq!(choose(&[]).unwrap().len(), STEPS.len());
        let chosen = choose(&["clippy".to_owned(), "fmt".to_owned()]).unwrap();
        assert_eq!(chosen.iter().map(|step| step.name).collect::<Vec<_>>(), ["fmt", "clippy"]);
        assert!(choose(&["nothing".to_owned()]).unwrap_err().to_string().contains("there is no such step; the steps are: fmt"));
    }

    #[test]
    fn a_failure_is_in_the_summary_with_its_reason() {
        let outcome = Outcome { name: "fmt", took: Duration::from_secs(1), failure: Some("not formatted\nmore".to_owned()) };
        assert_eq!(summary(&[outcome]), "FAILED  fmt                     1.0 s  not formatted");
    }
}
