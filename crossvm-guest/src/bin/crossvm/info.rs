//! `info`.

use clap::Args;
use crossvm_guest::{Caching, Endpoint, Error, Interrupt, Irq, System};
use serde::Serialize;

use crate::describe::{Dataport, Details};
use crate::failure::Failure;
use crate::options::Run;
use crate::output::{Column, Format, or_none, print, print_json, table};

/// Show all that there is to know of one connection. No event is taken.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The connection.
    name: String,
    #[command(flatten)]
    format: Format,
}

/// A connection, as JSON shows it.
#[derive(Debug, Serialize)]
struct Connection {
    #[serde(flatten)]
    details: Details,
    address: String,
    driver: Option<String>,
    device: Option<String>,
    /// What `wait` and all that waits would sleep on.
    waits_on: Option<String>,
    interrupt: Option<Interrupts>,
    dataports: Vec<Mapped>,
}

#[derive(Debug, Serialize)]
struct Interrupts {
    kind: &'static str,
    irqs: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    irq: u32,
    controller: Option<String>,
    line: Option<u64>,
    trigger: Option<String>,
    users: Vec<String>,
    count: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Mapped {
    #[serde(flatten)]
    dataport: Dataport,
    /// How it is mapped here; `None` where it cannot be.
    caching: Option<&'static str>,
}

impl Run for Info {
    fn run(self, system: &System) -> Result<(), Failure> {
        let endpoint = system.endpoint(&self.name)?;
        let connection = connection(system, &endpoint)?;
        match self.format.json {
            true => print_json(&connection),
            false => print(&text(&connection, &endpoint)),
        }
    }
}

fn connection(system: &System, endpoint: &Endpoint) -> Result<Connection, Error> {
    let function = endpoint.function();
    let device = function.node().or(function.uio()).map(|device| device.display().to_string());
    let dataports = endpoint.dataports().iter().map(|info| Mapped {
        dataport: Dataport::of(info),
        caching: endpoint.dataport(info.index()).ok().map(|dataport| caching(dataport.caching())),
    });
    Ok(Connection {
        details: Details::of(endpoint)?,
        address: function.address().to_string(),
        driver: function.driver().map(str::to_owned),
        waits_on: device.clone(),
        device,
        interrupt: system.interrupts(function).map(|interrupts| Interrupts {
            kind: match interrupts.kind {
                Interrupt::Intx => "intx",
                Interrupt::Msix => "msix",
            },
            irqs: interrupts.irqs.into_iter().map(line).collect(),
        }),
        dataports: dataports.collect(),
    })
}

fn line(irq: Irq) -> Line {
    let Irq { number, controller, line, trigger, users, count } = irq;
    Line { irq: number, controller, line, trigger, users, count }
}

const fn caching(caching: Caching) -> &'static str {
    match caching {
        Caching::WriteCombining => "write-combining",
        Caching::Device => "uncached",
        Caching::Cacheable => "cacheable",
    }
}

const DATAPORTS: [(&str, Column); 7] = [
    ("DATAPORT", Column::Text),
    ("BAR", Column::Text),
    ("ADDRESS", Column::Text),
    ("SIZE", Column::Number),
    ("BAR'S SIZE", Column::Number),
    ("RIGHTS", Column::Text),
    ("CACHING", Column::Text),
];

fn text(connection: &Connection, endpoint: &Endpoint) -> String {
    let Connection { details, address, driver, device, waits_on, interrupt, dataports } = connection;
    let profile = match details.version {
        Some(version) => format!("{}, version {version}", details.profile),
        None => details.profile.to_owned(),
    };
    let waits_on = match waits_on {
        Some(device) => device.clone(),
        None => Error::NotBound { address: endpoint.address(), driver: driver.clone() }.to_string(),
    };
    let lines = [
        ("name", details.name.clone()),
        ("address", address.clone()),
        ("driver", or_none(driver.as_ref())),
        ("device", or_none(device.as_ref())),
        ("waits on", waits_on),
        ("interrupt", interrupt.as_ref().map_or_else(|| "none: the kernel has not given it one".to_owned(), interrupt_text)),
        ("profile", profile),
        ("events", details.events.to_string()),
        ("dropped", or_none(details.dropped)),
        ("registers", format!("{:#x}", details.event_page)),
        ("dataports", dataports.len().to_string()),
    ];
    let mut text: String = lines.iter().map(|(title, value)| format!("{title:11}{value}\n")).collect();
    if !dataports.is_empty() {
        let rows = dataports.iter().map(|Mapped { dataport, caching }| {
            let Dataport { index, bar, address, bar_size, size, rights } = dataport;
            let caching = or_none(*caching);
            [index.to_string(), bar.to_string(), format!("{address:#x}"), size.to_string(), bar_size.to_string(), rights.clone(), caching]
        });
        text.push('\n');
        text.extend(table(DATAPORTS, rows).into_iter().map(|line| line + "\n"));
    }
    text
}

fn interrupt_text(interrupts: &Interrupts) -> String {
    let kind = match interrupts.kind {
        "msix" => "MSI-X",
        _ => "INTx",
    };
    let irqs = interrupts.irqs.iter().map(|irq| {
        let mut text = format!("irq {}", irq.irq);
        if let (Some(controller), Some(line)) = (&irq.controller, irq.line) {
            text += &format!(" ({controller} {line})");
        }
        for more in [irq.trigger.clone(), irq.count.map(|count| format!("{count} times"))].into_iter().flatten() {
            text += &format!(", {more}");
        }
        // One user is its own driver.
        if irq.users.len() > 1 {
            text += &format!(", shared by {}", irq.users.join(", "));
        }
        text
    });
    format!("{kind}: {}", irqs.collect::<Vec<_>>().join("; "))
}
