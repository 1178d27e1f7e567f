//! The lines that the host reads.

use std::fmt::Display;
use std::io::Write;

/// Why a check failed.
#[derive(Debug)]
pub(crate) struct Failure {
    check: &'static str,
    reason: String,
}

impl Failure {
    /// `check` failed because of `reason`.
    pub(crate) fn new(check: &'static str, reason: impl Display) -> Self {
        Self { check, reason: reason.to_string() }
    }
}

/// What a check has found.
#[derive(Debug)]
pub(crate) struct Report {
    line: String,
}

impl Report {
    /// The findings of `check`.
    pub(crate) fn new(check: &str) -> Self {
        Self { line: format!("DRIVER check={check} ok=1") }
    }

    /// One more.
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Self {
        self.line.push_str(&format!(" {key}={}", word(&value.to_string())));
        self
    }

    /// Prints them.
    pub(crate) fn pass(self) {
        print(&self.line);
    }
}

/// All checks passed.
pub(crate) fn done() {
    print("DRIVER done");
}

/// A check failed.
pub(crate) fn fail(failure: &Failure) {
    print(&format!("DRIVER fail check={} reason={}", failure.check, word(&failure.reason)));
}

/// One line in one piece, and sent before the VM goes on. There is nobody to tell where the console fails.
fn print(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(format!("{line}\n").as_bytes()).and_then(|()| output.flush());
    let _ = rustix::termios::tcdrain(rustix::stdio::stdout());
}

/// The text as one word.
fn word(text: &str) -> String {
    let word: String = text.chars().map(|character| if character.is_ascii_graphic() { character } else { '_' }).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_one_word() {
        assert_eq!(
            Report::new("a").with("reason", "no answer\nat all").with("b", "").line,
            "DRIVER check=a ok=1 reason=no_answer_at_all b=-"
        );
    }
}
