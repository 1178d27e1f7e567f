//! What can be seen of a connection without taking an event from whoever waits for it.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use crate::linux::connection::Connection;
use crate::linux::error::Error;
use crate::linux::node::Attributes;
use crate::linux::system::Function;

/// A look at a connection's counters. No counter changes by it, nobody is woken, and no event is taken.
///
/// | | our own driver | the stock driver |
/// | --- | --- | --- |
/// | looks at | sysfs, which everybody may | the registers, which only root may, and sysfs |
/// | `pending` | what nobody has read | COUNT |
/// | `events`, `spurious` | the driver counts them | unknown |
/// | `interrupts` | with an event | those that reached `/dev/uioN` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The connection's name.
    pub name: String,
    /// Events that came and that nobody has taken yet.
    pub pending: u64,
    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    pub dropped: Option<u64>,
    /// All events since the driver took the function.
    pub events: Option<u64>,
    /// Interrupts of this function since the driver took it.
    pub interrupts: Option<u64>,
    /// Interrupts that came without an event.
    pub spurious: Option<u64>,
}

impl Function {
    /// Looks at the connection's counters.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`], [`Error::Io`]; where our own driver does not hold the function, what [`Connection::open`] reports.
    pub fn observe(&self) -> Result<Observation, Error> {
        match self.node_and_folder() {
            Some((_, folder)) => of_node(&Attributes { folder, address: self.address() }),
            None => of_registers(self),
        }
    }
}

fn of_node(attributes: &Attributes<'_>) -> Result<Observation, Error> {
    Ok(Observation {
        name: attributes.name()?,
        pending: attributes.number("pending")?,
        // The reference profile has no such file, and an older driver may lack others.
        dropped: optional(attributes.folder, "dropped"),
        events: optional(attributes.folder, "events"),
        interrupts: optional(attributes.folder, "interrupts"),
        spurious: optional(attributes.folder, "spurious"),
    })
}

fn of_registers(function: &Function) -> Result<Observation, Error> {
    let connection = Connection::open(function)?;
    let uio = function.uio().and_then(Path::file_name);
    Ok(Observation {
        name: connection.name().to_owned(),
        pending: connection.events().count().get().into(),
        dropped: connection.events().dropped().map(u64::from),
        events: None,
        interrupts: uio.and_then(|uio| optional(&function.file("uio").join(uio), "event")),
        spurious: None,
    })
}

/// The number in a file of sysfs; `None` where there is no such file, or no number in it.
pub(crate) fn optional<N: FromStr>(folder: &Path, file: &str) -> Option<N> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}
