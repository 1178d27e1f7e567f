//! Debian's kernel headers: what building a module needs of a kernel.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::apt::{self, Apt, Side};
use crate::architecture::Architecture;
use crate::cache::Cache;
use crate::guest::Series;
use crate::output;
use crate::process;
use crate::progress::{Step, step};

/// Where packages have the headers.
const SOURCES: &str = "usr/src";

/// The headers of one kernel in the cache.
#[derive(Debug, Clone)]
pub(super) struct Headers {
    /// What `uname -r` says on that kernel.
    pub(super) release: String,
    pub(super) architecture: Architecture,
    /// The build tree, as `make -C` wants it.
    pub(super) tree: PathBuf,
}

impl Headers {
    /// The headers of the kernel `release`, fetched where they are not in the cache.
    pub(super) fn of_release(release: &str, architecture: Architecture) -> Result<Self> {
        let cache = Cache::find()?;
        if let Some(headers) = Self::find(&cache, release, architecture) {
            return Ok(headers);
        }
        let lock = cache.lock()?;
        step(&format!("headers of Linux {release}"), |step| {
            let apt = Apt::update(&cache, &lock, step)?;
            install(&cache, &lock, &apt, release, architecture, step)
        })?;
        Self::find(&cache, release, architecture)
            .ok_or_else(|| anyhow!("the headers were unpacked but are damaged on the disk: is it full?"))
    }

    /// The headers of Debian's newest kernel of `series`. The package lists tell which it is; without a mirror, what the cache has serves.
    pub(super) fn newest(series: Series, architecture: Architecture) -> Result<Self> {
        let cache = Cache::find()?;
        let meta = series.headers_package(architecture.debian());
        let found = {
            let lock = cache.lock()?;
            step("the newest kernel", |step| {
                let dependencies = Apt::update(&cache, &lock, step)?.depends(side(architecture)?, &meta)?;
                let name = dependencies.iter().find_map(|name| name.strip_prefix("linux-headers-"));
                Ok(name.ok_or_else(|| anyhow!("{meta} depends on no headers"))?.to_owned())
            })
        };
        match found {
            Ok(release) => Self::of_release(&release, architecture),
            Err(error) => {
                let Some(headers) = newest_cached(&cache, series, architecture) else { return Err(error) };
                output::note(format!("     {error:#}\n     going on with {}, which is in the cache", headers.release));
                Ok(headers)
            }
        }
    }

    fn find(cache: &Cache, release: &str, architecture: Architecture) -> Option<Self> {
        let entry = entry(release);
        cache.verified(&entry)?;
        let tree = cache.path(&entry).join(SOURCES).join(package(release));
        Some(Self { release: release.to_owned(), architecture, tree })
    }
}

fn package(release: &str) -> String {
    format!("linux-headers-{release}")
}

fn entry(release: &str) -> String {
    format!("headers-{release}")
}

fn newest_cached(cache: &Cache, series: Series, architecture: Architecture) -> Option<Headers> {
    let entries = fs::read_dir(cache.path("")).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("headers-").map(str::to_owned));
    let suffix = format!("-{}", architecture.debian());
    let mut releases: Vec<_> = names.filter(|release| series.includes(release) && release.ends_with(&suffix)).collect();
    releases.sort();
    releases.iter().rev().find_map(|release| Headers::find(cache, release, architecture))
}

/// Whose package lists have the headers of `architecture`.
fn side(architecture: Architecture) -> Result<Side> {
    let host = process::output(std::process::Command::new("dpkg").arg("--print-architecture"))?;
    match architecture {
        Architecture::Arm64 => Ok(Side::Guest(architecture)),
        Architecture::Amd64 if host.trim() == "amd64" => Ok(Side::Host),
        Architecture::Amd64 => bail!("modules for amd64 are built on amd64 only; this machine is {}", host.trim()),
    }
}

fn install(
    cache: &Cache,
    lock: &crate::cache::Lock,
    apt: &Apt,
    release: &str,
    architecture: Architecture,
    step: &Step,
) -> Result<crate::cache::Stamp> {
    let side = side(architecture)?;
    let headers = package(release);
    let refresh = "if Debian has a newer kernel meanwhile, `cargo xtask setup --refresh` fetches it";
    let dependencies = apt.depends(side, &headers).with_context(|| format!("Debian has no headers of Linux {release}: {refresh}"))?;
    let depends_on = |prefix: &str, suffix: &str| {
        // A package for all architectures is shown as virtual where a package of another architecture than ours asks for it.
        let mut names = dependencies.iter().map(|name| name.trim_matches(['<', '>']));
        let name = names.find(|name| name.starts_with(prefix) && name.ends_with(suffix));
        name.ok_or_else(|| anyhow!("{headers} depends on no {prefix}*{suffix}"))
    };
    // The programs that build run here.
    let parts =
        [(side, headers.as_str()), (Side::Host, depends_on("linux-headers-", "-common")?), (Side::Host, depends_on("linux-kbuild-", "")?)];
    let mut packages = Vec::new();
    for (side, name) in parts {
        let package = apt.find(side, name).with_context(|| format!("no package {name}: {refresh}"))?;
        packages.push((apt.fetch(&package, step)?, package));
    }
    step.detail("unpacking the headers");
    let origin: Vec<_> = packages.iter().map(|(_, package)| format!("{} {}", package.name, package.version)).collect();
    cache.create(lock, &entry(release), &origin.join(", "), |folder| {
        for (file, _) in &packages {
            apt::unpack(file, folder)?;
        }
        relocate(&folder.join(SOURCES), &headers)?;
        let tree = Path::new(SOURCES).join(&headers);
        Ok(["Makefile", "Module.symvers", ".config", "include/generated/autoconf.h", "scripts/mod/modpost"]
            .map(|file| tree.join(file))
            .into())
    })
}

/// Makes the build tree work where it is: it refers to /usr/src, where nothing is.
fn relocate(sources: &Path, headers: &str) -> Result<()> {
    let makefile = sources.join(headers).join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| format!("the package {headers} has no Makefile"))?;
    fs::write(&makefile, relocated(&text)?)?;
    // Type information of the kernel is not needed, and making more of it takes a tool that may not be there.
    let kernel = sources.join(headers).join("vmlinux");
    if kernel.exists() {
        fs::remove_file(&kernel)?;
    }
    Ok(())
}

fn relocated(makefile: &str) -> Result<String> {
    let common = makefile.trim().strip_prefix("include /usr/src/").filter(|rest| !rest.contains('\n'));
    let common = common.ok_or_else(|| anyhow!("the Makefile of Debian's headers has changed: {makefile}"))?;
    Ok(format!("include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))../{common}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_tree_finds_its_common_part_beside_it() {
        let text = relocated("include /usr/src/linux-headers-6.1.0-56-common/Makefile\n").unwrap();
        assert_eq!(text, "include $(dir $(abspath $(lastword $(MAKEFILE_LIST))))../linux-headers-6.1.0-56-common/Makefile\n");
        assert!(relocated("obj-m := x\n").is_err());
        assert!(relocated("include /usr/src/a/Makefile\ninclude /usr/src/b/Makefile\n").is_err());
    }

    #[test]
    fn of_the_cached_headers_only_those_of_the_series_count() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let lock = cache.lock().unwrap();
        for release in ["6.1.0-55-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-57-cloud-arm64", "6.12.117+deb12-cloud-amd64"] {
            let file = Path::new(SOURCES).join(package(release)).join("Makefile");
            cache
                .create(&lock, &entry(release), "test", |folder| {
                    fs::create_dir_all(folder.join(&file).parent().unwrap())?;
                    fs::write(folder.join(&file), "")?;
                    Ok(vec![file.clone()])
                })
                .unwrap();
        }
        let newest = |series, architecture| newest_cached(&cache, series, architecture).map(|headers| headers.release);
        assert_eq!(newest(Series::V6_1, Architecture::Amd64).unwrap(), "6.1.0-56-cloud-amd64");
        assert_eq!(newest(Series::V6_1, Architecture::Arm64).unwrap(), "6.1.0-57-cloud-arm64");
        assert_eq!(newest(Series::V6_12, Architecture::Arm64), None);
    }
}
