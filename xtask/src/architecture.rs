//! The processors that guests run on.

use clap::ValueEnum;

/// A guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// 64-bit Arm: the guests of the EL2 hypervisor and of seL4.
    Arm64,
    /// x86-64.
    Amd64,
}

impl Architecture {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Arm64, Self::Amd64];

    /// Debian's name.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }

    /// The kernel's name, as `ARCH=` wants it.
    pub(crate) const fn kernel(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "x86",
        }
    }

    /// The first part of compilers' names for it.
    pub(crate) const fn gnu(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-linux-gnu",
            Self::Amd64 => "x86_64-linux-gnu",
        }
    }

    /// What a kernel calls its serial console.
    pub(crate) const fn console(self) -> &'static str {
        match self {
            Self::Arm64 => "ttyAMA0",
            Self::Amd64 => "ttyS0",
        }
    }

    /// Whether this machine has it.
    pub(crate) const fn is_ours(self) -> bool {
        match self {
            Self::Arm64 => cfg!(target_arch = "aarch64"),
            Self::Amd64 => cfg!(target_arch = "x86_64"),
        }
    }
}
