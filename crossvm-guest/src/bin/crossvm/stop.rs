//! Ctrl-C, for verbs that go on until then.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::failure::{Failure, Status};

/// Whether the command was told to end: Ctrl-C, SIGTERM, or the end of the terminal.
#[derive(Debug)]
pub(crate) struct Stop {
    receiver: Receiver<()>,
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// From now on these signals do not kill the command: it must ask. Only once in a process.
    pub(crate) fn new() -> Result<Self, Failure> {
        // Room for one is enough: a second signal says nothing new.
        let (sender, receiver) = sync_channel(1);
        let asked = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&asked);
        let handler = move || {
            set.store(true, Ordering::Relaxed);
            let _ = sender.try_send(());
        };
        match ctrlc::set_handler(handler) {
            Ok(()) => Ok(Self { receiver, asked }),
            Err(error) => Err(Failure::Other(Status::Failed, format!("cannot handle Ctrl-C: {error}"))),
        }
    }

    /// Whether it was. Costs next to nothing.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Sleeps until `time`, or until the command shall end.
    pub(crate) fn sleep_until(&self, time: Instant) -> Wake {
        // The signal that was taken from the channel once still counts.
        if self.asked() {
            return Wake::Stop;
        }
        match self.receiver.recv_timeout(time.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1))) {
            Err(RecvTimeoutError::Timeout) => Wake::Time,
            // The handler is there as long as the process.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Wake::Stop,
        }
    }
}

/// Why a sleep ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The time has come.
    Time,
    /// The command shall end.
    Stop,
}

/// Makes a descriptor that is readable as soon as the command was told to end, for verbs that sleep in `poll`. Only once in a process, and instead
/// of [`Stop`].
pub(crate) fn descriptor() -> Result<OwnedFd, Failure> {
    let failed = |error: io::Error| Failure::Other(Status::Failed, format!("cannot handle Ctrl-C: {error}"));
    let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
    let told = stop.try_clone().map_err(failed)?;
    let handler = move || {
        // Nobody reads it, so it stays readable; where it is full, it is.
        let _ = rustix::io::write(&told, &1_u64.to_ne_bytes());
    };
    ctrlc::set_handler(handler).map_err(|error| failed(io::Error::other(error)))?;
    Ok(stop)
}
