//! Manifests: a topology as a person writes it, in TOML. For hosts; needs the feature `toml`.
//!
//! ```text
//!   text ──Source──▶ syntax ──▶ tables, keys, values ──▶ names, rights, room ──▶ Manifest ──limits──▶ a platform boots it
//!                       └──────────────┴──────────────────────┴──────────────────────────────┴──▶ Diagnostics
//! ```
//!
//! All mistakes are told at once, each with line and column and how to mend it.
//!
//! ```
//! use crossvm_manifest::manifest::{Bytes, Manifest, Source};
//!
//! let text = r#"
//! [vm.alpha]
//! kernel = { debian = "6.1" }
//! memory = "512 MiB"
//!
//! [component.mirror]
//! kind = "reverse"
//!
//! [[connection]]
//! name = "lines"
//! between = ["alpha", "mirror"]
//! size = "64 KiB"
//! "#;
//! let manifest = Manifest::parse(&Source::new("example.toml", text))?;
//! assert_eq!(manifest.connections[0].bytes(), Bytes(64 << 10));
//!
//! let broken = text.replace("mirror\"]", "miror\"]");
//! let told = Manifest::parse(&Source::new("example.toml", &broken)).unwrap_err().to_string();
//! assert!(told.contains("example.toml:11:21") && told.contains("did you mean `mirror`?"), "{told}");
//! # Ok::<(), crossvm_manifest::manifest::Diagnostics>(())
//! ```

mod bytes;
mod connection;
mod diagnostic;
#[cfg(feature = "drawing")]
mod drawing;
mod limits;
#[cfg(feature = "microkit")]
pub mod microkit;
mod objection;
mod peers;
mod places;
mod platform;
mod render;
mod source;
mod syntax;
mod table;
mod topology;
mod vm;
mod wiring;
mod words;

use std::ops::Range;

use toml::de::DeTable;

pub use bytes::{Bytes, NotASize};
pub use connection::{Caching, Connection, End};
pub use diagnostic::{Diagnostic, Diagnostics, Kind, Related};
pub use limits::Limits;
pub use objection::{Objection, Place};
pub use platform::{El2, GicVersion, Irqchip, Kvm, Platforms};
pub use render::Style;
pub use source::{Position, Source};
pub use topology::Images;
pub use vm::{Debian, Initrd, Kernel, Vm};

use crate::{ComponentKind, MAX_CONNECTIONS};
use diagnostic::Collector;
use table::Table;

const KEYS: [&str; 5] = ["description", "vm", "component", "connection", "platform"];

/// A whole system, as a manifest describes it. What is in it fits together; the files that it names were there when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// What it is about, in a line.
    pub description: Option<String>,
    /// The virtual machines, in the order of the text.
    pub vms: Vec<Vm>,
    /// The native components, in the order of the text.
    pub components: Vec<Component>,
    /// The connections, in the order of the text: every VM sees its own in this order.
    pub connections: Vec<Connection>,
    /// What only some platforms need to know.
    pub platforms: Platforms,
}

/// A native component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: ComponentKind,
    at: Range<usize>,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Every mistake that was found.
    pub fn parse(source: &Source) -> Result<Self, Diagnostics> {
        let mut found = Collector::new(source);
        let (root, errors) = DeTable::parse_recoverable(source.text());
        if !syntax::report(&mut found, root.get_ref(), &errors) {
            return Err(found.into_diagnostics());
        }
        let root = Table::new(root.get_ref(), 0..0, "a manifest");
        let known = root.only(&mut found, &KEYS);
        let description = root.text(&mut found, "description", "\"what it is about\"");
        let peers = peers::read(&mut found, &root);
        if known && root.get("vm").is_none() {
            let help = "write `[vm.NAME]`, and below it `kernel = { debian = \"6.1\" }` or the path of a kernel";
            found.report(Kind::MissingKey, &(0..0), "a manifest needs a VM", "there is none", help);
        }
        let connections = connections(&mut found, &root);
        let platforms = platforms(&mut found, &root);
        wiring::check(&mut found, &peers, &connections);
        let manifest = Self {
            description: description.map(|text| text.value.to_owned()),
            vms: peers.vms,
            components: peers.components,
            connections,
            platforms,
        };
        found.finish(manifest)
    }
}

fn connections(found: &mut Collector<'_>, root: &Table<'_>) -> Vec<Connection> {
    let Some(value) = root.get("connection") else { return Vec::new() };
    let tables: Option<Vec<Table<'_>>> =
        value.get_ref().as_array().and_then(|array| array.iter().map(|value| Table::of(value, "a connection")).collect());
    let Some(tables) = tables else {
        let at = root.key("connection").unwrap_or_else(|| value.span());
        let help = "write `[[connection]]`, in two brackets, and its name as a key: `name = \"camera\"`";
        found.report(Kind::WrongType, &at, "connections are a list of tables", "this is none", help);
        return Vec::new();
    };
    if let Some(first) = tables.get(MAX_CONNECTIONS) {
        let label = format!("number {} of {}", MAX_CONNECTIONS + 1, tables.len());
        let help = format!("a topology has {MAX_CONNECTIONS} at most; several dataports fit into one connection: `dataports = [...]`");
        found.report(Kind::TooMany, &first.at, "too many connections", label, help);
    }
    tables.iter().filter_map(|table| connection::read(found, table)).collect()
}

fn platforms(found: &mut Collector<'_>, root: &Table<'_>) -> Platforms {
    let mut platforms = Platforms::default();
    let Some(value) = root.get("platform") else { return platforms };
    let Some(table) = Table::of(value, "the table of platforms") else {
        table::wrong_type(found, "platform", value, "a table for each platform", "a table: `[platform.el2]");
        return platforms;
    };
    for (name, _) in table.entries().iter().filter(|(name, _)| !platform::NAMES.contains(&name.value)) {
        let help = words::advice(name.value, &platform::NAMES, "the platforms");
        found.report(Kind::UnknownKey, &name.at, format!("there is no platform `{}`", name.value), "no such platform", help);
    }
    if let Some(value) = table.get("el2") {
        match Table::of(value, "the platform el2") {
            Some(table) => platforms.el2 = platform::el2(found, &table),
            None => table::wrong_type(found, "el2", value, "a table", "a table: `[platform.el2]"),
        }
    }
    if let Some(value) = table.get("kvm") {
        match Table::of(value, "the platform kvm") {
            Some(table) => platforms.kvm = platform::kvm(found, &table),
            None => table::wrong_type(found, "kvm", value, "a table", "a table: `[platform.kvm]"),
        }
    }
    platforms
}
