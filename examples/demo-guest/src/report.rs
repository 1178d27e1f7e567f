//! The lines that a guest prints for the host to read.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use crossvm_guest::{Endpoint, System};

use crate::session::Generation;
use crate::{driver, interrupts};

/// Why a check failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    check: &'static str,
    reason: String,
}

impl Failure {
    /// `check` failed because of `reason`.
    pub(crate) fn new(check: &'static str, reason: impl fmt::Display) -> Self {
        Self { check, reason: reason.to_string() }
    }
}

/// Prints the findings of one VM.
#[derive(Debug)]
pub(crate) struct Report {
    vm: String,
}

impl Report {
    /// The report of the VM called `vm`.
    pub(crate) fn new(vm: &str) -> Self {
        Self { vm: word(vm) }
    }

    /// The guest is up, on so many CPUs.
    pub(crate) fn ready(&self, kernel: &str, uptime: Duration, cpus: usize) {
        self.print(&format!("DEMO ready vm={} kernel={} uptime_ms={} cpus={cpus}", self.vm, word(kernel), uptime.as_millis()));
    }

    /// `check` passed, with these findings.
    pub(crate) fn pass(&self, check: &'static str, findings: &[(&'static str, String)]) {
        self.print(&format!("DEMO check={check} vm={} ok=1{}", self.vm, words(findings)));
    }

    /// One connection as the kernel sees it. A line for each: the console cuts long ones.
    pub(crate) fn device(&self, findings: &[(&'static str, String)]) {
        self.print(&format!("DEMO device vm={}{}", self.vm, words(findings)));
    }

    /// All that could be found out about one connection.
    pub(crate) fn link(&self, findings: &[(&'static str, String)]) {
        self.print(&format!("DEMO link vm={} ok=1{}", self.vm, words(findings)));
    }

    /// What this VM sees of the peer of a connection.
    pub(crate) fn peer(&self, findings: &[(&'static str, String)]) {
        self.print(&format!("DEMO peer vm={}{}", self.vm, words(findings)));
    }

    /// The interrupts of each connection so far, one line each.
    pub(crate) fn interrupts(&self, system: &System) -> Result<(), String> {
        for function in system.functions().map_err(|error| error.to_string())? {
            let connection = Endpoint::open(&function).map_err(|error| error.to_string())?;
            let (kind, Some(line)) = interrupts::of(function.address())? else { continue };
            self.print(&format!(
                "DEMO interrupt vm={} connection={} driver={} kind={} irq={} count={} source={}",
                self.vm,
                word(connection.name()),
                word(&driver::bound(function.address()).unwrap_or_default()),
                kind.name(),
                line.irq,
                line.count,
                word(&line.source)
            ));
        }
        Ok(())
    }

    /// One line of what `lspci` shows, as it is.
    pub(crate) fn lspci(&self, line: &str) {
        self.print(&format!("DEMO lspci vm={} |{line}", self.vm));
    }

    /// The VM reboots, and means to come back.
    pub(crate) fn leave(&self, Generation(generation): Generation) {
        self.print(&format!("DEMO leave vm={} generation={generation}", self.vm));
    }

    /// All checks passed.
    pub(crate) fn done(&self) {
        self.print(&format!("DEMO done vm={}", self.vm));
    }

    /// A check failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.print(&format!("DEMO fail vm={} check={} reason={}", self.vm, failure.check, word(&failure.reason)));
    }

    /// One line in one piece, so that no other output gets into the middle of it, and sent before the VM goes on (perhaps to power
    /// off). There is nobody to tell where the console fails, and an output that is no terminal has nothing to drain.
    fn print(&self, line: &str) {
        let mut output = std::io::stdout().lock();
        let _ = output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush());
        let _ = rustix::termios::tcdrain(rustix::stdio::stdout());
    }
}

/// ` key=value key=value …`
fn words(findings: &[(&'static str, String)]) -> String {
    findings.iter().map(|(key, value)| format!(" {key}={}", word(value))).collect()
}

/// The text as one word: the values of the lines hold no spaces.
fn word(text: &str) -> String {
    let word: String = text.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_one_word() {
        assert_eq!(word("no answer\nfor 60 s"), "no_answer_for_60_s");
        assert_eq!(word(""), "-");
    }
}
