//! What is printed: lines of the guests and records of the VMM, on one console.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use vmm_common::console::{Console, Sink, Writer};
use vmm_common::vm::{Admission, Limited};

/// Where console and records go. Clones are the same console.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    console: Arc<Mutex<Console<Buffer>>>,
    started: Instant,
}

/// What is to be written next.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    /// Everything is kept, for tests; nothing is written.
    kept: bool,
}

impl Sink for Buffer {
    fn put(&mut self, byte: u8) {
        self.bytes.push(byte);
    }
}

impl Output {
    /// The standard output.
    pub(crate) fn new() -> Self {
        Self::with(Buffer { bytes: Vec::new(), kept: false })
    }

    fn with(buffer: Buffer) -> Self {
        Self { console: Arc::new(Mutex::new(Console::new(buffer))), started: Instant::now() }
    }

    /// A console that is kept.
    #[cfg(test)]
    pub(crate) fn kept() -> Self {
        Self::with(Buffer { bytes: Vec::new(), kept: true })
    }

    /// What was written so far, with plain line feeds.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().sink().bytes).replace("\r\n", "\n")
    }

    /// Milliseconds since the program was started.
    pub(crate) fn uptime_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    /// Prints a line of the VMM itself.
    pub(crate) fn vmm(&self, line: fmt::Arguments<'_>) {
        self.write(Writer::Vmm, crossvm_manifest::VMM_NAME, format!("{line}\n").as_bytes());
    }

    /// Prints what the VM of this number and name has written: see [`vmm_common::console::LineBuffer`].
    pub(crate) fn guest(&self, vm: u8, name: &str, text: &[u8]) {
        self.write(Writer::Vm(vm), name, text);
    }

    /// Prints `line`, or once that no more `what` of `vm` are shown, or nothing.
    pub(crate) fn limited(&self, limit: &mut Limited, vm: &str, what: &str, line: fmt::Arguments<'_>) {
        match limit.admit() {
            Admission::Line => self.vmm(line),
            Admission::Last => self.vmm(format_args!("{vm}: more {what} of this VM are not shown")),
            Admission::Nothing => {}
        }
    }

    fn write(&self, writer: Writer, name: &str, text: &[u8]) {
        let mut console = self.lock();
        console.write(writer, name, text);
        let buffer = console.sink_mut();
        if !buffer.kept {
            let bytes = std::mem::take(&mut buffer.bytes);
            let mut out = std::io::stdout().lock();
            // Nobody is left to be told where the console is gone.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
    }

    /// A thread that has panicked may have left half a line.
    fn lock(&self) -> MutexGuard<'_, Console<Buffer>> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_writer_in_front() {
        let output = Output::kept();
        output.guest(0, "vm0", b"hel");
        output.vmm(format_args!("record=start"));
        output.guest(0, "vm0", b"lo\n");
        assert_eq!(output.text(), "[vm0] hel\n[vmm] record=start\n[vm0] lo\n");
    }

    #[test]
    fn what_a_guest_causes_has_an_end() {
        let output = Output::kept();
        let mut limit = Limited::new(2);
        for _ in 0..5 {
            output.limited(&mut limit, "vm0", "lines", format_args!("vm0: x"));
        }
        assert_eq!(output.text(), "[vmm] vm0: x\n[vmm] vm0: more lines of this VM are not shown\n");
    }
}
