//! `list`.

use clap::Args;
use crossvm_guest::{Endpoint, Error, Function, System};
use serde::Serialize;

use crate::describe::{Dataport, Details};
use crate::failure::Failure;
use crate::options::Run;
use crate::output::{Column, Format, or_none, print, print_json, table};

/// Show the connections of this VM.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    format: Format,
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
    Read {
        #[serde(flatten)]
        details: Details,
        dataports: Vec<Dataport>,
    },
    Unreadable {
        error: String,
    },
}

impl Run for List {
    /// Shows the connections of this VM. One that cannot be read is shown with the reason.
    fn run(self, system: &System) -> Result<(), Failure> {
        let functions = system.functions()?;
        let entries: Vec<_> = functions.iter().map(entry).collect();
        match self.format.json {
            true => print_json(&entries),
            // A program asks for a list and gets one; a person wants to know.
            false if entries.is_empty() => Err(Error::NoConnections.into()),
            false => print(&text(&entries)),
        }
    }
}

fn entry(function: &Function) -> Entry {
    let content = match Endpoint::open(function).and_then(|connection| content(&connection)) {
        Ok(content) => content,
        Err(error) => Content::Unreadable { error: error.to_string() },
    };
    Entry {
        address: function.address().to_string(),
        driver: function.driver().map(str::to_owned),
        device: function.node().or(function.uio()).map(|device| device.display().to_string()),
        content,
    }
}

fn content(connection: &Endpoint) -> Result<Content, Error> {
    Ok(Content::Read { details: Details::of(connection)?, dataports: connection.dataports().iter().map(Dataport::of).collect() })
}

const HEAD: [(&str, Column); 7] = [
    ("NAME", Column::Text),
    ("ADDRESS", Column::Text),
    ("DRIVER", Column::Text),
    ("DEVICE", Column::Text),
    ("EVENTS", Column::Number),
    ("DROPPED", Column::Number),
    ("DATAPORTS (size in its BAR, rights)", Column::Text),
];

fn text(entries: &[Entry]) -> String {
    let rows = entries.iter().map(|entry| {
        let unknown = || "?".to_owned();
        let (name, events, dropped, dataports) = match &entry.content {
            Content::Read { details, dataports } => (
                details.name.clone(),
                details.events.to_string(),
                or_none(details.dropped),
                dataports.iter().map(dataport).collect::<Vec<_>>().join(", "),
            ),
            Content::Unreadable { error } => (unknown(), unknown(), unknown(), error.clone()),
        };
        let (driver, device) = (or_none(entry.driver.as_ref()), or_none(entry.device.as_ref()));
        [name, entry.address.clone(), driver, device, events, dropped, dataports]
    });
    table(HEAD, rows).into_iter().map(|line| line + "\n").collect()
}

fn dataport(dataport: &Dataport) -> String {
    let Dataport { index, bar, address, bar_size, size, rights } = dataport;
    format!("{index}: {size} in {bar_size} at {address:#x} (BAR {bar}), {rights}")
}
