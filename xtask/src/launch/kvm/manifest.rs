//! A system as a manifest for kvm-vmm: every kernel and initial RAM disk is a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use crossvm_manifest::{Interrupt, Profile, Reboot, Rights, Width};

use crate::system::{ConnectionSpec, System};

/// The text of the manifest, where `place` says what a file is called there.
pub(super) fn write(system: &System, mut place: impl FnMut(&Path) -> PathBuf) -> Result<String> {
    let mut text = String::new();
    let mut file = |path: &Path| {
        let place = place(path);
        let name = place.to_str().ok_or_else(|| anyhow!("{} cannot be written in a manifest: its name is no text", place.display()))?;
        Ok::<_, anyhow::Error>(quoted(name))
    };
    for vm in &system.vms {
        writeln!(text, "[vm.{}]", quoted(&vm.name))?;
        writeln!(text, "kernel = {}", file(&vm.kernel)?)?;
        if let Some(initrd) = &vm.initrd {
            writeln!(text, "initrd = {}", file(initrd)?)?;
        }
        let profile = match vm.device.profile {
            Profile::Extended => "extended",
            Profile::Reference => "reference",
        };
        let reboot = match vm.on_reboot {
            Reboot::Restart => "restart",
            Reboot::Stop => "stop",
        };
        writeln!(text, "command-line = {}", quoted(&vm.command_line))?;
        writeln!(text, "memory = \"{} B\"\nvcpus = {}", vm.memory, vm.vcpus)?;
        writeln!(text, "profile = \"{profile}\"\nevent-bar = \"{} B\"", vm.device.event_bar.bytes())?;
        writeln!(text, "on-reboot = \"{reboot}\"\n")?;
    }
    for component in &system.components {
        writeln!(text, "[component.{}]\nkind = \"{}\"\n", quoted(&component.name), component.kind.name())?;
    }
    for connection in &system.connections {
        write_connection(&mut text, system, connection)?;
    }
    Ok(text)
}

fn write_connection(text: &mut String, system: &System, connection: &ConnectionSpec) -> Result<()> {
    let names = connection.ends.each_ref().map(|end| quoted(&end.peer));
    writeln!(text, "[[connection]]\nname = {}\nbetween = [{}]\ndataports = [", quoted(&connection.name), names.join(", "))?;
    for dataport in &connection.dataports {
        let rights: Vec<_> = names.iter().zip(dataport.rights).map(|(name, rights)| format!("{name} = \"{}\"", right(rights))).collect();
        let width = match dataport.width {
            Width::Bits32 => 32,
            Width::Bits64 => 64,
        };
        writeln!(text, "    {{ size = \"{} B\", width = {width}, rights = {{ {} }} }},", dataport.size, rights.join(", "))?;
    }
    writeln!(text, "]")?;
    let is_vm = |name: &str| system.vms.iter().any(|vm| vm.name == name);
    let interrupts = connection.ends.iter().filter(|end| is_vm(&end.peer)).filter_map(|end| {
        let interrupt = match end.interrupt? {
            Interrupt::Own => "own",
            Interrupt::Shared => "shared",
        };
        Some(format!("{} = \"{interrupt}\"", quoted(&end.peer)))
    });
    let interrupts: Vec<_> = interrupts.collect();
    if !interrupts.is_empty() {
        writeln!(text, "interrupt = {{ {} }}", interrupts.join(", "))?;
    }
    writeln!(text)?;
    Ok(())
}

const fn right(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "r",
        Rights::ReadWrite => "rw",
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::manifest::{Manifest, Source};
    use crossvm_manifest::{ComponentKind, Dataport, Device, EventBar};

    use super::*;
    use crate::system::{ComponentSpec, VmSpec};

    #[test]
    fn what_is_written_describes_the_same_system() {
        let mut system = System {
            vms: vec![
                VmSpec {
                    vcpus: 3,
                    memory: 64 << 20,
                    device: Device { profile: Profile::Reference, event_bar: EventBar::Kib64 },
                    on_reboot: Reboot::Stop,
                    initrd: Some(PathBuf::from("/x y/initrd")),
                    ..VmSpec::new("a", PathBuf::from("/k\"1\""), "quiet foo=\"1 \\ 2\"".to_owned())
                },
                VmSpec::new("b-1", PathBuf::from("/k2"), String::new()),
            ],
            components: vec![ComponentSpec { name: "sum".to_owned(), kind: ComponentKind::Digest }],
            connections: vec![
                ConnectionSpec::new("wire.0", ["b-1", "a"], 12 << 10),
                ConnectionSpec::new("crc", ["a", "sum"], 4096),
                ConnectionSpec { dataports: Vec::new(), ..ConnectionSpec::new("bell", ["a", "b-1"], 4096) },
            ],
        };
        system.connections[0].ends[0].interrupt = Some(Interrupt::Shared);
        system.connections[0].dataports[0].rights = [Rights::Read, Rights::ReadWrite];
        system.connections[1].ends[0].interrupt = Some(Interrupt::Own);
        system.connections[1].dataports.push(Dataport { size: 8192, rights: [Rights::Read, Rights::ReadWrite], width: Width::Bits64 });
        let text = write(&system, |path| Path::new("/image").join(path.file_name().unwrap())).unwrap();
        // Files are not looked for without a folder.
        let manifest = Manifest::parse(&Source::new("m.toml", &text)).unwrap_or_else(|told| panic!("{told}\n{text}"));
        let mut read = crate::manifest::wiring(&manifest);
        for (read, vm) in read.vms.iter_mut().zip(&system.vms) {
            (read.kernel, read.initrd) = (vm.kernel.clone(), vm.initrd.clone());
        }
        assert_eq!(read, system);
        assert!(text.contains("kernel = \"/image/k\\\"1\\\"\"\ninitrd = \"/image/initrd\"\n"), "{text}");
    }
}
