//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use crossvm_guest::System;

use crate::failure::{Failure, Status};

/// Use the cross-VM connections of this VM: shared memory (dataports) and events.
#[derive(Debug, Parser)]
#[command(name = "crossvm", version, after_help = after_help())]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,

    /// Where sysfs is.
    #[arg(long, global = true, hide = true, default_value = "/sys", value_name = "FOLDER")]
    sysfs: PathBuf,

    /// Where the device files are.
    #[arg(long, global = true, hide = true, default_value = "/dev", value_name = "FOLDER")]
    devices: PathBuf,
}

impl Options {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.verb.run(&System::at(self.sysfs, self.devices))
    }
}

/// What a connection is called on the command line.
pub(crate) const NAMES: &str = "NAME is a connection's name, or its PCI address (0000:00:01.0).";

fn after_help() -> String {
    let statuses: Vec<_> = Status::ALL.into_iter().map(|status| format!("{} {status}", status.number())).collect();
    format!("{NAMES}\nExit status: {}.", statuses.join(", "))
}

/// A verb of the command line, with its options.
pub(crate) trait Run {
    /// Does it on the connections of `system`.
    fn run(self, system: &System) -> Result<(), Failure>;
}

/// The verbs, in the order of the help: a type for each, whose docs are the help.
macro_rules! verbs {
    ($($name:ident: $verb:path,)*) => {
        #[derive(Debug, Subcommand)]
        enum Verb {
            $($name($verb),)*
        }

        impl Run for Verb {
            fn run(self, system: &System) -> Result<(), Failure> {
                match self {
                    $(Self::$name(verb) => verb.run(system),)*
                }
            }
        }
    };
}

verbs! {
    List: crate::list::List,
    Info: crate::info::Info,
    Bind: crate::bind::Bind,
    Emit: crate::events::Emit,
    Wait: crate::events::Wait,
    Read: crate::data::Read,
    Write: crate::data::Write,
    Send: crate::transfer::Send,
    Recv: crate::transfer::Recv,
    Ping: crate::ping::Ping,
    Pong: crate::pong::Pong,
    Bench: crate::bench::Bench,
    Net: crate::net::Net,
    Monitor: crate::monitor::Monitor,
    Completions: crate::completions::Completions,
    Man: crate::man::Man,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does() {
        for verb in Options::command().get_subcommands() {
            assert!(verb.get_about().is_some_and(|about| !about.to_string().is_empty()), "{}", verb.get_name());
        }
    }
}
