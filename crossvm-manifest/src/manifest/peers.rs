//! `[vm.…]` and `[component.…]`: who can be at the end of a connection.

use std::ops::Range;

use super::Component;
use super::diagnostic::{Collector, Kind};
use super::table::{Located, Table, wrong_type};
use super::vm::{self, Vm};
use crate::{ComponentKind, MAX_COMPONENTS, MAX_NAME, MAX_VMS, NameRule, VMM_NAME};

/// Who is there.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) vms: Vec<Vm>,
    pub(super) components: Vec<Component>,
    /// The names of all, also of those that have mistakes.
    pub(super) names: Vec<Declared>,
}

/// A name of a VM or component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) at: Range<usize>,
    pub(super) is: Is,
}

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Vm,
    /// `None`: its kind is not known.
    Component(Option<ComponentKind>),
}

impl Peers {
    pub(super) fn of(&self, name: &str) -> Option<&Declared> {
        self.names.iter().find(|declared| declared.name == name)
    }
}

/// Reads all VMs and components.
pub(super) fn read(found: &mut Collector<'_>, root: &Table<'_>) -> Peers {
    let mut peers = Peers { vms: Vec::new(), components: Vec::new(), names: Vec::new() };
    for (name, table) in tables(found, root, "vm", "a VM", &vm::KEYS, MAX_VMS) {
        if declare(found, &mut peers, &name, Is::Vm) {
            peers.vms.extend(vm::read(found, name, &table));
        }
    }
    for (name, table) in tables(found, root, "component", "a component", &["kind"], MAX_COMPONENTS) {
        let kind = kind(found, &table);
        if declare(found, &mut peers, &name, Is::Component(kind)) {
            let component = kind.map(|kind| Component { name: name.value.to_owned(), kind, at: name.at });
            peers.components.extend(component);
        }
    }
    peers
}

fn kind(found: &mut Collector<'_>, table: &Table<'_>) -> Option<ComponentKind> {
    let known = table.only(found, &["kind"]);
    if known && table.get("kind").is_none() {
        table.missing(found, "kind", "say what it does: `kind = \"reverse\"`, `\"digest\"` or `\"source\"`");
    }
    table.choice(found, "kind", &ComponentKind::ALL.map(|kind| (kind.name(), kind)))
}

/// The tables below `[key]`, by name.
fn tables<'a>(
    found: &mut Collector<'_>,
    root: &Table<'a>,
    key: &'static str,
    what: &'static str,
    keys: &[&str],
    most: usize,
) -> Vec<(Located<&'a str>, Table<'a>)> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let Some(list) = Table::of(value, what) else {
        let at = root.key(key).unwrap_or_else(|| value.span());
        let help = format!("write `[{key}.NAME]`, in single brackets and with the name behind a dot");
        found.report(Kind::WrongType, &at, format!("{what} is a table with a name"), "this is none", help);
        return Vec::new();
    };
    let mut tables = Vec::new();
    for (name, value) in list.entries() {
        // A key of the table itself: `[vm]` was written for `[vm.NAME]`.
        if keys.contains(&name.value) && !found.source.slice(&value.span()).starts_with('[') {
            let message = format!("`{}` stands in `[{key}]`, which has no name", name.value);
            let help = format!("write the name of {what} behind a dot: `[{key}.NAME]`");
            found.report(Kind::WrongType, &name.at, message, "whose is this?", help);
            return Vec::new();
        }
        match Table::of(value, what) {
            Some(table) => tables.push((name, table)),
            None => wrong_type(found, name.value, value, "a table", &format!("a table: `[{key}.{}]", name.value)),
        }
    }
    if let Some((first, _)) = tables.get(most) {
        let label = format!("number {} of {}", most + 1, tables.len());
        found.report(Kind::TooMany, &first.at, format!("too many tables `[{key}.…]`"), label, format!("there can be {most}"));
    }
    tables
}

/// Notes a name; whether it may be used.
fn declare(found: &mut Collector<'_>, peers: &mut Peers, name: &Located<&str>, is: Is) -> bool {
    if !NameRule::Peer.admits(name.value) {
        let message = format!("`{}` cannot be the name of a VM or component", name.value.escape_debug());
        let label = if name.value == VMM_NAME { "this is the hypervisor's own" } else { "not this" };
        let help = "take letters, digits, `_` and `-`, a letter first: each line on the console stands behind this name";
        found.report(Kind::Name, &name.at, message, label, help);
    } else if name.value.len() > MAX_NAME {
        let label = format!("{} bytes", name.value.len());
        found.report(Kind::TooLong, &name.at, "the name is too long", label, format!("shorten it: at most {MAX_NAME} bytes fit"));
    } else if let Some(first) = peers.of(name.value) {
        let first = first.at.clone();
        let message = format!("a VM and a component are both called `{}`", name.value);
        found.report(Kind::DuplicateName, &name.at, message, "once more", "rename one of them: connections go by these names");
        found.relate(&first, "the first");
        return false;
    }
    peers.names.push(Declared { name: name.value.to_owned(), at: name.at.clone(), is });
    true
}
