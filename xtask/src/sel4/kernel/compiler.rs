//! The C compiler for x86-64.

use std::process::Command;

use anyhow::{Result, bail};

use crate::host::Tool;
use crate::process;

/// A compiler, with the other tools of its family.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    /// What the names of its tools begin with.
    pub(super) prefix: &'static str,
    /// What it says about itself.
    pub(super) version: String,
}

impl Compiler {
    /// What must be there.
    pub(super) const fn tool() -> Tool {
        const PURPOSE: &str = "compiles seL4 for x86-64";
        if cfg!(target_arch = "x86_64") {
            Tool { program: "gcc", purpose: PURPOSE, packages: &["gcc", "binutils"] }
        } else {
            Tool { program: "x86_64-linux-gnu-gcc", purpose: PURPOSE, packages: &["gcc-x86-64-linux-gnu"] }
        }
    }

    /// The compiler, if it is one for x86-64.
    pub(super) fn find() -> Result<Self> {
        let program = Self::tool().program;
        let machine = process::output(Command::new(program).arg("-dumpmachine"))?;
        if !machine.starts_with("x86_64-") {
            bail!(
                "`{program}` compiles for {}, not for x86-64, which seL4 {} is built for here; put a gcc for x86-64 first in PATH",
                machine.trim(),
                super::VERSION
            );
        }
        let version = process::output(Command::new(program).arg("--version"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        Ok(Self { prefix: program.strip_suffix("gcc").unwrap_or_default(), version })
    }

    /// A tool of the family: `gcc`, `cpp`, `objcopy`.
    pub(super) fn command(&self, name: &str) -> Command {
        Command::new(format!("{}{name}", self.prefix))
    }
}
