//! `completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use crossvm_guest::System;

use crate::failure::Failure;
use crate::options::{Options, Run};
use crate::output::print_bytes;

/// Print what makes a shell complete this command: bash: `source <(crossvm completions bash)`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Run for Completions {
    fn run(self, _: &System) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Options::command(), "crossvm", &mut script);
        print_bytes(&script)
    }
}
