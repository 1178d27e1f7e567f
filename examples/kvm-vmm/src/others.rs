//! The VMs of other processes, as this process's VMs see them: there or not.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use crossvm_manifest::Peer;

use crate::bell::Bell;
use crate::console::Output;
use crate::link::{Link, Notice, Patience, Presence};
use crate::load::System;
use crate::vm::Threads;
use crate::wires::Wires;

/// The connection with the processes of other VMs.
#[derive(Debug)]
pub(crate) struct Others(Link);

impl Others {
    /// Joins the processes that use `socket`. Waits `start` for those that do not run yet.
    ///
    /// # Errors
    /// Where they do not fit together, or a VM runs elsewhere already.
    pub(crate) fn join(system: &System, socket: &Path, start: Duration, output: &Output) -> Result<Self> {
        system.share.check_split(&system.topology)?;
        let output = output.clone();
        let notice: Notice = Arc::new(move |own, other, what| output.vmm(format_args!("{own}: the link with {other}: {what}")));
        let patience = Patience { start, ..Patience::default() };
        Ok(Self(Link::join(&system.topology, &system.share, socket, patience, notice)?))
    }

    /// What there is to share with them.
    pub(crate) const fn link(&self) -> &Link {
        &self.0
    }

    /// From now on, emits to VMs of other processes are delivered while those are there, else refused; who comes and goes is on record.
    pub(crate) fn watch(&self, system: &System, wires: &Wires, output: &Output) {
        for own in system.share.vms() {
            let name = |vm: u8| system.topology.vms.get(usize::from(vm)).map_or_else(String::new, |vm| vm.name.as_str().to_owned());
            let of = |other: u8| Far { number: other, name: name(other), bells: bells(system, wires, own, other), met: None };
            let fars = Arc::new(Mutex::new(self.0.others(own).map(of).collect::<Vec<_>>()));
            let (own_name, output) = (name(own), output.clone());
            self.0.watch(own, move |other, presence| {
                let mut fars = fars.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(far) = fars.iter_mut().find(|far| far.number == other) else { return };
                if let Some(word) = far.see(presence) {
                    output.vmm(format_args!("record=peer-{word} vm={own_name} peer={} ms={}", far.name, output.uptime_ms()));
                }
            });
        }
    }

    /// Waits until all VMs are off. To the others, each is gone when it is.
    pub(crate) fn outlive(self, threads: Vec<Threads>) {
        let link = Mutex::new(self.0);
        std::thread::scope(|scope| {
            for threads in threads {
                let link = &link;
                scope.spawn(move || {
                    let vm = threads.vm();
                    threads.join();
                    link.lock().unwrap_or_else(PoisonError::into_inner).leave(vm);
                });
            }
        });
    }
}

/// A VM of another process, as one of this process sees it.
struct Far {
    number: u8,
    name: String,
    /// What is rung there.
    bells: Vec<Arc<Bell>>,
    /// Whether it was there when last heard of; `None`: it never was.
    met: Option<Presence>,
}

impl Far {
    /// It comes or goes. Gives the word for that, if it is worth one.
    fn see(&mut self, presence: Presence) -> Option<&'static str> {
        for bell in &self.bells {
            bell.set_open(presence == Presence::Present);
        }
        let word = match (self.met, presence) {
            (None, Presence::Absent) => return None,
            (None, Presence::Present) => "here",
            (Some(_), Presence::Present) => "back",
            (Some(_), Presence::Absent) => "gone",
        };
        self.met = Some(presence);
        Some(word)
    }
}

/// The bells that `own` rings at `other`.
fn bells(system: &System, wires: &Wires, own: u8, other: u8) -> Vec<Arc<Bell>> {
    let (own, other) = (Peer::Vm(own), Peer::Vm(other));
    let connections = system.topology.connections.iter().enumerate();
    let between = connections.filter(|(_, connection)| {
        let ends = connection.ends.map(|end| end.peer);
        ends == [own, other] || ends == [other, own]
    });
    between.filter_map(|(index, _)| Some(Arc::clone(wires.end(&system.topology, own, index)?.2))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emits_are_refused_while_nobody_is_there_and_each_change_has_its_word() {
        let bell = Bell::new().unwrap();
        bell.set_open(false);
        let mut far = Far { number: 1, name: "b".to_owned(), bells: vec![Arc::clone(&bell)], met: None };
        let steps =
            [Presence::Absent, Presence::Present, Presence::Absent, Presence::Present].map(|presence| (far.see(presence), bell.is_open()));
        assert_eq!(steps, [(None, false), (Some("here"), true), (Some("gone"), false), (Some("back"), true)]);
    }
}
