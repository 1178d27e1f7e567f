//! What both directions of a channel share.

use crate::doorbell::{Doorbell, RingFailed};
use crate::error::{Broken, Violation};
use crate::memory::Memory;
use crate::side::Side;
use crate::spec::{ARMED, CLOSED, DOWN, FAILED, OF_GENERATION, OF_STATE, OF_VIOLATION, OPEN, UNIT};

/// The memory, the way to wake the peer, and which side this is.
#[derive(Debug)]
pub(crate) struct Base<M, D> {
    pub(crate) memory: M,
    pub(crate) doorbell: D,
    pub(crate) side: Side,
}

/// What was agreed with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Session {
    /// The peer's generation.
    pub(crate) peer: u32,
    /// Both write WAKE before they sleep.
    pub(crate) suppression: bool,
    /// The peer never sleeps for a message or for room.
    pub(crate) polling: bool,
}

impl From<RingFailed> for Broken {
    fn from(_: RingFailed) -> Self {
        Self::Doorbell
    }
}

impl<M: Memory, D: Doorbell> Base<M, D> {
    /// The own word at `offset` is set to `value`, after all that was done before.
    #[inline]
    pub(crate) fn tell(&self, offset: u32, value: u32) {
        self.memory.store_release(self.side.word(offset), value);
    }

    /// The own word at `offset` is set to `value`.
    #[inline]
    pub(crate) fn set(&self, offset: u32, value: u32) {
        self.memory.store(self.side.word(offset), value);
    }

    /// The peer's word at `offset`; what it did before is seen by what follows.
    #[inline]
    pub(crate) fn ask(&self, offset: u32) -> u32 {
        self.memory.load_acquire(self.side.peer().word(offset))
    }

    /// Whether the peer is still that of `session`, and open.
    pub(crate) fn check_peer(&self, session: Session) -> Result<(), Broken> {
        // In this order: a peer that starts anew takes its state down before it changes its generation.
        let state = self.ask(OF_STATE);
        let generation = self.ask(OF_GENERATION);
        match state {
            _ if generation != session.peer => Err(Broken::Restarted),
            OPEN => Ok(()),
            CLOSED => Err(Broken::Closed),
            DOWN => Err(Broken::Restarted),
            FAILED => Err(Broken::Refused(self.ask(OF_VIOLATION))),
            _ => Err(self.give_up(Violation::State)),
        }
    }

    /// The peer has done what it may not, unless it has restarted: then what looks wrong is right for its next session.
    #[cold]
    pub(crate) fn violated(&self, session: Session, violation: Violation) -> Broken {
        match self.check_peer(session) {
            Err(broken @ (Broken::Restarted | Broken::Refused(_))) => broken,
            _ => self.give_up(violation),
        }
    }

    /// This end gives up, and says why.
    fn give_up(&self, violation: Violation) -> Broken {
        self.set(OF_VIOLATION, violation.code());
        self.tell(OF_STATE, FAILED);
        // The peer is not to be relied on anyway, and the violation is what matters.
        let _ = self.doorbell.ring();
        Broken::Violated(violation)
    }

    /// Rings where the peer sleeps for what has just been told: its word WAKE, at `wake`, holds a position from `from` on, before `to`. Gives whether
    /// it did.
    #[inline]
    pub(crate) fn ring_if_asleep(&self, session: Session, wake: u32, from: u32, to: u32) -> Result<bool, RingFailed> {
        if session.polling {
            return Ok(false);
        }
        if session.suppression {
            // Either the peer sees what was told before it sleeps, or this sees that it sleeps.
            self.memory.fence();
            let wake = self.memory.load(self.side.peer().word(wake));
            if !crossed(wake, from, to) {
                return Ok(false);
            }
        }
        self.doorbell.ring()?;
        Ok(true)
    }
}

/// Whether a step from `from` to `to` goes beyond the position in the word `wake`.
const fn crossed(wake: u32, from: u32, to: u32) -> bool {
    let position = wake & !UNIT.wrapping_sub(1);
    wake & ARMED != 0 && position.wrapping_sub(from) < to.wrapping_sub(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_crosses_what_lies_in_it_even_where_positions_wrap() {
        assert!(crossed(16 | ARMED, 16, 24) && crossed(16 | ARMED, 8, 24));
        assert!(!crossed(16 | ARMED, 8, 16) && !crossed(16 | ARMED, 24, 32) && !crossed(16 | ARMED, 16, 16));
        assert!(!crossed(16, 16, 24), "not armed");
        let near = u32::MAX - 7;
        assert!(crossed(near | ARMED, near, 8) && crossed(ARMED, near, 8) && !crossed(8 | ARMED, near, 8));
    }
}
