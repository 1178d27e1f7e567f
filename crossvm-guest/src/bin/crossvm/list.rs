//! `list`.

use std::io::Write;

use crossvm_guest::{Endpoint, Error, Function, Profile, System};
use serde::Serialize;

use crate::failure::Failure;

/// How to show the list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// One connection, as JSON shows it.
#[derive(Debug, Serialize)]
struct Entry {
    address: String,
    driver: Option<String>,
    device: Option<String>,
    #[serde(flatten)]
    content: Content,
}

/// What could be read of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    Read(Details),
    Unreadable { error: String },
}

#[derive(Debug, Serialize)]
struct Details {
    name: String,
    profile: &'static str,
    version: Option<u32>,
    events: u32,
    dropped: Option<u32>,
    event_page: u64,
    dataports: Vec<Dataport>,
}

#[derive(Debug, Serialize)]
struct Dataport {
    index: u8,
    bar: usize,
    address: u64,
    bar_size: u64,
    size: u64,
    rights: String,
}

/// Shows the connections of this VM. One that cannot be read is shown with the reason.
pub(crate) fn list(system: &System, format: Format) -> Result<(), Failure> {
    let functions = system.functions()?;
    if functions.is_empty() {
        // A program asks for a list and gets one; a person wants to know.
        return match format {
            Format::Json => print("[]\n"),
            Format::Table => Err(Error::NoConnections.into()),
        };
    }
    let entries: Vec<_> = functions.iter().map(entry).collect();
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&entries).map_err(|error| Failure::Stream("JSON", error.into()))?;
            print(&format!("{text}\n"))
        }
        Format::Table => print(&table(&entries)),
    }
}

fn entry(function: &Function) -> Entry {
    let content = match Endpoint::open(function).and_then(|connection| details(&connection)) {
        Ok(details) => Content::Read(details),
        Err(error) => Content::Unreadable { error: error.to_string() },
    };
    Entry {
        address: function.address().to_string(),
        driver: function.driver().map(str::to_owned),
        device: function.node().or(function.uio()).map(|device| device.display().to_string()),
        content,
    }
}

fn details(connection: &Endpoint) -> Result<Details, Error> {
    let (profile, version) = match connection.profile() {
        Profile::Reference => ("reference", None),
        Profile::Extended { version } => ("extended", Some(version)),
    };
    let dataports = connection.dataports().iter().map(|info| Dataport {
        index: info.index().get(),
        bar: info.bar().index(),
        address: info.bar().address(),
        bar_size: info.bar().size(),
        size: info.size(),
        rights: info.rights().to_string(),
    });
    Ok(Details {
        name: connection.name().to_owned(),
        profile,
        version,
        events: connection.pending()?.get(),
        dropped: connection.dropped()?,
        event_page: connection.function().bars().ok().and_then(|bars| bars.event_page()).map_or(0, crossvm_guest::Bar::address),
        dataports: dataports.collect(),
    })
}

fn table(entries: &[Entry]) -> String {
    let mut rows =
        vec![["NAME", "ADDRESS", "DRIVER", "DEVICE", "EVENTS", "DROPPED", "DATAPORTS (size in its BAR, rights)"].map(str::to_owned)];
    for entry in entries {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (name, events, dropped, dataports) = match &entry.content {
            Content::Read(details) => (
                details.name.clone(),
                details.events.to_string(),
                details.dropped.map_or_else(|| "-".to_owned(), |dropped| dropped.to_string()),
                details.dataports.iter().map(dataport).collect::<Vec<_>>().join(", "),
            ),
            Content::Unreadable { error } => ("?".to_owned(), "?".to_owned(), "?".to_owned(), error.clone()),
        };
        rows.push([name, entry.address.clone(), or_dash(&entry.driver), or_dash(&entry.device), events, dropped, dataports]);
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn dataport(dataport: &Dataport) -> String {
    let Dataport { index, bar, address, bar_size, size, rights } = dataport;
    format!("{index}: {size} in {bar_size} at {address:#x} (BAR {bar}), {rights}")
}

fn print(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| Failure::Stream("standard output", error))
}
