//! From a manifest to what is run: with the place of everything that cannot be.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use crossvm_manifest::manifest::{Diagnostics, Images as Places, Initrd, Kernel, Manifest, Objection, Place, Source};
use crossvm_manifest::{Image, Peer, Topology};

use crate::arch::board::Images;
use crate::arch::boot;
use crate::link::share::Share;

/// A system to run.
#[derive(Debug)]
pub(crate) struct System {
    /// All of it.
    pub(crate) topology: Topology,
    /// What each of its VMs boots from; `None`: it does not run here.
    pub(crate) images: Vec<Option<Images>>,
    /// What of it runs here.
    pub(crate) share: Share,
}

impl System {
    /// Reads the manifest at `path`. With names in `only`, no other VMs run here.
    ///
    /// # Errors
    /// All mistakes with their places, or that it cannot be read.
    pub(crate) fn read(path: &Path, only: &[String]) -> Result<Self> {
        let source = Source::read(path).with_context(|| format!("the manifest {} cannot be read", path.display()))?;
        Self::of(&source, only)
    }

    fn of(source: &Source, only: &[String]) -> Result<Self> {
        let manifest = Manifest::parse(source)?;
        // Where images are in memory is for VMMs that do not load them themselves.
        let topology = manifest.topology(|_| Places { kernel: Image { address: 0, size: 0 }, initrd: None })?;
        let share = Share::new(&topology, only)?;
        let images = images(source, &manifest, only)?;
        Ok(Self { topology, images, share })
    }

    /// Whether this VM runs here, or this component is connected with one that does.
    pub(crate) fn is_here(&self, peer: Peer) -> bool {
        self.share.has(peer)
    }
}

/// The files of the VMs that run here.
fn images(source: &Source, manifest: &Manifest, only: &[String]) -> Result<Vec<Option<Images>>, Diagnostics> {
    let mut objections = Vec::new();
    let mut all = Vec::new();
    for (number, vm) in manifest.vms.iter().enumerate() {
        if !only.is_empty() && !only.contains(&vm.name) {
            all.push(None);
            continue;
        }
        let kernel = match &vm.kernel {
            Kernel::File(path) => {
                objections.extend(no_kernel(path).map(|label| wrong_kernel(number, label)));
                Some(path.clone())
            }
            _ => {
                objections.push(for_xtask(Place::Kernel { vm: number }, "a kernel of Debian", "kernel = \"path/to/vmlinuz\""));
                None
            }
        };
        let initrd = match &vm.initrd {
            None => Some(None),
            Some(Initrd::File(path)) => Some(Some(path.clone())),
            Some(_) => {
                objections.push(for_xtask(Place::Initrd { vm: number }, "a built-in RAM disk", "initrd = \"path/to/initrd\""));
                None
            }
        };
        all.push(kernel.zip(initrd).map(|(kernel, initrd)| Images { kernel, initrd, command_line: vm.command_line.clone() }));
    }
    manifest.check_objections(source, objections)?;
    Ok(all)
}

fn for_xtask(place: Place, what: &str, instead: &str) -> Objection {
    Objection {
        place,
        message: format!("kvm-vmm fetches nothing: {what} it does not have"),
        label: "give a file".to_owned(),
        help: format!("write `{instead}`, or let `cargo xtask run MANIFEST --on kvm` put it in place"),
    }
}

fn wrong_kernel(vm: usize, label: String) -> Objection {
    Objection {
        place: Place::Kernel { vm },
        message: "the kernel cannot be booted on this machine".to_owned(),
        label,
        help: boot::WANTED.to_owned(),
    }
}

/// Why the file is no kernel for this machine, if it is none.
fn no_kernel(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(0x1000).read_to_end(&mut start)) {
        Ok(_) => boot::kind(&start).err().map(|error| error.to_string()),
        Err(error) => Some(format!("it cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a manifest whose kernels are these files.
    fn told(text: &str, files: &[(&str, &[u8])]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let path = folder.path().join("x.toml");
        std::fs::write(&path, text).unwrap();
        System::read(&path, &[]).map(|_| String::new()).unwrap_or_else(|error| format!("{error:#}"))
    }

    #[test]
    fn what_only_the_project_s_own_command_finds_is_refused_with_its_place() {
        let text = "[vm.a]\nkernel = { debian = \"6.1\" }\ninitrd = { builtin = \"demo\" }\n";
        let told = told(text, &[]);
        assert!(told.contains("x.toml:2:10") && told.contains("x.toml:3:10") && told.contains("cargo xtask run"), "{told}");
    }

    #[test]
    fn a_file_that_is_no_kernel_is_refused_with_its_place() {
        let told = told("[vm.a]\nkernel = \"k\"\n", &[("k", b"#!/bin/sh\n")]);
        assert!(told.contains("x.toml:2:10") && told.contains("cannot be booted"), "{told}");
    }

    #[test]
    fn only_the_vms_that_are_asked_for_run() {
        let text = r#"
            [vm.a]
            kernel = "/nowhere"
            [vm.b]
            kernel = { debian = "6.1" }
            [component.one]
            kind = "reverse"
            [component.two]
            kind = "reverse"
            [[connection]]
            name = "x"
            between = ["a", "one"]
            size = "4 KiB"
            [[connection]]
            name = "y"
            between = ["b", "two"]
            size = "4 KiB"
        "#;
        let source = Source::new("x", text);
        assert!(System::of(&source, &["c".to_owned()]).unwrap_err().to_string().contains("there are: a, b"));
        assert!(System::of(&source, &["b".to_owned()]).is_err(), "its kernel is for xtask");
        let manifest = Manifest::parse(&source).unwrap();
        let topology = manifest.topology(|_| Places { kernel: Image { address: 0, size: 0 }, initrd: None }).unwrap();
        let images = Images { kernel: "k".into(), initrd: None, command_line: String::new() };
        let share = Share::new(&topology, &["a".to_owned()]).unwrap();
        let system = System { topology, images: vec![Some(images), None], share };
        let here = [Peer::Vm(0), Peer::Vm(1), Peer::Component(0), Peer::Component(1)].map(|peer| system.is_here(peer));
        assert_eq!(here, [true, false, true, false]);
    }
}
