//! Processes of these tests, as the test sees them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crossvm_manifest::Peer;
use serde::{Deserialize, Serialize};

use crate::link::stage::{DIE_AT, Stage};

/// The environment variable with a [`Task`].
pub(super) const CHILD: &str = "KVM_VMM_TEST_CHILD";

/// Longer than anything takes on a machine that others use too.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) socket: PathBuf,
    pub(super) only: Vec<String>,
    /// How many VMs there are: each two are connected twice, once in either direction.
    pub(super) vms: usize,
    /// Another manifest than others have: one with a connection more.
    pub(super) odd: bool,
    /// How long it waits for others that do not run, in milliseconds.
    pub(super) start_ms: u64,
    /// How long it waits for others that run, in seconds.
    pub(super) answer: u64,
}

impl Task {
    pub(super) fn new(socket: &Path, vms: usize, only: &[&str]) -> Self {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        Self { socket: socket.to_owned(), only, vms, odd: false, start_ms: 60_000, answer: 60 }
    }

    pub(super) fn connections(&self) -> Vec<[Peer; 2]> {
        let numbers = 0..u8::try_from(self.vms).unwrap();
        let all = numbers.clone().flat_map(|one| numbers.clone().map(move |other| (one, other)));
        let mut all: Vec<_> = all.filter(|(one, other)| one != other).map(|(one, other)| [Peer::Vm(one), Peer::Vm(other)]).collect();
        if self.odd {
            all.push([Peer::Vm(0), Peer::Vm(1)]);
        }
        all
    }
}

/// A process of its own.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// What came and was not asked for yet.
    pending: Vec<String>,
}

impl Process {
    pub(super) fn start(task: &Task) -> Self {
        Self::start_and_die(task, None)
    }

    /// Starts one that dies of its own hand when it comes to `stage`.
    pub(super) fn start_and_die(task: &Task, stage: Option<Stage>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["link::tests::child::child", "--exact", "--include-ignored", "--nocapture"]);
        command.env(CHILD, serde_json::to_string(task).unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        if let Some(stage) = stage {
            command.env(DIE_AT, format!("{stage:?}"));
        }
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness may have begun the line.
                if let Some((_, line)) = line.split_once('@')
                    && sender.send(line.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Self { child, lines, pending: Vec::new() }
    }

    /// Waits for a line that starts with `start`, whatever comes before it; what comes before is kept.
    pub(super) fn expect(&mut self, start: &str) -> String {
        self.find(start, PATIENCE).unwrap_or_else(|| panic!("no `{start}`, but {:?}", self.pending))
    }

    /// The same, if it comes within `time`.
    pub(super) fn find(&mut self, start: &str, time: Duration) -> Option<String> {
        if let Some(found) = self.pending.iter().position(|line| line.starts_with(start)) {
            return Some(self.pending.remove(found));
        }
        let end = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(start) => return Some(line),
                Ok(line) => self.pending.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Has it do `order`, and waits for the answer.
    pub(super) fn ask(&mut self, order: &str, answer: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
        self.expect(answer)
    }

    /// The numbers of the answer.
    pub(super) fn numbers(&mut self, order: &str, answer: &str) -> Vec<u64> {
        self.ask(order, answer).split(' ').filter_map(|word| word.parse().ok()).collect()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has died of itself.
    pub(super) fn wait(&mut self) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "it lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that has failed leaves nobody behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
