//! What the console of a run says, gathered line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::complaints;
use super::fields::{Fields, number};
use super::report::BarMove;
use crate::launch::console::{Line, Source};

/// Everything that the checks need from the console.
#[derive(Debug, Clone, Default)]
pub(super) struct Transcript {
    /// The hypervisor has come up.
    pub(super) started: bool,
    /// Why the hypervisor ended, if it did so on its own account.
    pub(super) end: Option<String>,
    /// The hypervisor's last words, if it failed.
    pub(super) panic: Option<String>,
    /// What native components have counted, by connection.
    pub(super) components: BTreeMap<String, Counts>,
    guests: BTreeMap<String, Guest>,
}

/// What one VM and the hypervisor say about that VM.
#[derive(Debug, Clone, Default)]
pub(super) struct Guest {
    /// Release of its kernel, and time since the kernel began, at the moment user space was up.
    pub(super) ready: Option<Ready>,
    /// Findings of the checks that passed, by name.
    pub(super) passed: BTreeMap<String, Fields>,
    /// Checks that failed, with the reason, as the guest tells it.
    pub(super) failed: Vec<Failed>,
    /// Lines of its kernel that nobody wants to see.
    pub(super) complaints: Vec<String>,
    /// Why it stopped.
    pub(super) stop: Option<String>,
    /// Exits by kind.
    pub(super) exits: BTreeMap<String, u64>,
    /// The hypervisor's counts, by connection.
    pub(super) counts: BTreeMap<String, Counts>,
    /// The moves of its BARs, in order.
    pub(super) bar_moves: Vec<BarMove>,
    /// BARs as it sees them itself.
    pub(super) bars: Vec<GuestBar>,
}

/// A guest that has reached user space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) kernel: String,
    pub(super) uptime: Duration,
}

/// A check that failed in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) check: String,
    pub(super) reason: String,
}

/// Events at one end of a connection, as the hypervisor has counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) emitted: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
}

/// One BAR as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuestBar {
    pub(super) connection: String,
    pub(super) bar: u64,
    pub(super) address: u64,
}

/// What a line means for the rest of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing new.
    Good,
    /// The run can no longer succeed.
    Lost,
}

impl Transcript {
    /// Takes in one line.
    pub(super) fn add(&mut self, line: &Line) -> Outlook {
        match &line.source {
            Source::Vmm => self.vmm(&line.text),
            Source::Vm(name) => self.guests.entry(name.clone()).or_default().console(name, &line.text),
            Source::Other => Outlook::Good,
        }
    }

    /// What is known about VM `name`.
    pub(super) fn guest(&self, name: &str) -> Guest {
        self.guests.get(name).cloned().unwrap_or_default()
    }

    fn guest_mut(&mut self, name: String) -> &mut Guest {
        self.guests.entry(name).or_default()
    }

    fn vmm(&mut self, text: &str) -> Outlook {
        let fields = Fields::parse(text);
        let vm = fields.get("vm").unwrap_or_default().to_owned();
        match fields.get("record") {
            Some("start") => self.started = true,
            Some("panic") => {
                self.panic = Some(text.to_owned());
                return Outlook::Lost;
            }
            Some("end") => self.end = Some(fields.get("reason").unwrap_or("unknown").to_owned()),
            Some("vm-stop") => {
                let reason = fields.get("reason").unwrap_or("unknown").to_owned();
                let outlook = if reason == POWER_OFF { Outlook::Good } else { Outlook::Lost };
                self.guest_mut(vm).stop = Some(reason);
                return outlook;
            }
            Some("exits") => self.guest_mut(vm).exits = fields.numbers(&[]),
            Some("connection") => {
                if let Some((name, counts)) = fields.get("name").zip(counts(&fields)) {
                    self.guest_mut(vm).counts.insert(name.to_owned(), counts);
                }
            }
            Some("component") => {
                if let Some((connection, counts)) = fields.get("connection").zip(counts(&fields)) {
                    self.components.insert(connection.to_owned(), counts);
                }
            }
            Some("bar-moved") => {
                if let Some(moved) = bar_move(&fields) {
                    self.guest_mut(vm).bar_moves.push(moved);
                }
            }
            _ => {}
        }
        Outlook::Good
    }
}

/// The reason for a stop that the guest itself has asked for.
pub(super) const POWER_OFF: &str = "power-off";

impl Guest {
    fn console(&mut self, name: &str, text: &str) -> Outlook {
        let Some(words) = text.strip_prefix("DEMO ") else {
            if complaints::found_in(text) {
                self.complaints.push(text.to_owned());
            }
            // A kernel that panics says nothing more, and nothing more will come from it.
            return if text.contains("Kernel panic") { Outlook::Lost } else { Outlook::Good };
        };
        let fields = Fields::parse(words);
        if fields.get("vm") != Some(name) {
            self.failed.push(Failed { check: "devices".to_owned(), reason: format!("the VM takes itself for another: {text}") });
            return Outlook::Lost;
        }
        match words.split_whitespace().next() {
            Some("ready") => {
                let uptime = fields.number("uptime_ms").map(Duration::from_millis);
                self.ready = fields.get("kernel").zip(uptime).map(|(kernel, uptime)| Ready { kernel: kernel.to_owned(), uptime });
            }
            Some("fail") => {
                let word = |key: &str| fields.get(key).unwrap_or("unknown").to_owned();
                self.failed.push(Failed { check: word("check"), reason: word("reason").replace('_', " ") });
                return Outlook::Lost;
            }
            _ => {
                if let Some(check) = fields.get("check") {
                    if check == "devices" {
                        self.bars = fields.get("bars").map(guest_bars).unwrap_or_default();
                    }
                    self.passed.insert(check.to_owned(), fields);
                }
            }
        }
        Outlook::Good
    }
}

fn counts(fields: &Fields) -> Option<Counts> {
    let dropped = fields.number("dropped").unwrap_or(0);
    Some(Counts { emitted: fields.number("emitted")?, received: fields.number("received")?, dropped })
}

fn bar_move(fields: &Fields) -> Option<BarMove> {
    Some(BarMove {
        function: fields.get("bdf")?.to_owned(),
        bar: fields.number("bar")?,
        from: fields.number("from")?,
        to: fields.number("to")?,
    })
}

/// `name:bar:address:size,name:bar:address:size,…`
fn guest_bars(text: &str) -> Vec<GuestBar> {
    let one = |part: &str| {
        let mut words = part.rsplitn(4, ':').skip(1);
        let (address, bar) = (number(words.next()?)?, number(words.next()?)?);
        Some(GuestBar { connection: words.next()?.to_owned(), bar, address })
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(lines: &[&str]) -> (Transcript, Vec<Outlook>) {
        let mut transcript = Transcript::default();
        let outlooks = lines.iter().map(|line| transcript.add(&Line::parse(Duration::ZERO, line))).collect();
        (transcript, outlooks)
    }

    #[test]
    fn findings_belong_to_the_vm_whose_console_they_are_on() {
        let (transcript, outlooks) = gather(&["[vm0] DEMO check=ping vm=vm0 ok=1 sent=5", "[vm0] DEMO check=ping vm=vm1 ok=1 sent=5"]);
        assert_eq!(transcript.guest("vm0").passed["ping"].number("sent"), Some(5));
        assert!(transcript.guest("vm1").passed.is_empty());
        assert_eq!(outlooks, [Outlook::Good, Outlook::Lost]);
    }

    #[test]
    fn bars_are_read_as_the_guest_prints_them() {
        let (transcript, _) = gather(&["[vm0] DEMO check=devices vm=vm0 ok=1 names=a bars=a:0:0x10000000:4096,a:1:0x10100000:65536"]);
        let bar = |bar, address| GuestBar { connection: "a".to_owned(), bar, address };
        assert_eq!(transcript.guest("vm0").bars, [bar(0, 0x1000_0000), bar(1, 0x1010_0000)]);
    }

    #[test]
    fn a_run_that_cannot_succeed_is_noticed_at_once() {
        for line in [
            "[vmm] record=panic message=x",
            "[vmm] record=vm-stop vm=vm1 reason=reset ms=5",
            "[vm1] [   5.0] Kernel panic - not syncing: sysrq triggered crash",
            "[vm0] DEMO fail vm=vm0 check=bulk reason=no_chunk",
        ] {
            assert_eq!(gather(&[line]).1, [Outlook::Lost], "{line}");
        }
        assert_eq!(gather(&["[vmm] record=vm-stop vm=vm1 reason=power-off ms=5"]).1, [Outlook::Good]);
    }
}
