//! Debian's Rust compiler, unpacked into the cache and driven by the user's cargo.
//!
//! Nothing is installed: Debian's packages would conflict with other Rust packages of the host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use super::{Target, Verb, sysroot};
use crate::apt::{self, Apt, Package, Side};
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

const ENTRY: &str = "rust-debian";
/// Compiler, linter, library sources. What they depend on is found through the package index.
const PACKAGES: [&str; 3] = ["rustc-web", "rust-web-clippy", SOURCES];
const SOURCES: &str = "rust-web-src";
/// Of the sources only the library's: the others are 40,000 files.
const LIBRARY_SOURCES: [&str; 2] = ["./usr/src/*/library", "./usr/lib"];
/// The standard library for Linux.
const GUEST_LIBRARY: &str = "libstd-rust-web-dev";
/// The oldest compiler that builds us.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The compiler in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Debian {
    folder: PathBuf,
    origin: String,
}

impl Debian {
    /// The compiler, if it is in the cache and undamaged, with all targets: it may be of a time when there were fewer.
    pub(super) fn find(cache: &Cache) -> Option<Self> {
        let stamp = cache.verified(ENTRY)?;
        let folder = cache.path(ENTRY);
        let libraries = Architecture::ALL.iter().all(|architecture| has_library(&folder, *architecture));
        let complete = libraries && Target::BARE.iter().all(|target| sysroot::has(&folder, target.triple()));
        complete.then_some(Self { folder, origin: stamp.origin })
    }

    /// Package and version of the compiler.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The user's cargo, with this compiler.
    pub(super) fn cargo(&self, workspace: &Workspace, verb: Verb) -> Result<Command> {
        let programs = self.folder.join("usr/bin");
        let mut command = match verb {
            Verb::Build => {
                let mut command = workspace.cargo();
                command.arg("build");
                command
            }
            // Clippy reads only the libraries of the compiler that it was built with, so it is Debian's as well.
            Verb::Clippy => {
                let user = workspace.cargo();
                let mut command = Command::new(programs.join("cargo-clippy"));
                command.arg("clippy").current_dir(workspace.root()).env("CARGO", user.get_program());
                command
            }
        };
        command.env("RUSTC", programs.join("rustc")).env("LD_LIBRARY_PATH", libraries(&self.folder)?);
        Ok(command)
    }

    /// Linker and compiler flags of `target`, as cargo's settings.
    pub(super) fn settings(&self, target: Target) -> Result<Vec<(&'static str, OsString)>> {
        if let Target::Linux(architecture) = target {
            let linker = format!("{}-gcc", architecture.gnu());
            return Ok(vec![("LINKER", OsString::from(linker)), ("RUSTFLAGS", OsString::from(target.flags()))]);
        }
        let mut flags = OsString::from("--sysroot=");
        flags.push(self.folder.join(sysroot::FOLDER));
        flags.push(" ");
        flags.push(target.flags());
        Ok(vec![("LINKER", linker()?.into_os_string()), ("RUSTFLAGS", flags)])
    }
}

/// Gets the packages, unpacks them and builds the core library for bare metal.
pub(super) fn install(cache: &Cache, lock: &Lock, apt: &Apt, workspace: &Workspace, step: &Step) -> Result<()> {
    let linker = linker()?;
    let packages = select(apt)?;
    let compiler = packages.first().ok_or_else(|| anyhow!("no compiler package"))?.clone();
    check_version(&compiler)?;
    let mut files = Vec::new();
    for package in &packages {
        files.push((package, apt.fetch(package, step)?));
    }
    cache.create(lock, ENTRY, &format!("{} {}", compiler.name, compiler.version), |folder| {
        step.detail("unpacking the compiler");
        for (package, file) in &files {
            if package.name == SOURCES {
                apt::unpack_part(file, &LIBRARY_SOURCES, folder)?;
            } else {
                apt::unpack(file, folder)?;
            }
        }
        let rustc = folder.join("usr/bin/rustc");
        let libraries = libraries(folder)?;
        process::run(Command::new(&rustc).arg("-V").env("LD_LIBRARY_PATH", &libraries)).context("Debian's compiler does not start")?;
        let mut stamped = vec![PathBuf::from("usr/bin/rustc")];
        let builder = sysroot::Builder { workspace, rustc: &rustc, libraries: &libraries, linker: &linker };
        step.detail("building the core library for bare metal");
        stamped.extend(builder.build(folder, &Target::BARE.map(Target::triple))?);
        // Nothing reads them again.
        std::fs::remove_dir_all(folder.join("usr/src")).context("the compiler's sources cannot be removed")?;
        Ok(stamped)
    })?;
    Ok(())
}

/// The packages to unpack, the compiler first: of its dependencies those that this system has not installed.
fn select(apt: &Apt) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    let mut wanted = std::collections::BTreeSet::new();
    for name in PACKAGES {
        packages.push(apt.find(Side::Host, name)?);
        wanted.extend(apt.closure(Side::Host, name)?);
    }
    for name in wanted.iter().filter(|name| !PACKAGES.contains(&name.as_str())) {
        let library = name.starts_with("lib") && !name.starts_with("libc6") && !name.starts_with("libgcc");
        if library && !installed(name) {
            packages.push(apt.find(Side::Host, name)?);
        }
    }
    for architecture in Architecture::ALL {
        let library = apt.find(Side::Guest(architecture), GUEST_LIBRARY)?;
        // This machine's own is among what the compiler depends on.
        if !packages.contains(&library) {
            packages.push(library);
        }
    }
    Ok(packages)
}

/// Whether the standard library for programs of `architecture` is there.
fn has_library(folder: &Path, architecture: Architecture) -> bool {
    let base = folder.join("usr/lib/rustlib").join(super::glibc(architecture)).join("lib");
    base.is_dir()
}

fn installed(package: &str) -> bool {
    let status = process::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}\n", package]));
    status.is_ok_and(|status| status.lines().any(|line| line == "installed"))
}

fn check_version(compiler: &Package) -> Result<()> {
    let numbers = |text: &str| text.split(['.', '+', '~', '-']).map_while(|part| part.parse::<u32>().ok()).take(2).collect::<Vec<_>>();
    if numbers(&compiler.version) < numbers(OLDEST) {
        bail!(
            "the newest Debian compiler found is {} {}, and we need {OLDEST}: the sources lack the release's security archive; \
             or install the targets with rustup",
            compiler.name,
            compiler.version
        );
    }
    Ok(())
}

/// The folder with the compiler's shared libraries.
fn libraries(folder: &Path) -> Result<PathBuf> {
    let base = folder.join("usr/lib");
    let has_driver = |path: &Path| {
        let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("librustc_driver"))
    };
    let folders = std::fs::read_dir(&base).with_context(|| format!("cannot read {}", base.display()))?.flatten().map(|entry| entry.path());
    folders.into_iter().find(|path| has_driver(path)).ok_or_else(|| anyhow!("no librustc_driver under {}", base.display()))
}

/// A linker for bare metal: that of the user's Rust toolchain, or LLVM's.
fn linker() -> Result<PathBuf> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let version = process::output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let own = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/rust-lld");
    if own.is_file() {
        return Ok(own);
    }
    process::find_program("ld.lld")
        .ok_or_else(|| anyhow!("no linker for bare metal: {} is missing, and so is `ld.lld` (package lld)", own.display()))
}
