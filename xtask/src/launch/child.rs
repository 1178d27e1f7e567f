//! An emulator as a child process: started, read, and never left behind.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::console::{Line, Source, Splitter};
use crate::{interrupt, process};

/// How often a wait looks whether the user has interrupted us.
const BEAT: Duration = Duration::from_millis(100);
/// How long an emulator that was asked to end may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// What is to be done with the machine's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Cut into lines for the caller.
    Lines,
    /// Also passed through to the terminal byte by byte, so that prompts appear at once.
    Terminal,
}

/// How long a machine may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until it ends by itself.
    Endless,
    /// At most this long.
    Limit(Duration),
    /// At most `limit`, and at most `word` until a guest has said its first.
    FirstWord {
        /// From the start to the first line of a guest.
        word: Duration,
        /// From the start to the end.
        limit: Duration,
    },
}

/// How a machine came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It switched itself off.
    PoweredOff,
    /// The emulator failed; this is what it said.
    Failed(String),
    /// It ran out of time.
    TimedOut(Duration),
    /// No guest has said anything for so long: see [`Patience::FirstWord`].
    Mute(Duration),
    /// The user wanted no more.
    Interrupted,
    /// The caller wanted no more.
    Stopped,
}

/// Runs an emulator to its end. Each line of its standard output goes to `each`, which says whether to go on; every byte goes to `log_path`.
pub(crate) fn run(
    mut command: Command,
    input: Stdio,
    output: Output,
    log_path: &Path,
    patience: Patience,
    mut each: impl FnMut(Line) -> Verdict,
) -> Result<Ended> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut log = File::create(log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Guard(child.with_context(|| format!("cannot start `{}`", process::describe(&command)))?);
    let started = Instant::now();
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.0.stdout.take() {
        forward(output, sender.clone(), Piece::Console);
    }
    if let Some(errors) = child.0.stderr.take() {
        forward(errors, sender, Piece::Complaint);
    }
    let mut splitter = Splitter::default();
    let mut complaints = Vec::new();
    let mut verdict = Verdict::GoOn;
    let mut deadline = match patience {
        Patience::Endless => None,
        Patience::Limit(limit) | Patience::FirstWord { limit, .. } => started.checked_add(limit),
    };
    // Until when a guest must have said something, while none has.
    let mut word = match patience {
        Patience::Endless | Patience::Limit(_) => None,
        Patience::FirstWord { word, .. } => started.checked_add(word),
    };
    let mut stopping = false;
    loop {
        let piece = match next(&receiver, word.into_iter().chain(deadline).min()) {
            Next::Piece(piece) => piece,
            Next::Closed => break,
            Next::Interrupted => return Ok(Ended::Interrupted),
            Next::TooLate if stopping => return Ok(Ended::Stopped),
            Next::TooLate if word.is_some_and(|word| Instant::now() >= word) => return Ok(Ended::Mute(started.elapsed())),
            Next::TooLate => return Ok(Ended::TimedOut(started.elapsed())),
        };
        match piece {
            Piece::Complaint(bytes) => complaints.extend(bytes),
            Piece::Console(bytes) => {
                log.write_all(&bytes).with_context(|| format!("cannot write {}", log_path.display()))?;
                if output == Output::Terminal {
                    let mut terminal = std::io::stdout().lock();
                    terminal.write_all(&bytes).and_then(|()| terminal.flush()).context("cannot write to the terminal")?;
                }
                splitter.feed(&bytes, |line| {
                    let line = Line::parse(started.elapsed(), line);
                    if matches!(line.source, Source::Vm(_)) {
                        word = None;
                    }
                    verdict = each(line).or(verdict);
                });
            }
        }
        if let (Verdict::StopIn(rest), false) = (verdict, stopping) {
            stopping = true;
            let end = Instant::now() + rest;
            deadline = Some(deadline.map_or(end, |deadline| deadline.min(end)));
        }
    }
    splitter.finish(|line| _ = each(Line::parse(started.elapsed(), line)));
    let status = child.0.wait().context("cannot learn how the emulator ended")?;
    let complaints = String::from_utf8_lossy(&complaints).trim().to_owned();
    if status.success() { Ok(Ended::PoweredOff) } else { Ok(Ended::Failed(format!("{program} ended with {status}: {complaints}"))) }
}

/// What the reader of the lines wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More lines.
    GoOn,
    /// The machine's end, but not before this time, so that others can finish.
    StopIn(Duration),
}

impl Verdict {
    fn or(self, earlier: Self) -> Self {
        if self == Self::GoOn { earlier } else { self }
    }
}

#[derive(Debug)]
enum Piece {
    Console(Vec<u8>),
    Complaint(Vec<u8>),
}

enum Next {
    Piece(Piece),
    Closed,
    Interrupted,
    TooLate,
}

fn next(receiver: &Receiver<Piece>, deadline: Option<Instant>) -> Next {
    loop {
        if interrupt::requested() {
            return Next::Interrupted;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Next::TooLate;
        }
        match receiver.recv_timeout(BEAT) {
            Ok(piece) => return Next::Piece(piece),
            Err(RecvTimeoutError::Disconnected) => return Next::Closed,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn forward(mut from: impl Read + Send + 'static, to: Sender<Piece>, wrap: fn(Vec<u8>) -> Piece) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            if to.send(wrap(bytes.to_vec())).is_err() {
                break;
            }
        }
    });
}

/// Ends the child however we leave: politely first, so that the emulator gives the terminal back.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        if let Some(id) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // If this fails, the kill below still comes.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing is left to do for a child that cannot even be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Patience) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, Stdio::null(), Output::Lines, &folder.path().join("log"), patience, |_| Verdict::GoOn).unwrap()
    }

    #[test]
    fn guests_that_say_nothing_are_not_waited_for_to_the_end() {
        let (word, limit) = (Duration::from_secs(5), Duration::from_secs(600));
        let patience = Patience::FirstWord { word, limit };
        assert!(matches!(shell("echo '[vmm] record=start'; sleep 600", patience), Ended::Mute(after) if after >= word));
        assert_eq!(shell("echo '[vm0] a word'; sleep 6", patience), Ended::PoweredOff);
        let patience = Patience::FirstWord { word: limit, limit: word };
        assert!(matches!(shell("echo '[vm0] a word'; sleep 600", patience), Ended::TimedOut(after) if after >= word));
    }
}
