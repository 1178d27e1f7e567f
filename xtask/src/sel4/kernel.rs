//! seL4 5.0.0 for x86-64, built from the sources that a package of the registry carries.
//!
//! ```text
//!   registry ── cargo vendor ──▶ sources ── edits, configuration ──▶ make ──▶ CACHE/sel4-5.0.0-plain/
//!                                   └─────── generators ──▶ headers ─────────▶   bin/kernel.elf, kernel32.elf
//!                                                                                libsel4/include/
//!                                                                                VERSION
//! ```
//!
//! The result looks as an installed seL4 does, so that `SEL4_PREFIX` can name it. It is made once for everything that determines it.

mod build;
mod compiler;
mod configuration;
mod edits;
mod headers;
mod python;
mod sources;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use sha2::{Digest as _, Sha256};

use crate::cache::Cache;
use crate::host::{self, Tool};
use crate::progress::step;
use compiler::Compiler;

/// The version of the kernel, as the prefix's file `VERSION` has it.
pub(super) const VERSION: &str = "5.0.0";

/// What the build of the kernel needs.
pub(super) fn tools() -> Vec<Tool> {
    vec![Compiler::tool(), host::MAKE, host::PYTHON]
}

/// A configuration of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Threads alone: what QEMU runs.
    Plain,
    /// With VT-x.
    Vtx,
}

impl Variant {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Vtx => "vtx",
        }
    }

    /// All that determines what is built, but for the tools of this machine.
    fn recipe(self) -> String {
        let edits = edits::of(self).map(|edit| format!("{edit:?}")).collect::<Vec<_>>();
        [sources::SHA256, &configuration::text(self), &edits.concat(), &build::ARGUMENTS.concat(), python::REQUIREMENTS].join("\n")
    }
}

/// The folder of the kernel in the cache, built where it is not there yet.
pub(crate) fn prefix(variant: Variant) -> Result<PathBuf> {
    host::install_missing(&tools())?;
    let compiler = Compiler::find()?;
    let key: String = Sha256::digest(variant.recipe() + &compiler.version).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let origin = format!("seL4 {VERSION} {} {key}", variant.name());
    let name = format!("sel4-{VERSION}-{}", variant.name());
    let cache = Cache::find()?;
    let there = || cache.verified(&name).is_some_and(|stamp| stamp.origin == origin);
    if there() {
        return Ok(cache.path(&name));
    }
    let lock = cache.lock()?;
    // Another run may have made it while we waited.
    if !there() {
        step(&format!("seL4 {VERSION} ({}), built once", variant.name()), |step| {
            cache.create(&lock, &name, &origin, |folder| {
                let work = cache.temporary("sel4-build");
                std::fs::create_dir_all(&work)?;
                step.detail("sources from the registry");
                let sources = sources::fetch(&work)?;
                edits::apply(&sources, variant)?;
                configuration::write(&sources, variant)?;
                step.detail("Python packages for its generators");
                let python = python::Python::install(&work)?;
                step.detail("compiling");
                build::kernel(&work, &sources, &python, &compiler, folder)?;
                let files = headers::generate(&sources, &python, &compiler, folder)?;
                std::fs::remove_dir_all(&work)?;
                Ok(files)
            })
        })?;
    }
    if there() { Ok(cache.path(&name)) } else { Err(anyhow!("the kernel was built but is damaged on the disk: is it full?")) }
}
