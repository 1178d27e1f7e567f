//! What the guests run: an unmodified Debian kernel, busybox, and an initial RAM disk with our programs.

mod cpio;
mod image;
pub(crate) mod initramfs;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use image::is_arm64_image;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::apt::{self, Apt, Side};
use crate::cache::{Cache, Lock};
use crate::progress::Step;

const KERNEL_META_PACKAGE: &str = "linux-image-cloud-arm64";
const KERNEL_ENTRY: &str = "kernel";
const BUSYBOX_PACKAGE: &str = "busybox-static";
/// Name of busybox in the cache.
pub(crate) const BUSYBOX_ENTRY: &str = "busybox";
/// The kernel modules that the guests need, in the order of loading.
const MODULES: [&str; 2] = ["uio", "uio_pci_generic"];

/// The kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// The raw arm64 Image.
    pub(crate) image: PathBuf,
    /// What `uname -r` says in a guest that runs it.
    pub(crate) release: String,
    /// The package it came from, with its version.
    pub(crate) package: String,
    modules: Vec<PathBuf>,
}

impl Kernel {
    /// The kernel, if it is in the cache and undamaged.
    pub(crate) fn find(cache: &Cache) -> Option<Self> {
        let stamp = cache.verified(KERNEL_ENTRY)?;
        let folder = cache.path(KERNEL_ENTRY);
        let release = fs::read_to_string(folder.join("release")).ok()?;
        let modules = MODULES.iter().map(|name| folder.join(format!("{name}.ko"))).collect();
        Some(Self { image: folder.join("Image"), release, package: stamp.origin, modules })
    }

    /// Downloads and unpacks the current kernel.
    pub(crate) fn install(cache: &Cache, lock: &Lock, apt: &Apt, step: &Step) -> Result<()> {
        let dependencies = apt.depends(Side::Guest, KERNEL_META_PACKAGE)?;
        let name = dependencies.iter().find(|name| name.starts_with("linux-image-"));
        let name = name.ok_or_else(|| anyhow!("{KERNEL_META_PACKAGE} depends on no kernel package"))?;
        let package = apt.find(Side::Guest, name)?;
        let file = apt.fetch(&package, step)?;
        step.detail("unpacking the kernel");
        cache.create(lock, KERNEL_ENTRY, &format!("{} {}", package.name, package.version), |folder| {
            let tree = folder.join("tree");
            apt::unpack(&file, &tree)?;
            let release = name.trim_start_matches("linux-image-").to_owned();
            let kernel = tree.join(format!("boot/vmlinuz-{release}"));
            let bytes = fs::read(&kernel).with_context(|| format!("the package {name} has no boot/vmlinuz-{release}"))?;
            fs::write(folder.join("Image"), image::unwrap_kernel(bytes)?)?;
            fs::write(folder.join("release"), &release)?;
            let mut files = vec![PathBuf::from("Image"), PathBuf::from("release")];
            let drivers = [format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")]
                .map(|modules| tree.join(modules).join("kernel/drivers/uio"));
            for module in MODULES {
                let path = PathBuf::from(format!("{module}.ko"));
                fs::write(folder.join(&path), read_module(&drivers, module)?)?;
                files.push(path);
            }
            fs::remove_dir_all(&tree)?;
            Ok(files)
        })?;
        Ok(())
    }
}

fn read_module(folders: &[PathBuf], name: &str) -> Result<Vec<u8>> {
    for folder in folders {
        if let Ok(bytes) = fs::read(folder.join(format!("{name}.ko"))) {
            return Ok(bytes);
        }
        if let Ok(bytes) = fs::read(folder.join(format!("{name}.ko.xz"))) {
            return image::unpack_xz(&bytes).with_context(|| format!("{name}.ko.xz cannot be decompressed"));
        }
    }
    bail!("the kernel package has no module {name}.ko or {name}.ko.xz")
}

/// Path of busybox, if it is in the cache and undamaged.
pub(crate) fn find_busybox(cache: &Cache) -> Option<PathBuf> {
    cache.verified(BUSYBOX_ENTRY).map(|_| cache.path(BUSYBOX_ENTRY).join("busybox"))
}

/// Downloads and unpacks busybox.
pub(crate) fn install_busybox(cache: &Cache, lock: &Lock, apt: &Apt, step: &Step) -> Result<()> {
    let package = apt.find(Side::Guest, BUSYBOX_PACKAGE)?;
    let file = apt.fetch(&package, step)?;
    cache.create(lock, BUSYBOX_ENTRY, &format!("{} {}", package.name, package.version), |folder| {
        let tree = folder.join("tree");
        apt::unpack(&file, &tree)?;
        let place = ["bin/busybox", "usr/bin/busybox"].map(|path| tree.join(path)).into_iter().find(|path| path.exists());
        let place = place.ok_or_else(|| anyhow!("the package {BUSYBOX_PACKAGE} has no bin/busybox"))?;
        fs::rename(place, folder.join("busybox"))?;
        fs::remove_dir_all(&tree)?;
        Ok(vec![PathBuf::from("busybox")])
    })?;
    Ok(())
}

/// The initial RAM disk of the guests, written anew out of its parts.
pub(crate) fn write_initramfs(kernel: &Kernel, busybox: &Path, programs: &initramfs::Programs, place: &Path) -> Result<()> {
    let bytes = initramfs::assemble(busybox, &kernel.modules, programs)?;
    fs::write(place, bytes).with_context(|| format!("cannot write {}", place.display()))
}
