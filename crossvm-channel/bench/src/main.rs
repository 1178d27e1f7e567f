//! How fast crossvm-channel is between two pinned threads, beside other queues of one program, and beside memcpy as the limit.
//!
//! All contenders carry the same messages: from a buffer of the sender's to one of the receiver's, through as much memory, numbered and checked. They
//! run in turns, so that what else the machine does meets all, and are compared round by round.
//!
//! `cargo xtask bench channel` builds and runs this.

mod asleep;
mod contenders;
mod end;
mod instructions;
mod measure;
mod memory;
mod plot;
mod report;
mod rounds;
mod run;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use contenders::CONTENDERS;
use measure::Measure;
use rounds::Plan;

/// How fast crossvm-channel is, beside other queues and beside memcpy.
#[derive(Debug, Parser)]
struct Arguments {
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

    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sends and receives messages in one thread, for callgrind
    #[command(hide = true)]
    Count { contender: String, size: usize, messages: u64 },
}

/// How many rounds there are.
const ROUNDS: usize = 21;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Verb::Count { contender, size, messages }) = arguments.verb {
        let contender = CONTENDERS.iter().find(|known| known.name == contender).context("there is no such contender")?;
        return contender.run(Measure::Counted, size, messages).map(drop);
    }
    if arguments.realtime {
        measure::go_first();
    }
    let seconds = Duration::try_from_secs_f64(arguments.seconds).context("--seconds is no duration")?;
    let plan = if arguments.quick {
        Plan { rounds: 3, length: Duration::from_millis(2), pause: arguments.realtime }
    } else {
        Plan { rounds: ROUNDS, length: seconds.div_f64(ROUNDS as f64), pause: arguments.realtime }
    };
    let report = run::run(plan, arguments.realtime, !arguments.quick)?;
    println!("{}", table::all(&report));
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &arguments.svg {
        std::fs::write(file, plot::svg(&report)).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
