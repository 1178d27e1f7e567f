//! When an interrupt goes into the guest: at VM entry, and only while the guest takes interrupts.

use super::lines::{Lines, Vector};
use super::spec::{EntryInterruption, Flags, Interruptibility, InterruptionKind};

/// What decides whether a guest can be interrupted. The guest changes it wherever it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Readiness {
    /// Its flags.
    pub flags: Flags,
    /// What else keeps interrupts away.
    pub interruptibility: Interruptibility,
}

impl Readiness {
    /// The guest takes an interrupt now.
    #[must_use]
    pub const fn open(self) -> bool {
        self.flags.interrupts() && self.interruptibility.open()
    }
}

/// How to enter the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry {
    /// The event to deliver.
    pub interruption: EntryInterruption,
    /// Leave the guest as soon as it takes interrupts.
    pub window: bool,
    /// The event is a message, which the lines no longer have: where the guest was not entered, they get it back
    /// ([`Lines::keep`]).
    pub message: Option<Vector>,
}

/// Decides what the next entry delivers.
///
/// `carried` is an event whose delivery was cut short: the guest's processor has taken it, so it goes first.
///
/// Of what interrupts, the highest vector is delivered if the guest takes interrupts; while anything is left, the window is asked for. `readiness`
/// is asked only where it matters: it may cost system calls.
///
/// # Errors
/// What `readiness` fails with.
pub fn plan<E>(carried: EntryInterruption, lines: &mut Lines, readiness: impl FnOnce() -> Result<Readiness, E>) -> Result<Entry, E> {
    if carried.valid() {
        return Ok(Entry { interruption: carried, window: lines.pending().is_some(), message: None });
    }
    let Some(vector) = lines.pending() else { return Ok(Entry::default()) };
    if !readiness()?.open() {
        return Ok(Entry { window: true, ..Entry::default() });
    }
    let message = lines.take(vector).then_some(vector);
    let interruption = EntryInterruption::new().with_vector(vector.number()).with_kind(InterruptionKind::External).with_valid(true);
    Ok(Entry { interruption, window: lines.pending().is_some(), message })
}

/// What of an event whose delivery was cut short has to be delivered again. What an instruction causes, the instruction causes again.
#[must_use]
pub fn cut_short(vectoring: EntryInterruption) -> EntryInterruption {
    let again = vectoring.valid() && matches!(vectoring.kind(), InterruptionKind::External | InterruptionKind::Nmi);
    if again {
        EntryInterruption::new().with_vector(vectoring.vector()).with_kind(vectoring.kind()).with_valid(true)
    } else {
        EntryInterruption::new()
    }
}
