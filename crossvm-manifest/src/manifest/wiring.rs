//! Whether connections and those that they connect fit together.

use super::Connection;
use super::connection::DataportAt;
use super::diagnostic::{Collector, Kind};
use super::peers::{Declared, Is, Peers};
use super::words;
use crate::check::{DEVICE_NUMBERS, FUNCTIONS, fits_bus};
use crate::{ComponentKind, Interrupt, Rights};

/// Checks all connections.
pub(super) fn check(found: &mut Collector<'_>, peers: &Peers, connections: &[Connection]) {
    for (index, connection) in connections.iter().enumerate() {
        if !ends(found, peers, connection) {
            continue;
        }
        for (side, end) in connection.ends.iter().enumerate() {
            if let Some(Declared { is: Is::Component(Some(kind)), name, .. }) = peers.of(&end.peer) {
                component(found, connection, side, name, *kind);
            }
        }
        same_name(found, connections.get(..index).unwrap_or_default(), connection);
    }
    for vm in peers.names.iter().filter(|declared| declared.is == Is::Vm) {
        bus(found, connections, vm);
    }
}

/// Whether both ends are somebody, and one is a VM.
fn ends(found: &mut Collector<'_>, peers: &Peers, connection: &Connection) -> bool {
    let mut known = true;
    for (end, at) in connection.ends.iter().zip(&connection.at.ends) {
        if peers.of(&end.peer).is_none() {
            known = false;
            let names: Vec<&str> = peers.names.iter().map(|declared| declared.name.as_str()).collect();
            let help = if names.is_empty() { "write `[vm.NAME]` for it".to_owned() } else { words::advice(&end.peer, &names, "there are") };
            let message = format!("nothing is called `{}`", end.peer.escape_debug());
            found.report(Kind::UnknownName, at, message, "neither a VM nor a component", help);
        }
    }
    let [one, other] = &connection.ends;
    let [_, second] = &connection.at.ends;
    if !known {
        return false;
    }
    if one.peer == other.peer {
        let message = format!("`{}` is connected with itself", one.peer);
        let help = "name two different ends: `between = [\"alpha\", \"beta\"]`";
        found.report(Kind::SameEnds, second, message, "the same again", help);
        return false;
    }
    let component = |peer: &str| peers.of(peer).is_some_and(|declared| declared.is != Is::Vm);
    if component(&one.peer) && component(&other.peer) {
        let message = format!("neither `{}` nor `{}` is a VM", one.peer, other.peer);
        let help = "one end must be a VM: components only answer what VMs send";
        found.report(Kind::NoVm, &connection.at.between, message, "two components", help);
        return false;
    }
    true
}

/// Whether a component finds the dataports that it works on.
fn component(found: &mut Collector<'_>, connection: &Connection, side: usize, name: &str, kind: ComponentKind) {
    for (number, need) in kind.needs().iter().enumerate() {
        let dataport = connection.dataports.get(number);
        let rights = dataport.and_then(|dataport| dataport.rights.get(side));
        let kind_name = kind.name();
        match rights {
            None => {
                let needed = words::count(kind.needs().len(), "dataport");
                let there = words::count(connection.dataports.len(), "dataport");
                let message = format!("`{name}` needs {needed} on a connection");
                let help = match kind {
                    ComponentKind::Digest => {
                        "a digest reads the first and answers in the second: \
                         `dataports = [{ size = \"64 KiB\" }, { size = \"4 KiB\" }]`"
                    }
                    _ => "give the connection memory: `size = \"64 KiB\"`",
                };
                found.report(Kind::ComponentNeeds, &connection.at.memory, message, format!("{there}, for a component `{kind_name}`"), help);
                return;
            }
            Some(Rights::Read) if *need == Rights::ReadWrite => {
                let at = connection.at.dataports.get(number).map_or(&connection.at.memory, DataportAt::rights);
                let message = format!("`{name}` must be able to write here");
                let help = format!("take `{name} = \"r\"` away, or make it `\"rw\"`");
                found.report(
                    Kind::ComponentNeeds,
                    at,
                    message,
                    format!("a component `{kind_name}` writes its answers to this dataport"),
                    help,
                );
            }
            Some(_) => {}
        }
    }
}

/// Whether an earlier connection at one of the ends has the same name.
fn same_name(found: &mut Collector<'_>, earlier: &[Connection], connection: &Connection) {
    let shares_end = |other: &&Connection| other.ends.iter().any(|end| connection.ends.iter().any(|own| own.peer == end.peer));
    let same = earlier.iter().filter(|other| other.name == connection.name).find(shares_end);
    if let Some(first) = same {
        let end = first.ends.iter().find(|end| connection.ends.iter().any(|own| own.peer == end.peer)).map_or("", |end| end.peer.as_str());
        let message = format!("`{end}` has two connections called `{}`", connection.name);
        let help = "rename one of them: a guest finds its connections by name";
        found.report(Kind::DuplicateName, &connection.at.name, message, "once more", help);
        found.relate(&first.at.name, "the first");
    }
}

/// Whether the VM's bus has room for its connections.
fn bus(found: &mut Collector<'_>, connections: &[Connection], vm: &Declared) {
    let ends = connections.iter().flat_map(|connection| &connection.ends).filter(|end| end.peer == vm.name);
    let said: Vec<Option<Interrupt>> = ends.map(|end| end.interrupt).collect();
    let usual = Interrupt::usual(said.len());
    let lines = || said.iter().map(|said| said.unwrap_or(usual));
    if !fits_bus(lines()) {
        let message = format!("`{}` has more connections than fit on its PCI bus", vm.name);
        let own = lines().filter(|line| *line == Interrupt::Own).count();
        let label = format!("{own} with an interrupt line of their own, and {} that share one", said.len() - own);
        let help = format!(
            "let more of them share, `interrupt = \"shared\"`, and put those that do not share first. There are {DEVICE_NUMBERS} places: each \
             holds one with a line of its own, or {FUNCTIONS} that share; a connection takes a place of its own while there is one"
        );
        found.report(Kind::TooMany, &vm.at, message, label, help);
    }
}
