//! What each guest is told about its connections: `demo.check=PLAN` of `examples/demo-guest`, whose `check` module says what it means.

use anyhow::{Result, anyhow};
use crossvm_manifest::{ComponentKind, Rights};

use crate::system::{ConnectionSpec, System};

/// Who holds a connection in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// The kernel's stock driver.
    Uio,
    /// Ours.
    CrossVm,
}

impl Driver {
    /// Its name in sysfs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Uio => "uio_pci_generic",
            Self::CrossVm => "crossvm",
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Uio => 'u',
            Self::CrossVm => 'c',
        }
    }
}

/// Who is at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Vm,
    Component(ComponentKind),
}

/// Who `name` is.
pub(super) fn who(system: &System, name: &str) -> Option<Who> {
    let component = system.components.iter().find(|component| component.name == name);
    match component {
        Some(component) => Some(Who::Component(component.kind)),
        None => system.vms.iter().any(|vm| vm.name == name).then_some(Who::Vm),
    }
}

/// A connection as one VM has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat<'a> {
    pub(super) connection: &'a ConnectionSpec,
    /// At which of its ends the VM is.
    pub(super) end: usize,
    pub(super) driver: Driver,
}

/// The connections of VM `name`, in the order of their names.
///
/// Our driver and the stock one hold them in turns, so that every guest uses both. Where a dataport may only be read, it is the stock
/// driver: it lets a program map what it may not write, and so try to.
pub(super) fn seats<'a>(system: &'a System, name: &str) -> Vec<Seat<'a>> {
    let end = |connection: &ConnectionSpec| connection.ends.iter().position(|end| end.peer == name);
    let mut found: Vec<_> = system.connections.iter().filter_map(|connection| Some((connection, end(connection)?))).collect();
    found.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let mut turn = Driver::CrossVm;
    let seat = |(connection, end): (&'a ConnectionSpec, usize)| {
        let mut driver = Driver::Uio;
        if connection.dataports.iter().all(|dataport| dataport.rights[end] == Rights::ReadWrite) {
            driver = turn;
            turn = if turn == Driver::Uio { Driver::CrossVm } else { Driver::Uio };
        }
        Seat { connection, end, driver }
    };
    found.into_iter().map(seat).collect()
}

/// The plan of VM `name`. Words that are repeated are counted, so that a plan fits on a kernel's command line.
pub(super) fn of(system: &System, name: &str) -> Result<String> {
    let mut words: Vec<(String, u32)> = Vec::new();
    for seat in seats(system, name) {
        let word = word(system, seat)?;
        match words.last_mut() {
            Some((last, times)) if *last == word => *times += 1,
            _ => words.push((word, 1)),
        }
    }
    let words = words.into_iter().map(|(word, times)| if times == 1 { word } else { format!("{word}*{times}") });
    Ok(words.collect::<Vec<_>>().join(","))
}

fn word(system: &System, Seat { connection, end, driver }: Seat<'_>) -> Result<String> {
    let other = 1 - end;
    let peer = connection.ends.get(other).map_or("", |end| &end.peer);
    let who = who(system, peer).ok_or_else(|| anyhow!("connection `{}`: `{peer}` is neither a VM nor a component", connection.name))?;
    let side = if end == 0 { 'a' } else { 'b' };
    let kind = match who {
        Who::Vm => 'v',
        Who::Component(ComponentKind::Reverse) => 'r',
        Who::Component(ComponentKind::Digest) => 'd',
        Who::Component(ComponentKind::Source) => 's',
        Who::Component(kind) => return Err(anyhow!("component `{peer}`: no guest of ours can verify a `{}`", kind.name())),
    };
    let right = |rights: Rights| if rights == Rights::Read { 'r' } else { 'w' };
    let rights = connection.dataports.iter().flat_map(|dataport| [end, other].map(|end| right(dataport.rights[end])));
    Ok([side, kind, driver.letter()].into_iter().chain(rights).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crossvm_manifest::{Dataport, Width};

    use super::*;
    use crate::system::{ComponentSpec, VmSpec};

    fn system() -> System {
        let (r, w) = (Rights::Read, Rights::ReadWrite);
        let dataport = |rights| Dataport { size: 4096, rights, width: Width::default() };
        let connection = |name: &str, peers, rights: &[[Rights; 2]]| ConnectionSpec {
            dataports: rights.iter().copied().map(dataport).collect(),
            ..ConnectionSpec::new(name, peers, 4096)
        };
        System {
            vms: ["one", "two"].map(|name| VmSpec::new(name, PathBuf::new(), String::new())).to_vec(),
            components: vec![ComponentSpec { name: "sum".to_owned(), kind: ComponentKind::Digest }],
            connections: vec![
                connection("d", ["one", "two"], &[[w, w]]),
                connection("c", ["sum", "one"], &[[r, w], [w, r]]),
                connection("b", ["two", "one"], &[[w, w], [w, w]]),
                connection("a", ["one", "two"], &[]),
            ],
        }
    }

    #[test]
    fn a_plan_says_side_peer_driver_and_rights_in_the_order_of_names() {
        assert_eq!(of(&system(), "one").unwrap(), "avc,bvuwwww,bduwrrw,avcww");
        assert_eq!(of(&system(), "two").unwrap(), "bvc,avuwwww,bvcww");
    }

    #[test]
    fn equal_words_are_counted() {
        let mut system = system();
        system.connections = ["x0", "x1", "x2"].map(|name| ConnectionSpec::new(name, ["one", "two"], 4096)).to_vec();
        for connection in &mut system.connections {
            connection.dataports[0].rights = [Rights::ReadWrite, Rights::Read];
        }
        assert_eq!(of(&system, "two").unwrap(), "bvurw*3");
        assert_eq!(of(&system, "one").unwrap(), "avcwr,avuwr,avcwr");
    }

    #[test]
    fn a_peer_that_does_not_exist_is_told() {
        let mut system = system();
        system.connections[0].ends[1].peer = "three".to_owned();
        assert!(of(&system, "one").unwrap_err().to_string().contains("`three` is neither a VM nor a component"));
    }
}
