//! Answers each line reversed.

use core::sync::atomic::{AtomicU8, Ordering};

use crossvm_core::{EventSet, Notifier};
use heapless::Vec;

use super::{Component, Port};
use crate::host::{HostAddr, HostRange};
use crate::platform::Platform;

/// Most connections of one component: one for each event id.
const MAX_PORTS: usize = crossvm_core::EventId::COUNT;

/// On each event takes the line at offset 0 of the dataport, up to its line feed or the dataport's middle, writes it reversed, with a
/// line feed, from the middle on, and emits.
#[derive(Debug)]
pub struct Reverse<P> {
    ports: Vec<Port<P>, MAX_PORTS>,
}

impl<P: Platform> Reverse<P> {
    /// A component with these ends; more than 64 are left out.
    pub fn new(ports: impl IntoIterator<Item = Port<P>>) -> Self {
        Self { ports: ports.into_iter().take(MAX_PORTS).collect() }
    }
}

impl<P: Platform> Component<P> for Reverse<P> {
    fn consume(&mut self, events: EventSet, platform: P) {
        for port in self.ports.iter_mut().filter(|port| events.contains(port.event)) {
            port.received = port.received.saturating_add(1);
            let memory = port.dataport.memory();
            let bytes = memory.bytes();
            let (question, answer) = bytes.split_at_checked(bytes.len() / 2).unwrap_or_default();
            // The guest may have the dataport mapped past the caches.
            platform.clean_and_invalidate(memory.range());
            reverse(question, answer);
            if let Some(range) = second_half(memory.range()) {
                platform.clean(range);
            }
            if port.emit.notify().is_ok() {
                port.emitted = port.emitted.saturating_add(1);
            }
        }
    }

    fn ports(&self) -> &[Port<P>] {
        &self.ports
    }
}

/// Writes the line at the start of `question` reversed to `answer`, which is at least as long, and a line feed behind it. The line is
/// as long as the first line feed says, wherever a hostile guest moves it afterwards.
fn reverse(question: &[AtomicU8], answer: &[AtomicU8]) {
    // One place of the answer is for its line feed.
    let longest = question.len().min(answer.len().saturating_sub(1));
    let line = question.iter().take(longest).position(|byte| byte.load(Ordering::Relaxed) == b'\n').unwrap_or(longest);
    let reversed = question.iter().take(line).rev().map(|byte| byte.load(Ordering::Relaxed));
    for (to, from) in answer.iter().zip(reversed.chain([b'\n'])) {
        to.store(from, Ordering::Relaxed);
    }
}

fn second_half(range: HostRange) -> Option<HostRange> {
    let half = range.size() / 2;
    HostRange::new(HostAddr::new(range.start().get().checked_add(half)?), range.size().checked_sub(half)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Seat;
    use crate::dataport::SharedMemory;
    use crate::host::CpuId;
    use crate::host::tests::memory;
    use crate::mail::{Mailbox, Notify};
    use crate::platform::tests::Recorder;
    use crossvm_core::EventId;
    use std::boxed::Box;
    use std::vec::Vec;

    fn answer_to(question: &[u8], size: usize) -> Vec<u8> {
        let cells: Vec<AtomicU8> = question.iter().copied().chain(core::iter::repeat(0x55)).take(size).map(AtomicU8::new).collect();
        let (question, answer) = cells.split_at(size / 2);
        reverse(question, answer);
        answer.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn lines_are_reversed_within_their_half() {
        assert!(answer_to(b"hello\nworld", 64).starts_with(b"olleh\n\x55"));
        assert!(answer_to(b"\n", 64).starts_with(b"\n\x55"));
        // Without a line feed: as much as leaves room for one.
        assert_eq!(answer_to(b"abcd", 8), b"cba\n");
        assert_eq!(answer_to(b"", 0), b"");
        assert_eq!(answer_to(b"a", 1), b"\n", "the half of one byte is none");
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
        let name = heapless::String::try_from("reverse").unwrap();
        let port =
            Port { name: name.clone(), event: ids[0], dataport, emit: Notify::new(guest, ids[1], platform), received: 0, emitted: 0 };
        let seat = Seat::new(name, own, Box::leak(Box::new(Reverse::new([port]))));

        seat.serve(platform);
        assert!(guest.take().is_empty(), "nobody has asked");
        for (cell, byte) in dataport.memory().bytes().iter().zip(b"abc\n") {
            cell.store(*byte, Ordering::Relaxed);
        }
        Notify::new(own, ids[0], platform).notify().unwrap();
        seat.serve(platform);
        seat.serve(platform);
        assert_eq!(guest.take(), EventSet::of(ids[1]));
        let answer: Vec<u8> = dataport.memory().bytes()[2048..2052].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        assert_eq!(answer, b"cba\n");
        guest.close();
        Notify::new(own, ids[0], platform).notify().unwrap();
        seat.serve(platform);
        seat.report(platform);
        assert_eq!(platform.printed(), ["record=component name=reverse connection=reverse received=2 emitted=1"]);
    }
}
