//! Python, with the packages that the kernel's generators import.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::host::PYTHON;
use crate::process;

/// What is installed into the environment, each with the SHA-256 of its only file for any machine.
pub(super) const REQUIREMENTS: &str = "\
tempita==0.6.0 --hash=sha256:696160ba5302b344934558d9d4c94a7b9778b7641612f4e20d62fcac4d7a02c9
ply==3.11 --hash=sha256:096f9b8350b65ebd2fd1346b12452efe5b9607f7482813ffca50c22722a807ce
six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
";

/// An environment of its own.
#[derive(Debug)]
pub(super) struct Python {
    programs: PathBuf,
}

impl Python {
    /// Makes one in the folder `work`.
    pub(super) fn install(work: &Path) -> Result<Self> {
        let folder = work.join("python");
        process::run(Command::new(PYTHON.program).args(["-m", "venv"]).arg(&folder))
            .context("Python cannot make an environment; on Debian it needs the package python3-venv")?;
        let requirements = work.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        let programs = folder.join("bin");
        let mut pip = Command::new(programs.join("pip"));
        pip.args(["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(&requirements);
        process::run(&mut pip).context("pip cannot install what seL4's generators import")?;
        Ok(Self { programs })
    }

    /// A `PATH` in which `python` is this one.
    pub(super) fn path(&self) -> Result<OsString> {
        let others = std::env::var_os("PATH").unwrap_or_default();
        // The kernel's makefile puts the whole in quotation marks, which spoils the first and the last folder.
        let folders = std::iter::once(self.programs.clone()).chain(std::env::split_paths(&others)).chain([PathBuf::from("/")]);
        std::env::join_paths(folders).context("PATH cannot be extended")
    }

    /// A command that runs a program of the sources with the modules in `modules`.
    pub(super) fn command(&self, program: &Path, modules: &Path) -> Command {
        let mut command = Command::new(self.programs.join("python"));
        command.arg(program).env("PYTHONPATH", modules).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
