//! What a process of these tests does: it joins the others, and then what it reads.

use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossvm_core::Notifier;
use crossvm_manifest::Peer;

use super::process::{CHILD, Task};
use crate::link::join::{Link, Patience};
use crate::link::pair::Presence;
use crate::link::share::{Share, tests::topology};

/// Where in the second dataport the VM that comes first counts what it emits; the other one does behind it. Two numbers: before and after each emit.
const COUNTS: u64 = 0;
const COUNTS_SIZE: u64 = 16;

/// Not a test of its own: the process that others start.
#[test]
#[ignore = "the other tests start it as a process of its own"]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let task: Task = serde_json::from_str(&task).unwrap();
    let topology = topology(task.vms, &task.connections());
    let share = Share::new(&topology, &task.only).unwrap();
    let notice = Arc::new(|own: &str, other: &str, what: &dyn std::fmt::Display| println!("@notice {own} {other}: {what}"));
    let seconds = |number| Duration::from_secs(number);
    let patience = Patience { start: Duration::from_millis(task.start_ms), handshake: seconds(5), answer: seconds(task.answer) };
    let mut link = match Link::join(&topology, &share, &task.socket, patience, notice) {
        Ok(link) => link,
        Err(error) => return println!("@failed {error}"),
    };
    println!("@joined");
    // One for each two VMs.
    let gates: Arc<[[AtomicBool; 8]; 8]> = Arc::default();
    for own in share.vms() {
        let gates = gates.clone();
        link.watch(own, move |other, presence| {
            let before = gates[usize::from(own)][usize::from(other)].swap(presence == Presence::Present, Ordering::AcqRel);
            let word = match (before, presence) {
                (_, Presence::Present) => "present",
                (true, Presence::Absent) => "absent",
                (false, Presence::Absent) => "alone",
            };
            println!("@{word} vm{own} vm{other}");
        });
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let (verb, mut number) = (words.next().unwrap(), || words.next().map_or(0, |word| word.parse::<u64>().unwrap()));
        let own = u8::try_from(number()).unwrap();
        let other = u8::try_from(number()).unwrap();
        if verb == "leave" {
            link.leave(own);
            println!("@left");
            continue;
        }
        // The first connection of the two.
        let leads_there = |index: usize| topology.connections[index].ends.iter().any(|end| end.peer == Peer::Vm(other));
        let end = link.ends(own).find(|end| leads_there(end.index())).unwrap();
        let is_open = || gates[usize::from(own)][usize::from(other)].load(Ordering::Acquire);
        match verb {
            "emit" => {
                let (mut emitted, mut dropped) = (0, 0);
                for _ in 0..number() {
                    if is_open() {
                        end.emit().notify().unwrap();
                        emitted += 1;
                    } else {
                        dropped += 1;
                    }
                }
                println!("@emitted {emitted} dropped {dropped}");
            }
            "drain" => println!("@drained {}", end.receive().take().unwrap()),
            "flood" => {
                let (memory, emit) = (end.dataports()[1].as_fd().try_clone_to_owned().unwrap(), end.emit().clone());
                let gates = gates.clone();
                let place = COUNTS + if own < other { 0 } else { COUNTS_SIZE };
                let mut count = get(memory.as_fd(), place);
                put(memory.as_fd(), place + 8, count);
                std::thread::spawn(move || {
                    loop {
                        if gates[usize::from(own)][usize::from(other)].load(Ordering::Acquire) {
                            count += 1;
                            put(memory.as_fd(), place, count);
                            emit.notify().unwrap();
                            put(memory.as_fd(), place + 8, count);
                        }
                    }
                });
                println!("@floods");
            }
            "counts" => {
                let place = COUNTS + if other < own { 0 } else { COUNTS_SIZE };
                let memory = end.dataports()[1].as_fd();
                println!("@counts {} {}", get(memory, place), get(memory, place + 8));
            }
            "put" => {
                put(end.dataports()[0].as_fd(), 4096, number());
                println!("@put");
            }
            "get" => println!("@got {}", get(end.dataports()[0].as_fd(), 4096)),
            _ => panic!("{line}"),
        }
    }
}

fn put(memory: BorrowedFd<'_>, place: u64, number: u64) {
    assert_eq!(rustix::io::pwrite(memory, &number.to_ne_bytes(), place), Ok(8));
}

fn get(memory: BorrowedFd<'_>, place: u64) -> u64 {
    let mut bytes = [0; 8];
    assert_eq!(rustix::io::pread(memory, &mut bytes, place), Ok(8));
    u64::from_ne_bytes(bytes)
}
