//! Two processes over a memfd, killed with SIGKILL at any moment, again and again: the survivor always notices, nothing that arrives is wrong, and in the
//! end everything has arrived.

#![cfg(target_os = "linux")]

mod common;
mod ends;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Files, Page, Random, inherited, map};
use crossvm_channel::Side;
use ends::{Sabotage, TIMED_OUT};

const ROLE: &str = "CROSSVM_CHANNEL_KILL_ROLE";

/// Not a test: what the children of the others run.
#[test]
#[ignore = "what the other tests start"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let fields: Vec<&str> = role.split(' ').collect();
    let &[side, files, sabotage, patience] = fields.as_slice() else { panic!("{role}") };
    let side = if side == "A" { Side::A } else { Side::B };
    let files = inherited(files);
    let (page, memory) = map(files[0]);
    ends::run(side, files, page, memory, Sabotage::named(sabotage), patience.parse().unwrap());
}

/// The two processes, and what they share.
struct Pair {
    files: Files,
    page: &'static Page,
    a: Child,
    b: Child,
    patience: Duration,
}

/// What was seen in a run.
#[derive(Debug, Default)]
struct Summary {
    kills: u32,
    /// Of a process that had not met the other yet.
    before_the_connect: u32,
    /// In the middle of a copy to or out of the ring.
    while_copying: u32,
    noticed: u64,
    messages: u64,
}

fn spawn(files: &Files, side: Side, sabotage: Sabotage, patience: Duration) -> Child {
    let role = format!("{side:?} {} {sabotage:?} {}", files.numbers(), patience.as_millis());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]).env(ROLE, role).stdin(Stdio::null()).stdout(Stdio::null());
    if sabotage != Sabotage::None {
        command.stderr(Stdio::null());
    }
    command.spawn().unwrap()
}

impl Pair {
    fn new(sabotage: Sabotage, patience: Duration) -> Self {
        let files = Files::new();
        let (page, _) = map(&files.memory);
        page.last.store(u64::MAX, Ordering::Release);
        let [a, b] = [Side::A, Side::B].map(|side| spawn(&files, side, sabotage, patience));
        Self { files, page, a, b, patience }
    }

    const fn child(&mut self, side: Side) -> &mut Child {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Waits until `ready`; an end that ends meanwhile, or a time that is over, is an error.
    fn until(&mut self, what: &str, mut ready: impl FnMut(&Page) -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !ready(self.page) {
            for side in [Side::A, Side::B] {
                if let Some(status) = self.child(side).try_wait().unwrap() {
                    return Err(format!("{what}: {side:?} has ended by itself: {status}"));
                }
            }
            if began.elapsed() > self.patience * 2 {
                return Err(format!("{what}: waited in vain"));
            }
            sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Waits until `side`'s process is dead, by SIGKILL.
    fn dead(&mut self, side: Side) -> Result<(), String> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child(side).wait().unwrap();
        if status.signal() == Some(9) { Ok(()) } else { Err(format!("{side:?} has ended by itself: {status}")) }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.a, &mut self.b] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

/// Kills one of the two and starts its successor, `kills` times, and lets them finish.
fn run(kills: u32, seed: u64, sabotage: Sabotage, patience: Duration) -> Result<Summary, String> {
    let mut pair = Pair::new(sabotage, patience);
    let page = pair.page;
    let mut random = Random(seed);
    let mut summary = Summary::default();
    let mut victim = Side::B;
    // In how many sessions each side's processes were when they died: that many more have begun than have ended with a notice.
    let mut died = [0, 0];
    let place = |side| usize::from(side == Side::B);
    for _ in 0..kills {
        let kind = random.below(4);
        // Alternating, but for some that die before they have lived.
        let newborn = kind == 0 && random.below(2) == 0;
        if !newborn {
            victim = victim.peer();
        }
        let survivor = victim.peer();
        let in_session = |page: &Page, side: Side| page.of(side).begun_and_not_ended() > died[place(side)];
        let met = |page: &Page| in_session(page, Side::A) && in_session(page, Side::B);
        let suicide = kind == 1;
        if kind == 0 {
            // Perhaps before they meet; a newborn for sure.
            if !newborn {
                sleep(Duration::from_micros(random.below(6000)));
            }
        } else {
            let enough = get(&page.b.next) + 1 + random.below(200);
            pair.until("they meet", |page| met(page) && get(&page.b.next) >= enough)?;
        }
        let noticed = get(&page.of(survivor).noticed);
        if suicide {
            page.of(victim).die.store(1, Ordering::Release);
        } else {
            if !newborn {
                sleep(Duration::from_micros(random.below(1500)));
            }
            pair.child(victim).kill().unwrap();
        }
        pair.dead(victim)?;
        summary.kills += 1;
        summary.before_the_connect += u32::from(!in_session(page, victim));
        summary.while_copying += u32::from(suicide || get(&page.of(victim).copying) != 0);
        let notes = page.of(victim);
        notes.die.store(0, Ordering::Release);
        notes.copying.store(0, Ordering::Release);
        died[place(victim)] = notes.begun_and_not_ended();
        let successor = spawn(&pair.files, victim, sabotage, patience);
        *pair.child(victim) = successor;
        if kind != 0 {
            pair.until("the survivor notices", |page| get(&page.of(survivor).noticed) > noticed)?;
        }
    }
    page.last.store(get(&page.b.next) + 2000, Ordering::Release);
    for side in [Side::A, Side::B] {
        let began = Instant::now();
        let status = loop {
            match pair.child(side).try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() > patience * 2 => return Err(format!("{side:?} does not come to an end")),
                None => sleep(Duration::from_millis(1)),
            }
        };
        if !status.success() {
            return Err(format!("{side:?} ended so: {status}"));
        }
    }
    let (last, sent, received) = (get(&page.last), get(&page.a.next), get(&page.b.next));
    if (sent, received) != (last, last) {
        return Err(format!("{received} of {last} messages were received, {sent} acknowledged"));
    }
    summary.noticed = get(&page.a.noticed) + get(&page.b.noticed);
    summary.messages = received;
    Ok(summary)
}

#[test]
fn processes_killed_two_hundred_times_lose_and_spoil_nothing() {
    let began = Instant::now();
    let summary = run(200, 6, Sabotage::None, Duration::from_secs(30)).unwrap();
    println!("{summary:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(summary.kills, 200);
    assert!(summary.before_the_connect > 0 && summary.while_copying > 20 && summary.noticed >= 100, "{summary:?}");
}

#[test]
fn a_survivor_whose_peer_does_not_return_times_out() {
    for victim in [Side::A, Side::B] {
        let mut pair = Pair::new(Sabotage::None, Duration::from_secs(5));
        pair.until("they meet", |page| get(&page.b.next) > 100).unwrap();
        pair.child(victim).kill().unwrap();
        pair.dead(victim).unwrap();
        let status = pair.child(victim.peer()).wait().unwrap();
        assert_eq!(status.code(), Some(TIMED_OUT), "{victim:?} was killed");
    }
}

#[test]
fn what_is_done_wrong_on_purpose_is_noticed() {
    for sabotage in Sabotage::ALL.into_iter().filter(|sabotage| *sabotage != Sabotage::None) {
        let outcome = run(20, 7, sabotage, Duration::from_secs(3));
        println!("{sabotage:?}: {outcome:?}");
        assert!(outcome.is_err(), "{sabotage:?} was not noticed");
    }
}
