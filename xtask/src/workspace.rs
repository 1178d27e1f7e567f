//! Where things are in this repository, and the cargo that built us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::process;

/// The repository and its target folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace that this program is part of.
    pub(crate) fn find() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().ok_or_else(|| anyhow!("{} is not inside a workspace", package.display()))?.to_owned();
        let metadata = metadata(&root)?;
        let target =
            metadata.get("target_directory").and_then(|value| value.as_str()).context("`cargo metadata` names no target folder")?;
        Ok(Self { root, target: PathBuf::from(target) })
    }

    /// The top folder of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command for this workspace, with the toolchain that built us.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }

    /// The features of `packages` but for `except`, as `package/feature`.
    pub(crate) fn features(&self, packages: &[&str], except: &[&str]) -> Result<Vec<String>> {
        let metadata = metadata(&self.root)?;
        let all = metadata.get("packages").and_then(|value| value.as_array()).context("`cargo metadata` names no packages")?;
        let mut found = Vec::new();
        for package in packages {
            let entry = all.iter().find(|entry| entry.get("name").and_then(|name| name.as_str()) == Some(package));
            let features = entry.and_then(|entry| entry.get("features")?.as_object());
            let features = features.ok_or_else(|| anyhow!("`cargo metadata` does not know the package {package}"))?;
            let features = features.keys().filter(|feature| !except.contains(&feature.as_str()));
            found.extend(features.map(|feature| format!("{package}/{feature}")).filter(|feature| !except.contains(&feature.as_str())));
        }
        Ok(found)
    }

    /// Folder for the programs of other targets: one of their own, so that they never rebuild what the host's cargo built.
    pub(crate) fn cross_target(&self) -> PathBuf {
        self.target.join("crossvm/cross")
    }

    /// Folder for images, logs and reports, made if necessary.
    pub(crate) fn output(&self) -> Result<PathBuf> {
        let folder = self.target.join("crossvm");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }
}

fn metadata(root: &Path) -> Result<serde_json::Value> {
    let text = process::output(cargo().current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed something else than JSON")
}

/// The cargo that built us, for no workspace in particular.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}
