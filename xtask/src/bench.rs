//! `cargo xtask bench`: how fast things are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::process;
use crate::progress::step;
use crate::workspace::Workspace;

/// Measure how fast things are.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Channel(Channel),
}

/// Messages between two pinned threads: crossvm-channel, rtrb, crossbeam-channel, bbqueue, and memcpy as the limit.
///
/// Two processors are necessary, and better nothing else to do. With valgrind, instructions are counted too.
#[derive(Debug, Args)]
struct Channel {
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw what was measured
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// How long each contender runs with each length of messages, in all rounds together
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    seconds: f64,

    /// A few milliseconds each and no instruction counts: whether it works, not how fast it is
    #[arg(long)]
    quick: bool,

    /// Measured threads run before all others of the machine, half of the time: for a machine that has something else to do (root)
    #[arg(long)]
    realtime: bool,
}

/// Measures.
pub(crate) fn bench(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let What::Channel(channel) = &arguments.what;
    step("building the benchmark", |_| {
        process::run(workspace.cargo().args(["build", "--release", "--quiet", "--package", "channel-bench"]))
    })?;
    let mut run = workspace.cargo();
    run.args(["run", "--release", "--quiet", "--package", "channel-bench", "--", "--seconds", &channel.seconds.to_string()]);
    // The command runs in the repository's folder, and paths are the caller's.
    for (name, file) in [("--json", &channel.json), ("--svg", &channel.svg)] {
        if let Some(file) = file {
            run.args([OsStr::new(name), absolute(file)?.as_os_str()]);
        }
    }
    run.args([("--quick", channel.quick), ("--realtime", channel.realtime)].into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name));
    process::run_shown(&mut run)
}

fn absolute(file: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(file)?)
}
