//! Dataports in files in memory.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use crossvm_core::{Dataport, ErrorKind, FrameSize, Rights};

use crate::error::CallError;
use crate::memfd::Memfd;
use crate::raw::HostMapping;

/// A frame: so many bytes of a file in memory, which it keeps alive.
///
/// A memory slot maps the file anew, so that what one guest has lost is out of its reach whatever else in this process has the same bytes mapped.
#[derive(Debug, Clone)]
pub struct Frame {
    memfd: Arc<Memfd>,
    offset: u64,
    size: FrameSize,
    rights: Rights,
}

impl Frame {
    /// The frame of `size` bytes at `offset`, for at most `rights`.
    pub(crate) const fn new(memfd: Arc<Memfd>, offset: u64, size: FrameSize, rights: Rights) -> Self {
        Self { memfd, offset, size, rights }
    }

    /// Its size.
    #[must_use]
    pub const fn size(&self) -> FrameSize {
        self.size
    }

    /// The file.
    #[must_use]
    pub const fn memfd(&self) -> &Arc<Memfd> {
        &self.memfd
    }

    /// Where in the file it starts, in bytes.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The most that a guest may do with it.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether `next` is the bytes behind this frame in the same file.
    pub(crate) fn is_followed_by(&self, next: &Self) -> bool {
        Arc::ptr_eq(&self.memfd, &next.memfd) && self.offset.checked_add(self.size.bytes()) == Some(next.offset)
    }
}

/// A dataport in a file in memory.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::Ordering;
/// use crossvm_core::{Dataport, FrameSize};
/// use crossvm_kvm::{Memfd, MemfdDataport};
///
/// let memfd = Arc::new(Memfd::create("camera", 1 << 20)?);
/// let camera = MemfdDataport::new(Arc::clone(&memfd), FrameSize::KIB_4)?;
/// let viewer = MemfdDataport::read_only(memfd, FrameSize::KIB_4)?;
/// assert_eq!(camera.frames().len(), 256);
/// // Components of this process use the bytes; those of an end that may only read are not mapped for them.
/// camera.bytes().unwrap()[0].store(7, Ordering::Relaxed);
/// assert!(viewer.bytes().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemfdDataport {
    memfd: Arc<Memfd>,
    frames: Arc<[Frame]>,
    size: FrameSize,
    memory: Option<Arc<HostMapping>>,
}

impl MemfdDataport {
    /// The dataport in `memfd`, in frames of `size`. Maps it in this process, for components; clones share the mapping.
    ///
    /// # Errors
    /// [`DataportError::Frames`] where the file is not a whole number of frames, [`DataportError::Call`].
    pub fn new(memfd: Arc<Memfd>, size: FrameSize) -> Result<Self, DataportError> {
        let frames = frames(&memfd, size, Rights::ReadWrite)?;
        let bytes = usize::try_from(memfd.bytes()).map_err(|_| DataportError::Frames { bytes: memfd.bytes(), size })?;
        let memory = HostMapping::new(memfd.as_fd(), 0, bytes, Rights::ReadWrite)?;
        Ok(Self { memfd, frames, size, memory: Some(Arc::new(memory)) })
    }

    /// The end of a dataport that may only read: no guest can have its frames with [`Rights::ReadWrite`], and this process maps them for reading alone.
    ///
    /// # Errors
    /// [`DataportError::Frames`] where the file is not a whole number of frames.
    pub fn read_only(memfd: Arc<Memfd>, size: FrameSize) -> Result<Self, DataportError> {
        Ok(Self { frames: frames(&memfd, size, Rights::Read)?, memfd, size, memory: None })
    }

    /// The dataport's bytes, for components of this process; `None` for an end that may only read. Guests change them at any time.
    #[must_use]
    pub fn bytes(&self) -> Option<&[AtomicU8]> {
        self.memory.as_ref()?.as_bytes()
    }

    /// The file.
    #[must_use]
    pub const fn memfd(&self) -> &Arc<Memfd> {
        &self.memfd
    }
}

fn frames(memfd: &Arc<Memfd>, size: FrameSize, rights: Rights) -> Result<Arc<[Frame]>, DataportError> {
    let bytes = memfd.bytes();
    if !bytes.is_multiple_of(size.bytes()) {
        return Err(DataportError::Frames { bytes, size });
    }
    let offsets = (0..bytes).step_by(usize::try_from(size.bytes()).unwrap_or(usize::MAX));
    Ok(offsets.map(|offset| Frame::new(Arc::clone(memfd), offset, size, rights)).collect())
}

impl Dataport for MemfdDataport {
    type Frame = Frame;

    fn frame_size(&self) -> FrameSize {
        self.size
    }

    fn frames(&self) -> &[Frame] {
        &self.frames
    }
}

/// Why there is no dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataportError {
    /// The file is not a whole number of frames.
    Frames {
        /// Bytes of the file.
        bytes: u64,
        /// Size of a frame.
        size: FrameSize,
    },
    /// A call failed.
    Call(CallError),
}

impl From<CallError> for DataportError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl crossvm_core::Error for DataportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Frames { .. } => ErrorKind::Misaligned,
            Self::Call(error) => error.kind(),
        }
    }
}

impl fmt::Display for DataportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames { bytes, size } => write!(f, "a file of {bytes} bytes is not a whole number of frames of {size}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DataportError {}
