//! What `list` and `info` tell of a connection.

use crossvm_guest::{Bar, DataportInfo, Endpoint, Error, Profile};
use serde::Serialize;

/// What stands in an opened connection, as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) profile: &'static str,
    pub(crate) version: Option<u32>,
    pub(crate) events: u32,
    pub(crate) dropped: Option<u32>,
    pub(crate) event_page: u64,
}

impl Details {
    /// Looks at `connection`. No event is taken.
    pub(crate) fn of(connection: &Endpoint) -> Result<Self, Error> {
        let (profile, version) = match connection.profile() {
            Profile::Reference => ("reference", None),
            Profile::Extended { version } => ("extended", Some(version)),
        };
        Ok(Self {
            name: connection.name().to_owned(),
            profile,
            version,
            events: connection.pending()?.get(),
            dropped: connection.dropped()?,
            event_page: connection.function().bars().ok().and_then(|bars| bars.event_page()).map_or(0, Bar::address),
        })
    }
}

/// A dataport, as JSON shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Dataport {
    pub(crate) index: u8,
    pub(crate) bar: usize,
    pub(crate) address: u64,
    pub(crate) bar_size: u64,
    pub(crate) size: u64,
    pub(crate) rights: String,
}

impl Dataport {
    /// What is known of a dataport that is not mapped.
    pub(crate) fn of(info: &DataportInfo) -> Self {
        Self {
            index: info.index().get(),
            bar: info.bar().index(),
            address: info.bar().address(),
            bar_size: info.bar().size(),
            size: info.size(),
            rights: info.rights().to_string(),
        }
    }
}
