//! Event pages: written by the VMM, read by the guest.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crossvm_core::{EventPage, FrameSize, Rights};

use super::error::SpaceError;
use crate::dataport::Frame;
use crate::memfd::Memfd;
use crate::raw::HostMapping;

/// An event page in a file in memory: the VMM writes it as atomic words, and its memory slot is read-only over a mapping that is read-only too.
///
/// On x86, guests see it coherently with the VMM, so nothing is to be done when a word is published. On arm64, a guest that maps it without caches reads past
/// them, unless its processor has FEAT_S2FWB: each word is written back there.
#[derive(Debug)]
pub struct SharedPage {
    frame: Frame,
    memory: HostMapping,
}

impl SharedPage {
    /// A new page of zeros.
    pub(super) fn create(size: FrameSize) -> Result<Self, SpaceError> {
        let memfd = Arc::new(Memfd::create("crossvm events", size.bytes())?);
        let bytes = usize::try_from(size.bytes()).map_err(|_| SpaceError::WrongSize(size))?;
        let memory = HostMapping::new(memfd.as_fd(), 0, bytes, Rights::ReadWrite)?;
        Ok(Self { frame: Frame::new(memfd, 0, size, Rights::Read), memory })
    }
}

impl EventPage for SharedPage {
    type Frame = Frame;

    fn frame(&self) -> &Frame {
        &self.frame
    }

    fn words(&self) -> &[AtomicU32] {
        // The mapping is one for writing.
        self.memory.as_words().unwrap_or_default()
    }

    #[cfg(target_arch = "aarch64")]
    fn published(&self, word: usize) {
        if let Some(word) = self.words().get(word) {
            crate::raw::clean(word);
        }
    }
}
