//! `cargo xtask check`: whether a manifest can be run, and what it describes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use crossvm_manifest::manifest::{Bytes, Connection, Diagnostics, Initrd, Kernel, Manifest};
use crossvm_manifest::{Dataport, Interrupt, Profile, Reboot, Rights, Width};
use serde_json::{Value, json};

use crate::launch::Gic;
use crate::manifest::{self, Platform};
use crate::output;
use crate::tables::table;

/// Check a manifest, and say what it describes.
///
/// Every mistake is told with its line and column and how to mend it. The exit status is 0 only if there is none. docs/manifest.md
/// says what can be in a manifest; examples/manifests has some.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest, in TOML
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// The platform that is to run it
    #[arg(long, value_enum, value_name = "PLATFORM", default_value = "el2")]
    on: Platform,

    /// Version of the interrupt controller that it is to run with
    #[arg(long, value_enum, value_name = "VERSION")]
    gic: Option<Gic>,

    /// Write a drawing of the topology to this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Answer in JSON, on standard output
    #[arg(long)]
    json: bool,
}

/// Checks a manifest.
pub(crate) fn check(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.manifest;
    let read = manifest::read(path, arguments.on, arguments.gic)?;
    if let (Some(file), Ok(manifest)) = (&arguments.svg, &read) {
        std::fs::write(file, manifest.drawing()).with_context(|| format!("cannot write the drawing {}", file.display()))?;
    }
    if arguments.json {
        let answer = match &read {
            Ok(manifest) => good(path, manifest),
            Err(diagnostics) => broken(path, diagnostics),
        };
        output::line(serde_json::to_string_pretty(&answer)?);
    } else {
        match &read {
            Ok(manifest) => output::line(summary(path, manifest)),
            Err(diagnostics) => manifest::show(diagnostics),
        }
    }
    Ok(if read.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn broken(path: &Path, diagnostics: &Diagnostics) -> Value {
    json!({ "ok": false, "manifest": path, "errors": diagnostics.all() })
}

fn good(path: &Path, manifest: &Manifest) -> Value {
    let vms = manifest.vms.iter().map(|vm| {
        json!({
            "name": vm.name, "kernel": kernel(&vm.kernel), "initrd": vm.initrd.as_ref().map(initrd), "command-line": vm.command_line,
            "memory": vm.memory, "vcpus": vm.vcpus, "profile": profile(vm.device.profile), "event-bar": vm.device.event_bar.bytes(),
            "on-reboot": reboot(vm.on_reboot), "connections": of(manifest, &vm.name).count(),
        })
    });
    let components = manifest.components.iter().map(|component| json!({ "name": component.name, "kind": component.kind.name() }));
    let connections = manifest.connections.iter().map(|connection| {
        let dataports = connection
            .dataports
            .iter()
            .map(|dataport| json!({ "size": dataport.size, "rights": dataport.rights.map(rights), "width": bits(dataport.width) }));
        json!({
            "name": connection.name, "between": connection.ends.each_ref().map(|end| &end.peer), "dataports": dataports.collect::<Vec<_>>(),
            "interrupt": ([0, 1].map(|side| interrupt(manifest, connection, side))),
        })
    });
    json!({
        "ok": true, "manifest": path, "description": manifest.description,
        "vms": vms.collect::<Vec<_>>(), "components": components.collect::<Vec<_>>(), "connections": connections.collect::<Vec<_>>(),
        "vcpus": manifest.vcpus(), "memory": manifest.memory().0,
    })
}

fn summary(path: &Path, manifest: &Manifest) -> String {
    let mut vms = table(&["VM", "kernel", "initial RAM disk", "vCPUs", "memory", "profile", "connections"]);
    for vm in &manifest.vms {
        vms.add_row([
            vm.name.clone(),
            kernel(&vm.kernel),
            vm.initrd.as_ref().map_or_else(String::new, initrd),
            vm.vcpus.to_string(),
            Bytes(vm.memory).to_string(),
            profile(vm.device.profile).to_owned(),
            of(manifest, &vm.name).count().to_string(),
        ]);
    }
    let mut parts = vec![vms.to_string()];
    if !manifest.components.is_empty() {
        let mut components = table(&["component", "kind", "connections"]);
        for component in &manifest.components {
            let count = of(manifest, &component.name).count().to_string();
            components.add_row([component.name.as_str(), component.kind.name(), &count]);
        }
        parts.push(components.to_string());
    }
    if !manifest.connections.is_empty() {
        let mut connections = table(&["connection", "between", "dataports", "interrupts"]);
        for connection in &manifest.connections {
            let lines = [0, 1].map(|side| interrupt(manifest, connection, side)).into_iter().flatten().collect::<Vec<_>>().join(", ");
            let [one, other] = connection.ends.each_ref().map(|end| end.peer.as_str());
            let dataports = connection.dataports.iter().map(|dataport| shared(dataport, [one, other])).collect::<Vec<_>>();
            let dataports = if dataports.is_empty() { "none: events only".to_owned() } else { dataports.join("\n") };
            connections.add_row([connection.name.clone(), format!("{one}, {other}"), dataports, lines]);
        }
        parts.push(connections.to_string());
    }
    let dataports: u64 = manifest.connections.iter().map(|connection| connection.bytes().0).sum();
    let vms: u64 = manifest.vms.iter().map(|vm| vm.memory).sum();
    parts.push(format!(
        "{} can be run: {}, {} of memory ({} for the VMs, {} shared).",
        path.display(),
        manifest.counts(),
        manifest.memory().rounded(),
        Bytes(vms).rounded(),
        Bytes(dataports).rounded()
    ));
    parts.join("\n")
}

fn of<'a>(manifest: &'a Manifest, peer: &'a str) -> impl Iterator<Item = &'a Connection> {
    manifest.connections.iter().filter(move |connection| connection.opposite(peer).is_some())
}

/// The interrupt line of an end, where a VM is there.
fn interrupt(manifest: &Manifest, connection: &Connection, side: usize) -> Option<&'static str> {
    let end = connection.ends.get(side)?;
    manifest.vms.iter().find(|vm| vm.name == end.peer)?;
    let line = end.interrupt.unwrap_or_else(|| Interrupt::usual(of(manifest, &end.peer).count()));
    Some(match line {
        Interrupt::Own => "own",
        Interrupt::Shared => "shared",
    })
}

fn shared(dataport: &Dataport, [one, other]: [&str; 2]) -> String {
    let size = Bytes(dataport.size);
    let wide = if dataport.width == Width::Bits64 { ", 64-bit" } else { "" };
    match dataport.rights {
        [Rights::ReadWrite, Rights::ReadWrite] => format!("{size}{wide}"),
        [Rights::Read, _] => format!("{size}{wide}, read-only for {one}"),
        [_, Rights::Read] => format!("{size}{wide}, read-only for {other}"),
    }
}

const fn rights(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "r",
        Rights::ReadWrite => "rw",
    }
}

const fn bits(width: Width) -> u8 {
    match width {
        Width::Bits32 => 32,
        Width::Bits64 => 64,
    }
}

const fn reboot(reboot: Reboot) -> &'static str {
    match reboot {
        Reboot::Restart => "restart",
        Reboot::Stop => "stop",
    }
}

const fn profile(profile: Profile) -> &'static str {
    match profile {
        Profile::Reference => "reference",
        Profile::Extended => "extended",
    }
}

fn kernel(kernel: &Kernel) -> String {
    match kernel {
        Kernel::File(path) => path.display().to_string(),
        Kernel::Debian(series) => format!("Debian {}", series.name()),
        other => format!("{other:?}"),
    }
}

fn initrd(initrd: &Initrd) -> String {
    match initrd {
        Initrd::File(path) => path.display().to_string(),
        Initrd::Demo => "the demo's".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::manifest::Source;

    use super::*;

    const TEXT: &str = r#"
        [vm.a]
        kernel = { debian = "6.1" }
        [vm.b]
        kernel = "Image"
        [component.sum]
        kind = "digest"
        [[connection]]
        name = "x"
        between = ["sum", "b"]
        dataports = [{ size = "1 MiB", rights = { sum = "r" } }, { size = "4 KiB", width = 64 }]
        interrupt = "shared"
        [[connection]]
        name = "bell"
        between = ["a", "b"]
        dataports = []
    "#;

    fn manifest() -> Manifest {
        Manifest::parse(&Source::new("m.toml", TEXT)).unwrap()
    }

    #[test]
    fn the_summary_names_everything() {
        let summary = summary(Path::new("m.toml"), &manifest());
        for part in
            ["Debian 6.1", "Image", "digest", "1 MiB, read-only for sum", "4 KiB, 64-bit", "sum, b", "none: events only", "own, own"]
        {
            assert!(summary.contains(part), "{part}: {summary}");
        }
        assert!(
            summary.ends_with(
                "m.toml can be run: 2 VMs, 1 component, 2 connections, 513 MiB of memory (512 MiB for the VMs, 1028 KiB shared)."
            )
        );
    }

    #[test]
    fn the_answer_in_json_says_whether_it_can_be_run() {
        let good = good(Path::new("m.toml"), &manifest());
        assert_eq!((&good["ok"], &good["vms"][1]["connections"]), (&json!(true), &json!(2)));
        assert_eq!(good["connections"][0]["interrupt"], json!([null, "shared"]));
        assert_eq!(good["connections"][0]["dataports"][0], json!({ "size": 1 << 20, "rights": ["r", "rw"], "width": 32 }));
        let told = Manifest::parse(&Source::new("m.toml", "x = 1")).unwrap_err();
        let broken = broken(Path::new("m.toml"), &told);
        assert_eq!((&broken["ok"], &broken["errors"][0]["kind"]), (&json!(false), &json!("unknown-key")));
        assert_eq!(broken["errors"][0]["start"], json!({ "line": 1, "column": 1 }));
    }

    #[test]
    fn the_exit_status_says_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            let manifest = folder.path().join("m.toml");
            std::fs::write(&manifest, text).unwrap();
            check(&Arguments { manifest, on: Platform::El2, gic: None, svg: None, json: false }).unwrap()
        };
        assert_eq!(check("[vm.a]\nkernel = { debian = \"6.1\" }\n"), ExitCode::SUCCESS);
        assert_eq!(check("[vm.a]\nkernel = \"nowhere\"\n"), ExitCode::FAILURE);
    }
}
