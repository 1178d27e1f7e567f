//! Check `bulk`: much data from vm0 to vm1 through a small dataport.
//!
//! The sender fills one slot while the receiver empties the other. An event says "chunk n is there"; the event back says "chunk n
//! is read". The sender announces chunk n + 1 only when chunk n is read, so one event at most is on its way in each direction, none can
//! be taken for another, and the protocol does not depend on who is up first.

use std::fs;
use std::time::Instant;

use crossvm_guest::{DataportIndex, Endpoint, System};
use sha2::{Digest, Sha256};

use crate::chunk::{HEADER, Header, Layout};
use crate::events::Spins;
use crate::link::{Link, Shared, Turns};
use crate::random::Random;
use crate::report::{Failure, Report};
use crate::settings::{Sabotage, Settings};

const CHECK: &str = "bulk";
const CONNECTION: &str = "bulk";
/// How much data.
const TOTAL: usize = 64 << 20;
/// Looks at COUNT before sleeping: about as long as the peer takes for the event alone.
const SPINS: Spins = Spins(200);

/// What one side found.
#[derive(Debug)]
struct Outcome {
    bytes: usize,
    digest: String,
    begin: Instant,
    slept: u64,
}

/// Sends the data.
pub(crate) fn send(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    check(system, report, "send", |connection| {
        let random = Random::from_kernel().map_err(|error| format!("/dev/urandom: {error}"))?;
        let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
        sender(&dataport, Link::new(connection, settings.timeout)?, random, TOTAL, settings.sabotage)
    })
}

/// Receives the data.
pub(crate) fn receive(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    check(system, report, "receive", |connection| {
        let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
        let die = || if settings.sabotage == Some(Sabotage::Die) { Err(crash()) } else { Ok(()) };
        receiver(&dataport, Link::new(connection, settings.timeout)?, TOTAL, die)
    })
}

fn check(system: &System, report: &Report, side: &str, work: impl FnOnce(&Endpoint) -> Result<Outcome, String>) -> Result<(), Failure> {
    let connection = system.endpoint(CONNECTION).map_err(|error| Failure::new(CHECK, error))?;
    let outcome = work(&connection).map_err(|reason| Failure::new(CHECK, reason))?;
    pass(report, side, &outcome);
    Ok(())
}

fn pass(report: &Report, side: &str, outcome: &Outcome) {
    report.pass(
        CHECK,
        &[
            ("side", side.to_owned()),
            ("bytes", outcome.bytes.to_string()),
            ("sha256", outcome.digest.clone()),
            ("ms", outcome.begin.elapsed().as_millis().to_string()),
            ("slept", outcome.slept.to_string()),
        ],
    );
}

/// Finds the slots of a dataport.
fn layout(dataport: &impl Shared) -> Result<Layout, String> {
    Layout::new(dataport.size()).ok_or_else(|| format!("a dataport of {} bytes is too small", dataport.size()))
}

/// Sends `total` bytes; with the sabotage `Corrupt`, one of them wrong.
fn sender(
    dataport: &impl Shared,
    mut link: impl Turns,
    mut random: Random,
    total: usize,
    sabotage: Option<Sabotage>,
) -> Result<Outcome, String> {
    let layout = layout(dataport)?;
    let mut buffer = vec![0; layout.capacity()];
    let mut hash = Sha256::new();
    let mut sent = 0;
    let begin = Instant::now();
    for sequence in 0.. {
        if sent == total {
            break;
        }
        let data = buffer.get_mut(..layout.capacity().min(total - sent)).unwrap_or_default();
        random.fill(data);
        hash.update(&*data);
        // The middle chunk: the receiver has some before it and some after it.
        if sabotage == Some(Sabotage::Corrupt) && (sent..sent + data.len()).contains(&(total / 2)) {
            data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
        let header = Header { sequence, length: u32::try_from(data.len()).map_err(|error| error.to_string())? };
        let slot = layout.slot(sequence);
        dataport.write(slot + HEADER, data).and_then(|()| dataport.write(slot, &header.to_bytes())).map_err(|error| error.to_string())?;
        sent += data.len();
        if let Some(previous) = sequence.checked_sub(1) {
            link.event(SPINS, || format!("receipt of chunk {previous}"))?;
        }
        link.emit()?;
    }
    link.event(SPINS, || "receipt of the last chunk".to_owned())?;
    Ok(Outcome { bytes: sent, digest: hexadecimal(&hash.finalize()), begin, slept: link.tally().slept })
}

/// Receives `total` bytes; does `halfway` when half of them are here.
fn receiver(
    dataport: &impl Shared,
    mut link: impl Turns,
    total: usize,
    halfway: impl Fn() -> Result<(), String>,
) -> Result<Outcome, String> {
    let layout = layout(dataport)?;
    let mut buffer = vec![0; layout.capacity()];
    let mut header = [0; HEADER];
    let mut hash = Sha256::new();
    let mut received = 0;
    let mut begin = Instant::now();
    for sequence in 0.. {
        if received == total {
            break;
        }
        link.event(SPINS, || format!("chunk {sequence}"))?;
        if sequence == 0 {
            begin = Instant::now();
        }
        let slot = layout.slot(sequence);
        dataport.read(slot, &mut header).map_err(|error| error.to_string())?;
        let length = Header::check(&header, sequence, layout, total - received)?;
        let data = buffer.get_mut(..length).unwrap_or_default();
        dataport.read(slot + HEADER, data).map_err(|error| error.to_string())?;
        // The data are here: the sender may go on while they are hashed.
        link.emit()?;
        hash.update(&*data);
        if (received..received + length).contains(&(total / 2)) {
            halfway()?;
        }
        received += length;
    }
    Ok(Outcome { bytes: received, digest: hexadecimal(&hash.finalize()), begin, slept: link.tally().slept })
}

/// Ends this VM without a good-bye: the kernel panics and resets the machine. Returns only where it cannot.
fn crash() -> String {
    let crashed = fs::write("/proc/sys/kernel/panic", "-1").and_then(|()| fs::write("/proc/sysrq-trigger", "c"));
    format!("the kernel did not crash: {crashed:?}")
}

/// Bytes as digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::link::fake::{Memory, sides};

    /// What came of sending `total` bytes through a dataport of `size`.
    fn transfer(
        size: usize,
        total: usize,
        sabotage: Option<Sabotage>,
        halfway: fn() -> Result<(), String>,
    ) -> (Result<Outcome, String>, Result<Outcome, String>) {
        let (memory, (first, second)) = (Memory::new(size), sides());
        let random = Random::from_kernel().unwrap();
        thread::scope(|scope| {
            let sender = scope.spawn(|| sender(&memory, first, random, total, sabotage));
            let received = receiver(&memory, second, total, halfway);
            (sender.join().unwrap(), received)
        })
    }

    #[test]
    fn what_is_received_is_what_was_sent() {
        for (size, total) in [(4096, 100_000), (256, 1000), (65536, 1), (4096, (2048 - 64) * 4)] {
            let (sent, received) = transfer(size, total, None, || Ok(()));
            let (sent, received) = (sent.unwrap(), received.unwrap());
            assert_eq!((sent.bytes, received.bytes), (total, total));
            assert_eq!(sent.digest, received.digest);
        }
    }

    #[test]
    fn one_wrong_byte_shows() {
        let (sent, received) = transfer(4096, 100_000, Some(Sabotage::Corrupt), || Ok(()));
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!(received.bytes, 100_000);
        assert_ne!(sent.digest, received.digest);
    }

    #[test]
    fn a_receiver_that_dies_is_noticed() {
        let (sent, received) = transfer(4096, 100_000, None, || Err("dead".to_owned()));
        assert_eq!(received.unwrap_err(), "dead");
        assert!(sent.unwrap_err().starts_with("no receipt of chunk"));
    }

    #[test]
    fn a_sender_that_lies_is_refused() {
        let (memory, (mut first, second)) = (Memory::new(4096), sides());
        memory.write(0, &Header { sequence: 0, length: u32::MAX }.to_bytes()).unwrap();
        first.emit().unwrap();
        assert!(receiver(&memory, second, 100_000, || Ok(())).unwrap_err().contains("claims 4294967295 bytes"));
    }

    #[test]
    fn a_dataport_without_room_is_refused() {
        let (_, second) = sides();
        assert!(receiver(&Memory::new(128), second, 1, || Ok(())).unwrap_err().contains("too small"));
    }

    #[test]
    fn digests_are_printed_as_usual() {
        let digest = hexadecimal(&Sha256::digest(b"abc"));
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
