//! What the guests run: an unmodified Debian kernel, busybox, and an initial RAM disk with our programs.

mod cpio;
mod image;
pub(crate) mod initramfs;
mod kernel;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use image::is_arm64_image;
pub(crate) use kernel::{Kernel, Series};

use anyhow::{Context as _, Result, anyhow};

use crate::apt::{self, Apt, Side};
use crate::cache::{Cache, Lock};
use crate::progress::Step;

const BUSYBOX_PACKAGE: &str = "busybox-static";
/// Name of busybox in the cache.
pub(crate) const BUSYBOX_ENTRY: &str = "busybox";
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
    let bytes = initramfs::assemble(busybox, kernel.modules(), programs)?;
    fs::write(place, bytes).with_context(|| format!("cannot write {}", place.display()))
}
