//! Installs what is missing, and only that.

use anyhow::Result;

use crate::apt::Apt;
use crate::cache::{Cache, Lock};
use crate::guest::{self, Kernel, Series};
use crate::host::{self, Presence};
use crate::output;
use crate::progress::step;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Everything that building and running need.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) toolchain: Toolchain,
    pub(crate) kernel: Kernel,
    pub(crate) busybox: std::path::PathBuf,
}

/// What setup shall do about things that are already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Leave them.
    Keep,
    /// Make everything in the cache anew, from the newest packages.
    Refresh,
}

/// Brings the machine to where everything is there. Does nothing, quickly, where it is.
pub(crate) fn setup(workspace: &Workspace, existing: Existing) -> Result<Ready> {
    let cache = Cache::find()?;
    if existing == Existing::Keep
        && let Some(ready) = find(&cache)?
    {
        return Ok(ready);
    }
    output::note(format!("Setting up (once). Downloads and unpacked files go to {}", cache.path("").display()));
    let lock = cache.lock()?;

    let mut toolchain = Toolchain::find(&cache)?;
    if toolchain.is_none() && step("Rust targets", Toolchain::install_with_rustup)? {
        toolchain = Toolchain::find(&cache)?;
    }
    host::install_missing(&host::tools().collect::<Vec<_>>())?;

    let mut source = Source { cache: &cache, lock: &lock, apt: None };
    let refresh = existing == Existing::Refresh;
    if refresh && matches!(toolchain, Some(Toolchain::Debian(_))) {
        toolchain = None;
    }
    let toolchain = match toolchain {
        Some(toolchain) => toolchain,
        None => {
            step("Rust compiler from Debian, unpacked into the cache", |step| {
                source.open(step)?;
                Toolchain::install_from_debian(&cache, &lock, source.open(step)?, workspace, step)
            })?;
            Toolchain::find(&cache)?.ok_or_else(|| damaged("the compiler"))?
        }
    };
    if refresh || Kernel::find(&cache, Series::V6_1).is_none() {
        step("guest kernel", |step| Kernel::install(&cache, &lock, source.open(step)?, Series::V6_1, step))?;
    }
    if refresh || guest::find_busybox(&cache).is_none() {
        step("guest busybox", |step| guest::install_busybox(&cache, &lock, source.open(step)?, step))?;
    }
    let kernel = Kernel::find(&cache, Series::V6_1).ok_or_else(|| damaged("the kernel"))?;
    let busybox = guest::find_busybox(&cache).ok_or_else(|| damaged("busybox"))?;
    Ok(Ready { toolchain, kernel, busybox })
}

/// The kernel of `series` for guests, fetched where it is not in the cache. Setup brings [`Series::V6_1`] only.
pub(crate) fn kernel(series: Series) -> Result<Kernel> {
    let cache = Cache::find()?;
    if let Some(kernel) = Kernel::find(&cache, series) {
        return Ok(kernel);
    }
    let lock = cache.lock()?;
    step(&format!("guest kernel {series}"), |step| {
        let apt = Apt::update(&cache, &lock, step)?;
        Kernel::install(&cache, &lock, &apt, series, step)
    })?;
    Kernel::find(&cache, series).ok_or_else(|| damaged("the kernel"))
}

/// Everything, if it is there.
fn find(cache: &Cache) -> Result<Option<Ready>> {
    let Some(toolchain) = Toolchain::find(cache)? else { return Ok(None) };
    if host::tools().any(|tool| tool.presence() == Presence::Missing) {
        return Ok(None);
    }
    let Some((kernel, busybox)) = Kernel::find(cache, Series::V6_1).zip(guest::find_busybox(cache)) else { return Ok(None) };
    Ok(Some(Ready { toolchain, kernel, busybox }))
}

fn damaged(what: &str) -> anyhow::Error {
    anyhow::anyhow!("{what} was unpacked but is damaged on the disk: is it full?")
}

/// The package lists, fetched when the first package is needed.
struct Source<'a> {
    cache: &'a Cache,
    lock: &'a Lock,
    apt: Option<Apt>,
}

impl Source<'_> {
    fn open(&mut self, step: &crate::progress::Step) -> Result<&Apt> {
        let apt = match self.apt.take() {
            Some(apt) => apt,
            None => Apt::update(self.cache, self.lock, step)?,
        };
        Ok(self.apt.insert(apt))
    }
}
