//! Frames, and dataports made of them.

use core::fmt;

use crossvm_core::{Dataport, FrameSize};

use crate::kernel::{CPtr, Kernel, KernelError, Object};

/// The frames of seL4's architectures of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameKind {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl FrameKind {
    /// Its size.
    #[must_use]
    pub const fn size(self) -> FrameSize {
        match self {
            Self::Small => FrameSize::KIB_4,
            Self::Large => FrameSize::MIB_2,
            Self::Huge => FrameSize::GIB_1,
        }
    }

    /// The kind of this size; `None`: there is none.
    #[must_use]
    pub fn of_size(size: FrameSize) -> Option<Self> {
        [Self::Small, Self::Large, Self::Huge].into_iter().find(|kind| kind.size() == size)
    }

    /// The object that it is.
    #[must_use]
    pub const fn object(self) -> Object {
        match self {
            Self::Small => Object::SmallFrame,
            Self::Large => Object::LargeFrame,
            Self::Huge => Object::HugeFrame,
        }
    }
}

/// Memory as the guest's address space takes it: one frame of the kernel, or small ones one behind the other (an event page of 16 or 64 KiB).
///
/// The capability stays where it is: what is mapped is a copy of it. The peer, in whatever VM or component, has a capability of its own for the same frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frame {
    first: CPtr,
    kind: FrameKind,
    size: FrameSize,
}

impl Frame {
    /// One frame of the kernel.
    #[must_use]
    pub const fn new(capability: CPtr, kind: FrameKind) -> Self {
        Self { first: capability, kind, size: kind.size() }
    }

    /// Small frames of `size` together, whose capabilities stand one behind the other.
    pub(crate) const fn of_small(first: CPtr, size: FrameSize) -> Self {
        Self { first, kind: FrameKind::Small, size }
    }

    /// The capability, or the first of several.
    #[must_use]
    pub const fn capability(self) -> CPtr {
        self.first
    }

    /// The kind of the kernel's frames that it is made of.
    #[must_use]
    pub const fn kind(self) -> FrameKind {
        self.kind
    }

    /// Size of all of it.
    #[must_use]
    pub const fn size(self) -> FrameSize {
        self.size
    }

    /// How many frames of the kernel it is.
    pub(crate) fn count(self) -> u64 {
        self.size.bytes().checked_div(self.kind.size().bytes()).unwrap_or(0)
    }

    /// The capabilities of its parts.
    pub(crate) fn parts(self) -> impl Iterator<Item = CPtr> {
        (0..self.count()).map(move |index| self.first.offset(index))
    }
}

/// A dataport in frames of one kind. `F` holds them: a slice, an array, a vector, or what else is [`AsRef`] of a slice, always of the same frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameDataport<F = &'static [Frame]> {
    frames: F,
    size: FrameSize,
}

impl<F: AsRef<[Frame]>> FrameDataport<F> {
    /// The dataport in these frames. Each must be a frame of the kind that it is said to be, which [`FrameDataport::checked`] looks at as far as
    /// the kernel tells it; no other dataport may have any of them. The capabilities have the rights that the connection gives its guest: the
    /// kernel maps with those that both have, and does not tell.
    ///
    /// # Errors
    /// [`DataportError::Empty`], [`DataportError::Mixed`].
    pub fn new(frames: F) -> Result<Self, DataportError> {
        let size = frames.as_ref().first().ok_or(DataportError::Empty)?.size();
        match frames.as_ref().iter().position(|frame| frame.size() != size) {
            Some(index) => Err(DataportError::Mixed { index }),
            None => Ok(Self { frames, size }),
        }
    }

    /// As [`FrameDataport::new`], and asks the kernel whether each capability is that of a frame, in memory that is aligned to its size.
    ///
    /// # Errors
    /// All [`DataportError`]s.
    pub fn checked(kernel: &impl Kernel, frames: F) -> Result<Self, DataportError> {
        let dataport = Self::new(frames)?;
        for (index, frame) in (0..usize::MAX).zip(dataport.frames.as_ref()) {
            for capability in frame.parts() {
                let address = kernel.frame_address(capability).map_err(|error| DataportError::NoFrame { index, error })?;
                if !address.is_multiple_of(frame.kind().size().bytes()) {
                    return Err(DataportError::OtherKind { index, address });
                }
            }
        }
        Ok(dataport)
    }
}

impl<F: AsRef<[Frame]>> Dataport for FrameDataport<F> {
    type Frame = Frame;

    fn frame_size(&self) -> FrameSize {
        self.size
    }

    fn frames(&self) -> &[Frame] {
        self.frames.as_ref()
    }
}

/// Why frames are no dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DataportError {
    /// There are none.
    Empty,
    /// Their sizes differ.
    Mixed {
        /// The first that differs.
        index: usize,
    },
    /// The capability is not that of a frame.
    NoFrame {
        /// Which.
        index: usize,
        /// What the kernel said.
        error: KernelError,
    },
    /// The frame is smaller than it is said to be: it does not start where such a one can.
    OtherKind {
        /// Which.
        index: usize,
        /// Its physical address.
        address: u64,
    },
}

impl fmt::Display for DataportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a dataport needs one frame at least"),
            Self::Mixed { index } => write!(f, "frame {index} differs in size from those before it: a dataport has frames of one size"),
            Self::NoFrame { index, error } => write!(f, "the capability of frame {index} is not that of a frame ({error})"),
            Self::OtherKind { index, address } => {
                write!(f, "frame {index} is at physical address {address:#x}, where none of its size can be: name its true size")
            }
        }
    }
}

impl core::error::Error for DataportError {}
