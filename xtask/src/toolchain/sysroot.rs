//! The core library for a bare-metal target, built from the compiler's own sources.
//!
//! Built once with cargo's unstable `build-std` into a sysroot folder, so that everything after is a plain stable build
//! with `--sysroot`, and no crate of ours needs an unstable feature.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// The sysroot, within the compiler's folder.
pub(super) const FOLDER: &str = "sysroot";

/// Whether the sysroot in `folder` has the libraries of `triple`.
pub(super) fn has(folder: &Path, triple: &str) -> bool {
    folder.join(FOLDER).join("lib/rustlib").join(triple).join("lib").is_dir()
}

const LIBRARIES: [&str; 3] = ["libcore-", "liballoc-", "libcompiler_builtins-"];

/// What is needed to build it.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) rustc: &'a Path,
    pub(super) libraries: &'a Path,
    pub(super) linker: &'a Path,
}

impl Builder<'_> {
    /// Builds the libraries of all `triples`, side by side, into the sysroot in `folder` and returns their paths within `folder`.
    pub(super) fn build(&self, folder: &Path, triples: &[&str]) -> Result<Vec<PathBuf>> {
        let project = folder.join("build");
        fs::create_dir_all(project.join("src"))?;
        fs::write(
            project.join("Cargo.toml"),
            "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n[profile.release]\npanic = \"abort\"\n",
        )?;
        fs::write(project.join("src/lib.rs"), "#![no_std]\n")?;
        let mut cargo = self.workspace.cargo();
        cargo
            .current_dir(&project)
            .args(["build", "--release", "--target-dir", "target"])
            .args(["-Z", "build-std=core,alloc,compiler_builtins", "-Z", "build-std-features=compiler-builtins-mem"])
            .env("RUSTC", self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", self.libraries)
            // With bitcode, a program can be optimized together with its core library.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        for triple in triples {
            cargo.args(["--target", triple]);
            cargo.env(format!("CARGO_TARGET_{}_LINKER", triple.to_ascii_uppercase().replace('-', "_")), self.linker);
        }
        process::run(&mut cargo).context("the core library for bare metal cannot be built")?;
        let mut built = Vec::new();
        for triple in triples {
            built.extend(take(&project.join("target").join(triple).join("release/deps"), folder, triple)?);
        }
        fs::remove_dir_all(&project)?;
        Ok(built)
    }
}

/// Copies the libraries of `triple` from `built` into the sysroot in `folder`; returns their paths within `folder`.
fn take(built: &Path, folder: &Path, triple: &str) -> Result<Vec<PathBuf>> {
    let place = Path::new(FOLDER).join("lib/rustlib").join(triple).join("lib");
    fs::create_dir_all(folder.join(&place))?;
    let mut taken = Vec::new();
    for entry in fs::read_dir(built)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && LIBRARIES.iter().any(|library| name.starts_with(library)) {
            fs::copy(entry.path(), folder.join(&place).join(&name))?;
            taken.push(place.join(name));
        }
    }
    if taken.len() != LIBRARIES.len() {
        bail!("building the core library for {triple} left {} libraries instead of {}", taken.len(), LIBRARIES.len());
    }
    Ok(taken)
}
