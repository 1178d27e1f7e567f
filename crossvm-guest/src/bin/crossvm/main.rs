//! `crossvm`: the connections of this VM from the command line. A thin shell around the library.

mod bind;
mod data;
mod events;
mod failure;
mod list;
mod options;

use std::process::ExitCode;

use clap::Parser;
use crossvm_guest::System;

use crate::failure::Failure;
use crate::options::{Options, Verb};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("crossvm: {failure}");
            failure.exit_code()
        }
    }
}

fn run(options: Options) -> Result<(), Failure> {
    let system = System::at(options.sysfs, options.devices);
    match options.verb {
        Verb::List { json } => list::list(&system, if json { list::Format::Json } else { list::Format::Table }),
        Verb::Emit { name, count } => events::emit(&system, &name, count),
        Verb::Wait { name, timeout, count } => events::wait(&system, &name, timeout, count),
        Verb::Read { place, length, line } => {
            let extent = match (line, length) {
                (true, _) => data::Extent::Line,
                (false, Some(length)) => data::Extent::Bytes(length),
                (false, None) => data::Extent::Rest,
            };
            data::read(&system, &place, extent)
        }
        Verb::Write { place, text, line } => data::write(&system, &place, text, if line { data::End::LineFeed } else { data::End::AsIs }),
        Verb::Bind { all } => bind::bind(&system, if all { crossvm_guest::Scope::All } else { crossvm_guest::Scope::Free }),
    }
}
