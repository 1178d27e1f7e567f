//! The hypervisor's console: whose line it is, and how it looks on a terminal.

use std::time::Duration;

use console::{Color, style};

/// Who has written a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The hypervisor.
    Vmm,
    /// The VM with this name.
    Vm(String),
    /// A line without a name: the emulator or the firmware.
    Other,
}

/// One line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Time since the machine was started.
    pub(crate) at: Duration,
    pub(crate) source: Source,
    /// The text behind the name, without line feed.
    pub(crate) text: String,
}

impl Line {
    /// Reads a line as it came from the machine: `[name] text`.
    ///
    /// Kernels start their lines with `[    0.000000]` as well: only a name without blanks counts, and only at the start.
    pub(crate) fn parse(at: Duration, raw: &str) -> Self {
        // seL4's console puts the carriage return behind the line feed.
        let raw = raw.trim_matches(['\r', '\n']);
        let named = raw.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (source, text) = match named {
            Some((name, text))
                if !name.is_empty() && !name.contains(char::is_whitespace) && name.starts_with(|c: char| !c.is_ascii_digit()) =>
            {
                let source = if name == "vmm" { Source::Vmm } else { Source::Vm(name.to_owned()) };
                (source, text.strip_prefix(' ').unwrap_or(text))
            }
            _ => (Source::Other, raw),
        };
        Self { at, source, text: text.to_owned() }
    }

    /// The line for a person: who wrote it, in a colour of its own on a terminal, and the text without control characters.
    pub(crate) fn shown(&self, names: &[String]) -> String {
        const COLOURS: [Color; 6] = [Color::Cyan, Color::Magenta, Color::Green, Color::Blue, Color::Yellow, Color::Red];
        let (name, colour) = match &self.source {
            Source::Vmm => ("vmm", Color::White),
            Source::Vm(name) => {
                let place = names.iter().position(|known| known == name).unwrap_or_default();
                (name.as_str(), COLOURS.get(place % COLOURS.len()).copied().unwrap_or(Color::Cyan))
            }
            Source::Other => ("-", Color::White),
        };
        let width = names.iter().map(String::len).max().unwrap_or(0).max(3);
        let text: String = console::strip_ansi_codes(&self.text).chars().filter(|c| !c.is_control() || *c == '\t').collect();
        format!("{} {text}", style(format!("{name:>width$} │")).fg(colour))
    }
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// The longest line that is kept whole: a guest that writes no line feed must not fill our memory.
    const LONGEST: usize = 64 << 10;

    /// Takes in `bytes` and gives every line that they complete to `each`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.rest.push(*byte);
            }
            if *byte == b'\n' || self.rest.len() >= Self::LONGEST {
                each(&String::from_utf8_lossy(&self.rest));
                self.rest.clear();
            }
        }
    }

    /// The end of the stream: gives what is left to `each`.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            each(&String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> (Source, String) {
        let line = Line::parse(Duration::ZERO, raw);
        (line.source, line.text)
    }

    #[test]
    fn lines_go_to_their_writers() {
        assert_eq!(parse("[vm0] [    0.000000] Booting\r"), (Source::Vm("vm0".to_owned()), "[    0.000000] Booting".to_owned()));
        assert_eq!(parse("\r[vmm] record=end"), (Source::Vmm, "record=end".to_owned()));
        assert_eq!(parse("[    0.000000] no name"), (Source::Other, "[    0.000000] no name".to_owned()));
        assert_eq!(parse("[1.5] no name"), (Source::Other, "[1.5] no name".to_owned()));
        assert_eq!(parse("plain"), (Source::Other, "plain".to_owned()));
        assert_eq!(parse("[vm0]"), (Source::Vm("vm0".to_owned()), String::new()));
    }

    #[test]
    fn a_guest_cannot_write_to_the_terminal_beyond_its_text() {
        let line = Line::parse(Duration::ZERO, "[vm0] \x1b[2Jhello\x07");
        assert_eq!(console::strip_ansi_codes(&line.shown(&["vm0".to_owned()])), "vm0 │ hello");
    }

    #[test]
    fn bytes_in_any_cut_become_the_same_lines() {
        let bytes = b"one\r\ntwo\nthree";
        for cut in 0..bytes.len() {
            let mut lines = Vec::new();
            let mut splitter = Splitter::default();
            splitter.feed(&bytes[..cut], |line| lines.push(line.to_owned()));
            splitter.feed(&bytes[cut..], |line| lines.push(line.to_owned()));
            splitter.finish(|line| lines.push(line.to_owned()));
            assert_eq!(lines, ["one\r", "two", "three"], "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut count = 0;
        Splitter::default().feed(&vec![b'x'; Splitter::LONGEST * 2 + 1], |_| count += 1);
        assert_eq!(count, 2);
    }
}
