//! What Microkit has against a manifest.

use super::super::diagnostic::{Collector, Kind};
use super::super::{Bytes, Manifest, Vm};
use super::{Options, layout, spec};

pub(super) fn check(found: &mut Collector<'_>, manifest: &Manifest, options: &Options) {
    for vm in &manifest.vms {
        names(found, manifest, vm);
        ram(found, vm);
    }
    reserved(found, manifest);
    for (position, vm) in manifest.vms.iter().enumerate() {
        let console = usize::from(position == 0 && options.console.is_some());
        channels(found, manifest, &vm.name, console);
    }
    for component in &manifest.components {
        channels(found, manifest, &component.name, 0);
    }
}

/// Monitors get names of their own, which nobody else may have.
fn names(found: &mut Collector<'_>, manifest: &Manifest, vm: &Vm) {
    let monitor = layout::monitor(&vm.name);
    if let Some(component) = manifest.components.iter().find(|component| component.name == monitor) {
        let message = format!("`{monitor}` is the monitor of `{}`", vm.name);
        found.report(Kind::DuplicateName, &component.at, message, "taken", "give the component another name");
        found.relate(&vm.at.name, "of this VM");
    }
}

fn reserved(found: &mut Collector<'_>, manifest: &Manifest) {
    for component in manifest.components.iter().filter(|component| component.name == spec::RESERVED_NAME) {
        let message = format!("no component of a Microkit system can be called `{}`", spec::RESERVED_NAME);
        found.report(Kind::Name, &component.at, message, "this is Microkit's own", "give it another name");
    }
}

fn ram(found: &mut Collector<'_>, vm: &Vm) {
    let most = spec::HIGH_WINDOW.start - spec::GUEST_RAM;
    if vm.memory > most {
        let message = format!("`{}` has more memory than fits below its dataports", vm.name);
        let help = format!("give it {} at most", Bytes(most));
        found.report(Kind::Platform, &vm.at.memory, message, "too much for a Microkit system", help);
    }
}

/// Each connection takes an id at both ends, and so do interrupts.
fn channels(found: &mut Collector<'_>, manifest: &Manifest, peer: &str, interrupts: usize) {
    let own: Vec<_> = manifest.connections.iter().filter(|connection| connection.opposite(peer).is_some()).collect();
    let most = spec::CHANNELS.saturating_sub(interrupts);
    if let Some(first) = own.get(most) {
        let message = format!("`{peer}` has {} connections, a program of a Microkit system at most {most}", own.len());
        let console = if interrupts == 0 { "" } else { "; the console takes one of them, give it up with `--no-console`" };
        let help = format!(
            "take several dataports into one connection, or leave some out: Microkit tells {} channels apart{console}",
            spec::CHANNELS
        );
        found.report(Kind::TooMany, &first.at.name, message, "too many from here on", help);
    }
}
