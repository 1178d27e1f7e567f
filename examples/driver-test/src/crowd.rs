//! Check `crowd`: threads that do all they can with the device node, while its function goes and comes back again and again.
//!
//! What each call answers depends on the moment; that none answers something else, and that the kernel has no complaint, is the point.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossvm_guest::System;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use crate::calls::{Reads, open, ready};
use crate::maps::Map;
use crate::report::{Failure, Report};
use crate::{events, kernel, open as open_node, removal};

/// How many threads use the node.
const THREADS: usize = 4;
/// How often the function goes and comes back.
const BINDINGS: u32 = 100;
/// How much of the dataport each thread touches.
const LENGTH: usize = 64 << 10;

/// What the threads have met.
#[derive(Debug, Default)]
struct Tally {
    /// Rounds in which all went well.
    good: AtomicU64,
    /// Rounds that found the function gone.
    gone: AtomicU64,
}

pub(crate) fn check(system: &System) -> Result<(), Failure> {
    run(system).map_err(|reason| Failure::new("crowd", reason))
}

fn run(system: &System) -> Result<(), String> {
    let node = open_node(system, "mirror")?;
    let (address, path) = (node.address(), node.path().to_owned());
    drop(node);
    let (end, tally) = (AtomicBool::new(false), Tally::default());
    std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(|| member(&path, &end, &tally)));
        let bindings = (0..BINDINGS).try_for_each(|_| {
            kernel::unbind(address)?;
            kernel::bind(address)?;
            // Long enough that the others get to work with it.
            std::thread::sleep(std::time::Duration::from_millis(3));
            Ok::<_, String>(())
        });
        end.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        bindings
    })?;
    let (good, gone) = (tally.good.into_inner(), tally.gone.into_inner());
    if good == 0 || gone == 0 {
        return Err(format!("{good} rounds went well, and {gone} found the function gone: nothing was tried"));
    }
    let node = open_node(system, "mirror")?;
    removal::drain(&node)?;
    events::emit(&node, 3)?;
    events::take(&node, 3)?;
    Report::new("crowd").with("bindings", BINDINGS).with("good", good).with("gone", gone).pass();
    Ok(())
}

fn member(path: &Path, end: &AtomicBool, tally: &Tally) -> Result<(), String> {
    let sink = File::from(memfd_create("sink", MemfdFlags::CLOEXEC).map_err(|error| error.to_string())?);
    while !end.load(Ordering::Relaxed) {
        match round(path, &sink) {
            Ok(()) => tally.good.fetch_add(1, Ordering::Relaxed),
            // No node, a node of a function that goes, a file or a map of one that has gone.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::FAULT)) => {
                tally.gone.fetch_add(1, Ordering::Relaxed)
            }
            Err(error) => return Err(format!("a call in the crowd: {error}")),
        };
    }
    Ok(())
}

fn round(path: &Path, mut sink: &File) -> std::io::Result<()> {
    let mut file = open(path, Reads::DoNotSleep)?;
    let map = Map::shared(&file, 0, LENGTH)?;
    file.write_all(&1_u64.to_ne_bytes())?;
    // The kernel touches the map, so that one that has gone is an error and no signal.
    map.copy_to(sink)?;
    std::io::Seek::rewind(&mut sink)?;
    match file.read(&mut [0; 8]) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        other => drop(other?),
    }
    let found = ready(&file, PollFlags::OUT, 0).map_err(std::io::Error::other)?;
    if found == PollFlags::OUT || found == PollFlags::HUP | PollFlags::ERR {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("poll says {found:?}")))
    }
}
