//! `cargo xtask doctor`: what is there, what is missing, what each is for, and how it gets installed.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Cell, Table};
use serde::Serialize;

use crate::architecture::Architecture;
use crate::cache::Cache;
use crate::guest::{self, Kernel, Series, pciutils};
use crate::host::{self, Installer, Presence, Tool};
use crate::output;
use crate::process;
use crate::sel4;
use crate::tables::{self, bad, good};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Show what is there, what is missing, what each is for and how it gets installed.
///
/// The exit status is 1 if something is missing that `cargo xtask setup` brings. Nothing is changed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that is needed.
#[derive(Debug, Clone, Serialize)]
struct Item {
    name: String,
    state: Presence,
    /// What is there.
    found: Option<String>,
    purpose: String,
    /// How it gets there.
    how: String,
    /// Setup does without it: whoever needs it installs it.
    on_demand: bool,
}

/// Looks at everything and shows it.
pub(crate) fn doctor(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let items = examine(workspace)?;
    let missing = items.iter().filter(|item| item.state == Presence::Missing && !item.on_demand);
    let missing: Vec<&str> = missing.map(|item| item.name.as_str()).collect();
    if arguments.json {
        output::line(serde_json::to_string_pretty(&items)?);
    } else {
        output::line(table(&items));
        output::line(format!("Cache: {} (set CROSSVM_CACHE for another place)", Cache::find()?.path("").display()));
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing: {}", missing.join(", "))
}

const SETUP: &str = "cargo xtask setup";

fn examine(workspace: &Workspace) -> Result<Vec<Item>> {
    let cache = Cache::find()?;
    let toolchain = Toolchain::find(&cache)?;
    let mut items = vec![
        rust("cargo", workspace.cargo().arg("--version"), "builds everything", "install Rust with rustup"),
        rust("rustc", Command::new("rustc").arg("--version"), "compiles the tests and tools of this machine", "install Rust with rustup"),
        rust("rustfmt", workspace.cargo().args(["fmt", "--version"]), "cargo xtask test", "rustup component add rustfmt"),
        rust("clippy", workspace.cargo().args(["clippy", "--version"]), "cargo xtask test", "rustup component add clippy"),
    ];
    items.push(Item {
        name: "Rust for bare metal and guests".to_owned(),
        state: presence(toolchain.is_some()),
        found: toolchain.as_ref().map(ToString::to_string),
        purpose: "builds the hypervisor and the guests' programs".to_owned(),
        how: format!("{SETUP} (rustup's targets, else Debian's compiler in the cache)"),
        on_demand: false,
    });
    let mut tools: Vec<Tool> = Vec::new();
    for tool in Architecture::ALL.into_iter().flat_map(host::tools) {
        if tools.iter().all(|known| known.program != tool.program) {
            tools.push(tool);
        }
    }
    items.extend(tools.iter().map(|tool| item(tool, SETUP)));
    // Some are needed by setup as well.
    let others = sel4::tools().into_iter().filter(|tool| tools.iter().all(|other| other.program != tool.program));
    items.extend(others.map(|tool| Item { on_demand: true, ..item(&tool, "cargo xtask sel4") }));
    items.push(Item { on_demand: true, ..item(&host::IASL, "cargo xtask test") });
    items.extend(Architecture::ALL.into_iter().flat_map(|architecture| guests(&cache, architecture)));
    Ok(items)
}

/// What guests of `architecture` run.
fn guests(cache: &Cache, architecture: Architecture) -> Vec<Item> {
    let name = architecture.debian();
    let package = |what: &str, found: Option<String>, purpose: &str| Item {
        name: format!("guest {what}, {name}"),
        state: presence(found.is_some()),
        found,
        purpose: purpose.to_owned(),
        how: format!("{SETUP} (Debian package, unpacked into the cache)"),
        on_demand: false,
    };
    let kernel = Kernel::find(cache, Series::V6_1, architecture).map(|kernel| kernel.package);
    let busybox = guest::find_busybox(cache, architecture);
    let busybox = busybox.and_then(|_| cache.stamp(guest::busybox_entry(architecture))).map(|stamp| stamp.origin);
    let mut items = vec![package("kernel", kernel, "what the guests run, unmodified"), package("busybox", busybox, "the guests' shell")];
    if guest::has_pciutils(architecture) {
        let found = pciutils::find(cache, architecture).and_then(|_| pciutils::origin(cache, architecture));
        items.push(package("pciutils", found, "shows the guests' PCI functions, for the report"));
    }
    items
}

/// A tool of the system, which `verb` installs.
fn item(tool: &Tool, verb: &str) -> Item {
    Item {
        name: tool.program.to_owned(),
        state: tool.presence(),
        found: process::find_program(tool.program).map(|path| path.display().to_string()),
        purpose: tool.purpose.to_owned(),
        how: match Installer::find() {
            Installer::Nobody => host::advice(tool.packages),
            Installer::Apt | Installer::SudoApt => format!("{verb} (apt-get install {})", tool.packages.join(" ")),
        },
        on_demand: false,
    }
}

fn rust(name: &str, command: &mut Command, purpose: &str, how: &str) -> Item {
    let found = process::output(command).ok().map(|version| version.trim().to_owned());
    Item {
        name: name.to_owned(),
        state: presence(found.is_some()),
        found,
        purpose: purpose.to_owned(),
        how: how.to_owned(),
        on_demand: false,
    }
}

fn presence(there: bool) -> Presence {
    if there { Presence::Present } else { Presence::Missing }
}

fn table(items: &[Item]) -> Table {
    let mut table = tables::table(&["what", "", "found", "for", "how it gets there"]);
    for item in items {
        let state = match item.state {
            Presence::Present => good("ok"),
            Presence::Missing if item.on_demand => Cell::new("not yet"),
            Presence::Missing => bad("missing"),
        };
        let found = item.found.as_deref().unwrap_or("-");
        let how = if item.state == Presence::Missing { item.how.as_str() } else { "" };
        table.add_row(vec![Cell::new(&item.name), state, Cell::new(found), Cell::new(&item.purpose), Cell::new(how)]);
    }
    table
}
