//! A look at all connections at one moment.

use std::time::{Instant, SystemTime};

use crossvm_guest::{Function, Observation, PciAddress, System};

use super::channel::{self, Observed};
use crate::failure::Failure;

/// All connections that are watched.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) time: SystemTime,
    pub(crate) connections: Vec<Connection>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Where it sits; `None` where it was asked for by name, and is gone.
    pub(crate) address: Option<PciAddress>,
    /// What it is called, as far as that is known.
    pub(crate) name: Option<String>,
    pub(crate) driver: Option<String>,
    /// Interrupts of its line, and of whoever shares it.
    pub(crate) line_interrupts: Option<u64>,
    /// Whether the line is its own.
    pub(crate) line_is_own: bool,
    /// Its counters, or why they cannot be seen.
    pub(crate) counters: Result<Observation, String>,
    pub(crate) channel: Option<Observed>,
}

impl Sample {
    /// Looks at the connections called `names`, by name or PCI address; at all of them where there are no names.
    pub(crate) fn take(system: &System, names: &[String]) -> Result<Self, Failure> {
        let (at, time) = (Instant::now(), SystemTime::now());
        let mut connections: Vec<_> = system.functions()?.iter().map(|function| Connection::of(system, function)).collect();
        if !names.is_empty() {
            connections.retain(|connection| names.iter().any(|name| connection.is(name)));
            let gone = |name: &&String| !connections.iter().any(|connection| connection.is(name));
            let gone: Vec<_> = names.iter().filter(gone).map(|name| Connection::gone(name)).collect();
            connections.extend(gone);
        }
        Ok(Self { at, time, connections })
    }

    /// Whether there is nothing to watch.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

impl Connection {
    fn of(system: &System, function: &Function) -> Self {
        let counters = function.observe().map_err(|error| error.to_string());
        let irqs = system.interrupts(function).map(|interrupts| interrupts.irqs).unwrap_or_default();
        Self {
            address: Some(function.address()),
            name: counters.as_ref().ok().map(|counters| counters.name.clone()),
            driver: function.driver().map(str::to_owned),
            line_interrupts: irqs.iter().map(|irq| irq.count).sum::<Option<u64>>().filter(|_| !irqs.is_empty()),
            line_is_own: irqs.iter().all(|irq| irq.users.len() <= 1),
            counters,
            channel: channel::observe(function),
        }
    }

    fn gone(name: &str) -> Self {
        Self {
            address: None,
            name: Some(name.to_owned()),
            driver: None,
            line_interrupts: None,
            line_is_own: false,
            counters: Err("the connection is gone, or its name can no longer be read".to_owned()),
            channel: None,
        }
    }

    /// Whether it is the one that is called `name`, or sits at this address.
    fn is(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name) || self.address.is_some_and(|address| address.to_string() == name)
    }
}
