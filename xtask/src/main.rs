//! Every developer and user command of crossvm: `cargo xtask VERB`.

mod apt;
mod architecture;
mod bench;
mod cache;
mod check;
mod demo;
mod doctor;
mod guest;
mod hash;
mod host;
mod interrupt;
mod launch;
mod link;
mod manifest;
mod microkit;
mod modules;
mod output;
mod process;
mod programs;
mod progress;
mod run;
mod sel4;
mod setup;
mod system;
mod tables;
mod test;
mod toolchain;
mod trial;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use architecture::Architecture;
use setup::Existing;
use workspace::Workspace;

/// Every developer and user command of crossvm.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Doctor(doctor::Arguments),
    /// Install what is missing, and only that.
    ///
    /// On Debian and Ubuntu, packages of the system come from apt-get, after a word about it. Kernels for the guests and,
    /// where rustup cannot help, a compiler are unpacked into a cache ($CROSSVM_CACHE, else ~/.cache/crossvm), never installed.
    Setup {
        /// Make everything in the cache anew, from the newest packages
        #[arg(long)]
        refresh: bool,
    },
    /// Build the hypervisor and the guests' programs
    Build,
    Bench(bench::Arguments),
    Check(check::Arguments),
    Demo(demo::Arguments),
    Link(link::Arguments),
    Microkit(microkit::Arguments),
    Module(modules::Arguments),
    Run(run::Arguments),
    Sel4(sel4::Arguments),
    Test(test::Arguments),
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    match act(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            output::note(format!("{} {error:#}", console::style("error:").red().bold().for_stderr()));
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match verb {
        Verb::Doctor(arguments) => doctor::doctor(&workspace, &arguments)?,
        Verb::Setup { refresh } => {
            let existing = if refresh { Existing::Refresh } else { Existing::Keep };
            let [arm, x86] = Architecture::ALL.map(|architecture| setup::setup(&workspace, existing, architecture));
            let (arm, x86) = (arm?, x86?);
            output::line(format!("Everything is there: {}; guests run {}, {}", arm.toolchain, arm.kernel.package, x86.kernel.package));
        }
        Verb::Build => {
            let ready = setup::setup(&workspace, Existing::Keep, Architecture::Arm64)?;
            output::line(programs::build_vmm(&workspace, &ready.toolchain)?.display());
            let guest = programs::build_guest(&workspace, &ready.toolchain, Architecture::Arm64)?;
            output::line(format!("{}\n{}", guest.crossvm.display(), guest.demo.display()));
        }
        Verb::Bench(arguments) => bench::bench(&workspace, &arguments)?,
        Verb::Check(arguments) => return check::check(&arguments),
        Verb::Run(arguments) => {
            interrupt::watch()?;
            run::run(&workspace, arguments)?;
        }
        Verb::Sel4(arguments) => {
            interrupt::watch()?;
            sel4::sel4(&workspace, &arguments)?;
        }
        Verb::Demo(arguments) => {
            interrupt::watch()?;
            demo::demo(&workspace, &arguments)?;
        }
        Verb::Link(arguments) => {
            interrupt::watch()?;
            link::link(&workspace, &arguments)?;
        }
        Verb::Microkit(arguments) => return microkit::microkit(&arguments),
        Verb::Module(arguments) => modules::module(&workspace, &arguments)?,
        Verb::Verify(arguments) => {
            interrupt::watch()?;
            verify::verify(&workspace, &arguments)?;
        }
        Verb::Test(arguments) => {
            interrupt::watch()?;
            return test::test(&workspace, &arguments);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
