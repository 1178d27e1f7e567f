//! Check `calls`: what reads, writes, polls and seeks of the device node answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crossvm_guest::System;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::report::{Failure, Report};
use crate::{LONG, maps, open as open_node};

/// Whether a read may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Sleep,
    DoNotSleep,
}

/// Opens a device node as it is.
pub(crate) fn open(path: &Path, reads: Reads) -> std::io::Result<File> {
    let flags = if reads == Reads::DoNotSleep { OFlags::NONBLOCK } else { OFlags::empty() };
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// What is ready within `milliseconds`.
pub(crate) fn ready(file: &File, wanted: PollFlags, milliseconds: i64) -> Result<PollFlags, String> {
    let mut polled = [PollFd::new(file, wanted)];
    let time = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    poll(&mut polled, Some(&time)).map_err(|error| format!("poll: {error}"))?;
    Ok(polled[0].revents())
}

/// Fails unless the call failed for `wanted`.
pub(crate) fn refused<T>(what: &str, result: std::io::Result<T>, wanted: Errno) -> Result<(), String> {
    match result {
        Err(error) if Errno::from_io_error(&error) == Some(wanted) => Ok(()),
        Err(error) => Err(format!("{what}: {error} instead of {wanted}")),
        Ok(_) => Err(format!("{what} succeeds instead of {wanted}")),
    }
}

pub(crate) fn check(system: &System) -> Result<(), Failure> {
    run(system).map_err(|reason| Failure::new("calls", reason))
}

fn run(system: &System) -> Result<(), String> {
    let node = open_node(system, "mirror")?;
    let mut file = open(node.path(), Reads::DoNotSleep).map_err(|error| error.to_string())?;
    let mut refusals = 0;
    let mut refuse = |what: &str, result: std::io::Result<usize>, wanted| {
        refusals += 1;
        refused(what, result, wanted)
    };

    refuse("a read without events", file.read(&mut [0; 8]), Errno::AGAIN)?;
    refuse("a read of 7 bytes", file.read(&mut [0; 7]), Errno::INVAL)?;
    for size in [0, 2, 7, 9, 16] {
        refuse(&format!("a write of {size} bytes"), file.write(&vec![1; size]), Errno::INVAL)?;
    }
    for signals in [0, 65537, u64::MAX] {
        refuse(&format!("{signals} signals"), file.write(&signals.to_ne_bytes()), Errno::INVAL)?;
    }
    refuse("a seek", file.seek(SeekFrom::Start(0)).map(|_| 0), Errno::SPIPE)?;
    let mut reader = File::open(node.path()).map_err(|error| error.to_string())?;
    refuse("a write to what is open for reading", reader.write(&[1]), Errno::BADF)?;
    let both = PollFlags::IN | PollFlags::OUT;
    if ready(&file, both, 0)? != PollFlags::OUT {
        return Err(format!("without events {:?} is ready", ready(&file, both, 0)?));
    }

    // One byte of any value is one signal, and a longer buffer gets 8 bytes.
    let mut buffer = [0xee; 16];
    for byte in [0, 1, 0xff] {
        if file.write(&[byte]).map_err(|error| error.to_string())? != 1 {
            return Err("a write of one byte does not write one".to_owned());
        }
        let readiness = ready(&file, PollFlags::IN, LONG.as_millis().try_into().unwrap_or(i64::MAX))?;
        if readiness != PollFlags::IN || ready(&file, both, 0)? != both {
            return Err(format!("with an event {readiness:?} is ready"));
        }
        let read = file.read(&mut buffer).map_err(|error| error.to_string())?;
        if read != 8 || buffer[..8] != 1_u64.to_ne_bytes() || buffer[8..] != [0xee; 8] {
            return Err(format!("a read gives {read} bytes: {buffer:x?}"));
        }
    }
    // Nobody loses events to a reader whose memory cannot be written.
    file.write(&[1]).map_err(|error| error.to_string())?;
    ready(&file, PollFlags::IN, 10_000)?;
    refuse("a read into memory that cannot be written", maps::read_into_read_only(&file), Errno::FAULT)?;
    let read = file.read(&mut buffer).map_err(|error| error.to_string())?;
    if read != 8 || buffer[..8] != 1_u64.to_ne_bytes() {
        return Err("the event of a read that failed is gone".to_owned());
    }
    Report::new("calls").with("refused", refusals).pass();
    Ok(())
}
