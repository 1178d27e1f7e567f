//! Event pages: written by the VMM, read by the guest.

use core::fmt;
use core::sync::atomic::AtomicU32;

use crossvm_core::{EventPage, FrameSize};

use super::error::SpaceError;
use super::own::{Place, WindowSpace, WindowWords};
use super::window::Window;
use crate::frame::{Frame, FrameKind};
use crate::kernel::{Attributes, CPtr, CapRights, Kernel, Object};
use crate::objects::Objects;

/// An event page of small frames. Its own capabilities map it in the VMM's window, copies of them in the guest.
///
/// The VMM and the guest have it as normal, write-back memory. Where a guest may map it past its caches, on a processor that does not force the
/// attributes of the second stage, the VMM's [`WindowWords`] clean what is published; those of [`OwnSpace`](super::OwnSpace) do not.
pub struct SharedPage<T> {
    frame: Frame,
    words: T,
    place: Place,
    /// The untyped memory that all of its frames are in.
    memory: CPtr,
}

impl<T> fmt::Debug for SharedPage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPage").field("frame", &self.frame).field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<T> defmt::Format for SharedPage<T> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "SharedPage {{ frame: {}, place: {}, .. }}", self.frame, self.place);
    }
}

impl<T: WindowWords> EventPage for SharedPage<T> {
    type Frame = Frame;

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn words(&self) -> &[AtomicU32] {
        self.words.words()
    }

    fn published(&self, word: usize) {
        self.words.published(word);
    }
}

impl<T> SharedPage<T> {
    /// Makes a page, and maps it in the window. A failure leaves nothing behind.
    pub(super) fn create<W: WindowSpace<Words = T>>(
        kernel: &impl Kernel,
        objects: &mut impl Objects,
        window: &mut Window<W>,
        size: FrameSize,
    ) -> Result<Self, SpaceError> {
        let count = usize::try_from(Frame::of_small(CPtr::NULL, size).count()).map_err(|_| SpaceError::WrongSize)?;
        let bits = u8::try_from(size.bytes().trailing_zeros()).map_err(|_| SpaceError::WrongSize)?;
        let place = window.take(size)?;
        let memory = match objects.allocate_slots(1) {
            Ok(memory) => memory,
            Err(error) => {
                window.give_back(place);
                return Err(error.into());
            }
        };
        let first = match objects.allocate_slots(count) {
            Ok(first) => first,
            Err(error) => {
                objects.release_slots(memory, 1);
                window.give_back(place);
                return Err(error.into());
            }
        };
        let frame = Frame::of_small(first, size);
        let filled = objects.create(Object::Untyped(bits), memory).map_err(SpaceError::from).and_then(|()| {
            let filled = fill(kernel, window, frame, memory, &place);
            if filled.is_err() {
                // The frames are in it, and go with it, and with them the mappings.
                objects.destroy(memory);
            }
            filled
        });
        match filled {
            Ok(()) => Ok(Self { frame, words: window.words(&place), place, memory }),
            Err(error) => {
                objects.release_slots(first, count);
                objects.release_slots(memory, 1);
                window.give_back(place);
                Err(error)
            }
        }
    }

    pub(super) fn destroy<W: WindowSpace<Words = T>>(self, objects: &mut impl Objects, window: &mut Window<W>) {
        let Self { frame, words, place, memory } = self;
        drop(words);
        objects.destroy(memory);
        // It was a number when the page was made.
        objects.release_slots(frame.capability(), usize::try_from(frame.count()).unwrap_or(0));
        objects.release_slots(memory, 1);
        window.give_back(place);
    }
}

/// Makes the frames of a page, one behind the other, and maps them in the window.
fn fill<W: WindowSpace>(kernel: &impl Kernel, window: &Window<W>, frame: Frame, memory: CPtr, place: &Place) -> Result<(), SpaceError> {
    let mut at = place.address();
    for part in frame.parts() {
        kernel.retype(memory, Object::SmallFrame, part)?;
        kernel.map_frame(part, window.space(), at, CapRights::READ_WRITE, Attributes::Memory)?;
        at = at.saturating_add(FrameKind::Small.size().bytes());
    }
    Ok(())
}
