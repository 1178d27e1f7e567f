//! Building the module: `make` in a copy of the sources, so that nothing is left in the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::headers::Headers;
use crate::architecture::Architecture;
use crate::host::{COMPILER, GUEST_COMPILER, Installer, MAKE, Presence, Tool};
use crate::output;
use crate::process;
use crate::workspace::Workspace;

/// The sources in the repository.
const SOURCES: &str = "guest/linux";
const MODULE: &str = "crossvm.ko";

/// What the `objtool` of the kernel headers for x86-64 links, where it may be, and its package.
const LIBRARY: &str = "libelf.so.1";
const LIBRARY_FOLDERS: [&str; 3] = ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"];
const LIBRARY_PACKAGE: &str = "libelf1";

/// What becomes of the compiler's warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warnings {
    /// They are shown.
    Shown,
    /// One more makes the build fail, and sparse has its say too, where it is installed.
    Errors,
}

/// Brings what building takes.
pub(super) fn install_tools(architecture: Architecture) -> Result<()> {
    let compiler = match architecture {
        Architecture::Arm64 => GUEST_COMPILER,
        Architecture::Amd64 => COMPILER,
    };
    let missing: Vec<Tool> = [MAKE, compiler].into_iter().filter(|tool| tool.presence() == Presence::Missing).collect();
    for tool in &missing {
        output::note(format!("  .. {} is missing: {}", tool.program, tool.purpose));
    }
    let mut packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    if architecture == Architecture::Amd64 && !LIBRARY_FOLDERS.iter().any(|folder| Path::new(folder).join(LIBRARY).exists()) {
        output::note(format!("  .. {LIBRARY} is missing: a tool of the kernel headers links it"));
        packages.push(LIBRARY_PACKAGE);
    }
    if packages.is_empty() { Ok(()) } else { Installer::find().install(&packages) }
}

/// Builds the module and returns its path.
pub(super) fn build(workspace: &Workspace, headers: &Headers, warnings: Warnings) -> Result<PathBuf> {
    let folder = workspace.output()?.join("module").join(&headers.release);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).with_context(|| format!("cannot write to {}", folder.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", folder.display()))?;
    let copy = folder.join("build");
    mirror(&workspace.root().join(SOURCES), &copy)?;

    let prefix = match headers.architecture {
        Architecture::Arm64 => "aarch64-linux-gnu-",
        Architecture::Amd64 => "",
    };
    let mut make = Command::new("make");
    // A cargo that runs in a `make` has that one's ideas of jobs in the environment.
    make.env_remove("MAKEFLAGS").env_remove("MFLAGS");
    make.arg("-s").arg("-C").arg(&headers.tree).arg(format!("M={}", copy.display()));
    make.arg(format!("ARCH={}", headers.architecture.kernel())).arg(format!("CROSS_COMPILE={prefix}"));
    // Debian's headers name a compiler with its version, which is not everywhere.
    make.arg(format!("CC={prefix}gcc"));
    if warnings == Warnings::Errors {
        make.args(["W=1", "KCFLAGS=-Werror", "KBUILD_MODPOST_WARN="]);
        if process::find_program("sparse").is_some() {
            make.args(["C=1", "CHECK=sparse -Wsparse-error"]);
        }
    }
    process::output(make.arg("modules")).context("the Linux driver does not build")?;

    let module = folder.join(MODULE);
    let mut strip = Command::new(format!("{prefix}strip"));
    process::run(strip.arg("--strip-debug").arg("-o").arg(&module).arg(copy.join(MODULE)))?;
    if !module.is_file() {
        bail!("{} does not exist although its build succeeded", module.display());
    }
    Ok(module)
}

/// Makes the files of `to` those of `from`. What is the same stays untouched, so that `make` has nothing to do; of what it has made, what
/// came from a file that is no longer there goes with everything else.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    let names = list(from)?;
    let record = to.join("sources.txt");
    let all = names.join("\n");
    if to.exists() && fs::read_to_string(&record).unwrap_or_default() != all {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for name in &names {
        let (source, copy) = (from.join(name), to.join(name));
        let content = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if fs::read(&copy).ok().as_ref() != Some(&content) {
            fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    fs::write(&record, all).with_context(|| format!("cannot write {}", record.display()))
}

/// The files that make up the driver: what `make` without our help would leave beside them does not count.
fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_source(name)).collect();
    names.sort();
    Ok(names)
}

fn is_source(name: &str) -> bool {
    matches!(name, "Kbuild" | "Makefile") || (name.ends_with(".c") && !name.ends_with(".mod.c")) || name.ends_with(".h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_copied_and_nothing_stale_stays() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copy = to.path().join("build");
        for (name, text) in [("Kbuild", "a"), ("file.c", "b"), ("file.mod.c", "made"), ("README.md", "text")] {
            fs::write(from.path().join(name), text).unwrap();
        }
        mirror(from.path(), &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("file.c")).unwrap(), "b");
        assert!(!copy.join("file.mod.c").exists() && !copy.join("README.md").exists());

        let written = fs::metadata(copy.join("Kbuild")).unwrap().modified().unwrap();
        fs::write(copy.join("file.o"), "object").unwrap();
        fs::write(from.path().join("file.c"), "c").unwrap();
        mirror(from.path(), &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("file.c")).unwrap(), "c");
        assert_eq!(fs::metadata(copy.join("Kbuild")).unwrap().modified().unwrap(), written, "not written again");
        assert!(copy.join("file.o").exists(), "what make has made stays");

        fs::rename(from.path().join("file.c"), from.path().join("new.c")).unwrap();
        mirror(from.path(), &copy).unwrap();
        assert!(copy.join("new.c").exists() && !copy.join("file.c").exists() && !copy.join("file.o").exists());
    }
}
