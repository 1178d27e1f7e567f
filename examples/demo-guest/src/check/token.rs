//! Whose turn it is: events go back and forth strictly in turns, whatever the two have to tell each other.

use crate::events::Spins;
use crate::link::Turns;

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

impl Side {
    /// The other one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The right to act, which one of the sides has: `a` at first. Each event hands it over, so no two events of one side can meet.
#[derive(Debug)]
pub(super) struct Token<'a, L> {
    link: &'a mut L,
    own: Side,
    holder: Side,
}

impl<'a, L: Turns> Token<'a, L> {
    /// The token as side `own` sees it.
    pub(super) const fn new(link: &'a mut L, own: Side) -> Self {
        Self { link, own, holder: Side::A }
    }

    /// This side.
    pub(super) const fn own(&self) -> Side {
        self.own
    }

    /// Both sides ask for the same: when this returns at `side`, that one may act. `what` says what the other waits for.
    pub(super) fn hand_to(&mut self, side: Side, what: impl FnOnce() -> String) -> Result<(), String> {
        if self.holder != side {
            if self.own == side {
                self.link.event(Spins::NONE, what)?;
            } else {
                self.link.emit()?;
            }
            self.holder = side;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::link::fake::sides;

    #[test]
    fn the_sides_take_turns_whatever_they_ask_for() {
        let (mut first, mut second) = sides();
        let wishes = [Side::A, Side::B, Side::B, Side::A, Side::B, Side::A, Side::A];
        let walk = |link: &mut crate::link::fake::Side, own| {
            let mut token = Token::new(link, own);
            wishes.iter().try_for_each(|side| token.hand_to(*side, || "turn".to_owned()))
        };
        thread::scope(|scope| {
            let a = scope.spawn(|| walk(&mut first, Side::A));
            assert_eq!(walk(&mut second, Side::B), Ok(()));
            assert_eq!(a.join().unwrap(), Ok(()));
        });
        let counts = [first.tally(), second.tally()].map(|tally| (tally.emitted, tally.received));
        assert_eq!(counts, [(2, 2), (2, 2)], "an event for each change of hands, and no other");
    }
}
