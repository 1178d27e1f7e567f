//! What runs the VMs of a system, and how it is started.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::sel4::Installed;
use super::{Cpu, Gic, Layout};
use crate::manifest::Platform;
use crate::programs;
use crate::run::DEFAULT_CPU;
use crate::system::System;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// What runs the VMs.
#[derive(Debug, Clone)]
pub(crate) enum Hypervisor {
    /// `el2-vmm`.
    El2,
    /// The seL4 that the user has installed, with `sel4-vmm`.
    Sel4(Installed),
}

/// A system that can be started.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// What the machine starts.
    pub(crate) program: PathBuf,
    pub(crate) layout: Layout,
}

impl Hypervisor {
    /// That of `platform`.
    pub(crate) fn of(platform: Platform) -> Result<Self> {
        match platform {
            Platform::El2 => Ok(Self::El2),
            Platform::Sel4 => Ok(Self::Sel4(Installed::from_environment()?)),
        }
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::El2 => "el2-vmm",
            Self::Sel4(_) => "sel4-vmm",
        }
    }

    /// The version of the machine's interrupt controller: what is wanted, or the usual one. A kernel of seL4 is built for one.
    pub(crate) fn gic(&self, wanted: Option<Gic>) -> Result<Gic> {
        match self {
            Self::El2 => Ok(wanted.unwrap_or_default()),
            Self::Sel4(kernel) => match wanted.filter(|wanted| *wanted != kernel.gic) {
                Some(wanted) => bail!("the seL4 in {} was built for a GICv{}, not for a GICv{wanted}", kernel.prefix.display(), kernel.gic),
                None => Ok(kernel.gic),
            },
        }
    }

    /// The model of the machine's CPUs: what is wanted, or the usual one. A kernel of seL4 is built for one.
    pub(crate) fn cpu(&self, wanted: Option<String>) -> Cpu {
        Cpu(wanted.unwrap_or_else(|| match self {
            Self::El2 => DEFAULT_CPU.to_owned(),
            Self::Sel4(kernel) => kernel.cpu.clone(),
        }))
    }

    /// Builds it, unless there is a `program` already, and lays `system` out in memory; the encoded topology goes to the file `topology`.
    pub(crate) fn stage(
        &self,
        workspace: &Workspace,
        toolchain: &Toolchain,
        program: Option<PathBuf>,
        system: &System,
        topology: &Path,
    ) -> Result<Staged> {
        match self {
            Self::El2 => {
                let layout = Layout::new(system, topology)?;
                let program = program.map_or_else(|| programs::build_vmm(workspace, toolchain), Ok)?;
                Ok(Staged { program, layout })
            }
            Self::Sel4(kernel) => {
                let layout = Layout::behind(kernel.memory.end, system, topology)?;
                let built = programs::build_sel4_arm(workspace, toolchain, &kernel.prefix)?;
                let task = program.unwrap_or(built.task);
                Ok(Staged { program: built.loader, layout: kernel.add_to(layout, &task)? })
            }
        }
    }
}
