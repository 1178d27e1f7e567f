//! A VMM on KVM, composed from the crossvm and rust-vmm crates: several VMs in one process, connected with each other and with native components.
//!
//! | to find | look in |
//! | --- | --- |
//! | the command line | [`cli`] |
//! | what is read, and what is wrong with it | [`load`] |
//! | what connections are made of | [`wires`], [`bell`] |
//! | VMs in several processes | [`link`], [`others`] |
//! | one VM | [`vm`] |
//! | its machine | `x86`, `arm64` |
//! | native components | [`component`] |
//! | what vCPU threads may do | [`seccomp`] |
//! | what is printed | [`console`], [`exits`] |
//! | all that is unsafe | [`sys`] |
#![deny(unsafe_code)]

#[cfg(target_arch = "aarch64")]
mod arm64;
mod bell;
mod cli;
mod component;
mod console;
mod exits;
mod input;
mod link;
mod load;
mod others;
mod run;
mod seccomp;
#[allow(unsafe_code)]
mod sys;
mod vm;
mod wires;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
use arm64 as arch;
#[cfg(target_arch = "x86_64")]
use x86 as arch;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(run) => run::run(&run),
        Command::Probe(probe) => run::probe(&probe),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kvm-vmm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
