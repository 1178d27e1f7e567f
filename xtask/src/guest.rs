//! What the guests run: an unmodified Debian kernel, busybox, and an initial RAM disk with our programs.

mod cpio;
mod image;
pub(crate) mod initramfs;
mod kernel;
pub(crate) mod pciutils;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use cpio::Archive;
pub(crate) use image::{HEAD, is_amd64_kernel, is_arm64_image};
pub(crate) use kernel::{Kernel, Series};

use anyhow::{Context as _, Result, anyhow};

use crate::apt::{self, Apt, Side};
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::progress::Step;

const BUSYBOX_PACKAGE: &str = "busybox-static";

/// Debian's programs for an initial RAM disk.
#[derive(Debug, Clone)]
pub(crate) struct Userland {
    /// The shell, and everything that a shell needs.
    pub(crate) busybox: PathBuf,
    /// Further files: paths in the disk, and the files with their contents.
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
}

impl Userland {
    /// What is in the cache, if it is complete and undamaged.
    pub(crate) fn find(cache: &Cache, architecture: Architecture) -> Option<Self> {
        let busybox = find_busybox(cache, architecture)?;
        let files = if has_pciutils(architecture) { pciutils::find(cache, architecture)? } else { Vec::new() };
        Some(Self { busybox, files })
    }
}

/// Whether guests get pciutils: where `lspci` is a part of what is verified.
pub(crate) const fn has_pciutils(architecture: Architecture) -> bool {
    matches!(architecture, Architecture::Amd64)
}

/// Name of busybox in the cache.
pub(crate) const fn busybox_entry(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Arm64 => "busybox",
        Architecture::Amd64 => "busybox-amd64",
    }
}

/// Path of busybox, if it is in the cache and undamaged.
pub(crate) fn find_busybox(cache: &Cache, architecture: Architecture) -> Option<PathBuf> {
    let entry = busybox_entry(architecture);
    cache.verified(entry).map(|_| cache.path(entry).join("busybox"))
}

/// Downloads and unpacks busybox.
pub(crate) fn install_busybox(cache: &Cache, lock: &Lock, apt: &Apt, architecture: Architecture, step: &Step) -> Result<()> {
    let package = apt.find(Side::Guest(architecture), BUSYBOX_PACKAGE)?;
    let file = apt.fetch(&package, step)?;
    cache.create(lock, busybox_entry(architecture), &format!("{} {}", package.name, package.version), |folder| {
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
pub(crate) fn write_initramfs(kernel: &Kernel, userland: &Userland, programs: &initramfs::Programs, place: &Path) -> Result<()> {
    let bytes = initramfs::assemble(userland, kernel.modules(), programs)?;
    fs::write(place, bytes).with_context(|| format!("cannot write {}", place.display()))
}
