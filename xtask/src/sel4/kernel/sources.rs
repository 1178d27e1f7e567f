//! The kernel's sources, as cargo takes them from the registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::workspace;

/// The package that carries them. Its Rust code is not built.
const PACKAGE: &str = "sel4-sys";
const PACKAGE_VERSION: &str = "0.0.28";
/// SHA-256 of the package.
pub(super) const SHA256: &str = "b42578af4c4eb8468e57beaabecc86541ac3a94eca1e92a611457b71f6034822";

/// Brings the sources into the folder `work`, and returns where they are.
pub(super) fn fetch(work: &Path) -> Result<PathBuf> {
    let project = work.join("fetch");
    fs::create_dir_all(project.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n[dependencies]\n{PACKAGE} = \"={PACKAGE_VERSION}\"\n"
    );
    fs::write(project.join("Cargo.toml"), manifest)?;
    fs::write(project.join("src/lib.rs"), "")?;
    process::run(workspace::cargo().current_dir(&project).args(["vendor", "--quiet", "vendor"]))
        .with_context(|| format!("the sources of seL4 come with the crate {PACKAGE} {PACKAGE_VERSION}, which cargo cannot fetch"))?;
    let package = project.join("vendor").join(PACKAGE);
    let sums = fs::read_to_string(package.join(".cargo-checksum.json")).context("cargo has vendored no such package")?;
    let sums: serde_json::Value = serde_json::from_str(&sums)?;
    // Cargo has compared the download with the registry's sum; this compares the registry's with ours.
    match sums.get("package").and_then(serde_json::Value::as_str) {
        Some(SHA256) => Ok(package.join("seL4")),
        other => bail!("{PACKAGE} {PACKAGE_VERSION} is not the package that this was written for: its SHA-256 is {other:?}, not {SHA256}"),
    }
}
