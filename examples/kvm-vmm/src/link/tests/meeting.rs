//! Processes come together.

use std::time::Duration;

use super::process::{Process, Task};

#[test]
fn two_processes_share_memory_and_events_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let mut second = Process::start(&Task::new(&socket, 2, &["vm1"]));
    second.expect("notice vm1 vm0: waiting for at most 60 s for its process");
    let mut first = Process::start(&Task::new(&socket, 2, &["vm0"]));
    first.expect("present vm0 vm1");
    second.expect("present vm1 vm0");
    first.ask("put 0 1 4711", "put");
    assert_eq!(second.numbers("get 1 0", "got"), [4711]);
    assert_eq!(first.numbers("emit 0 1 5", "emitted"), [5, 0]);
    assert_eq!(second.numbers("emit 1 0 3", "emitted"), [3, 0]);
    assert_eq!((first.numbers("drain 0 1", "drained"), second.numbers("drain 1 0", "drained")), (vec![3], vec![5]));
    assert_eq!(first.numbers("drain 0 1", "drained"), [0]);
}

#[test]
fn three_processes_need_no_middleman() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let names = ["vm0", "vm1", "vm2"];
    let mut processes = names.map(|name| Process::start(&Task::new(&socket, 3, &[name])));
    let all = |processes: &mut [Process; 3]| {
        for (own, process) in processes.iter_mut().enumerate() {
            for other in (0..3).filter(|other| *other != own) {
                assert_eq!(process.numbers(&format!("emit {own} {other} {}", 10 * own + other), "emitted")[1], 0);
            }
        }
        for (own, process) in processes.iter_mut().enumerate() {
            for other in (0..3).filter(|other| *other != own) {
                let count = process.numbers(&format!("drain {own} {other}"), "drained")[0];
                assert_eq!(count, u64::try_from(10 * other + own).unwrap());
            }
        }
    };
    let others = |own: usize| (0..3).filter(move |other| *other != own);
    for (own, process) in processes.iter_mut().enumerate() {
        others(own).for_each(|other| drop(process.expect(&format!("present vm{own} vm{other}"))));
    }
    all(&mut processes);
    for victim in 0..3 {
        let [one, other] = [(victim + 1) % 3, (victim + 2) % 3];
        processes[victim].kill();
        for survivor in [one, other] {
            processes[survivor].expect(&format!("absent vm{survivor} vm{victim}"));
        }
        // Those who live do not notice.
        assert_eq!(processes[one].numbers(&format!("emit {one} {other} 2"), "emitted"), [2, 0]);
        assert_eq!(processes[other].numbers(&format!("drain {other} {one}"), "drained"), [2]);
        processes[victim] = Process::start(&Task::new(&socket, 3, &[names[victim]]));
        for survivor in [one, other] {
            processes[survivor].expect(&format!("present vm{survivor} vm{victim}"));
            processes[victim].expect(&format!("present vm{victim} vm{survivor}"));
        }
        all(&mut processes);
    }
}

#[test]
fn several_vms_of_one_process_are_connected_with_those_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let mut one = Process::start(&Task::new(&socket, 4, &["vm0", "vm2"]));
    let mut other = Process::start(&Task::new(&socket, 4, &["vm3", "vm1"]));
    for (own, peer) in [(0, 1), (0, 3), (2, 1), (2, 3)] {
        one.expect(&format!("present vm{own} vm{peer}"));
        other.expect(&format!("present vm{peer} vm{own}"));
        one.ask(&format!("emit {own} {peer} {}", 1 + own + peer), "emitted");
    }
    for (own, peer) in [(0, 1), (0, 3), (2, 1), (2, 3)] {
        assert_eq!(other.numbers(&format!("drain {peer} {own}"), "drained"), [1 + own + peer]);
    }
    // A VM that stops for good is gone for the others; the process's other VM is not.
    other.ask("leave 3", "left");
    one.expect("absent vm0 vm3");
    one.expect("absent vm2 vm3");
    assert!(other.find("absent", Duration::from_millis(200)).is_none(), "it has left, the others have not");
    assert_eq!(one.numbers("emit 0 1 1", "emitted"), [1, 0]);
    assert_eq!(one.numbers("emit 0 3 1", "emitted"), [0, 1]);
    let runs = |vm| crate::link::lock::holder(&socket, vm).unwrap();
    assert_eq!((runs("vm1"), runs("vm3")), (Some(other.pid()), None));
}

#[test]
fn one_that_starts_alone_makes_the_memory_and_gives_it_later() {
    for [early, late] in [["0", "1"], ["1", "0"]] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let task = |name: &str| Task { start_ms: 0, ..Task::new(&socket, 2, &[name]) };
        let mut one = Process::start(&task(&format!("vm{early}")));
        one.expect("joined");
        one.expect(&format!("alone vm{early} vm{late}"));
        assert_eq!(one.numbers(&format!("emit {early} {late} 4"), "emitted"), [0, 4]);
        one.ask(&format!("put {early} {late} 99"), "put");
        let mut other = Process::start(&task(&format!("vm{late}")));
        one.expect(&format!("present vm{early} vm{late}"));
        assert_eq!(other.numbers(&format!("get {late} {early}"), "got"), [99]);
        assert_eq!(other.numbers(&format!("drain {late} {early}"), "drained"), [0], "what was refused does not come later");
    }
}

#[test]
fn a_vm_that_runs_elsewhere_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x.sock");
    let mut first = Process::start(&Task { start_ms: 0, ..Task::new(&socket, 2, &["vm0"]) });
    first.expect("joined");
    let mut again = Process::start(&Task::new(&socket, 2, &["vm0"]));
    let failed = again.expect("failed");
    assert_eq!(failed, format!("failed `vm0` already runs in process {}, which uses the same --link", first.pid()));
    let mut both = Process::start(&Task::new(&socket, 2, &["vm1", "vm0"]));
    both.expect("failed `vm0` already runs");
    both.wait();
    let mut second = Process::start(&Task::new(&socket, 2, &["vm1"]));
    second.expect("present vm1 vm0");
}

#[test]
fn different_manifests_do_not_come_together() {
    for [old, new] in [["vm0", "vm1"], ["vm1", "vm0"]] {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let mut first = Process::start(&Task { start_ms: 0, ..Task::new(&socket, 2, &[old]) });
        first.expect("joined");
        let odd = Task { odd: true, start_ms: 0, answer: 1, ..Task::new(&socket, 2, &[new]) };
        let mut other = Process::start(&odd);
        assert!(other.expect("failed").contains("the two processes have different manifests"));
        first.expect(&format!("notice {old} {new}: "));
        other.wait();
        // And it goes on waiting for one that fits.
        let mut right = Process::start(&Task::new(&socket, 2, &[new]));
        right.expect(&format!("present {new} {old}"));
        first.expect(&format!("present {old} {new}"));
        assert!(first.find("absent", Duration::ZERO).is_none());
    }
}
