//! Installs what is missing, and only that.

use anyhow::Result;

use crate::apt::Apt;
use crate::architecture::Architecture;
use crate::cache::{Cache, Lock};
use crate::guest::{self, Kernel, Series, Userland, pciutils};
use crate::host::{self, Presence};
use crate::output;
use crate::progress::step;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Everything that building and running guests of one architecture need.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) toolchain: Toolchain,
    pub(crate) kernel: Kernel,
    pub(crate) userland: Userland,
}

/// What setup shall do about things that are already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Leave them.
    Keep,
    /// Make everything in the cache anew, from the newest packages.
    Refresh,
}

/// Brings the machine to where everything for guests of `architecture` is there. Does nothing, quickly, where it is.
pub(crate) fn setup(workspace: &Workspace, existing: Existing, architecture: Architecture) -> Result<Ready> {
    let cache = Cache::find()?;
    if existing == Existing::Keep
        && let Some(ready) = find(&cache, architecture)?
    {
        return Ok(ready);
    }
    output::note(format!("Setting up (once). Downloads and unpacked files go to {}", cache.path("").display()));
    let lock = cache.lock()?;

    let mut toolchain = Toolchain::find(&cache)?;
    if toolchain.is_none() && step("Rust targets", Toolchain::install_with_rustup)? {
        toolchain = Toolchain::find(&cache)?;
    }
    host::install_missing(&host::tools(architecture))?;

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
    let name = architecture.debian();
    if refresh || Kernel::find(&cache, Series::V6_1, architecture).is_none() {
        let install = |step: &_| Kernel::install(&cache, &lock, source.open(step)?, Series::V6_1, architecture, step);
        step(&format!("guest kernel for {name}"), install)?;
    }
    if refresh || guest::find_busybox(&cache, architecture).is_none() {
        let install = |step: &_| guest::install_busybox(&cache, &lock, source.open(step)?, architecture, step);
        step(&format!("guest busybox for {name}"), install)?;
    }
    if guest::has_pciutils(architecture) && (refresh || pciutils::find(&cache, architecture).is_none()) {
        let install = |step: &_| pciutils::install(&cache, &lock, source.open(step)?, architecture, step);
        step(&format!("guest pciutils for {name}"), install)?;
    }
    let kernel = Kernel::find(&cache, Series::V6_1, architecture).ok_or_else(|| damaged("the kernel"))?;
    let userland = Userland::find(&cache, architecture).ok_or_else(|| damaged("busybox or pciutils"))?;
    Ok(Ready { toolchain, kernel, userland })
}

/// The kernel of `series` for guests, fetched where it is not in the cache. Setup brings [`Series::V6_1`] only.
pub(crate) fn kernel(series: Series, architecture: Architecture) -> Result<Kernel> {
    let cache = Cache::find()?;
    if let Some(kernel) = Kernel::find(&cache, series, architecture) {
        return Ok(kernel);
    }
    let lock = cache.lock()?;
    step(&format!("guest kernel {series} for {}", architecture.debian()), |step| {
        let apt = Apt::update(&cache, &lock, step)?;
        Kernel::install(&cache, &lock, &apt, series, architecture, step)
    })?;
    Kernel::find(&cache, series, architecture).ok_or_else(|| damaged("the kernel"))
}

/// Everything, if it is there.
fn find(cache: &Cache, architecture: Architecture) -> Result<Option<Ready>> {
    let Some(toolchain) = Toolchain::find(cache)? else { return Ok(None) };
    if host::tools(architecture).iter().any(|tool| tool.presence() == Presence::Missing) {
        return Ok(None);
    }
    let Some((kernel, userland)) = Kernel::find(cache, Series::V6_1, architecture).zip(Userland::find(cache, architecture)) else {
        return Ok(None);
    };
    Ok(Some(Ready { toolchain, kernel, userland }))
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
