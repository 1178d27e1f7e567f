//! Objects from untyped memory that is used again and again.
//!
//! seL4 makes objects in untyped memory one behind the other, and starts again only when all of them are gone. So the memory is split into pieces
//! that serve one object each, of a size of their own: a piece whose object is destroyed is free at once. An untyped capability is split by
//! making two of half its size in it.
//!
//! Halves are joined again only where something larger is asked for and nothing fits, for the kernel clears memory that it joins.

use super::{ObjectError, Objects, SlotPool};
use crate::kernel::{CPtr, Kernel, Object};

/// Smallest piece, as a power of two: a page. Objects that are smaller take one as well.
const SMALLEST: u8 = 12;

/// Part of the untyped memory.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Piece {
    untyped: CPtr,
    bits: u8,
    /// The piece that this is a half of; `None`: given by the VMM.
    parent: Option<usize>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Free,
    /// Two pieces are in it.
    Split,
    /// The object whose capability was put into this slot is in it.
    Serves(CPtr),
}

/// Slots and untyped memory of a VMM. At most `64 * WORDS` slots, and `PIECES` pieces of memory: one for each object, as many again for what
/// they were split from, and the VMM's own untyped capabilities.
///
/// `PIECES` of the slots are set aside for the pieces' capabilities, so that [`free_slots`](Self::free_slots) and [`free_bytes`](Self::free_bytes)
/// are after `destroy` and `release_slots` what they were before `allocate_slots` and `create`.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ObjectPool<K, const WORDS: usize, const PIECES: usize> {
    kernel: K,
    slots: SlotPool<WORDS>,
    /// The first slot of those that are set aside.
    first: CPtr,
    pieces: [Option<Piece>; PIECES],
}

impl<K: Kernel, const WORDS: usize, const PIECES: usize> ObjectPool<K, WORDS, PIECES> {
    /// A pool with the `count` empty slots from `first` on, and no memory yet.
    ///
    /// # Errors
    /// [`ObjectError::NoSlots`] where there are not even slots for the pieces.
    pub fn new(kernel: K, first: CPtr, count: usize) -> Result<Self, ObjectError> {
        let mut slots = SlotPool::new(first, count);
        let first = slots.allocate(PIECES).ok_or(ObjectError::NoSlots { count: PIECES })?;
        Ok(Self { kernel, slots, first, pieces: [None; PIECES] })
    }

    /// Adds untyped memory of 2^`bits` bytes, in which there is no object yet. Less than a page is not worth a record, and ignored.
    ///
    /// # Errors
    /// [`ObjectError::NoRecords`] where the pool has as many pieces as it can.
    pub fn add_untyped(&mut self, untyped: CPtr, bits: u8) -> Result<(), ObjectError> {
        if bits < SMALLEST {
            return Ok(());
        }
        let place = self.pieces.iter_mut().find(|piece| piece.is_none()).ok_or(ObjectError::NoRecords)?;
        *place = Some(Piece { untyped, bits, parent: None, state: State::Free });
        Ok(())
    }

    /// How many slots are free.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.slots.free()
    }

    /// How much untyped memory is free, in bytes.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let free = self.pieces.iter().flatten().filter(|piece| piece.state == State::Free);
        free.map(|piece| 1u64.wrapping_shl(piece.bits.into())).fold(0, u64::saturating_add)
    }

    /// A free piece of exactly 2^`bits` bytes, split off something larger where need be; `None`: nothing is large enough.
    fn carve(&mut self, bits: u8) -> Result<Option<usize>, ObjectError> {
        let fitting = (0..PIECES).zip(&self.pieces).filter_map(|(index, piece)| Some((index, piece.as_ref()?)));
        let fitting = fitting.filter(|(_, piece)| piece.state == State::Free && piece.bits >= bits);
        let Some((mut index, best)) = fitting.min_by_key(|(_, piece)| piece.bits) else { return Ok(None) };
        for _ in bits..best.bits {
            index = self.split(index)?;
        }
        Ok(Some(index))
    }

    /// Splits a free piece, and gives one of its halves.
    fn split(&mut self, index: usize) -> Result<usize, ObjectError> {
        let Some(Some(whole)) = self.pieces.get(index).copied() else { return Err(ObjectError::NoRecords) };
        let mut places = (0..PIECES).filter(|place| self.pieces.get(*place).is_some_and(Option::is_none));
        let (Some(low), Some(high)) = (places.next(), places.next()) else { return Err(ObjectError::NoRecords) };
        let bits = whole.bits.saturating_sub(1);
        for place in [low, high] {
            let slot = self.first.offset(place as u64);
            if let Err(error) = self.kernel.retype(whole.untyped, Object::Untyped(bits), slot) {
                // The other half, where there is one.
                let _ = self.kernel.revoke(whole.untyped);
                self.forget([low, high]);
                return Err(error.into());
            }
            if let Some(piece) = self.pieces.get_mut(place) {
                *piece = Some(Piece { untyped: slot, bits, parent: Some(index), state: State::Free });
            }
        }
        self.set(index, State::Split);
        Ok(low)
    }

    /// Joins all halves that are free both. Gives whether there were any.
    fn join(&mut self) -> bool {
        let mut joined = false;
        // Halves come behind what they are halves of only where no record was used again: so until nothing changes. Each round joins one pair.
        while let Some((parent, halves)) = self.free_pair() {
            let untyped = self.pieces.get(parent).and_then(Option::as_ref).map(|piece| piece.untyped);
            if untyped.is_none_or(|untyped| self.kernel.revoke(untyped).is_err()) {
                return joined;
            }
            self.forget(halves);
            self.set(parent, State::Free);
            joined = true;
        }
        joined
    }

    /// A piece whose two halves are free, and the halves.
    fn free_pair(&self) -> Option<(usize, [usize; 2])> {
        (0..PIECES).find_map(|parent| {
            let mut halves = (0..PIECES).zip(&self.pieces).filter_map(|(index, piece)| {
                let piece = piece.as_ref()?;
                (piece.parent == Some(parent) && piece.state == State::Free).then_some(index)
            });
            Some((parent, [halves.next()?, halves.next()?]))
        })
    }

    fn forget(&mut self, places: [usize; 2]) {
        for place in places {
            if let Some(piece) = self.pieces.get_mut(place) {
                *piece = None;
            }
        }
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(Some(piece)) = self.pieces.get_mut(index) {
            piece.state = state;
        }
    }
}

impl<K: Kernel, const WORDS: usize, const PIECES: usize> Objects for ObjectPool<K, WORDS, PIECES> {
    fn allocate_slots(&mut self, count: usize) -> Result<CPtr, ObjectError> {
        self.slots.allocate(count).ok_or(ObjectError::NoSlots { count })
    }

    fn release_slots(&mut self, first: CPtr, count: usize) {
        self.slots.release(first, count);
    }

    fn create(&mut self, object: Object, slot: CPtr) -> Result<(), ObjectError> {
        let bits = self.kernel.object_bits(object).max(SMALLEST);
        let found = match self.carve(bits) {
            Ok(Some(index)) => Ok(Some(index)),
            Ok(None) | Err(ObjectError::NoRecords) if self.join() => self.carve(bits),
            other => other,
        };
        let index = found?.ok_or(ObjectError::NoMemory(object))?;
        let Some(Some(piece)) = self.pieces.get(index).copied() else { return Err(ObjectError::NoMemory(object)) };
        self.kernel.retype(piece.untyped, object, slot)?;
        self.set(index, State::Serves(slot));
        Ok(())
    }

    fn destroy(&mut self, slot: CPtr) {
        let serving = |piece: &Option<Piece>| piece.as_ref().is_some_and(|piece| piece.state == State::Serves(slot));
        let Some(index) = self.pieces.iter().position(serving) else { return };
        let Some(Some(piece)) = self.pieces.get(index).copied() else { return };
        // Takes every capability of the object away, whoever has one. Memory whose object could not be destroyed serves no other.
        if self.kernel.revoke(piece.untyped).is_ok() {
            self.set(index, State::Free);
        }
    }
}
