//! Processes die, and come back.

use std::time::Duration;

use super::process::{Process, Task};
use crate::link::stage::Stage;

/// How often a process is killed under traffic.
const ROUNDS: u64 = 200;

/// Both are there, and what one says the other hears.
fn talk(processes: &mut [Process; 2]) {
    for own in 0..2usize {
        let other = 1 - own;
        processes[own].ask(&format!("put {own} {other} {}", 7 + own), "put");
        assert_eq!(processes[other].numbers(&format!("get {other} {own}"), "got"), [7 + u64::try_from(own).unwrap()]);
        let before = processes[other].numbers(&format!("drain {other} {own}"), "drained")[0];
        assert!(before < 100);
        assert_eq!(processes[own].numbers(&format!("emit {own} {other} 11"), "emitted"), [11, 0]);
        assert_eq!(processes[other].numbers(&format!("drain {other} {own}"), "drained"), [11]);
    }
}

#[test]
fn a_death_at_any_point_of_a_handshake_is_survived() {
    for stage in Stage::ALL {
        // Both start fresh, or the one that does not die holds memory already.
        for (victim, holds) in [(0, false), (1, false), (0, true), (1, true)] {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("x.sock");
            let survivor = 1 - victim;
            let task = |number: usize, start_ms| Task { start_ms, ..Task::new(&socket, 2, &[&format!("vm{number}")]) };
            let mut stays = Process::start(&task(survivor, if holds { 0 } else { 60_000 }));
            if holds {
                stays.expect("joined");
                stays.ask(&format!("put {survivor} {victim} 12345"), "put");
            }
            let mut dies = Process::start_and_die(&task(victim, 60_000), Some(stage));
            // Not every process comes to every stage: one that has nothing to give never dies of giving.
            if reaches(stage, victim, holds) {
                dies.wait();
                assert!(dies.find(&format!("present vm{victim} vm{survivor}"), Duration::ZERO).is_none());
            } else {
                dies.expect(&format!("present vm{victim} vm{survivor}"));
                dies.kill();
            }
            let mut back = Process::start(&task(victim, 60_000));
            back.expect(&format!("present vm{victim} vm{survivor}"));
            if holds {
                assert_eq!(back.numbers(&format!("get {victim} {survivor}"), "got"), [12345], "{stage:?} {victim}");
            }
            settle(&mut stays, survivor, victim);
            let mut processes = if victim == 0 { [back, stays] } else { [stays, back] };
            talk(&mut processes);
        }
    }
}

/// Waits until events reach the other one.
fn settle(process: &mut Process, own: usize, other: usize) {
    let start = std::time::Instant::now();
    while process.numbers(&format!("emit {own} {other} 1"), "emitted")[0] == 0 {
        assert!(start.elapsed() < super::process::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process that starts comes to `stage`, when the other one holds memory or not.
fn reaches(stage: Stage, number: usize, other_holds: bool) -> bool {
    let makes = number == 0 && !other_holds;
    match stage {
        Stage::Created | Stage::FirstGiven | Stage::AllGiven => makes,
        Stage::FirstTaken | Stage::AllTaken => !makes,
        _ => true,
    }
}

#[test]
fn both_may_die_and_come_back_in_either_order() {
    for order in [[0, 1], [1, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let start = |number: usize| Process::start(&Task::new(&socket, 2, &[&format!("vm{number}")]));
        for _ in 0..3 {
            let mut processes = [start(0), start(1)];
            processes[0].expect("present vm0 vm1");
            processes[1].expect("present vm1 vm0");
            talk(&mut processes);
            order.into_iter().for_each(|number| processes[number].kill());
        }
    }
}

/// Either process is killed while it floods the other one with events, and comes back; every event is accounted for.
#[test]
fn no_event_is_lost_or_late_however_often_a_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let start = |number: usize| Process::start(&Task::new(&socket, 2, &[&format!("vm{number}")]));
    let mut processes = [start(0), start(1)];
    processes[0].expect("present vm0 vm1");
    processes[1].expect("present vm1 vm0");
    // What either has emitted in its lives so far.
    let mut emitted = [0, 0];
    for round in 0..ROUNDS {
        let victim = usize::from(round % 3 != 0);
        let survivor = 1 - victim;
        // Unread when the victim dies.
        let unread = round % 5;
        assert_eq!(processes[survivor].numbers(&format!("emit {survivor} {victim} {unread}"), "emitted"), [unread, 0]);
        processes[victim].ask(&format!("flood {victim} {survivor}"), "floods");
        std::thread::sleep(Duration::from_micros(700 * (round % 8)));
        processes[victim].kill();
        processes[survivor].expect(&format!("absent vm{survivor} vm{victim}"));
        assert_eq!(processes[survivor].numbers(&format!("emit {survivor} {victim} 3"), "emitted"), [0, 3], "refused from now on");
        let received = processes[survivor].numbers(&format!("drain {survivor} {victim}"), "drained")[0];
        let counts = processes[survivor].numbers(&format!("counts {survivor} {victim}"), "counts");
        let (begun, done) = (counts[0] - emitted[victim], counts[1] - emitted[victim]);
        assert!(done <= received && received <= begun && begun - done <= 1, "round {round}: {received} of {done} to {begun}");
        emitted[victim] = counts[0];

        processes[victim] = start(victim);
        processes[victim].expect(&format!("present vm{victim} vm{survivor}"));
        processes[survivor].expect(&format!("present vm{survivor} vm{victim}"));
        let early = processes[victim].numbers(&format!("drain {victim} {survivor}"), "drained")[0];
        assert_eq!(early, unread, "round {round}: what was emitted before the death, and nothing of after it");
    }
    assert!(emitted.into_iter().all(|count| count > ROUNDS), "{emitted:?}");
}
