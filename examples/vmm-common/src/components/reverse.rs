//! Answers each line reversed.

use core::sync::atomic::{AtomicU8, Ordering};

use super::memory::part;
use crate::config::Memories;
use crate::host::PhysicalMemory;
use crate::platform::Caches;

/// How many bytes are fetched from memory at once while the end of a line is looked for: some cache lines.
const STEP: usize = 512;

/// On each event takes the line at offset 0 of the first dataport, up to its line feed or the dataport's middle, and writes it reversed, with
/// a line feed, from the middle on.
pub(super) fn work<C: Caches>(dataports: &Memories, _received: u64, caches: C) {
    if let Some(memory) = dataports.first() {
        answer(memory, caches);
    }
}

/// Writes the line at the start of `memory` reversed to its middle, and a line feed behind it.
///
/// The guest may have the memory mapped past the caches: what is read is dropped from them first, and what was written is written back.
/// This is done for the bytes in question alone, so that a short line costs little, however large the dataport is.
fn answer<C: Caches>(memory: &PhysicalMemory, caches: C) {
    let bytes = memory.bytes();
    let middle = bytes.len() / 2;
    let (question, answer) = bytes.split_at_checked(middle).unwrap_or_default();
    // One place of the answer is for its line feed.
    let longest = question.len().min(answer.len().saturating_sub(1));
    let question = question.get(..longest).unwrap_or_default();
    let line = line(question, |start, length| {
        if let Some(range) = part(memory.range(), start, length) {
            caches.clean_and_invalidate(range);
        }
    });
    let written = part(memory.range(), middle, line.len().saturating_add(1));
    // The cache line in which the answer ends has bytes behind it, which are written back with it: they must be the guest's latest.
    if let Some(range) = written {
        caches.clean_and_invalidate(range);
    }
    reverse(line, answer);
    if let Some(range) = written {
        caches.clean(range);
    }
}

/// The line at the start of `question`, without its line feed; all of `question` where there is none. Before bytes are read, `fetch` is
/// called with their place and number.
fn line(question: &[AtomicU8], mut fetch: impl FnMut(usize, usize)) -> &[AtomicU8] {
    let mut length = 0usize;
    for step in question.chunks(STEP) {
        fetch(length, step.len());
        let end = step.iter().position(|byte| byte.load(Ordering::Relaxed) == b'\n');
        length = length.saturating_add(end.unwrap_or(step.len()));
        if end.is_some() {
            break;
        }
    }
    question.get(..length).unwrap_or_default()
}

/// Writes `line` reversed to `answer`, which is longer, and a line feed behind it. The length is that found before, whatever a hostile
/// guest writes to the line afterwards.
fn reverse(line: &[AtomicU8], answer: &[AtomicU8]) {
    let reversed = line.iter().rev().map(|byte| byte.load(Ordering::Relaxed));
    for (to, from) in answer.iter().zip(reversed.chain([b'\n'])) {
        to.store(from, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::{Component, Port, Seat};
    use crate::dataport::SharedMemory;
    use crate::host::tests::memory;
    use crate::host::{CpuId, HostAddr, HostRange};
    use crate::mail::{Mailbox, Notify};
    use crate::platform::tests::Recorder;
    use crate::platform::{Platform, Text};
    use crossvm_core::{EventId, Notifier};
    use crossvm_manifest::ComponentKind;
    use std::boxed::Box;
    use std::sync::Mutex;
    use std::vec::Vec;

    /// What was done, in order, as places in the dataport.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Done {
        Fetched { start: u64, length: u64 },
        WrittenBack { start: u64, length: u64 },
    }

    /// A platform that notes cache maintenance of the dataport.
    #[derive(Debug, Clone, Copy)]
    struct Noted(HostAddr, &'static Mutex<Vec<Done>>);

    impl Platform for Noted {
        type Memory = <Recorder as Platform>::Memory;
        type Dataport = &'static SharedMemory;

        fn clean(&self, range: HostRange) {
            let start = range.start().get() - self.0.get();
            self.1.lock().unwrap().push(Done::WrittenBack { start, length: range.size() });
        }

        fn clean_and_invalidate(&self, range: HostRange) {
            let start = range.start().get() - self.0.get();
            self.1.lock().unwrap().push(Done::Fetched { start, length: range.size() });
        }

        fn barrier(&self) {}
        fn kick(&self, _cpu: CpuId) {}
        fn print(&self, _text: Text<'_>) {}
        fn uptime_ms(&self) -> u64 {
            0
        }
    }

    /// The second half of a dataport of `size` bytes with `question` at its start, and what was done to the caches.
    fn ask(question: &[u8], size: u64) -> (Vec<u8>, Vec<Done>) {
        let memory = memory(size);
        for (cell, byte) in memory.bytes().iter().zip(question.iter().copied().chain(core::iter::repeat(0x55))) {
            cell.store(byte, Ordering::Relaxed);
        }
        let done: &'static Mutex<Vec<Done>> = Box::leak(Box::default());
        answer(&memory, Noted(memory.range().start(), done));
        let bytes = memory.bytes();
        let half = bytes[bytes.len() / 2..].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        (half, done.lock().unwrap().clone())
    }

    fn answer_to(question: &[u8], size: u64) -> Vec<u8> {
        ask(question, size).0
    }

    #[test]
    fn lines_are_reversed_within_their_half() {
        assert!(answer_to(b"hello\nworld", 64).starts_with(b"olleh\n\x55"));
        assert!(answer_to(b"\n", 64).starts_with(b"\n\x55"));
        // Without a line feed: as much as leaves room for one.
        assert_eq!(answer_to(b"abcd", 8), b"cba\n");
        assert_eq!(answer_to(b"a", 1), b"\n", "the half of one byte is none");
        // The line feed at either side of a step's end.
        for length in [STEP - 1, STEP, STEP + 1, 2 * STEP] {
            let line: Vec<u8> = (b'0'..=b'9').cycle().take(length).collect();
            let expected: Vec<u8> = line.iter().rev().copied().chain(*b"\n\x55").collect();
            assert!(answer_to(&[&line[..], b"\n"].concat(), 8192).starts_with(&expected), "{length} bytes");
        }
    }

    #[test]
    fn the_caches_are_maintained_where_the_line_and_the_answer_are_and_nowhere_else() {
        let step = STEP as u64;
        let fetched = |start, length| Done::Fetched { start, length };
        assert_eq!(
            ask(b"abc\n", 8192).1,
            [fetched(0, step), fetched(4096, 4), Done::WrittenBack { start: 4096, length: 4 }],
            "one step for a short line"
        );
        let long = [&[b'x'; STEP][..], b"\n"].concat();
        assert_eq!(
            ask(&long, 8192).1,
            [fetched(0, step), fetched(step, step), fetched(4096, step + 1), Done::WrittenBack { start: 4096, length: step + 1 }]
        );
        // No line feed: all of the first half but the place that the answer's line feed takes.
        let (last, second) = (2047 - 3 * step, fetched(2048, 2048));
        assert_eq!(
            ask(b"", 4096).1,
            [
                fetched(0, step),
                fetched(step, step),
                fetched(2 * step, step),
                fetched(3 * step, last),
                second,
                Done::WrittenBack { start: 2048, length: 2048 }
            ]
        );
    }

    #[test]
    fn each_event_is_answered_once() {
        let platform = Recorder::new();
        let mailboxes: [&'static Mailbox; 2] =
            [Mailbox::for_vm(CpuId::BOOT), Mailbox::for_component()].map(|mailbox| &*Box::leak(Box::new(mailbox)));
        let [guest, own] = mailboxes;
        let ids = [4, 9].map(|bit| EventId::new(bit).unwrap());
        // SAFETY: fresh memory of this test.
        let dataport = unsafe { SharedMemory::new(memory(4096).range()) }.unwrap();
        let dataports = [dataport.memory()].into_iter().collect();
        let name = heapless::String::try_from("reverse").unwrap();
        let port =
            Port { name: name.clone(), event: ids[0], dataports, emit: Notify::new(guest, ids[1], platform), received: 0, emitted: 0 };
        let seat = Seat::new(name, own, Component::new(ComponentKind::Reverse, [port]));

        seat.serve(ids[0], platform);
        assert!(guest.take().is_empty(), "nobody has asked");
        for (cell, byte) in dataport.memory().bytes().iter().zip(b"abc\n") {
            cell.store(*byte, Ordering::Relaxed);
        }
        Notify::new(own, ids[0], platform).notify().unwrap();
        seat.serve(ids[0], platform);
        seat.serve(ids[0], platform);
        assert_eq!(guest.take().collect::<Vec<_>>(), [(ids[1], 1)]);
        let answer: Vec<u8> = dataport.memory().bytes()[2048..2052].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        assert_eq!(answer, b"cba\n");
        guest.close();
        Notify::new(own, ids[0], platform).notify().unwrap();
        seat.serve(ids[0], platform);
        seat.report(platform);
        assert_eq!(platform.printed(), ["record=component name=reverse connection=reverse received=2 emitted=1"]);
    }
}
