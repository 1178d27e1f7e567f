//! Where everything is in the machine's memory.
//!
//! Under `el2-vmm`:
//!
//! ```text
//! 0x4000_0000  the machine's device tree (QEMU puts it at the base of RAM)
//! 0x4040_0000  the hypervisor's ELF file, with its heap and stacks: at most 16 MiB
//! 0x4200_0000  the topology, then every image, each at a multiple of 2 MiB
//!    …         free: the hypervisor takes guest RAM and dataports from here
//! ```
//!
//! Under seL4:
//!
//! ```text
//! 0x4000_0000  the machine's device tree
//! 0x4040_0000  the loader
//! 0x4200_0000  the ELF files of kernel and root task, which the loader puts where they belong
//!    …         the memory that the kernel was built for, up to an end that it says
//!    …         from there on: the topology, the images, guest RAM and dataports, which the kernel leaves to the root task
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use crossvm_manifest::Image;

use crate::guest;
use crate::system::System;

const RAM: u64 = 0x4000_0000;
const FIRST_BLOB: u64 = 0x4200_0000;
const BLOCK: u64 = 2 << 20;
/// What the hypervisor may need beside RAM and dataports: page tables, event pages, and room lost to alignment.
const RESERVE: u64 = 64 << 20;
/// The most RAM that a machine of ours gets: above that its RAM would pass the 40-bit addresses of the smallest guests.
const MOST: u64 = 64 << 30;

/// A file and its place in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) path: PathBuf,
    pub(crate) image: Image,
}

/// A system laid out in memory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Every file to load, the topology first.
    pub(crate) blobs: Vec<Blob>,
    /// RAM of the machine in MiB.
    pub(crate) memory_mib: u64,
    /// Number of CPUs: one for each vCPU, where the hypervisor does not share them out.
    pub(crate) cpus: usize,
    /// The command line.
    pub(crate) parameters: String,
    pub(crate) off: Off,
}

/// How the machine is switched off when all is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    /// By the hypervisor.
    ByItself,
    /// By whoever has started it, once the hypervisor says that all is done.
    ByUs,
}

impl Layout {
    /// Lays out `system`; the encoded topology goes to the file `topology`.
    pub(crate) fn new(system: &System, topology: &Path) -> Result<Self> {
        Self::behind(FIRST_BLOB, system, topology)
    }

    /// The same with nothing of the system before `first`.
    pub(crate) fn behind(first: u64, system: &System, topology: &Path) -> Result<Self> {
        let first = first.next_multiple_of(BLOCK);
        if system.vms.is_empty() {
            bail!("a system needs at least one VM");
        }
        for vm in &system.vms {
            check_kernel(&vm.kernel).with_context(|| format!("VM `{}`", vm.name))?;
        }
        let mut images: Vec<Blob> = Vec::new();
        let mut next = first + BLOCK;
        let encoded = system.topology(|path| {
            // Several VMs may run the same image: it is loaded once.
            if let Some(blob) = images.iter().find(|blob| blob.path == *path) {
                return Ok(blob.image);
            }
            let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
            let image = Image { address: next, size };
            next = (next + size).next_multiple_of(BLOCK);
            images.push(Blob { path: path.clone(), image });
            Ok(image)
        })?;
        let mut buffer = vec![0; 256 << 10];
        let bytes = encoded.encode(&mut buffer).map_err(|error| anyhow!("the topology cannot be encoded: {error}"))?;
        fs::write(topology, bytes).with_context(|| format!("cannot write {}", topology.display()))?;

        let guests: u64 = system.vms.iter().map(|vm| vm.memory).fold(0, u64::saturating_add);
        let dataports = system.connections.iter().flat_map(|connection| &connection.dataports);
        let dataports: u64 = dataports.map(|dataport| dataport.size).fold(0, u64::saturating_add);
        let end = next.saturating_add(guests).saturating_add(dataports).saturating_add(RESERVE);
        if end - RAM > MOST {
            bail!(
                "the VMs and dataports need {} MiB of memory in all; the emulated machine has at most {} MiB",
                (end - RAM) >> 20,
                MOST >> 20
            );
        }
        let place = Image { address: first, size: u64::try_from(bytes.len()).unwrap_or(u64::MAX) };
        let mut blobs = vec![Blob { path: topology.to_owned(), image: place }];
        blobs.append(&mut images);
        let cpus = system.vms.iter().map(|vm| usize::from(vm.vcpus)).sum();
        let parameters = format!("crossvm.topology={:#x},{:#x}", place.address, place.size);
        let memory_mib = (end - RAM).next_multiple_of(64 << 20) >> 20;
        Ok(Self { blobs, memory_mib, cpus, parameters, off: Off::ByItself })
    }
}

fn check_kernel(path: &Path) -> Result<()> {
    use std::io::Read as _;
    let mut head = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("cannot read the kernel {}", path.display()))?;
    file.take(64).read_to_end(&mut head).with_context(|| format!("cannot read the kernel {}", path.display()))?;
    // What is wrong with an ELF file, the hypervisor says.
    if !guest::is_arm64_image(&head) && !head.starts_with(b"\x7fELF") {
        bail!("{} is neither a raw arm64 Image nor an ELF executable; if it is compressed, unpack it first (`gzip -d`)", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::Topology;

    use super::*;
    use crate::system::VmSpec;

    fn kernel(folder: &Path, size: usize) -> PathBuf {
        let mut bytes = vec![0; size];
        bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let path = folder.join("Image");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn system(kernel: &Path, initrd: &Path) -> System {
        let vm = |name: &str| VmSpec {
            memory: 256 << 20,
            initrd: Some(initrd.to_owned()),
            ..VmSpec::new(name, kernel.to_owned(), "quiet".to_owned())
        };
        System { vms: vec![vm("a"), vm("b")], ..System::default() }
    }

    #[test]
    fn images_are_loaded_once_aligned_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let initrd = folder.path().join("initrd");
        fs::write(&initrd, "x").unwrap();
        let kernel = kernel(folder.path(), (2 << 20) + 1);
        let file = folder.path().join("topology");
        let layout = Layout::new(&system(&kernel, &initrd), &file).unwrap();
        let places: Vec<_> = layout.blobs.iter().map(|blob| blob.image.address).collect();
        assert_eq!(places, [0x4200_0000, 0x4220_0000, 0x4260_0000]);
        assert_eq!((layout.cpus, layout.memory_mib), (2, 40 + 512 + 64 + 24));
        let topology = Topology::decode(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(topology.vms[0].kernel, topology.vms[1].kernel);
        assert_eq!(topology.vms[1].initrd, Some(Image { address: 0x4260_0000, size: 1 }));
        assert_eq!(layout.blobs[0].image.size, fs::metadata(&file).unwrap().len());
        assert_eq!(layout.parameters, format!("crossvm.topology=0x42000000,{:#x}", layout.blobs[0].image.size));
    }

    #[test]
    fn what_cannot_boot_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let initrd = folder.path().join("initrd");
        fs::write(&initrd, "x").unwrap();
        let file = folder.path().join("topology");
        let error = |system: &System| format!("{:#}", Layout::new(system, &file).unwrap_err());
        assert!(error(&System::default()).contains("at least one VM"));
        assert!(
            error(&system(&initrd, &initrd)).contains("VM `a`: ") && error(&system(&initrd, &initrd)).contains("neither a raw arm64 Image")
        );
        assert!(error(&system(Path::new("/nowhere"), &initrd)).contains("/nowhere"));
        let good = kernel(folder.path(), 4096);
        assert!(error(&system(&good, Path::new("/nowhere"))).contains("VM `a`: cannot read /nowhere"));
        let mut huge = system(&good, &initrd);
        huge.vms[0].memory = 1 << 50;
        assert!(error(&huge).contains("at most 65536 MiB"));
    }
}
