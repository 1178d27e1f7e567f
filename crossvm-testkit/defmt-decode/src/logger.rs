//! defmt's logger of this program: frames go to standard output.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use defmt::Encoder;

/// The frame being made.
struct Frame {
    encoder: Encoder,
    bytes: Vec<u8>,
    /// Between `acquire` and `release`.
    open: bool,
}

static FRAME: Mutex<Frame> = Mutex::new(Frame { encoder: Encoder::new(), bytes: Vec::new(), open: false });

fn frame() -> MutexGuard<'static, Frame> {
    FRAME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[defmt::global_logger]
struct Logger;

// SAFETY: all state is behind a mutex. There is one thread, so that the frame belongs to it from `acquire` to `release`.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        let Frame { encoder, bytes, open } = &mut *frame();
        assert!(!std::mem::replace(open, true), "a value logged while it was formatted");
        encoder.start_frame(|encoded| bytes.extend_from_slice(encoded));
    }

    unsafe fn flush() {
        // What cannot be written is dropped, as defmt wants it; the reader misses it.
        let _ = io::stdout().flush();
    }

    unsafe fn release() {
        let Frame { encoder, bytes, open } = &mut *frame();
        encoder.end_frame(|encoded| bytes.extend_from_slice(encoded));
        *open = false;
        let _ = io::stdout().write_all(bytes);
        bytes.clear();
    }

    unsafe fn write(data: &[u8]) {
        let Frame { encoder, bytes, .. } = &mut *frame();
        encoder.write(data, |encoded| bytes.extend_from_slice(encoded));
    }
}
