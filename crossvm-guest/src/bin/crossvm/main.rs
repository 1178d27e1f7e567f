//! `crossvm`: the connections of this VM from the command line. A thin shell around the library.
//!
//! ```text
//!  main ──▶ options ──▶ a verb, each in a file of its own ──▶ crossvm_guest
//!             │           │ values    what options and arguments can be
//!             │           │ output    standard output: text, tables, JSON
//!             │           │ stop      Ctrl-C
//!             └───────────┴ failure   why it failed, and the exit status
//! ```

mod bench;
mod bind;
mod completions;
mod data;
mod describe;
mod events;
mod failure;
mod histogram;
mod info;
mod latency;
mod list;
mod man;
mod monitor;
mod net;
mod options;
mod output;
mod ping;
mod pong;
mod runs;
mod session;
mod stop;
mod talk;
mod transfer;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;

fn main() -> ExitCode {
    match Options::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads no further has all that was wanted: `crossvm list | head -1`.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody reads this either, the status says it.
            let _ = writeln!(std::io::stderr(), "crossvm: {failure}");
            failure.exit_code()
        }
    }
}
