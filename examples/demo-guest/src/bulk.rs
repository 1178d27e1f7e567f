//! Check `bulk`: much data from vm0 to vm1 through a small dataport.
//!
//! The sender fills one slot while the receiver empties the other. An event says "chunk n is there"; the event back says "chunk n
//! is read". The sender announces chunk n + 1 only when chunk n is read, so one event at most is on its way in each direction, none can
//! be taken for another, and the protocol does not depend on who is up first.

use std::fs;
use std::time::Instant;

use crossvm_guest::{Connection, Dataport, DataportIndex, System};
use sha2::{Digest, Sha256};

use crate::chunk::{HEADER, Header, Layout};
use crate::link::Link;
use crate::random::Random;
use crate::report::{Failure, Report};
use crate::settings::{Sabotage, Settings};

const CHECK: &str = "bulk";
const CONNECTION: &str = "bulk";
/// How much data.
const TOTAL: usize = 64 << 20;
/// Looks at COUNT before sleeping: about as long as the peer takes for the event alone.
const SPINS: u32 = 200;

/// What one side found.
struct Outcome {
    bytes: usize,
    digest: String,
    begin: Instant,
    slept: u32,
}

/// Sends the data.
pub(crate) fn send(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    let outcome = with_connection(system, |connection| sender(connection, settings))?;
    pass(report, "send", &outcome);
    Ok(())
}

/// Receives the data.
pub(crate) fn receive(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    let outcome = with_connection(system, |connection| receiver(connection, settings))?;
    pass(report, "receive", &outcome);
    Ok(())
}

fn with_connection(system: &System, work: impl FnOnce(&Connection) -> Result<Outcome, String>) -> Result<Outcome, Failure> {
    let connection = system.open(CONNECTION).map_err(|error| Failure::new(CHECK, error))?;
    work(&connection).map_err(|reason| Failure::new(CHECK, reason))
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

/// Maps the dataport and finds its slots.
fn open(connection: &Connection) -> Result<(Dataport, Layout), String> {
    let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
    let layout = Layout::new(dataport.size()).ok_or_else(|| format!("a dataport of {} bytes is too small", dataport.size()))?;
    Ok((dataport, layout))
}

fn sender(connection: &Connection, settings: &Settings) -> Result<Outcome, String> {
    let (dataport, layout) = open(connection)?;
    let mut random = Random::from_kernel().map_err(|error| format!("/dev/urandom: {error}"))?;
    let mut link = Link::new(connection, settings.timeout)?;
    let mut buffer = vec![0; layout.capacity()];
    let mut hash = Sha256::new();
    let mut sent = 0;
    let begin = Instant::now();
    for sequence in 0.. {
        if sent == TOTAL {
            break;
        }
        let data = buffer.get_mut(..layout.capacity().min(TOTAL - sent)).unwrap_or_default();
        random.fill(data);
        hash.update(&*data);
        // The middle chunk: the receiver has some before it and some after it.
        if settings.sabotage == Some(Sabotage::Corrupt) && (sent..sent + data.len()).contains(&(TOTAL / 2)) {
            data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
        let header = Header { sequence, length: u32::try_from(data.len()).map_err(|error| error.to_string())? };
        let slot = layout.slot(sequence);
        dataport.write(slot + HEADER, data).and_then(|()| dataport.write(slot, &header.to_bytes())).map_err(|error| error.to_string())?;
        sent += data.len();
        if let Some(previous) = sequence.checked_sub(1) {
            link.event(SPINS, || format!("receipt of chunk {previous}"))?;
        }
        link.emit();
    }
    link.event(SPINS, || "receipt of the last chunk".to_owned())?;
    Ok(Outcome { bytes: sent, digest: hexadecimal(&hash.finalize()), begin, slept: link.slept() })
}

fn receiver(connection: &Connection, settings: &Settings) -> Result<Outcome, String> {
    let (dataport, layout) = open(connection)?;
    let mut link = Link::new(connection, settings.timeout)?;
    let mut buffer = vec![0; layout.capacity()];
    let mut header = [0; HEADER];
    let mut hash = Sha256::new();
    let mut received = 0;
    let mut begin = Instant::now();
    for sequence in 0.. {
        if received == TOTAL {
            break;
        }
        link.event(SPINS, || format!("chunk {sequence}"))?;
        if sequence == 0 {
            begin = Instant::now();
        }
        let slot = layout.slot(sequence);
        dataport.read(slot, &mut header).map_err(|error| error.to_string())?;
        let length = Header::check(&header, sequence, layout, TOTAL - received)?;
        let data = buffer.get_mut(..length).unwrap_or_default();
        dataport.read(slot + HEADER, data).map_err(|error| error.to_string())?;
        // The data are here: the sender may go on while they are hashed.
        link.emit();
        hash.update(&*data);
        received += length;
        if settings.sabotage == Some(Sabotage::Die) && received >= TOTAL / 2 {
            return Err(crash());
        }
    }
    Ok(Outcome { bytes: received, digest: hexadecimal(&hash.finalize()), begin, slept: link.slept() })
}

/// Ends this VM without a good-bye: the kernel panics and resets the machine. Returns only where it cannot.
fn crash() -> String {
    let crashed = fs::write("/proc/sys/kernel/panic", "-1").and_then(|()| fs::write("/proc/sysrq-trigger", "c"));
    format!("the kernel did not crash: {crashed:?}")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_printed_as_usual() {
        let digest = hexadecimal(&Sha256::digest(b"abc"));
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
