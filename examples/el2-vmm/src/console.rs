//! One console for many guests.
//!
//! Each line that a guest writes is printed whole, with the VM's name before it. A line without an end is printed in pieces of
//! [`LINE`] bytes. Once somebody has typed to a guest, what it writes is shown at once, so that its prompt and echo appear.
//!
//! Typed characters go to the guest with the focus, at first the first one. Ctrl-A and a digit moves the focus to the VM of that
//! number, Ctrl-A twice types one Ctrl-A.

use heapless::Vec;

/// Longest piece of a line in bytes.
pub const LINE: usize = 1024;

/// Gathers what one guest writes into lines.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8, LINE>,
    mode: Flush,
}

/// When what a guest has written is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// At the end of each line.
    #[default]
    Lines,
    /// At once.
    Bytes,
}

impl LineBuffer {
    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), mode: Flush::Lines }
    }

    /// Changes when what is written is shown.
    pub fn set_flush(&mut self, mode: Flush) {
        self.mode = mode;
    }

    /// The guest writes `byte`. Calls `show` with what is to be shown now: a whole line with its line feed, or a piece of one.
    pub fn write(&mut self, byte: u8, show: impl FnOnce(&[u8])) {
        // The console's own lines end in CR LF: a guest's carriage returns would only overwrite the name.
        if byte == b'\r' {
            return;
        }
        // There is room: a full buffer was shown and cleared below.
        let _ = self.bytes.push(byte);
        if byte == b'\n' || self.bytes.is_full() || self.mode == Flush::Bytes {
            self.flush(show);
        }
    }

    /// Shows what is left.
    pub fn flush(&mut self, show: impl FnOnce(&[u8])) {
        if !self.bytes.is_empty() {
            show(&self.bytes);
            self.bytes.clear();
        }
    }
}

/// Where characters go to: a serial port.
pub trait Sink {
    /// Transmits a byte.
    fn put(&mut self, byte: u8);
}

/// The shared console. Put it behind a lock.
#[derive(Debug)]
pub struct Console<S> {
    sink: S,
    /// Whose line is begun and not ended: [`None`] at the start of a line.
    open: Option<Writer>,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The VMM itself.
    Vmm,
    /// The VM of this number.
    Vm(u8),
}

impl<S: Sink> Console<S> {
    /// A console at the start of a line.
    pub const fn new(sink: S) -> Self {
        Self { sink, open: None }
    }

    /// Writes `text` of `writer`, with `[name] ` before each line that it begins. Another writer's open line is ended first.
    pub fn write(&mut self, writer: Writer, name: &str, text: &[u8]) {
        if self.open.is_some_and(|open| open != writer) {
            self.end_line();
        }
        for byte in text {
            if *byte == b'\n' {
                // An empty line has its name too.
                self.begin_line(writer, name);
                self.end_line();
            } else {
                self.begin_line(writer, name);
                self.sink.put(*byte);
            }
        }
    }

    fn begin_line(&mut self, writer: Writer, name: &str) {
        if self.open.is_none() {
            self.open = Some(writer);
            self.sink.put(b'[');
            name.bytes().for_each(|byte| self.sink.put(byte));
            self.sink.put(b']');
            self.sink.put(b' ');
        }
    }

    fn end_line(&mut self) {
        self.sink.put(b'\r');
        self.sink.put(b'\n');
        self.open = None;
    }
}

/// Prints for one writer through the console, as [`core::fmt`] wants it.
#[derive(Debug)]
pub struct Lines<'a, S> {
    /// The console.
    pub console: &'a mut Console<S>,
    /// The writer.
    pub writer: Writer,
    /// Its name.
    pub name: &'a str,
}

impl<S: Sink> core::fmt::Write for Lines<'_, S> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.console.write(self.writer, self.name, text.as_bytes());
        Ok(())
    }
}

/// Who gets what is typed.
#[derive(Debug, Default)]
pub struct Focus {
    vm: u8,
    escaped: bool,
}

const CTRL_A: u8 = 0x01;

/// What a typed character means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It is for the VM of this number.
    For {
        /// The VM.
        vm: u8,
        /// The character.
        byte: u8,
    },
    /// The focus has moved to the VM of this number.
    Moved(u8),
    /// Nothing yet, or nothing at all.
    Nothing,
}

impl Focus {
    /// The first VM has the focus.
    #[must_use]
    pub const fn new() -> Self {
        Self { vm: 0, escaped: false }
    }

    /// Somebody types `byte`; there are `vms` VMs.
    pub fn typed(&mut self, byte: u8, vms: u8) -> Typed {
        if !core::mem::take(&mut self.escaped) {
            if byte == CTRL_A {
                self.escaped = true;
                return Typed::Nothing;
            }
            return Typed::For { vm: self.vm, byte };
        }
        match byte {
            CTRL_A => Typed::For { vm: self.vm, byte },
            b'0'..=b'9' => {
                let vm = byte.saturating_sub(b'0');
                if vm < vms {
                    self.vm = vm;
                    Typed::Moved(vm)
                } else {
                    Typed::Nothing
                }
            }
            _ => Typed::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    impl Sink for Vec<u8> {
        fn put(&mut self, byte: u8) {
            self.push(byte);
        }
    }

    /// Two guests behind one console.
    struct Two {
        console: Console<Vec<u8>>,
        buffers: [LineBuffer; 2],
    }

    impl Two {
        fn new() -> Self {
            Self { console: Console::new(Vec::new()), buffers: [LineBuffer::new(), LineBuffer::new()] }
        }

        fn write(&mut self, vm: u8, text: &str) {
            let name = ["a", "b"][usize::from(vm)];
            for byte in text.bytes() {
                self.buffers[usize::from(vm)].write(byte, |text| self.console.write(Writer::Vm(vm), name, text));
            }
        }

        fn shown(&self) -> String {
            String::from_utf8(self.console.sink.clone()).unwrap().replace("\r\n", "|")
        }
    }

    #[test]
    fn lines_of_two_guests_never_mix() {
        let mut two = Two::new();
        two.write(0, "hel");
        two.write(1, "good\r\n\nbye");
        two.write(0, "lo\nx");
        assert_eq!(two.shown(), "[b] good|[b] |[a] hello|");
    }

    #[test]
    fn a_line_without_end_is_shown_in_pieces() {
        let mut two = Two::new();
        two.write(0, &"x".repeat(LINE + 5));
        assert_eq!(two.shown(), std::format!("[a] {}", "x".repeat(LINE)));
        two.write(1, "other\n");
        two.write(0, "y\n");
        assert_eq!(two.shown(), std::format!("[a] {}|[b] other|[a] xxxxxy|", "x".repeat(LINE)));
    }

    #[test]
    fn a_prompt_appears_once_somebody_types() {
        let mut two = Two::new();
        two.buffers[0].set_flush(Flush::Bytes);
        two.write(0, "/ # ls\nfile\n");
        two.write(0, "/ # ");
        two.write(1, "news\n");
        assert_eq!(two.shown(), "[a] / # ls|[a] file|[a] / # |[b] news|");
    }

    #[test]
    fn ctrl_a_moves_the_focus() {
        let mut focus = Focus::new();
        let typed: Vec<Typed> = b"x\x011y\x01\x01\x019z\x01q\x010w".iter().map(|byte| focus.typed(*byte, 2)).collect();
        let [to0, to1] = [0, 1].map(|vm| move |byte| Typed::For { vm, byte });
        let nothing = Typed::Nothing;
        let expected = [
            to0(b'x'),
            nothing,
            Typed::Moved(1),
            to1(b'y'),
            nothing,
            to1(1),
            nothing,
            nothing,
            to1(b'z'),
            nothing,
            nothing,
            nothing,
            Typed::Moved(0),
            to0(b'w'),
        ];
        assert_eq!(typed, expected);
    }
}
