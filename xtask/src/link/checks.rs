//! What must have been said, and in which order.

use super::story::{Entry, Kind, Part, Story};
use super::{CONNECTIONS, VMS};
use crate::trial::Run;
use crate::trial::findings::{self, Finding};
use crate::trial::report::Check;

/// How many beats a guest must have checked before it says that it talks.
const ENOUGH: u64 = 50;
/// How many times a guest must say that it waits for its peer, and lives.
const WAITS: usize = 3;

/// All checks.
pub(super) fn all(story: &Story, run: &Run) -> Vec<Check> {
    let [(vm0, _), (vm1, _)] = VMS;
    vec![
        Check::new("processes", processes(story, run)),
        Check::new("boot", boot(story, &run.kernel)),
        Check::new("talk", talk(story)),
        Check::new("vm0-lives", lives(story, vm1, vm0)),
        Check::new("vm0-resumes", resumes(story, vm1, vm0)),
        Check::new("second-vm0", second(story)),
        Check::new("vm1-lives", lives(story, vm0, vm1)),
        Check::new("vm1-resumes", resumes(story, vm0, vm1)),
        Check::new("dropped", dropped(story)),
        Check::new("console-vm0", console(story, vm0)),
        Check::new("console-vm1", console(story, vm1)),
    ]
}

/// The run came to its end, and the VMMs that were not killed ended in order.
fn processes(story: &Story, run: &Run) -> Finding {
    if let Some(why) = story.failed() {
        return Err(why);
    }
    findings::ended(run)?;
    let everything = story.part(0, story.entries.len());
    let over = everything.find(&Kind::Script, &[("record", "over")]).ok_or("the script did not come to its end")?;
    if let Some((vm, _)) = VMS.iter().find(|(vm, _)| !over.is(vm, "0")) {
        return Err(format!("the process of {vm} ended with status {}", over.word(vm)));
    }
    let ends = everything.all(&Kind::Vmm, &[("record", "end"), ("reason", "all-vms-stopped")]).len();
    if ends != VMS.len() {
        return Err(format!("{ends} processes said that all VMs had stopped; two were not killed"));
    }
    let starts = everything.all(&Kind::Vmm, &[("record", "start")]).len();
    Ok(format!("{starts} were started, 2 were killed, {ends} ended in order"))
}

/// Each VM booted as often as it was started, and not once more.
fn boot(story: &Story, kernel: &str) -> Finding {
    let everything = story.part(0, story.entries.len());
    for (vm, _) in VMS {
        let boots = everything.all(&Kind::Ready, &[("vm", vm)]);
        if boots.len() != 2 {
            return Err(format!("{vm} booted {} times instead of twice", boots.len()));
        }
        if let Some(other) = boots.iter().find(|ready| !ready.is("kernel", kernel)) {
            return Err(format!("{vm} runs kernel {}, the package has {kernel}", other.word("kernel")));
        }
    }
    Ok(format!("Linux {kernel} in each of 2 guests, twice"))
}

/// Before anything was killed, both heard each other on all connections.
fn talk(story: &Story) -> Finding {
    let killed = story.step("killed", "vm1", 0)?;
    for (vm, _) in VMS {
        for (connection, _) in CONNECTIONS {
            talks(story.part(0, killed), vm, connection)?;
        }
    }
    Ok(format!("{} connections, {ENOUGH} beats and more each way, each with the right CRC", CONNECTIONS.len()))
}

fn talks<'a>(part: Part<'a>, vm: &str, connection: &str) -> Result<&'a Entry, String> {
    let found = part.find(&Kind::Peer, &[("vm", vm), ("connection", connection), ("state", "talks")]);
    found.filter(|peer| peer.number("beats") >= ENOUGH).ok_or_else(|| format!("{vm} did not hear its peer on `{connection}`"))
}

/// While `victim`'s process was dead, `survivor`'s VMM and guest noticed, and lived.
fn lives(story: &Story, victim: &str, survivor: &str) -> Finding {
    let (killed, back) = (story.step("killed", victim, 0)?, story.step("started", victim, 1)?);
    let part = story.part(killed, back);
    let kill = story.entries.get(killed).map_or_else(Default::default, |entry| entry.at);
    let gone = part.find(&Kind::Vmm, &[("record", "peer-gone"), ("vm", survivor), ("peer", victim)]);
    let gone = gone.ok_or_else(|| format!("{survivor}'s VMM did not say that {victim} is gone"))?;
    let mut dropped = Vec::new();
    for (connection, _) in CONNECTIONS {
        let words = [("vm", survivor), ("connection", connection)];
        let noticed = part.find(&Kind::Peer, &[words[0], words[1], ("state", "gone")]);
        let noticed = noticed.ok_or_else(|| format!("the guest {survivor} did not see an emit dropped on `{connection}`"))?;
        let waits = part.all(&Kind::Peer, &[words[0], words[1], ("state", "waits")]);
        // On the connection that the script does not look at there may be one less.
        if waits.len() + 1 < WAITS {
            return Err(format!("the guest {survivor} said {} times that it waits on `{connection}`", waits.len()));
        }
        let counts: Vec<u64> = [noticed].into_iter().chain(waits).map(|entry| entry.number("dropped")).collect();
        // It may say that it waits right after it has seen the first one dropped.
        if counts.first() == Some(&0) || !counts.is_sorted() || counts.first() == counts.last() {
            return Err(format!("its emits on `{connection}` were not dropped one after the other: {counts:?}"));
        }
        dropped.extend(counts.last().copied());
    }
    if let Some(entry) = part.find(&Kind::Ready, &[("vm", survivor)]) {
        return Err(format!("{survivor} booted again at {:.1} s", entry.at.as_secs_f64()));
    }
    let after = gone.at.saturating_sub(kill).as_millis();
    Ok(format!("{victim}'s death was noticed within {after} ms; the guest counted {dropped:?} dropped emits, and went on"))
}

/// After `victim`'s process was started again, both hear each other; `survivor` is the one that it was.
fn resumes(story: &Story, victim: &str, survivor: &str) -> Finding {
    let (killed, back) = (story.step("killed", victim, 0)?, story.step("started", victim, 1)?);
    let end = story.step("killed", survivor, 0).ok().filter(|end| *end > back).unwrap_or(story.entries.len());
    let (before, part) = (story.part(0, killed), story.part(back, end));
    let said = part.find(&Kind::Vmm, &[("record", "peer-back"), ("vm", survivor), ("peer", victim)]);
    let said = said.ok_or_else(|| format!("{survivor}'s VMM did not say that {victim} is back"))?;
    let start = story.entries.get(back).map_or_else(Default::default, |entry| entry.at);
    for (connection, _) in CONNECTIONS {
        let last =
            |vm| before.last(&Kind::Peer, &[("vm", vm), ("connection", connection), ("state", "talks")]).map(|peer| peer.word("life"));
        let heard = talks(part.behind(said), survivor, connection)?;
        if last(survivor) == Some(heard.word("life")) {
            return Err(format!("{survivor} hears the life of {victim} on `{connection}` that was killed"));
        }
        let heard = talks(part.behind(said), victim, connection)?;
        // Who was killed first knew the survivor before; so does who is killed second.
        if last(victim) != Some(heard.word("life")) {
            return Err(format!("{victim} hears another life of {survivor} on `{connection}` than before: the survivor has rebooted"));
        }
    }
    let after = said.at.saturating_sub(start).as_millis();
    Ok(format!("{victim}'s new process was there after {after} ms; both guests talk on all connections; {survivor} is the same as before"))
}

/// A process that would have run vm0 once more was told that it runs.
fn second(story: &Story) -> Finding {
    let again = story.part(0, story.entries.len()).find(&Kind::Script, &[("record", "again")]).ok_or("it was not tried")?;
    let says = again.word("says").replace('_', " ");
    if again.is("status", "0") || !says.contains("`vm0` already runs in process") {
        return Err(format!("it ended with status {} and said: {says}", again.word("status")));
    }
    Ok(format!("refused: {says}"))
}

/// What guests were told of dropped emits is what their VMMs have counted.
fn dropped(story: &Story) -> Finding {
    let everything = story.part(0, story.entries.len());
    let mut sum = 0;
    for (vm, _) in VMS {
        for (connection, _) in CONNECTIONS {
            let told = everything.last(&Kind::Peer, &[("vm", vm), ("connection", connection)]).map(|peer| peer.number("dropped"));
            let counted = everything.last(&Kind::Vmm, &[("record", "connection"), ("vm", vm), ("name", connection)]);
            let (Some(told), Some(counted)) = (told, counted.map(|record| record.number("dropped"))) else {
                return Err(format!("nobody told how many emits of {vm} on `{connection}` were dropped"));
            };
            // vm0 outlives vm1 at the end, and does not say each time that one is dropped.
            if told > counted || (vm != VMS[0].0 && told != counted) {
                return Err(format!("{vm} was told {told} on `{connection}`, its VMM has counted {counted}"));
            }
            sum += counted;
        }
    }
    if sum == 0 {
        return Err("nothing was dropped".to_owned());
    }
    Ok(format!("{sum} in the last records of the VMMs, as vm1 reads in its registers"))
}

fn console(story: &Story, vm: &str) -> Finding {
    match story.complaints.iter().find(|(name, _)| name == vm) {
        Some((_, complaint)) => Err(format!("it complains: {complaint}")),
        None => Ok("no complaint about PCI, interrupts or memory; no check of the guest's failed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::launch::Ended;
    use crate::launch::console::Line;

    /// What a good run says.
    fn good() -> String {
        let mut text = String::new();
        let mut say = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        let start = |say: &mut dyn FnMut(String), vm: &str| {
            say(format!("[link] record=started vm={vm}"));
            say("[vmm] record=start version=0.1.0".to_owned());
            say(format!("[{vm}] DEMO ready vm={vm} kernel=6.1.0 uptime_ms=900 cpus=1"));
        };
        let peer = |say: &mut dyn FnMut(String), vm: &str, state: &str, life: &str, dropped: u64| {
            for (connection, _) in CONNECTIONS {
                say(format!("[{vm}] DEMO peer vm={vm} connection={connection} state={state} life={life} beats=60 dropped={dropped}"));
            }
        };
        let dies = |say: &mut dyn FnMut(String), victim: &str, survivor: &str, life: &str| {
            say(format!("[link] record=killed vm={victim}"));
            say(format!("[vmm] record=peer-gone vm={survivor} peer={victim} ms=5000"));
            peer(say, survivor, "gone", life, 1);
            (1..4).for_each(|number| peer(say, survivor, "waits", life, 1 + 50 * number));
        };
        start(&mut say, "vm0");
        start(&mut say, "vm1");
        peer(&mut say, "vm0", "talks", "b1", 0);
        peer(&mut say, "vm1", "talks", "a1", 0);
        dies(&mut say, "vm1", "vm0", "b1");
        start(&mut say, "vm1");
        say("[vmm] record=peer-back vm=vm0 peer=vm1 ms=9000".to_owned());
        peer(&mut say, "vm0", "talks", "b2", 170);
        peer(&mut say, "vm1", "talks", "a1", 0);
        say("[link] record=again vm=vm0 status=1 says=kvm-vmm:_--link:_`vm0`_already_runs_in_process_7".to_owned());
        dies(&mut say, "vm0", "vm1", "a1");
        start(&mut say, "vm0");
        say("[vmm] record=peer-back vm=vm1 peer=vm0 ms=9000".to_owned());
        peer(&mut say, "vm1", "talks", "a2", 180);
        peer(&mut say, "vm0", "talks", "b2", 0);
        for (vm, dropped) in [("vm0", 0), ("vm1", 180)] {
            for (connection, _) in CONNECTIONS {
                say(format!("[vmm] record=connection vm={vm} name={connection} emitted=9 received=9 dropped={dropped}"));
            }
            say("[vmm] record=end reason=all-vms-stopped".to_owned());
        }
        say("[link] record=over vm0=0 vm1=0".to_owned());
        text
    }

    /// The checks that fail where a console says this.
    fn failing(text: &str) -> Vec<String> {
        let mut story = Story::default();
        for (number, line) in (0..).zip(text.lines()) {
            story.add(&Line::parse(Duration::from_millis(number), line));
        }
        let took = Duration::from_secs(60);
        let run = Run { ended: Ended::PoweredOff, took, place: None, kernel: "6.1.0".to_owned(), shutdown: false, log: String::new() };
        all(&story, &run).into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
    }

    #[test]
    fn a_good_run_passes() {
        assert_eq!(failing(&good()), Vec::<String>::new());
    }

    #[test]
    fn every_check_can_fail() {
        for (from, to, culprit) in [
            ("over vm0=0", "over vm0=139", "processes"),
            ("reason=all-vms-stopped", "reason=panic", "processes"),
            ("kernel=6.1.0", "kernel=6.2.0", "boot"),
            ("state=talks life=b1 beats=60", "state=talks life=b1 beats=6", "talk"),
            ("record=peer-gone vm=vm0", "record=peer vm=vm0", "vm0-lives"),
            ("state=waits life=b1 beats=60 dropped=151", "state=waits life=b1 beats=60 dropped=3", "vm0-lives"),
            ("connection=wire-msix state=gone life=a1", "connection=wire-msix state=new life=a1", "vm1-lives"),
            ("record=peer-back vm=vm1", "record=peer-gone vm=vm1", "vm1-resumes"),
            ("state=talks life=b2", "state=talks life=b1", "vm0-resumes"),
            ("state=talks life=a2 beats=60 dropped=180", "state=new life=a2 beats=60 dropped=180", "vm1-resumes"),
            ("status=1 says", "status=0 says", "second-vm0"),
            ("already_runs", "runs", "second-vm0"),
            ("received=9 dropped=180", "received=9 dropped=179", "dropped"),
            ("[link] record=over", "[vm1] DEMO fail vm=vm1 check=survive reason=x\n[link] record=over", "console-vm1"),
            ("[link] record=again", "[vm0] WARNING: CPU: 0\n[link] record=again", "console-vm0"),
        ] {
            let text = good();
            assert!(text.contains(from), "{from}");
            let failed = failing(&text.replacen(from, to, 1));
            assert!(failed.contains(&culprit.to_owned()), "`{from}` became `{to}`: {failed:?}");
        }
    }

    #[test]
    fn a_survivor_that_reboots_is_none() {
        let rebooted = good().replace(
            "state=waits life=b1 beats=60 dropped=151\n[link]",
            "state=waits life=b1 beats=60 dropped=151\n[vm0] DEMO ready vm=vm0 kernel=6.1.0\n[link]",
        );
        assert!(failing(&rebooted).contains(&"vm0-lives".to_owned()));
        // The second time that vm1 talks, it hears another vm0.
        let text = good();
        let place = text.rfind("vm=vm1 connection=wire state=talks life=a1").unwrap();
        let other = format!("{}{}", &text[..place], text[place..].replacen("life=a1", "life=a9", 1));
        assert!(failing(&other).contains(&"vm0-resumes".to_owned()));
    }

    #[test]
    fn what_the_script_waited_for_in_vain_is_the_reason() {
        let text = good();
        let cut = &text[..text.find("[link] record=killed").unwrap()];
        let story = {
            let mut story = Story::default();
            let end = "[link] record=failed waiting=vm0 count=1 words=connection=wire_state=talks";
            cut.lines().chain([end]).for_each(|line| story.add(&Line::parse(Duration::ZERO, line)));
            story
        };
        assert_eq!(talk(&story).unwrap_err(), "it did not come to that: vm0 did not say `connection=wire state=talks` for the 1. time");
    }
}
