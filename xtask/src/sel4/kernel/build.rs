//! The kernel itself, by its own makefile.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::compiler::Compiler;
use super::python::Python;
use crate::process;

/// What the makefile is told. Two of its checks need programs that the build does not, and today's compilers warn where those of its time
/// did not; they also take more liberties with aliases than its code allows.
pub(super) const ARGUMENTS: [&str; 12] = [
    "ARCH=x86",
    "PLAT=pc99",
    "SEL4_ARCH=x86_64",
    "DEBUG=1",
    "PYTHON=python",
    "XMLLINT_PATH=true",
    "CIRCULAR_INCLUDES=true",
    "SKIP_PATH_CHECKS=1",
    "WARNINGS=no-error",
    "CONFIG_KERNEL_EXTRA_CPPFLAGS=",
    "SOURCE_ROOT=../fetch/vendor/sel4-sys/seL4",
    "-fno-strict-aliasing",
];

/// Compiles the kernel in the folder `work`, and puts it into `prefix/bin`.
pub(super) fn kernel(work: &Path, sources: &Path, python: &Python, compiler: &Compiler, prefix: &Path) -> Result<()> {
    let folder = work.join("kernel");
    fs::create_dir_all(&folder)?;
    // Paths within the sources end up in the kernel: relative ones are the same everywhere.
    let (flags, arguments) = ARGUMENTS.split_last().context("the makefile needs arguments")?;
    let mut make = std::process::Command::new("make");
    make.current_dir(&folder).arg("-f").arg(sources.join("Makefile")).args(arguments);
    make.arg(format!("TOOLPREFIX={}", compiler.prefix)).arg(format!("CC={}gcc {flags}", compiler.prefix));
    make.env("PATH", python.path()?).env_remove("MAKEFLAGS").env_remove("MFLAGS");
    process::run(&mut make).context("seL4 cannot be built")?;
    let programs = prefix.join("bin");
    fs::create_dir_all(&programs)?;
    let kernel = programs.join("kernel.elf");
    fs::copy(folder.join("kernel.elf.strip"), &kernel).context("seL4's makefile has made no kernel")?;
    // QEMU boots multiboot kernels of this class alone.
    process::run(compiler.command("objcopy").args(["-O", "elf32-i386"]).arg(&kernel).arg(programs.join("kernel32.elf")))
}
