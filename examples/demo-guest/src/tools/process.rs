//! Programs as child processes: started, listened to, and never left behind.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long a program that was asked to end may take.
const FAREWELL: Duration = Duration::from_secs(20);
/// How much of what a program complains of is told.
const COMPLAINT: usize = 300;

/// A program and its first arguments.
#[derive(Debug, Clone)]
pub(super) struct Program {
    program: OsString,
    first: Vec<OsString>,
}

/// A program that runs. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    child: Child,
    output: Option<JoinHandle<Vec<u8>>>,
    errors: Receiver<String>,
    /// What it has said on standard error so far.
    said: Vec<String>,
}

impl Program {
    /// The program `name`, which is in PATH.
    pub(super) fn new(name: impl Into<OsString>) -> Self {
        Self { program: name.into(), first: Vec::new() }
    }

    /// The same with another argument in front of those that come.
    pub(super) fn with(mut self, argument: impl Into<OsString>) -> Self {
        self.first.push(argument.into());
        self
    }

    /// Starts it with nothing to read.
    pub(super) fn start(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Running, String> {
        self.start_between(arguments, Stdio::null(), Stdio::piped())
    }

    /// Starts it with this input and output. A pipe as input stays open as long as the program runs.
    pub(super) fn start_between(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: Stdio,
        output: Stdio,
    ) -> Result<Running, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.first).args(arguments).stdin(input).stdout(output).stderr(Stdio::piped());
        let words = command.get_args().map(OsStr::to_string_lossy);
        let name = [self.program.to_string_lossy()].into_iter().chain(words).collect::<Vec<_>>().join(" ");
        let mut child = command.spawn().map_err(|error| format!("`{name}`: {error}"))?;
        let output = child.stdout.take().map(|mut output| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read before it failed is what there is.
                let _ = output.read_to_end(&mut bytes);
                bytes
            })
        });
        let (sender, errors) = channel();
        if let Some(complaints) = child.stderr.take() {
            thread::spawn(move || forward(complaints, &sender));
        }
        Ok(Running { name, child, output, errors, said: Vec::new() })
    }
}

/// Gives the lines of `from` to `to`.
fn forward(from: impl Read, to: &Sender<String>) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        if to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}

impl Running {
    /// Waits until it has ended, in `limit`, and gives what it has printed. That it has not succeeded is an error.
    pub(super) fn wait(mut self, limit: Duration) -> Result<String, String> {
        if !self.has_ended_in(limit)? {
            return Err(self.failed(&format!("has not ended in {} s", limit.as_secs())));
        }
        self.finish()
    }

    /// Asks it to end, and gives what it has printed.
    pub(super) fn stop(mut self) -> Result<String, String> {
        if self.has_ended_in(Duration::ZERO)? {
            let status = self.status()?;
            return Err(self.failed(&format!("has ended before it was asked to, with {status}")));
        }
        self.signal(Signal::TERM)?;
        if !self.has_ended_in(FAREWELL)? {
            return Err(self.failed(&format!("goes on {} s after SIGTERM", FAREWELL.as_secs())));
        }
        self.finish()
    }

    /// Waits until it has printed a line with `words` in it to standard error.
    pub(super) fn says(&mut self, words: &str, limit: Duration) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            match self.errors.recv_timeout(limit.saturating_sub(begin.elapsed())) {
                Ok(line) => {
                    let found = line.contains(words);
                    self.said.push(line);
                    if found {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failed(&format!("has not said `{words}` in {} s", limit.as_secs())));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.has_ended_in(FAREWELL)?;
                    let status = self.status()?;
                    return Err(self.failed(&format!("has ended with {status} and not said `{words}`")));
                }
            }
        }
    }

    /// Whether it has ended, waiting for that for `limit`.
    fn has_ended_in(&mut self, limit: Duration) -> Result<bool, String> {
        let name = &self.name;
        let failed = |error: rustix::io::Errno| format!("waiting for `{name}`: {error}");
        let id = Pid::from_child(&self.child);
        let file = pidfd_open(id, PidfdFlags::empty()).map_err(failed)?;
        let begin = Instant::now();
        loop {
            let left = Timespec::try_from(limit.saturating_sub(begin.elapsed())).map_err(|error| error.to_string())?;
            match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn status(&mut self) -> Result<ExitStatus, String> {
        self.child.wait().map_err(|error| format!("waiting for `{}`: {error}", self.name))
    }

    /// What the program that has ended leaves.
    fn finish(mut self) -> Result<String, String> {
        let status = self.status()?;
        if !status.success() {
            return Err(self.failed(&format!("ended with {status}")));
        }
        let bytes = self.output.take().and_then(|output| output.join().ok()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What went wrong, with the end of what it has complained of.
    fn failed(&mut self, what: &str) -> String {
        // A program that has ended may have children that have not: what comes at once is enough.
        while let Ok(line) = self.errors.recv_timeout(Duration::from_millis(100)) {
            self.said.push(line);
        }
        let lines = self.said.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
        let text = lines.collect::<Vec<_>>().join("; ");
        let skipped = text.chars().count().saturating_sub(COMPLAINT);
        let end: String = text.chars().skip(skipped).collect();
        let colon = if end.is_empty() { "" } else { ": " };
        format!("`{}` {what}{colon}{end}", self.name)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| format!("ending `{}`: {error}", self.name))
    }
}

impl Drop for Running {
    /// Politely first: it may have to take leave of its peer.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // If this fails, the kill below still comes.
            let _ = self.signal(Signal::TERM);
            if !self.has_ended_in(FAREWELL).unwrap_or(false) {
                // Nothing is left to do for a child that cannot even be killed.
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any of them takes.
    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Running {
        Program::new("sh").with("-c").start([script]).unwrap()
    }

    fn lives(id: u32) -> bool {
        std::path::Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn what_it_prints_is_given_and_what_it_complains_of_is_the_reason() {
        assert_eq!(shell("echo one; echo two; echo three >&2").wait(LONG), Ok("one\ntwo\n".to_owned()));
        let told = shell("echo lost; printf 'no peer\\n\\n  wait for it\\n' >&2; exit 4").wait(LONG).unwrap_err();
        assert!(told.contains("exit status: 4") && told.ends_with(": no peer; wait for it"), "{told}");
        assert!(Program::new("/nowhere/crossvm").start(["send"]).unwrap_err().starts_with("`/nowhere/crossvm send`: "));
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let running = shell("echo waiting >&2; exec sleep 600");
        let id = running.child.id();
        let told = running.wait(Duration::from_millis(50)).unwrap_err();
        assert!(told.contains("has not ended in 0 s"), "{told}");
        assert!(!lives(id));
        let running = shell("exec sleep 600");
        let id = running.child.id();
        drop(running);
        assert!(!lives(id));
    }

    #[test]
    fn one_that_was_asked_to_end_says_how_it_did() {
        let mut good = shell("trap 'echo closed; exit 0' TERM; echo 'xvm0 up' >&2; while :; do sleep 0.01; done");
        good.says(" up", LONG).unwrap();
        assert_eq!(good.stop(), Ok("closed\n".to_owned()));
        let mut bad = shell("trap 'echo broken >&2; exit 1' TERM; echo up >&2; while :; do sleep 0.01; done");
        bad.says("up", LONG).unwrap();
        assert!(bad.stop().unwrap_err().contains("broken"));
        let mut early = shell("echo up >&2; exit 0");
        early.says("up", LONG).unwrap();
        early.has_ended_in(LONG).unwrap();
        assert!(early.stop().unwrap_err().contains("before it was asked to"));
    }

    #[test]
    fn one_that_never_says_the_word_is_told_with_what_it_said() {
        let told = shell("echo 'no /dev/net/tun' >&2; exit 1").says("up", LONG).unwrap_err();
        assert!(told.contains("exit status: 1") && told.ends_with(": no /dev/net/tun"), "{told}");
        let told = shell("echo waiting >&2; exec sleep 600").says("up", Duration::from_secs(1)).unwrap_err();
        assert!(told.contains("has not said `up`") && told.ends_with(": waiting"), "{told}");
    }

    #[test]
    fn a_pipe_as_input_stays_open_until_the_end() {
        // `cat` would end at the end of its input.
        let running = Program::new("cat").start_between([""; 0], Stdio::piped(), Stdio::piped()).unwrap();
        assert!(running.wait(Duration::from_millis(50)).unwrap_err().contains("has not ended"));
    }
}
