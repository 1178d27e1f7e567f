//! Check `removal`: the function goes while its node is open, read, polled and mapped, and comes back.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use crossvm_guest::{Node, PciAddress, System};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::calls::{Reads, open, ready, refused};
use crate::maps::Map;
use crate::report::{Failure, Report};
use crate::{SHORT, events, kernel, open as open_node};

/// The argument that makes this program touch a map after the function has gone.
pub(crate) const TOUCH: &str = "touch";
/// Number of the signal that ends a program that touches what is not there.
const SIGBUS: i32 = 7;
/// How often the driver loses the function and gets it back.
const BINDINGS: u32 = 30;
/// How often the driver itself goes and comes back.
const LOADS: u32 = 5;

pub(crate) fn check(system: &System) -> Result<(), Failure> {
    run(system).map_err(|reason| Failure::new("removal", reason))
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn run(system: &System) -> Result<(), String> {
    let node = open_node(system, "mirror")?;
    let (address, path) = (node.address(), node.path().to_owned());
    let old = open(&path, Reads::DoNotSleep).map_err(text)?;
    if kernel::unload().is_ok() {
        return Err("the module goes while a file is open".to_owned());
    }
    while_in_use(&node, address, &path)?;

    // The name is free at once, while files of the old connection are still open.
    kernel::bind(address)?;
    let new = open_node(system, "mirror")?;
    if new.path() != path {
        return Err(format!("it comes back as {}", new.path().display()));
    }
    gone(&old)?;
    events::emit(&new, 3)?;
    events::take(&new, 3)?;
    events::nothing_more(&new)?;
    drop((node, old, new));

    for round in 0..BINDINGS {
        let node = open_node(system, "mirror")?;
        let map = Map::shared(&open(&path, Reads::DoNotSleep).map_err(text)?, 0, 4096).map_err(text)?;
        map.load(0);
        // Some of the answers come before the function goes, some while it is away.
        events::emit(&node, 3)?;
        if round % 2 == 0 {
            drain(&node)?;
        }
        kernel::unbind(address)?;
        kernel::bind(address)?;
    }
    for _ in 0..LOADS {
        kernel::unload()?;
        kernel::load("")?;
    }
    let node = open_node(system, "mirror")?;
    drain(&node)?;
    events::emit(&node, 3)?;
    events::take(&node, 3)?;
    Report::new("removal").with("bindings", BINDINGS).with("loads", LOADS).pass();
    Ok(())
}

/// Takes the function away from readers, pollers and maps.
fn while_in_use(node: &Node, address: PciAddress, path: &Path) -> Result<(), String> {
    let child = Toucher::start(path)?;
    let mut sleeper = open(path, Reads::Sleep).map_err(text)?;
    let poller = open(path, Reads::DoNotSleep).map_err(text)?;
    let unread = open(path, Reads::DoNotSleep).map_err(text)?;
    std::thread::scope(|scope| {
        let read = scope.spawn(move || sleeper.read(&mut [0; 8]));
        let polled = scope.spawn(|| ready(&poller, PollFlags::IN, 60_000));
        // Until both sleep.
        std::thread::sleep(SHORT);
        kernel::unbind(address)?;
        refused("the read that slept", read.join().map_err(|_| "the reading thread panicked")?, Errno::NODEV)?;
        let polled = polled.join().map_err(|_| "the polling thread panicked")??;
        if !polled.contains(PollFlags::HUP | PollFlags::ERR) {
            return Err(format!("the poll that slept says {polled:?}"));
        }
        Ok::<_, String>(())
    })?;
    gone(&unread)?;
    if path.exists() {
        return Err(format!("{} is still there", path.display()));
    }
    if node.emit(crossvm_guest::EventCount::ONE).is_ok() {
        return Err("a node of a function that has gone still emits".to_owned());
    }
    child.touch()
}

/// Fails if a file of a function that has gone still does anything.
fn gone(mut file: &File) -> Result<(), String> {
    refused("a read of what has gone", file.read(&mut [0; 8]), Errno::NODEV)?;
    refused("a write to what has gone", file.write(&[1]), Errno::NODEV)?;
    refused("a map of what has gone", Map::shared(file, 0, 4096), Errno::NODEV)?;
    let found = ready(file, PollFlags::IN | PollFlags::OUT, 0)?;
    if found != PollFlags::HUP | PollFlags::ERR {
        return Err(format!("a poll of what has gone says {found:?}"));
    }
    Ok(())
}

/// Takes what may have come.
pub(crate) fn drain(node: &Node) -> Result<(), String> {
    let mut file = open(node.path(), Reads::DoNotSleep).map_err(text)?;
    while ready(&file, PollFlags::IN, 50)?.contains(PollFlags::IN) {
        file.read(&mut [0; 8]).map_err(text)?;
    }
    Ok(())
}

/// Another process with a map.
#[derive(Debug)]
struct Toucher(Child);

impl Toucher {
    /// Starts it, and waits until it has its map.
    fn start(path: &Path) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(text)?;
        let child = Command::new(program).arg(TOUCH).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(text)?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("the other process has no output")?;
        BufReader::new(output).read_line(&mut line).map_err(text)?;
        if line == "mapped\n" { Ok(Self(child)) } else { Err(format!("the other process says {line}")) }
    }

    /// Makes it touch its map, which must end it.
    fn touch(mut self) -> Result<(), String> {
        // Its end of input.
        drop(self.0.stdin.take());
        let status = self.0.wait().map_err(text)?;
        match status.signal() {
            Some(SIGBUS) => Ok(()),
            _ => Err(format!("the process that touches a map of what has gone ends with {status}")),
        }
    }
}

/// The other process: maps, says so, waits for the end of its input, touches the map.
pub(crate) fn touch(path: &str) -> ExitCode {
    let run = || {
        let file = open(Path::new(path), Reads::DoNotSleep).map_err(text)?;
        let map = Map::shared(&file, 0, 4096).map_err(text)?;
        map.load(0);
        println!("mapped");
        std::io::stdin().read_to_end(&mut Vec::new()).map_err(text)?;
        Ok::<_, String>(map.load(0))
    };
    match run() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
