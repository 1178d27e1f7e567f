//! What the console of a run says, gathered line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::complaints;
use super::fields::{Fields, number};
use super::pc;
use super::report::{BarMove, InterruptReport};
use crate::launch::console::{Line, Source};

/// Everything that the checks need from the console.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transcript {
    /// The hypervisor has come up.
    pub(crate) started: bool,
    /// Why the hypervisor ended, if it did so on its own account.
    pub(crate) end: Option<String>,
    /// The hypervisor's last words, if it failed.
    pub(crate) panic: Option<String>,
    /// What native components have counted, by component and connection.
    pub(crate) components: BTreeMap<(String, String), Counts>,
    /// Why guests gave up, in their own words, first things first: what fails afterwards may follow from it.
    pub(crate) failures: Vec<String>,
    guests: BTreeMap<String, Guest>,
}

/// What one VM and the hypervisor say about that VM.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    /// What was seen each time that it booted; at least one.
    pub(crate) lives: Vec<Life>,
    /// Lines of its kernel that nobody wants to see.
    pub(crate) complaints: Vec<String>,
    /// Why it stopped.
    pub(crate) stop: Option<String>,
    /// Exits by kind.
    pub(crate) exits: BTreeMap<String, u64>,
    /// The hypervisor's counts, by connection.
    pub(crate) counts: BTreeMap<String, Counts>,
    /// What its checks have cost in exits, in the order in which they were reported.
    pub(crate) marks: Vec<Mark>,
}

/// What a guest's connections had cost in exits when it reported a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) check: String,
    /// By connection, since it was first started.
    pub(crate) exits: BTreeMap<String, Exits>,
}

/// What was seen of a VM from one boot to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    /// User space was up.
    pub(crate) ready: Option<Ready>,
    /// Findings of the checks that passed, by name.
    pub(crate) passed: BTreeMap<String, Fields>,
    /// Its connections, in order.
    pub(crate) devices: Vec<GuestDevice>,
    /// Findings for whole connections, in order.
    pub(crate) links: Vec<Fields>,
    /// Checks that failed, with the reason, as the guest tells it.
    pub(crate) failed: Vec<Failed>,
    /// The moves of its BARs, in order.
    pub(crate) bar_moves: Vec<BarMove>,
    /// BARs as it sees them itself.
    pub(crate) bars: Vec<GuestBar>,
    /// Interrupts as its kernel counts them.
    pub(crate) interrupts: Vec<InterruptReport>,
    /// Its PCI functions as `lspci` shows them, line by line.
    pub(crate) lspci: Vec<String>,
    /// Lines of its kernel about the machine that it has found, as far as they are looked for: see [`pc`].
    pub(crate) boot: Vec<String>,
    /// It has said that it would reboot, at this time.
    pub(crate) left: Option<Duration>,
    /// It has said that it has done all, at this time.
    pub(crate) done: Option<Duration>,
}

/// A guest that has reached user space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) kernel: String,
    /// By the guest's own clock.
    pub(crate) uptime: Duration,
    pub(crate) cpus: Option<u64>,
    /// By the machine's.
    pub(crate) at: Duration,
}

/// A check that failed in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) check: String,
    pub(crate) reason: String,
}

/// Events at one end of a connection, as the hypervisor has counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) emitted: u64,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    /// Exits to user space that the device has caused, where the hypervisor tells them.
    pub(crate) exits: Option<Exits>,
}

/// Exits to user space that one end of a connection has caused, by what the guest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Exits {
    /// It emitted.
    pub(crate) emit: u64,
    /// It took events.
    pub(crate) count: u64,
    /// Its configuration space was accessed.
    pub(crate) config: u64,
    /// Anything else.
    pub(crate) other: u64,
}

impl Exits {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            emit: self.emit.saturating_add(other.emit),
            count: self.count.saturating_add(other.count),
            config: self.config.saturating_add(other.config),
            other: self.other.saturating_add(other.other),
        }
    }

    /// Those that have come since there were `earlier`.
    fn since(self, earlier: Self) -> Self {
        Self {
            emit: self.emit.saturating_sub(earlier.emit),
            count: self.count.saturating_sub(earlier.count),
            config: self.config.saturating_sub(earlier.config),
            other: self.other.saturating_sub(earlier.other),
        }
    }

    /// All of them.
    pub(crate) fn sum(self) -> u64 {
        self.emit.saturating_add(self.count).saturating_add(self.config).saturating_add(self.other)
    }
}

/// One connection as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestDevice {
    pub(crate) name: String,
    /// Domain, bus, device and function.
    pub(crate) address: String,
    /// Who holds it; `-`: nobody.
    pub(crate) driver: String,
}

/// One BAR as the guest sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuestBar {
    pub(crate) connection: String,
    pub(crate) bar: u64,
    pub(crate) address: u64,
    /// In bytes.
    pub(crate) size: u64,
}

/// What a line means for the rest of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Nothing new.
    Good,
    /// The run can no longer succeed.
    Lost,
}

impl Transcript {
    /// Takes in one line.
    pub(crate) fn add(&mut self, line: &Line) -> Outlook {
        match &line.source {
            Source::Vmm => self.vmm(&line.text),
            Source::Vm(name) => {
                let outlook = self.guest_mut(name).console(name, &line.text, line.at);
                if line.text.starts_with("DEMO fail ")
                    && let Some(Failed { check, reason }) = self.guest(name).last().failed.last()
                {
                    self.failures.push(format!("{name} gave up at `{check}`: {reason}"));
                }
                outlook
            }
            Source::Other => Outlook::Good,
        }
    }

    /// What is known about VM `name`.
    pub(crate) fn guest(&self, name: &str) -> Guest {
        self.guests.get(name).cloned().unwrap_or_default()
    }

    fn guest_mut(&mut self, name: &str) -> &mut Guest {
        self.guests.entry(name.to_owned()).or_default()
    }

    fn vmm(&mut self, text: &str) -> Outlook {
        let fields = Fields::parse(text);
        let word = |key: &str| fields.get(key).unwrap_or_default();
        let vm = word("vm");
        match fields.get("record") {
            Some("start") => self.started = true,
            Some("panic") => {
                self.panic = Some(text.to_owned());
                return Outlook::Lost;
            }
            Some("end") => self.end = Some(fields.get("reason").unwrap_or("unknown").to_owned()),
            Some("vm-reboot") => {
                let guest = self.guest_mut(vm);
                // Who has not said so before has crashed.
                let outlook = if guest.last().left.is_some() { Outlook::Good } else { Outlook::Lost };
                guest.lives.push(Life::default());
                return outlook;
            }
            Some("vm-stop") => {
                let reason = fields.get("reason").unwrap_or("unknown").to_owned();
                let guest = self.guest_mut(vm);
                // A VM that was to come back, and does not.
                let gone = guest.last().left.is_some() && guest.last().done.is_none();
                let outlook = if reason == POWER_OFF && !gone { Outlook::Good } else { Outlook::Lost };
                guest.stop = Some(reason);
                return outlook;
            }
            Some("exits-so-far") => {
                if let (Some(name), Some(exits), Some(mark)) = (fields.get("name"), exits(&fields), self.guest_mut(vm).marks.last_mut()) {
                    mark.exits.insert(name.to_owned(), exits);
                }
            }
            Some("exits") => self.guest_mut(vm).exits = fields.numbers(&[]),
            Some("connection") => {
                if let Some((name, counts)) = fields.get("name").zip(counts(&fields)) {
                    self.guest_mut(vm).counts.insert(name.to_owned(), counts);
                }
            }
            Some("component") => {
                if let Some(counts) = counts(&fields) {
                    self.components.insert((word("name").to_owned(), word("connection").to_owned()), counts);
                }
            }
            Some("bar-moved") => {
                if let Some(moved) = bar_move(&fields) {
                    self.guest_mut(vm).last_mut().bar_moves.push(moved);
                }
            }
            _ => {}
        }
        Outlook::Good
    }
}

/// How many lines of one kind are kept of a guest: more than any honest one writes.
const MOST_LINES: usize = 10_000;

/// The reason for a stop that the guest itself has asked for.
pub(crate) const POWER_OFF: &str = "power-off";

impl Default for Guest {
    fn default() -> Self {
        Self {
            lives: vec![Life::default()],
            complaints: Vec::new(),
            stop: None,
            exits: BTreeMap::new(),
            counts: BTreeMap::new(),
            marks: Vec::new(),
        }
    }
}

impl Guest {
    /// The guest before its first reboot.
    pub(crate) fn first(&self) -> Life {
        self.lives.first().cloned().unwrap_or_default()
    }

    /// The guest since it booted last.
    pub(crate) fn last(&self) -> Life {
        self.lives.last().cloned().unwrap_or_default()
    }

    fn last_mut(&mut self) -> &mut Life {
        if self.lives.is_empty() {
            self.lives.push(Life::default());
        }
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }

    fn console(&mut self, name: &str, text: &str, at: Duration) -> Outlook {
        let Some(words) = text.strip_prefix("DEMO ") else {
            if complaints::found_in(text) {
                self.complaints.push(text.to_owned());
            }
            if pc::is_of_interest(text) {
                let boot = &mut self.last_mut().boot;
                if boot.len() < MOST_LINES {
                    boot.push(text.to_owned());
                }
            }
            // A kernel that panics says nothing more, and nothing more will come from it.
            return if text.contains("Kernel panic") { Outlook::Lost } else { Outlook::Good };
        };
        if let Some(check) = Fields::parse(words).get("check") {
            self.marks.push(Mark { check: check.to_owned(), exits: BTreeMap::new() });
        }
        self.last_mut().report(name, words, at)
    }

    /// What `connection` has cost in exits from the report before that of `check` to that one, the first time that it was reported.
    pub(crate) fn exits_of(&self, check: &str, connection: &str) -> Option<Exits> {
        let place = self.marks.iter().position(|mark| mark.check == check)?;
        let after = self.marks.get(place)?.exits.get(connection)?;
        let before = place.checked_sub(1).and_then(|before| self.marks.get(before)?.exits.get(connection).copied());
        Some(after.since(before.unwrap_or_default()))
    }
}

impl Life {
    fn report(&mut self, name: &str, words: &str, at: Duration) -> Outlook {
        let fields = Fields::parse(words);
        let word = |key: &str| fields.get(key).unwrap_or("unknown").to_owned();
        if fields.get("vm") != Some(name) {
            self.failed.push(Failed { check: "devices".to_owned(), reason: format!("the VM takes itself for another: {words}") });
            return Outlook::Lost;
        }
        match words.split_whitespace().next() {
            Some("ready") => {
                let uptime = fields.number("uptime_ms").map(Duration::from_millis);
                let cpus = fields.number("cpus");
                self.ready = fields.get("kernel").zip(uptime).map(|(kernel, uptime)| Ready { kernel: kernel.to_owned(), uptime, cpus, at });
            }
            Some("fail") => {
                self.failed.push(Failed { check: word("check"), reason: word("reason").replace('_', " ") });
                return Outlook::Lost;
            }
            Some("device") => {
                self.bars.extend(fields.get("bars").map(|bars| guest_bars(&word("name"), bars)).unwrap_or_default());
                self.devices.push(GuestDevice { name: word("name"), address: word("address"), driver: word("driver") });
            }
            Some("link") => self.links.push(fields),
            Some("interrupt") => self.interrupts.push(InterruptReport {
                connection: word("connection"),
                driver: word("driver"),
                kind: word("kind"),
                irq: fields.number("irq").unwrap_or(0),
                count: fields.number("count").unwrap_or(0),
                source: word("source").replace('+', " "),
            }),
            Some("lspci") => {
                if let Some((_, line)) = words.split_once('|')
                    && self.lspci.len() < MOST_LINES
                {
                    self.lspci.push(line.trim_end().to_owned());
                }
            }
            Some("leave") => self.left = Some(at),
            Some("done") => self.done = Some(at),
            _ => {
                if let Some(check) = fields.get("check") {
                    self.passed.insert(check.to_owned(), fields);
                }
            }
        }
        Outlook::Good
    }
}

fn counts(fields: &Fields) -> Option<Counts> {
    let dropped = fields.number("dropped").unwrap_or(0);
    Some(Counts { emitted: fields.number("emitted")?, received: fields.number("received")?, dropped, exits: exits(fields) })
}

fn exits(fields: &Fields) -> Option<Exits> {
    let number = |key| fields.number(key);
    Some(Exits {
        emit: number("exits_emit")?,
        count: number("exits_count")?,
        config: number("exits_config")?,
        other: number("exits_other")?,
    })
}

fn bar_move(fields: &Fields) -> Option<BarMove> {
    Some(BarMove {
        function: fields.get("bdf")?.to_owned(),
        bar: fields.number("bar")?,
        from: fields.number("from")?,
        to: fields.number("to")?,
    })
}

/// `bar:address:size+bar:address:size+…`
fn guest_bars(connection: &str, text: &str) -> Vec<GuestBar> {
    let one = |part: &str| {
        let mut numbers = part.split(':').map(number);
        let mut next = || numbers.next()?;
        Some(GuestBar { connection: connection.to_owned(), bar: next()?, address: next()?, size: next()? })
    };
    text.split('+').filter_map(one).collect()
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
        assert_eq!(transcript.guest("vm0").first().passed["ping"].number("sent"), Some(5));
        assert!(transcript.guest("vm1").first().passed.is_empty());
        assert_eq!(outlooks, [Outlook::Good, Outlook::Lost]);
    }

    #[test]
    fn bars_are_read_as_the_guest_prints_them() {
        let line = "[vm0] DEMO device vm=vm0 name=a:b address=0000:00:01.0 driver=crossvm bars=0:0x10000000:4096+1:0x10100000:65536";
        let life = gather(&[line]).0.guest("vm0").last();
        let bar = |bar, address, size| GuestBar { connection: "a:b".to_owned(), bar, address, size };
        assert_eq!(life.bars, [bar(0, 0x1000_0000, 4096), bar(1, 0x1010_0000, 65536)]);
        let device = GuestDevice { name: "a:b".to_owned(), address: "0000:00:01.0".to_owned(), driver: "crossvm".to_owned() };
        assert_eq!(life.devices, [device]);
    }

    #[test]
    fn exits_are_told_where_the_hypervisor_counts_them() {
        let record = "[vmm] record=connection vm=vm0 name=ping emitted=5 received=4 dropped=0";
        let (transcript, _) =
            gather(&[record, &format!("{} exits_emit=0 exits_count=4 exits_config=3 exits_other=2", record.replace("ping", "bulk"))]);
        let counts = transcript.guest("vm0").counts;
        assert_eq!((counts["ping"].exits, counts["bulk"].exits), (None, Some(Exits { emit: 0, count: 4, config: 3, other: 2 })));
    }

    #[test]
    fn exits_of_a_check_are_those_since_the_check_before() {
        let so_far =
            |count| format!("[vmm] record=exits-so-far vm=vm0 name=ping exits_emit=0 exits_count={count} exits_config=7 exits_other=0");
        let checks = ["bulk", "ping"].map(|check| format!("[vm0] DEMO check={check} vm=vm0 ok=1"));
        let (transcript, _) = gather(&[&so_far(99), &checks[0], &so_far(3), &checks[1], &so_far(13)]);
        let guest = transcript.guest("vm0");
        assert_eq!(guest.exits_of("ping", "ping"), Some(Exits { emit: 0, count: 10, config: 0, other: 0 }));
        assert_eq!(guest.exits_of("bulk", "ping"), Some(Exits { emit: 0, count: 3, config: 7, other: 0 }));
        assert_eq!((guest.exits_of("ping", "bulk"), guest.exits_of("late", "ping")), (None, None));
    }

    #[test]
    fn what_lspci_shows_is_kept_as_it_is() {
        let life = gather(&["[vm0] DEMO lspci vm=vm0 |00:01.0 0500: 1af4:a111\r", "[vm0] DEMO lspci vm=vm0 |\tControl: I/O- x=y\r"]).0;
        assert_eq!(life.guest("vm0").last().lspci, ["00:01.0 0500: 1af4:a111", "\tControl: I/O- x=y"]);
    }

    #[test]
    fn a_reboot_begins_a_new_life() {
        let (transcript, outlooks) = gather(&[
            "[vm1] DEMO ready vm=vm1 kernel=6.1 uptime_ms=1000 cpus=1",
            "[vm1] DEMO check=ping vm=vm1 ok=1 sent=5",
            "[vm1] DEMO leave vm=vm1 generation=1",
            "[vmm] record=vm-reboot vm=vm1 boot=2 ms=5000",
            "[vmm] record=bar-moved vm=vm1 bdf=00:01.0 bar=1 from=0x1 to=0x2",
            "[vm1] DEMO ready vm=vm1 kernel=6.1 uptime_ms=1100 cpus=1",
            "[vm1] DEMO done vm=vm1",
            "[vmm] record=vm-stop vm=vm1 reason=power-off ms=9000",
        ]);
        assert!(outlooks.iter().all(|outlook| *outlook == Outlook::Good));
        let [first, second] = transcript.guest("vm1").lives.try_into().unwrap();
        assert!(first.left.is_some() && first.passed.contains_key("ping") && first.bar_moves.is_empty());
        assert!(second.left.is_none() && second.done.is_some() && second.passed.is_empty() && second.bar_moves.len() == 1);
    }

    #[test]
    fn interrupts_are_read_as_the_kernel_counts_them() {
        let line = "[vm0] DEMO interrupt vm=vm0 connection=ping driver=uio_pci_generic kind=INTx irq=21 count=7 source=GICv3+36+Level+uio_pci_generic";
        let (transcript, _) = gather(&[line]);
        let expected = InterruptReport {
            connection: "ping".to_owned(),
            driver: "uio_pci_generic".to_owned(),
            kind: "INTx".to_owned(),
            irq: 21,
            count: 7,
            source: "GICv3 36 Level uio_pci_generic".to_owned(),
        };
        assert_eq!(transcript.guest("vm0").last().interrupts, [expected]);
    }

    #[test]
    fn a_run_that_cannot_succeed_is_noticed_at_once() {
        for lines in [
            &["[vmm] record=panic message=x"][..],
            &["[vmm] record=vm-stop vm=vm1 reason=reset ms=5"],
            &["[vmm] record=vm-reboot vm=vm1 boot=2 ms=5"],
            &["[vm1] DEMO leave vm=vm1 generation=1", "[vmm] record=vm-stop vm=vm1 reason=power-off ms=5"],
            &["[vm1] [   5.0] Kernel panic - not syncing: sysrq triggered crash"],
            &["[vm0] DEMO fail vm=vm0 check=bulk reason=no_chunk"],
        ] {
            assert_eq!(gather(lines).1.last(), Some(&Outlook::Lost), "{lines:?}");
        }
        let (transcript, _) =
            gather(&["[vm0] DEMO fail vm=vm0 check=bulk reason=no_chunk_1", "[vm1] DEMO fail vm=vm1 check=ping reason=-"]);
        assert_eq!(transcript.failures, ["vm0 gave up at `bulk`: no chunk 1", "vm1 gave up at `ping`: -"]);
        assert_eq!(gather(&["[vmm] record=vm-stop vm=vm1 reason=power-off ms=5"]).1, [Outlook::Good]);
    }
}
