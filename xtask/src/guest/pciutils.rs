//! `lspci` of pciutils, with what it links: busybox's knows neither capabilities nor regions.
//!
//! ```text
//! CACHE/pciutils-<architecture>/usr/bin/lspci
//!                               lib/<gnu>/*.so*, and the loader where the program looks for it
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::apt::{self, Apt, Side};
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::progress::Step;

/// The program, from the root folder on.
pub(super) const PROGRAM: &str = "usr/bin/lspci";

/// The packages with the shared libraries, and the libraries of each. The loader is in the first.
const LIBRARIES: [(&str, &str); 8] = [
    ("libc6", "libc.so.6"),
    ("libpci3", "libpci.so.3"),
    ("libkmod2", "libkmod.so.2"),
    ("libudev1", "libudev.so.1"),
    ("zlib1g", "libz.so.1"),
    ("liblzma5", "liblzma.so.5"),
    ("libzstd1", "libzstd.so.1"),
    ("libssl3", "libcrypto.so.3"),
];

/// The dynamic loader: its name in the package, and where programs want it.
const fn loader(architecture: Architecture) -> (&'static str, &'static str) {
    match architecture {
        Architecture::Arm64 => ("ld-linux-aarch64.so.1", "lib/ld-linux-aarch64.so.1"),
        Architecture::Amd64 => ("ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"),
    }
}

fn entry(architecture: Architecture) -> String {
    format!("pciutils-{}", architecture.debian())
}

/// What goes into an initial RAM disk: paths there, and the files with their contents. `None`: not in the cache, or damaged.
pub(crate) fn find(cache: &Cache, architecture: Architecture) -> Option<Vec<(PathBuf, PathBuf)>> {
    let entry = entry(architecture);
    cache.verified(&entry)?;
    let folder = cache.path(&entry);
    Some(places(architecture).into_iter().map(|place| (place.clone(), folder.join(place))).collect())
}

/// Package and version, if it is in the cache.
pub(crate) fn origin(cache: &Cache, architecture: Architecture) -> Option<String> {
    cache.stamp(&entry(architecture)).map(|stamp| stamp.origin)
}

fn places(architecture: Architecture) -> Vec<PathBuf> {
    let libraries = LIBRARIES.iter().map(|(_, library)| Path::new("lib").join(architecture.gnu()).join(library));
    [PathBuf::from(PROGRAM), PathBuf::from(loader(architecture).1)].into_iter().chain(libraries).collect()
}

/// Downloads and unpacks it.
pub(crate) fn install(cache: &Cache, lock: &Lock, apt: &Apt, architecture: Architecture, step: &Step) -> Result<()> {
    let side = Side::Guest(architecture);
    let mut files = Vec::new();
    let program = apt.find(side, "pciutils")?;
    files.push(apt.fetch(&program, step)?);
    for (package, _) in LIBRARIES {
        files.push(apt.fetch(&apt.find(side, package)?, step)?);
    }
    cache.create(lock, &entry(architecture), &format!("{} {}", program.name, program.version), |folder| {
        let tree = folder.join("tree");
        for file in &files {
            apt::unpack(file, &tree)?;
        }
        let gnu = architecture.gnu();
        let (loader, loader_place) = loader(architecture);
        let mut wanted = vec![(PROGRAM.to_owned(), PathBuf::from(PROGRAM)), (format!("lib/{gnu}/{loader}"), PathBuf::from(loader_place))];
        wanted.extend(LIBRARIES.map(|(_, library)| (format!("lib/{gnu}/{library}"), Path::new("lib").join(gnu).join(library))));
        let mut stamped = Vec::new();
        for (from, to) in wanted {
            // Some packages say `lib`, some `usr/lib`.
            let sources = [tree.join(&from), tree.join("usr").join(&from)];
            let source = sources.iter().find(|source| source.exists()).ok_or_else(|| anyhow!("Debian's packages have no {from}"))?;
            let place = folder.join(&to);
            fs::create_dir_all(place.parent().unwrap_or(folder))?;
            // Follows the links that libraries' short names are.
            fs::copy(source, &place).with_context(|| format!("cannot copy {}", source.display()))?;
            stamped.push(to);
        }
        fs::remove_dir_all(&tree)?;
        Ok(stamped)
    })?;
    Ok(())
}
