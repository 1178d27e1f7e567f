//! Two sides that may restart: how each learns that the other is a new one.
//!
//! What a dataport holds outlives a guest, and so does what one end knows about the other. A guest that has restarted finds what its
//! predecessor left; its peer finds that answers no longer come. So the two agree on a generation first, and use nothing that was left
//! by an older one. Each side has a slot of its own in the dataport, and writes to no other:
//!
//! ```text
//!   0    caller's slot    magic, generation, state          the side that starts, or starts again
//!   64   answerer's slot  magic, generation it has answered
//! ```
//!
//! The caller writes its generation, one more than that it finds in its slot, and emits; the answerer repeats it in its own slot, and
//! emits. From then on both know that the other means this generation: the caller's counter began at zero with its machine, the
//! answerer's is empty as it waited, and either side begins its protocols anew. A caller that goes on purpose says so before:
//! one that finds its slot still in use has crashed.

use crate::events::Spins;
use crate::link::{Shared, Turns};

/// First word of a slot in use.
const MAGIC: u32 = u32::from_le_bytes(*b"sess");
/// Length of a slot: a cache line of its own.
const SLOT: usize = 64;
const CALLER: usize = 0;
const ANSWERER: usize = SLOT;

/// How often a side has started; 1 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub(crate) u32);

/// Whether the caller is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    /// It has left on purpose.
    Left,
}

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    generation: Generation,
    state: State,
}

/// What the caller's predecessor has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// There was none.
    Nothing,
    /// It was this generation, and left on purpose.
    Left(Generation),
    /// It was this generation, and ended without a word.
    Crashed(Generation),
}

/// The slot at `offset`; `None` where nobody has written one.
fn read(dataport: &impl Shared, offset: usize) -> Result<Option<Slot>, String> {
    let mut bytes = [0; 12];
    dataport.read(offset, &mut bytes).map_err(|error| error.to_string())?;
    let (words, _) = bytes.as_chunks::<4>();
    let [magic, generation, state] = std::array::from_fn(|index| words.get(index).map_or(0, |word| u32::from_le_bytes(*word)));
    let slot = Slot { generation: Generation(generation), state: if state == 1 { State::Left } else { State::Up } };
    Ok((magic == MAGIC && generation != 0).then_some(slot))
}

fn write(dataport: &impl Shared, offset: usize, slot: Slot) -> Result<(), String> {
    let mut bytes = [0; 12];
    let words = [MAGIC, slot.generation.0, u32::from(slot.state == State::Left)];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    dataport.write(offset, &bytes).map_err(|error| error.to_string())
}

/// What the caller, just started, finds of its predecessor.
pub(crate) fn past(dataport: &impl Shared) -> Result<Past, String> {
    Ok(match read(dataport, CALLER)? {
        None => Past::Nothing,
        Some(Slot { generation, state: State::Left }) => Past::Left(generation),
        Some(Slot { generation, state: State::Up }) => Past::Crashed(generation),
    })
}

/// Announces `generation` to the answerer, and waits until that has understood.
pub(crate) fn call(dataport: &impl Shared, link: &mut impl Turns, generation: Generation) -> Result<(), String> {
    write(dataport, CALLER, Slot { generation, state: State::Up })?;
    link.emit()?;
    link.event(Spins::NONE, || format!("answer to the call of generation {}", generation.0))?;
    match read(dataport, ANSWERER)? {
        Some(answer) if answer.generation == generation => Ok(()),
        other => Err(format!("the answer to generation {} is for {:?}", generation.0, other.map(|slot| slot.generation))),
    }
}

/// Waits for the caller's `expected` generation, and answers it.
pub(crate) fn answer(dataport: &impl Shared, link: &mut impl Turns, expected: Generation) -> Result<(), String> {
    link.event(Spins::NONE, || format!("call of the peer's generation {}", expected.0))?;
    let called = read(dataport, CALLER)?.ok_or("an event, but no call in the dataport")?;
    if called != (Slot { generation: expected, state: State::Up }) {
        return Err(format!("the peer calls as {called:?} instead of generation {}", expected.0));
    }
    write(dataport, ANSWERER, called)?;
    link.emit()
}

/// The caller goes on purpose.
pub(crate) fn leave(dataport: &impl Shared, generation: Generation) -> Result<(), String> {
    write(dataport, CALLER, Slot { generation, state: State::Left })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::link::fake::{Memory, sides};

    fn meet(memory: &Memory, called: Generation, expected: Generation) -> (Result<(), String>, Result<(), String>) {
        let (mut first, mut second) = sides();
        thread::scope(|scope| {
            let answered = scope.spawn(move || answer(memory, &mut first, expected));
            let called = call(memory, &mut second, called);
            drop(second);
            (called, answered.join().unwrap())
        })
    }

    #[test]
    fn a_caller_that_left_is_a_new_one_when_it_comes_back() {
        let memory = Memory::new(4096);
        assert_eq!(past(&memory), Ok(Past::Nothing));
        assert_eq!(meet(&memory, Generation(1), Generation(1)), (Ok(()), Ok(())));
        leave(&memory, Generation(1)).unwrap();
        assert_eq!(past(&memory), Ok(Past::Left(Generation(1))));
        assert_eq!(meet(&memory, Generation(2), Generation(2)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_caller_that_did_not_take_its_leave_has_crashed() {
        let memory = Memory::new(4096);
        assert_eq!(meet(&memory, Generation(1), Generation(1)), (Ok(()), Ok(())));
        assert_eq!(past(&memory), Ok(Past::Crashed(Generation(1))));
    }

    #[test]
    fn the_answer_to_an_older_generation_is_none() {
        let memory = Memory::new(4096);
        let (called, answered) = meet(&memory, Generation(2), Generation(1));
        assert!(called.is_err());
        assert!(answered.unwrap_err().contains("instead of generation 1"));
    }

    #[test]
    fn what_is_no_slot_is_not_taken_for_one() {
        let memory = Memory::new(4096);
        memory.write(0, &[0xff; 12]).unwrap();
        assert_eq!(past(&memory), Ok(Past::Nothing));
    }
}
