//! One console for many guests.
//!
//! Each line that a guest writes is printed whole, with the VM's name before it. A line without an end is printed in pieces of
//! [`LINE`] bytes. Once somebody has typed to a guest, what it writes is shown at once, so that its prompt and echo appear.
//!
//! What would do more than write on a terminal, escape sequences above all, is shown as `\x1b` until somebody has typed to the guest: a guest
//! cannot draw a line that looks like another's.
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
    /// Of a character in UTF-8, what has come so far.
    character: Vec<u8, 4>,
    mode: Flush,
}

/// When what a guest has written is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flush {
    /// At the end of each line. Control characters but tab, and what is not UTF-8, are shown by their numbers.
    #[default]
    Lines,
    /// At once, and as it is: for a person at a terminal.
    Bytes,
}

impl LineBuffer {
    /// Nothing written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), character: Vec::new(), mode: Flush::Lines }
    }

    /// Changes when what is written is shown.
    pub fn set_flush(&mut self, mode: Flush) {
        self.mode = mode;
    }

    /// The guest writes `byte`. Calls `show` with what is to be shown now: a whole line with its line feed, or a piece of one.
    pub fn write(&mut self, byte: u8, mut show: impl FnMut(&[u8])) {
        // The console's own lines end in CR LF: a guest's carriage returns would only overwrite the name.
        if byte == b'\r' {
            return;
        }
        match self.mode {
            Flush::Bytes => {
                self.give_up_character(&mut show);
                self.put(&[byte], &mut show);
            }
            Flush::Lines => self.gather(byte, &mut show),
        }
        if byte == b'\n' || self.bytes.is_full() || self.mode == Flush::Bytes {
            self.show_all(&mut show);
        }
    }

    /// Shows what is left.
    pub fn flush(&mut self, mut show: impl FnMut(&[u8])) {
        self.give_up_character(&mut show);
        self.show_all(&mut show);
    }

    /// Puts characters of UTF-8 together, of which `byte` is the next.
    fn gather(&mut self, byte: u8, show: &mut impl FnMut(&[u8])) {
        if continues(&self.character, byte) {
            // There is room: no character has more than four bytes.
            let _ = self.character.push(byte);
        } else {
            self.give_up_character(show);
            if !continues(&[], byte) {
                return self.put_number(byte, show);
            }
            let _ = self.character.push(byte);
        }
        let character = self.character.clone();
        let Some(first) = core::str::from_utf8(&character).ok().and_then(|text| text.chars().next()) else { return };
        if first == '\n' || is_harmless(first) {
            self.put(&character, show);
            self.character.clear();
        } else {
            self.give_up_character(show);
        }
    }

    /// Shows a character that is none, or that must not be shown as it is, by its bytes.
    fn give_up_character(&mut self, show: &mut impl FnMut(&[u8])) {
        for byte in core::mem::take(&mut self.character) {
            self.put_number(byte, show);
        }
    }

    fn put_number(&mut self, byte: u8, show: &mut impl FnMut(&[u8])) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value & 0xf)).copied().unwrap_or(b'?');
        self.put(&[b'\\', b'x', digit(byte >> 4), digit(byte)], show);
    }

    /// Adds to what is shown, all of it in one piece.
    fn put(&mut self, text: &[u8], show: &mut impl FnMut(&[u8])) {
        if self.bytes.extend_from_slice(text).is_err() {
            self.show_all(show);
            // No text is as long as a piece.
            let _ = self.bytes.extend_from_slice(text);
        }
    }

    fn show_all(&mut self, show: &mut impl FnMut(&[u8])) {
        if !self.bytes.is_empty() {
            show(&self.bytes);
            self.bytes.clear();
        }
    }
}

/// Whether `byte` may come after `begun`, the begin of a character in UTF-8, or nothing.
fn continues(begun: &[u8], byte: u8) -> bool {
    let mut bytes: Vec<u8, 4> = Vec::new();
    if bytes.extend_from_slice(begun).is_err() || bytes.push(byte).is_err() {
        return false;
    }
    // No length: more bytes may make it a character.
    core::str::from_utf8(&bytes).map_or_else(|error| error.error_len().is_none(), |text| text.chars().count() == 1)
}

/// Whether a character stays on its line, and in its place: no control character, and none that ends a line or turns its direction.
fn is_harmless(character: char) -> bool {
    character == '\t' || !(character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
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

    /// Where the characters go to.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    /// Where the characters go to.
    pub const fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
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

    /// What one guest has shown that wrote these bytes.
    fn shown(mode: Flush, text: &[u8]) -> Vec<u8> {
        let (mut buffer, mut shown) = (LineBuffer::new(), Vec::new());
        buffer.set_flush(mode);
        text.iter().for_each(|byte| buffer.write(*byte, |text| shown.extend_from_slice(text)));
        buffer.flush(|text| shown.extend_from_slice(text));
        shown
    }

    #[test]
    fn a_guest_cannot_draw_the_line_of_another() {
        for (text, expected) in [
            (&b"a\x1b[2K\x1b[1G[vmm] record=end\n"[..], &br"a\x1b[2K\x1b[1G[vmm] record=end"[..]),
            (b"a\tb\x08\x0b\x0c\0\x7f\n", b"a\tb\\x08\\x0b\\x0c\\x00\\x7f"),
            // C1 controls, alone and as characters; NEL is one.
            (b"\x85\x9b2K\n", br"\x85\x9b2K"),
            ("\u{85}\u{9b}2K\n".as_bytes(), br"\xc2\x85\xc2\x9b2K"),
            // Separators of lines, and what turns the direction.
            ("\u{2028}\u{202e}\u{2066}\n".as_bytes(), br"\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6"),
            // What is text stays.
            ("gr\u{fc}n \u{20ac} \u{1f600}\n".as_bytes(), "gr\u{fc}n \u{20ac} \u{1f600}".as_bytes()),
            // A character that breaks off, and one that begins where another breaks off.
            (b"\xe2\x82x\xe2\xc3\xbc\xf0\x9f\n", b"\\xe2\\x82x\\xe2\xc3\xbc\\xf0\\x9f"),
            (b"\xff\xc0\x80\xed\xa0\x80\n", br"\xff\xc0\x80\xed\xa0\x80"),
        ] {
            assert_eq!(shown(Flush::Lines, text), [expected, b"\n"].concat(), "{}", text.escape_ascii());
        }
        assert_eq!(shown(Flush::Lines, b"\xe2\x82"), br"\xe2\x82", "nothing is left behind");
        assert_eq!(shown(Flush::Bytes, b"\x1b[1m\x85\xe2\n"), b"\x1b[1m\x85\xe2\n", "whoever types has a terminal");
    }

    #[test]
    fn whatever_a_guest_writes_is_text_of_harmless_characters() {
        let mut state = 1u32;
        let noise: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let text = String::from_utf8(shown(Flush::Lines, &noise)).unwrap();
        assert!(text.chars().all(|character| character == '\n' || is_harmless(character)));
        assert_eq!(text.matches('\n').count(), noise.iter().filter(|byte| **byte == b'\n').count());
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
