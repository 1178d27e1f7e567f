//! The kernel that guests run: Debian's, unmodified.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::ValueEnum;

use super::image;
use crate::apt::{self, Apt, Side};
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::progress::Step;

/// The kernel modules that the guests need, in the order of loading: the stock driver, and network devices that a program makes.
const MODULES: [&str; 3] = ["uio", "uio_pci_generic", "tun"];

/// The kernel modules that a kernel needs to run guests itself, in an emulated machine, in the order of loading. For arm64 they are built in.
const fn kvm_modules(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Arm64 => &[],
        Architecture::Amd64 => &["irqbypass", "kvm", "kvm-amd"],
    }
}

/// A series of kernels that Debian 12 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Series {
    /// Linux 6.1, the release's own: what guests run unless somebody asks for another.
    #[value(name = "6.1")]
    V6_1,
    /// Linux 6.12, from a later release.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// The package that depends on the newest kernel for `architecture`.
    fn image_package(self, architecture: Architecture) -> String {
        let architecture = architecture.debian();
        match self {
            Self::V6_1 => format!("linux-image-cloud-{architecture}"),
            Self::V6_12 => format!("linux-image-6.12-cloud-{architecture}"),
        }
    }

    /// The package that depends on the headers of the newest kernel for `architecture`.
    pub(crate) fn headers_package(self, architecture: &str) -> String {
        match self {
            Self::V6_1 => format!("linux-headers-cloud-{architecture}"),
            Self::V6_12 => format!("linux-headers-6.12-cloud-{architecture}"),
        }
    }

    /// Whether the kernel `release` (`uname -r`) is one of it.
    pub(crate) fn includes(self, release: &str) -> bool {
        release.starts_with(match self {
            Self::V6_1 => "6.1.",
            Self::V6_12 => "6.12.",
        })
    }

    /// Name of the kernel for `architecture` in the cache.
    const fn entry(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Self::V6_1, Architecture::Arm64) => "kernel",
            (Self::V6_12, Architecture::Arm64) => "kernel-6.12",
            (Self::V6_1, Architecture::Amd64) => "kernel-amd64",
            (Self::V6_12, Architecture::Amd64) => "kernel-6.12-amd64",
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

/// The kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) architecture: Architecture,
    /// The raw arm64 Image, or the bzImage.
    pub(crate) image: PathBuf,
    /// What `uname -r` says in a guest that runs it.
    pub(crate) release: String,
    /// The package it came from, with its version.
    pub(crate) package: String,
    modules: Vec<PathBuf>,
    /// The modules with which it runs guests itself, in the order of loading.
    pub(crate) kvm_modules: Vec<PathBuf>,
}

impl Kernel {
    /// The kernel of `series`, if it is in the cache and undamaged.
    pub(crate) fn find(cache: &Cache, series: Series, architecture: Architecture) -> Option<Self> {
        let entry = series.entry(architecture);
        let stamp = cache.verified(entry)?;
        let modules = || MODULES.iter().chain(kvm_modules(architecture));
        // One that was unpacked when guests needed less is to be unpacked anew.
        if !modules().all(|module| stamp.vouches_for(&module_file(module))) {
            return None;
        }
        let folder = cache.path(entry);
        let release = fs::read_to_string(folder.join("release")).ok()?;
        let files = |names: &[&str]| names.iter().map(|name| folder.join(module_file(name))).collect();
        Some(Self {
            architecture,
            image: folder.join("Image"),
            release,
            package: stamp.origin,
            modules: files(&MODULES),
            kvm_modules: files(kvm_modules(architecture)),
        })
    }

    /// The kernel with one more module to load: it follows the others into the initial RAM disk, as /lib/modules/NAME.ko.
    pub(crate) fn with_module(mut self, module: PathBuf) -> Self {
        self.modules.push(module);
        self
    }

    /// The files of the modules that go into the initial RAM disk, in the order of loading.
    pub(super) fn modules(&self) -> &[PathBuf] {
        &self.modules
    }

    /// Downloads and unpacks the current kernel of `series`.
    pub(crate) fn install(cache: &Cache, lock: &Lock, apt: &Apt, series: Series, architecture: Architecture, step: &Step) -> Result<()> {
        let side = Side::Guest(architecture);
        let meta = series.image_package(architecture);
        let dependencies = apt.depends(side, &meta)?;
        let name = dependencies.iter().find(|name| name.starts_with("linux-image-"));
        let name = name.ok_or_else(|| anyhow!("{meta} depends on no kernel package"))?;
        let package = apt.find(side, name)?;
        let file = apt.fetch(&package, step)?;
        step.detail("unpacking the kernel");
        cache.create(lock, series.entry(architecture), &format!("{} {}", package.name, package.version), |folder| {
            let tree = folder.join("tree");
            apt::unpack(&file, &tree)?;
            let release = name.trim_start_matches("linux-image-").to_owned();
            let kernel = tree.join(format!("boot/vmlinuz-{release}"));
            let bytes = fs::read(&kernel).with_context(|| format!("the package {name} has no boot/vmlinuz-{release}"))?;
            fs::write(folder.join("Image"), image::unwrap_kernel(bytes, architecture)?)?;
            fs::write(folder.join("release"), &release)?;
            let mut files = vec![PathBuf::from("Image"), PathBuf::from("release")];
            let roots =
                [format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")].map(|modules| tree.join(modules).join("kernel"));
            for module in MODULES.iter().chain(kvm_modules(architecture)) {
                let path = module_file(module);
                fs::write(folder.join(&path), read_module(&roots, module)?)?;
                files.push(path);
            }
            fs::remove_dir_all(&tree)?;
            Ok(files)
        })?;
        Ok(())
    }
}

/// The file of the module `name`.
fn module_file(name: &str) -> PathBuf {
    PathBuf::from(format!("{name}.ko"))
}

/// The module `name`, from one of the places below `roots` where kernels have what we need.
fn read_module(roots: &[PathBuf], name: &str) -> Result<Vec<u8>> {
    const FOLDERS: [&str; 4] = ["drivers/uio", "drivers/net", "arch/x86/kvm", "virt/lib"];
    for folder in roots.iter().flat_map(|root| FOLDERS.map(|folder| root.join(folder))) {
        if let Ok(bytes) = fs::read(folder.join(format!("{name}.ko"))) {
            return Ok(bytes);
        }
        if let Ok(bytes) = fs::read(folder.join(format!("{name}.ko.xz"))) {
            return image::unpack_xz(&bytes).with_context(|| format!("{name}.ko.xz cannot be decompressed"));
        }
    }
    bail!("the kernel package has no module {name}.ko or {name}.ko.xz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_was_unpacked_with_fewer_modules_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let lock = cache.lock().unwrap();
        let find = |modules: &[&str]| {
            let architecture = Architecture::Arm64;
            let fill = |folder: &std::path::Path| {
                let files = modules.iter().map(|module| module_file(module)).chain(["Image", "release"].map(PathBuf::from));
                files.map(|file| fs::write(folder.join(&file), "x").map(|()| file).map_err(Into::into)).collect()
            };
            cache.create(&lock, Series::V6_1.entry(architecture), "test", fill).unwrap();
            Kernel::find(&cache, Series::V6_1, architecture)
        };
        assert_eq!(find(&MODULES).unwrap().modules.len(), MODULES.len());
        assert!(find(&["uio", "uio_pci_generic"]).is_none());
    }
}
