//! The cache: everything that is downloaded or unpacked, outside the repository.
//!
//! ```text
//! CACHE/lock              held while anything in here changes
//! CACHE/apt/              private apt state
//! CACHE/packages/         what was downloaded, each file with its SHA-256 beside it
//! CACHE/<entry>/          unpacked; stamp.json, written last, lists the files and their SHA-256
//! ```
//!
//! An entry appears in one step: it is filled in a temporary folder, stamped, then renamed. What an interrupted run has
//! left behind is never taken for an entry, and the next run removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::hash::{Sha256, sha256_file};
use crate::output;

/// Raised when the meaning of the entries changes, so that older ones are made anew.
const FORMAT: u32 = 2;
const STAMP: &str = "stamp.json";
const TEMPORARY: &str = "unfinished-";

/// The cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// What an entry consists of. Written last: an entry with a stamp is complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stamp {
    format: u32,
    /// What the entry was made from, for people and reports.
    pub(crate) origin: String,
    files: Vec<StampedFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StampedFile {
    path: PathBuf,
    sha256: Sha256,
}

impl Stamp {
    /// Whether the entry has this file.
    pub(crate) fn vouches_for(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}

/// Exclusive use of the cache, until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Cache {
    /// `$CROSSVM_CACHE`, else `$XDG_CACHE_HOME/crossvm`, else `~/.cache/crossvm`. Nothing is created.
    pub(crate) fn find() -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable("CROSSVM_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("crossvm")))
            .or_else(|| variable("HOME").map(|path| path.join(".cache/crossvm")))
            .ok_or_else(|| anyhow!("no folder for downloads: set CROSSVM_CACHE to one"))?;
        let root = std::path::absolute(&root).with_context(|| format!("the cache folder {} cannot be used", root.display()))?;
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A path in the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A folder for unfinished work; if it is left behind, the next run removes it.
    pub(crate) fn temporary(&self, name: &str) -> PathBuf {
        self.path(&format!("{TEMPORARY}{name}"))
    }

    /// Takes the lock, waiting for another run if there is one, and clears away what interrupted runs have left.
    pub(crate) fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(&self.root)
            .with_context(|| format!("cannot create {}; set CROSSVM_CACHE to a folder that you can write to", self.root.display()))?;
        let path = self.path("lock");
        let file = File::options().create(true).append(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            output::note(format!("  .. waiting for another `cargo xtask` that is using {}", self.root.display()));
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        for entry in fs::read_dir(&self.root)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_dir_all(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(Lock { _file: file })
    }

    /// The stamp of entry `name`, if it is complete and all its stamped files are as they were.
    pub(crate) fn verified(&self, name: &str) -> Option<Stamp> {
        let stamp = self.stamp(name)?;
        let sound = stamp.files.iter().all(|file| sha256_file(&self.path(name).join(&file.path)).is_ok_and(|sum| sum == file.sha256));
        sound.then_some(stamp)
    }

    /// The stamp of entry `name`, if there is one. Its files are not read.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        let text = fs::read_to_string(self.path(name).join(STAMP)).ok()?;
        serde_json::from_str(&text).ok().filter(|stamp: &Stamp| stamp.format == FORMAT)
    }

    /// Makes entry `name` anew: `fill` fills an empty folder and returns the files in it that the stamp shall vouch for.
    pub(crate) fn create(&self, _lock: &Lock, name: &str, origin: &str, fill: impl FnOnce(&Path) -> Result<Vec<PathBuf>>) -> Result<Stamp> {
        let temporary = self.temporary(name);
        fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
        let mut files = Vec::new();
        for path in fill(&temporary)? {
            let sha256 = sha256_file(&temporary.join(&path))?;
            files.push(StampedFile { path, sha256 });
        }
        if files.is_empty() {
            bail!("nothing was unpacked into {}; this is a defect of xtask", temporary.display());
        }
        let stamp = Stamp { format: FORMAT, origin: origin.to_owned(), files };
        fs::write(temporary.join(STAMP), serde_json::to_vec_pretty(&stamp)?)?;
        let place = self.path(name);
        if place.exists() {
            let old = self.temporary(&format!("{name}.old"));
            fs::rename(&place, &old).and_then(|()| fs::rename(&temporary, &place)).and_then(|()| fs::remove_dir_all(&old))
        } else {
            fs::rename(&temporary, &place)
        }
        .with_context(|| format!("cannot put {} in place", place.display()))?;
        Ok(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &'static str) -> impl FnOnce(&Path) -> Result<Vec<PathBuf>> {
        move |folder| {
            fs::write(folder.join("file"), text)?;
            Ok(vec![PathBuf::from("file")])
        }
    }

    #[test]
    fn a_complete_entry_is_found_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let lock = cache.lock().unwrap();
        assert!(cache.verified("kernel").is_none());
        cache.create(&lock, "kernel", "package 1", fill("good")).unwrap();
        assert_eq!(cache.verified("kernel").unwrap().origin, "package 1");
        fs::write(cache.path("kernel/file"), "evil").unwrap();
        assert!(cache.verified("kernel").is_none());
        cache.create(&lock, "kernel", "package 2", fill("good")).unwrap();
        assert_eq!(cache.verified("kernel").unwrap().origin, "package 2");
    }

    #[test]
    fn what_an_interrupted_run_left_is_no_entry_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let lock = cache.lock().unwrap();
        let error = cache.create(&lock, "kernel", "", |folder| {
            fs::write(folder.join("half"), "")?;
            bail!("interrupted")
        });
        assert!(error.is_err() && cache.verified("kernel").is_none());
        drop(lock);
        let _lock = cache.lock().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the lock file stays");
    }

    #[test]
    fn two_runs_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        let _lock = cache.lock().unwrap();
        let other = File::options().append(true).open(cache.path("lock")).unwrap();
        assert!(other.try_lock().is_err());
    }
}
