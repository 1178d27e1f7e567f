//! What `ping` and `bench` (end A) and `pong` (end B) say to each other. A session consists of any number of runs:
//!
//! ```text
//!   A                              B
//!    │ BEGIN    mode, size          │
//!    │ message  number, pattern  ─▶ │   ECHO: it comes back as it is; SINK: it does not
//!    │ ...                          │
//!    │ an empty message          ─▶ │
//!    │                           ◀─ │ DONE   messages, doorbells and sleeps of this run
//! ```
//!
//! Messages of a run have all the same length, and are numbered from 0. BEGIN and DONE begin with 8 bytes: a word of four letters, then zeros. Numbers
//! are little endian and have 64 bits. Who is through may close in the middle of a run.

use crossvm_guest::channel::Statistics;

use crate::talk::{Ended, Talk};

/// The shortest message of a run: its number.
pub(crate) const SHORTEST: usize = size_of::<u64>();

/// What becomes of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They come back.
    Echo,
    /// They do not.
    Sink,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Echo, Self::Sink];

    const fn word(self) -> [u8; 8] {
        match self {
            Self::Echo => *b"echo\0\0\0\0",
            Self::Sink => *b"sink\0\0\0\0",
        }
    }
}

/// The numbers of a message that begins with `word`.
fn parse<const N: usize>(message: &[u8], word: [u8; 8]) -> Option<[u64; N]> {
    let (chunks, rest) = message.strip_prefix(&word)?.as_chunks();
    let chunks: &[[u8; 8]; N] = chunks.try_into().ok()?;
    rest.is_empty().then(|| chunks.map(u64::from_le_bytes))
}

fn message<const N: usize>(word: [u8; 8], numbers: impl IntoIterator<Item = u64>) -> [u8; N] {
    let mut message = [0; N];
    let parts = word.into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes));
    message.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    message
}

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) mode: Mode,
    /// Length of each message in bytes.
    pub(crate) size: usize,
}

impl Begin {
    pub(crate) fn message(self) -> [u8; 16] {
        message(self.mode.word(), [self.size as u64])
    }

    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        Mode::ALL.into_iter().find_map(|mode| {
            let [size] = parse(message, mode.word())?;
            let size = usize::try_from(size).ok().filter(|size| *size >= SHORTEST)?;
            Some(Self { mode, size })
        })
    }
}

/// How it ends: what the end B says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) messages: u64,
    pub(crate) doorbells: u64,
    pub(crate) sleeps: u64,
}

impl Done {
    const WORD: [u8; 8] = *b"done\0\0\0\0";

    /// Of a run of so many messages, with what stood in the statistics before it and after it.
    pub(crate) const fn of(messages: u64, before: &Statistics, after: &Statistics) -> Self {
        Self {
            messages,
            doorbells: after.doorbells().saturating_sub(before.doorbells()),
            sleeps: after.sleeps.saturating_sub(before.sleeps),
        }
    }

    pub(crate) fn message(self) -> [u8; 32] {
        message(Self::WORD, [self.messages, self.doorbells, self.sleeps])
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let [messages, doorbells, sleeps] = parse(message, Self::WORD)?;
        Some(Self { messages, doorbells, sleeps })
    }
}

/// A run, as the end A sees it.
#[derive(Debug)]
pub(crate) struct Run {
    /// The message that was sent last.
    message: Vec<u8>,
    answer: Vec<u8>,
    sent: u64,
}

impl Run {
    /// Begins one. The only call of a run that allocates.
    pub(crate) fn begin(talk: &mut Talk<'_, '_>, begin: Begin) -> Result<Self, Ended> {
        talk.send(&begin.message())?;
        Ok(Self { message: vec![0; begin.size], answer: vec![0; talk.max_message()], sent: 0 })
    }

    /// How many messages were sent.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Makes the next message of a run of the mode ECHO, another one than all before.
    pub(crate) fn prepare(&mut self) {
        fill(&mut self.message, self.sent);
    }

    /// Sends the message that was prepared, and gets the answer, which is not looked at yet.
    #[inline]
    pub(crate) fn ask(&mut self, talk: &mut Talk<'_, '_>) -> Result<Answer, Ended> {
        talk.send(&self.message)?;
        self.sent = self.sent.saturating_add(1);
        Ok(Answer { length: talk.recv(&mut self.answer)?.len() })
    }

    /// Whether the answer is the message.
    pub(crate) fn check(&self, answer: Answer) -> Result<(), Ended> {
        if self.answer.get(..answer.length) == Some(&*self.message) {
            return Ok(());
        }
        let (number, size) = (self.sent.saturating_sub(1), self.message.len());
        Err(Ended::nonsense(match answer.length {
            length if length == size => format!("the answer to message {number} is not what was sent"),
            length => format!("the answer to message {number} has {length} bytes instead of {size}"),
        }))
    }

    /// Pushes the next message of a run of the mode SINK.
    #[inline]
    pub(crate) fn push(&mut self, talk: &mut Talk<'_, '_>) -> Result<(), Ended> {
        write_number(&mut self.message, self.sent);
        talk.push(&self.message)?;
        self.sent = self.sent.saturating_add(1);
        Ok(())
    }

    /// Ends it, and waits until the other end has had all of it.
    pub(crate) fn end(mut self, talk: &mut Talk<'_, '_>) -> Result<Done, Ended> {
        talk.send(&[])?;
        let done = Done::parse(talk.recv(&mut self.answer)?).ok_or_else(|| Ended::nonsense("a run does not end as it should"))?;
        match done.messages {
            messages if messages == self.sent => Ok(done),
            messages => Err(Ended::nonsense(format!("{} messages were sent, and it has received {messages}", self.sent))),
        }
    }
}

/// An answer that nobody has looked at yet.
#[derive(Debug)]
#[must_use]
pub(crate) struct Answer {
    length: usize,
}

/// The number of a message.
pub(crate) fn number(message: &[u8]) -> Option<u64> {
    message.first_chunk().map(|number| u64::from_le_bytes(*number))
}

fn write_number(message: &mut [u8], number: u64) {
    if let Some(place) = message.first_chunk_mut() {
        *place = number.to_le_bytes();
    }
}

/// Writes message `number`: in each byte it differs from the one before it, and from the one that lies next to it.
fn fill(message: &mut [u8], number: u64) {
    let [first, ..] = number.to_le_bytes();
    for (byte, place) in message.iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = place.wrapping_mul(3).wrapping_add(first);
    }
    write_number(message, number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_and_an_end_are_read_as_they_were_written_and_nothing_else_is() {
        for mode in Mode::ALL {
            let begin = Begin { mode, size: 4096 };
            assert_eq!(Begin::parse(&begin.message()), Some(begin));
        }
        let done = Done { messages: 1, doorbells: 2, sleeps: u64::MAX };
        assert_eq!(Done::parse(&done.message()), Some(done));
        let short = Begin { mode: Mode::Echo, size: SHORTEST - 1 }.message();
        for bad in [&[][..], b"echo", b"echo\0\0\0\0", b"ECHO\0\0\0\0\x08\0\0\0\0\0\0\0", &short, &done.message()] {
            assert_eq!(Begin::parse(bad), None, "{bad:?}");
        }
        let long: Vec<_> = done.message().into_iter().chain([0]).collect();
        for bad in [&done.message()[..31], &long, &Begin { mode: Mode::Sink, size: 8 }.message()] {
            assert_eq!(Done::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn each_message_differs_from_the_one_before_in_all_of_its_pattern() {
        let [mut old, mut new] = [[0; 300], [0; 300]];
        fill(&mut old, 255);
        fill(&mut new, 256);
        assert_eq!((number(&old), number(&new)), (Some(255), Some(256)));
        assert!(old[SHORTEST..].iter().zip(&new[SHORTEST..]).all(|(old, new)| old != new));
        assert_eq!(number(&new[..SHORTEST - 1]), None);
    }
}
