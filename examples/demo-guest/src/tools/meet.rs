//! Where the two sides wait for each other between two steps.

use std::thread;
use std::time::Duration;

use crossvm_guest::System;

use crate::events::{Events, Spins};
use crate::link::{Link, Turns as _};
use crate::settings::Role;

/// How long to wait for doorbells that are on their way.
const QUIET: Duration = Duration::from_millis(50);

/// A pair of connections: one on which programs run, and one on which the sides meet meanwhile, which no program uses.
#[derive(Debug)]
pub(super) struct Meeting<'a> {
    system: &'a System,
    role: Role,
    place: &'static str,
    used: &'static str,
    patience: Duration,
}

impl<'a> Meeting<'a> {
    /// The sides meet on the connection `place`; programs run on `used`.
    pub(super) const fn new(system: &'a System, role: Role, place: &'static str, used: &'static str, patience: Duration) -> Self {
        Self { system, role, place, used, patience }
    }

    /// Returns when both sides have got here.
    pub(super) fn meet(&self) -> Result<(), String> {
        let connection = self.system.endpoint(self.place).map_err(|error| error.to_string())?;
        let mut link = Link::new(&connection, self.patience)?;
        let what = || format!("word that the other side has got as far on `{}`", self.used);
        match self.role {
            Role::Vm0 => {
                link.emit()?;
                link.event(Spins::NONE, what)
            }
            Role::Vm1 => {
                link.event(Spins::NONE, what)?;
                link.emit()
            }
        }
    }

    /// The same when the programs of both sides have ended: then their last doorbells, which nobody waits for, are taken away.
    pub(super) fn part(&self) -> Result<(), String> {
        self.meet()?;
        thread::sleep(QUIET);
        let connection = self.system.endpoint(self.used).map_err(|error| error.to_string())?;
        Events::open(&connection)?.take().map(|_| ())
    }
}
