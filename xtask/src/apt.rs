//! Debian packages for the guests and for cross compilation, through a private apt state.
//!
//! The packages are downloaded and unpacked, never installed: the host's package database, architectures and sources stay
//! as they are. Apt itself checks the signatures; each file's SHA-256 is that of the signed index.

mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::hash::{Sha256, sha256_file};
use crate::process;
use crate::progress::Step;

/// The Debian release that guests and cross-compilation packages come from.
pub(crate) const RELEASE: &str = "bookworm";

/// A private apt state in the cache, with the packages of this host's architecture and of the guests'.
#[derive(Debug)]
pub(crate) struct Apt {
    configuration: PathBuf,
    packages: PathBuf,
    /// Where downloads are until they are checked.
    unchecked: PathBuf,
    host: String,
}

/// One version of a package, as the signed index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    pub(crate) sha256: Sha256,
    pub(crate) size: u64,
}

/// Whose package: of this machine, or of the guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// This machine's architecture.
    Host,
    /// That of guests.
    Guest(Architecture),
}

impl Apt {
    /// Prepares the private state and brings its indices up to date.
    pub(crate) fn update(cache: &Cache, _lock: &Lock, step: &Step) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "dpkg", "dpkg-deb"] {
            if process::find_program(tool).is_none() {
                bail!(
                    "`{tool}` is missing: the guests' kernels come as Debian packages, so this needs Debian, Ubuntu or a container of one of them"
                );
            }
        }
        let host = process::output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned();
        let root = cache.path("apt");
        let packages = cache.path("packages");
        for folder in [root.join("state/lists/partial"), root.join("cache/archives/partial"), root.join("sources"), packages.clone()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        // An empty package database: nothing of the host takes part in any answer.
        fs::write(root.join("state/status"), "")?;
        fs::write(root.join("sources/crossvm.sources"), sources::find()?)?;
        let configuration = root.join("apt.conf");
        fs::write(&configuration, configure(&root, &host))?;
        let apt = Self { configuration, packages, unchecked: cache.temporary("download"), host };
        step.detail("updating the private package lists");
        process::run(apt.apt_get().arg("update")).context("the Debian package lists cannot be fetched; is the mirror reachable?")?;
        Ok(apt)
    }

    /// The newest version of `name`.
    pub(crate) fn find(&self, side: Side, name: &str) -> Result<Package> {
        let asked = self.qualified(side, name);
        let text = process::output(self.apt_cache().args(["show", "--no-all-versions", &asked]))
            .with_context(|| format!("package {asked} is not in the package lists of Debian {RELEASE}"))?;
        parse_package(&text).ok_or_else(|| anyhow!("the package lists describe {asked} in a way that cannot be read"))
    }

    /// The packages that `name` depends on directly.
    pub(crate) fn depends(&self, side: Side, name: &str) -> Result<Vec<String>> {
        let text = process::output(self.apt_cache().args(["depends", "--important", &self.qualified(side, name)]))?;
        Ok(parse_depends(&text))
    }

    /// Everything that `name` depends on, directly or not.
    pub(crate) fn closure(&self, side: Side, name: &str) -> Result<BTreeSet<String>> {
        let text = process::output(self.apt_cache().args(["depends", "--important", "--recurse", &self.qualified(side, name)]))?;
        // Names at the left margin are the packages; `<name>` is virtual, `name:arch` one of another architecture.
        Ok(text.lines().filter(|line| !line.starts_with([' ', '|', '<']) && !line.contains(':')).map(str::to_owned).collect())
    }

    /// The file of `package`, out of the cache if it is there and undamaged, else downloaded and checked.
    pub(crate) fn fetch(&self, package: &Package, step: &Step) -> Result<PathBuf> {
        let stem = format!("{}_{}_{}.deb", package.name, package.version, package.architecture);
        let place = self.packages.join(&stem);
        let record = self.packages.join(format!("{stem}.sha256"));
        if place.exists() {
            if sha256_file(&place)? == package.sha256 {
                return Ok(place);
            }
            step.detail(&format!("{stem} in the cache is damaged: downloading it anew"));
            fs::remove_file(&place)?;
        }
        step.detail(&format!("downloading {} {} ({} MB)", package.name, package.version, package.size.div_ceil(1_000_000)));
        fs::create_dir_all(&self.unchecked).with_context(|| format!("cannot create {}", self.unchecked.display()))?;
        let exact = format!("{}:{}={}", package.name, package.architecture, package.version);
        process::run(self.apt_get().current_dir(&self.unchecked).args(["download", &exact]))
            .with_context(|| format!("package {} cannot be downloaded", package.name))?;
        let downloaded = fs::read_dir(&self.unchecked)?.flatten().next().ok_or_else(|| anyhow!("apt-get left no file for {exact}"))?.path();
        let found = sha256_file(&downloaded)?;
        if found != package.sha256 {
            fs::remove_dir_all(&self.unchecked)?;
            bail!("{stem}: SHA-256 is {found}, the signed index says {}; try again, or use another mirror", package.sha256);
        }
        fs::write(&record, format!("{}  {stem}\n", package.sha256))?;
        fs::rename(&downloaded, &place).with_context(|| format!("cannot put {} in place", place.display()))?;
        fs::remove_dir_all(&self.unchecked)?;
        Ok(place)
    }

    fn qualified(&self, side: Side, name: &str) -> String {
        match side {
            Side::Host => format!("{name}:{}", self.host),
            Side::Guest(architecture) => format!("{name}:{}", architecture.debian()),
        }
    }

    fn apt_get(&self) -> Command {
        self.command("apt-get")
    }

    fn apt_cache(&self) -> Command {
        self.command("apt-cache")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").arg("-c").arg(&self.configuration).env("LC_ALL", "C");
        command
    }
}

/// Unpacks a package into `folder`.
pub(crate) fn unpack(package: &Path, folder: &Path) -> Result<()> {
    process::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder))
}

/// Unpacks what matches `patterns` (shell patterns, each for a path from `./` on) of a package into `folder`.
pub(crate) fn unpack_part(package: &Path, patterns: &[&str], folder: &Path) -> Result<()> {
    let mut reader =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn().context("cannot start `dpkg-deb`")?;
    let archive = reader.stdout.take().ok_or_else(|| anyhow!("`dpkg-deb` has no output"))?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--wildcards", "-C"]).arg(folder).args(patterns).stdin(archive);
    let status = tar.status().context("cannot start `tar`")?;
    // `tar` has read to the end, or has failed and closed the pipe.
    let read = reader.wait().context("cannot learn how `dpkg-deb` ended")?;
    if !status.success() || !read.success() {
        bail!("{} cannot be unpacked: tar ended with {status}, dpkg-deb with {read}", package.display());
    }
    Ok(())
}

/// The configuration file of the private state. It is read after the system's, so proxies and the like stay in force.
fn configure(root: &Path, host: &str) -> String {
    let guests = Architecture::ALL.map(Architecture::debian).into_iter().filter(|guest| *guest != host);
    let guests: String = guests.map(|guest| format!(" \"{guest}\";")).collect();
    let path = |name: &str| root.join(name).display().to_string();
    [
        // Hooks of the host's package management have no business here.
        "#clear APT::Update::Pre-Invoke;".to_owned(),
        "#clear APT::Update::Post-Invoke;".to_owned(),
        "#clear APT::Update::Post-Invoke-Success;".to_owned(),
        "#clear Acquire::IndexTargets::deb::DEP-11;".to_owned(),
        "#clear APT::Architectures;".to_owned(),
        "#clear APT::Default-Release;".to_owned(),
        format!("APT::Architecture \"{host}\";"),
        format!("APT::Architectures {{ \"{host}\";{guests} }};"),
        // The cache is often in a home folder that apt's own user cannot enter.
        "APT::Sandbox::User \"\";".to_owned(),
        "Acquire::Languages \"none\";".to_owned(),
        "Acquire::Retries \"3\";".to_owned(),
        // Without this an unreachable mirror is only a warning, and the error comes later and says less.
        "APT::Update::Error-Mode \"any\";".to_owned(),
        format!("Dir::State \"{}\";", path("state")),
        format!("Dir::State::status \"{}\";", path("state/status")),
        format!("Dir::Cache \"{}\";", path("cache")),
        "Dir::Cache::pkgcache \"pkgcache.bin\";".to_owned(),
        "Dir::Cache::srcpkgcache \"srcpkgcache.bin\";".to_owned(),
        "Dir::Etc::sourcelist \"/dev/null\";".to_owned(),
        format!("Dir::Etc::sourceparts \"{}\";", path("sources")),
        "Dir::Etc::preferences \"/dev/null\";".to_owned(),
        "Dir::Etc::preferencesparts \"/dev/null\";".to_owned(),
        String::new(),
    ]
    .join("\n")
}

fn parse_package(text: &str) -> Option<Package> {
    let paragraph = text.split("\n\n").next()?;
    let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        architecture: field("Architecture")?.to_owned(),
        sha256: Sha256::parse(field("SHA256")?)?,
        size: field("Size")?.parse().ok()?,
    })
}

fn parse_depends(text: &str) -> Vec<String> {
    let dependency = |line: &str| {
        let name = line.trim_start_matches([' ', '|']).strip_prefix("Depends: ")?;
        Some(name.split(':').next().unwrap_or(name).to_owned())
    };
    text.lines().filter_map(dependency).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read_from_the_index() {
        let sum = "0123456789abcdef".repeat(4);
        let text = format!(
            "Package: busybox-static\nVersion: 1:1.35.0-4\nArchitecture: arm64\nSize: 822236\nDescription: a\n b\nSHA256: {sum}\n\nPackage: other\n"
        );
        let package = parse_package(&text).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str(), package.size), ("busybox-static", "1:1.35.0-4", 822_236));
        assert_eq!(parse_package(&text.replace(&sum, "none")), None, "a package without a sum is refused");
    }

    #[test]
    fn dependencies_lose_their_architecture() {
        let text =
            "linux-image-cloud-arm64:arm64\n  Depends: linux-image-6.1.0-56-cloud-arm64:arm64\n |Depends: <virtual>\n  Conflicts: x\n";
        assert_eq!(parse_depends(text), ["linux-image-6.1.0-56-cloud-arm64", "<virtual>"]);
    }
}
