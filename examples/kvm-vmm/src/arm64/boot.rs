//! Kernels, and what they start from: arm64 Images and ELF executables, with a device tree.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use crossvm_core::GuestRange;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_common::guest::{self, Controller, Description, Loaded, SEED_BYTES};
use vmm_common::vcpu::Start;

use super::board::Images;
use crate::vm::Bus;

/// What a kernel can be.
pub(crate) const WANTED: &str = "give an arm64 Image (arch/arm64/boot/Image, unpacked) or an ELF file for arm64";

/// Why a file is no kernel for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKernel {
    /// A kernel for x86.
    X86,
    /// Something that is packed.
    Packed,
    /// Something else.
    Unknown,
}

impl fmt::Display for NoKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "this is a kernel for x86",
            Self::Packed => "this is compressed",
            Self::Unknown => "this is neither an arm64 Image nor an ELF file for arm64",
        })
    }
}

/// Whether a file can be a kernel, by its first bytes: 0x1000 of them are enough. The rest is looked at when it is loaded.
///
/// # Errors
/// [`NoKernel`].
pub(crate) fn kind(start: &[u8]) -> Result<(), NoKernel> {
    let bytes = |at: usize, length: usize| start.get(at..at.saturating_add(length)).unwrap_or_default();
    // Class 64, little endian, machine 183 (AArch64).
    let elf = bytes(0, 6) == b"\x7fELF\x02\x01" && bytes(18, 2) == [183, 0];
    if elf || bytes(56, 4) == b"ARM\x64" {
        return Ok(());
    }
    Err(if bytes(0x202, 4) == b"HdrS" {
        NoKernel::X86
    } else if bytes(0, 2) == [0x1f, 0x8b] || bytes(4, 4) == b"zimg" {
        NoKernel::Packed
    } else {
        NoKernel::Unknown
    })
}

/// What of the machine the device tree tells.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Where interrupts go.
    pub(crate) controller: Controller,
    /// The bus, with its connections.
    pub(crate) bus: Box<Bus>,
}

/// Loads images and device tree into RAM, which is zero, and says where the first vCPU starts.
///
/// # Errors
/// Where a file cannot be read or does not fit.
pub(crate) fn load(memory: &GuestMemoryMmap, ram: GuestRange, vcpus: u8, images: &Images, tree: &Tree) -> Result<Start> {
    let kernel = read(&images.kernel).context("the kernel")?;
    let initrd = images.initrd.as_deref().map(read).transpose().context("the initial RAM disk")?.unwrap_or_default();
    let placement = guest::place(&kernel, initrd.len() as u64, ram.size())?;
    let seed = seed();
    let description = Description {
        vcpus: vcpus.into(),
        ram: ram.size(),
        command_line: &images.command_line,
        initrd: placement.initrd,
        seed: seed.as_ref(),
        gic: tree.controller,
        bus: &tree.bus,
    };
    let blob = guest::device_tree(&description).map_err(|error| anyhow!("the device tree: {error}"))?;
    let copy = |at: crossvm_core::GuestAddr, bytes: &[u8]| memory.write_slice(bytes, GuestAddress(at.get())).ok();
    let Loaded { entry, argument } = guest::load_with(&placement, &kernel, &initrd, &blob, ram.size(), copy)?;
    Ok(Start { entry, context: argument.get() })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Random bytes for the kernel, different at each boot; `None` where this machine has none: it collects its own then.
fn seed() -> Option<[u8; SEED_BYTES]> {
    let mut seed = [0; SEED_BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).ok()?;
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_known_by_its_first_bytes() {
        let with = |at: usize, bytes: &[u8]| {
            let mut start = vec![0; 0x1000];
            start[at..at + bytes.len()].copy_from_slice(bytes);
            kind(&start)
        };
        assert_eq!(with(56, b"ARM\x64"), Ok(()));
        assert_eq!(with(0, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0"), Ok(()));
        assert_eq!(with(0, b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0"), Err(NoKernel::Unknown));
        assert_eq!(with(0x202, b"HdrS"), Err(NoKernel::X86));
        assert_eq!(with(0, b"\x1f\x8b"), Err(NoKernel::Packed));
        assert_eq!(kind(b"#!/bin/sh"), Err(NoKernel::Unknown));
    }
}
