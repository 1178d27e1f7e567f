//! A connection to a native component of the VM monitor.

use crossvm_guest::{Dataport, DataportIndex, DataportInfo, Endpoint};

use super::{Findings, pattern, stray};
use crate::events::Spins;
use crate::link::{Link, Turns as _};
use crate::random::Random;
use crate::reverse as lines;

/// How often `digest` and `source` are asked: more than once, so that an answer that was there before is none.
const ROUNDS: u32 = 3;
/// The golden ratio, by which `source` tells its events apart.
const RATIO: u32 = 0x9e37_79b9;

/// Where `digest` puts its answer.
const ANSWER: DataportIndex = DataportIndex::new(1);

/// Sends lines, each of which comes back reversed.
pub(super) fn reverse(connection: &Endpoint, link: &mut Link<'_>, random: &mut Random) -> Result<Findings, String> {
    let bytes = lines::exchange(&open(connection, DataportIndex::FIRST)?, link, random)?;
    Ok(vec![("bytes", bytes.to_string())])
}

/// Fills the first dataport, and finds its CRC-32 in the second.
pub(super) fn digest(connection: &Endpoint, link: &mut Link<'_>, random: &mut Random) -> Result<Findings, String> {
    let (data, answer) = (open(connection, DataportIndex::FIRST)?, open(connection, ANSWER)?);
    let mut bytes = 0;
    for round in 1..=ROUNDS {
        let sum = pattern::write(&data, random)?;
        link.emit()?;
        link.event(Spins::NONE, || format!("digest {round}"))?;
        let mut found = [0; 4];
        answer.read(0, &mut found).map_err(|error| error.to_string())?;
        let found = pattern::Checksum(u32::from_le_bytes(found));
        if found != sum {
            return Err(format!("digest {round} is {found} instead of {sum}"));
        }
        bytes += data.size();
    }
    stores(connection, vec![("bytes", bytes.to_string())])
}

/// Asks for data, and finds what belongs to the event.
pub(super) fn source(connection: &Endpoint, link: &mut Link<'_>) -> Result<Findings, String> {
    let data = open(connection, DataportIndex::FIRST)?;
    let mut bytes = 0;
    for round in 1..=ROUNDS {
        link.emit()?;
        link.event(Spins::NONE, || format!("data of event {round}"))?;
        pattern::each_block(&data, |offset, block| expect(round, offset, block))?;
        bytes += data.size();
    }
    let findings = stores(connection, vec![("bytes", bytes.to_string())])?;
    // Nor did the stores change anything.
    pattern::each_block(&data, |offset, block| expect(ROUNDS, offset, block))?;
    Ok(findings)
}

/// `block`, at `offset`, is what `source` makes of its event number `round`.
fn expect(round: u32, offset: usize, block: &[u8]) -> Result<(), String> {
    let first = u32::try_from(offset / 4).map_err(|error| error.to_string())?;
    let (words, _) = block.as_chunks::<4>();
    for (index, word) in (first..).zip(words) {
        let (found, expected) = (u32::from_le_bytes(*word), round.wrapping_mul(RATIO) ^ index);
        if found != expected {
            return Err(format!("word {index} after event {round} is {found:#x} instead of {expected:#x}"));
        }
    }
    Ok(())
}

/// Tries the stores that must have no effect, on each dataport.
fn stores(connection: &Endpoint, mut findings: Findings) -> Result<Findings, String> {
    let (mut refused, mut behind) = (0, 0);
    for info in connection.dataports() {
        refused += if may_write(info) { 0 } else { stray::read_only(connection, info)? };
        behind += stray::behind(connection, info)?;
    }
    findings.extend([("refused", refused.to_string()), ("behind", behind.to_string())]);
    Ok(findings)
}

const fn may_write(info: &DataportInfo) -> bool {
    info.rights().can_write()
}

fn open(connection: &Endpoint, index: DataportIndex) -> Result<Dataport, String> {
    connection.dataport(index).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_the_source_belongs_to_its_event_and_place() {
        let block: Vec<u8> = (16..32_u32).flat_map(|index| (2_u32.wrapping_mul(RATIO) ^ index).to_le_bytes()).collect();
        assert_eq!(expect(2, 64, &block), Ok(()));
        assert!(expect(1, 64, &block).is_err(), "another event's");
        assert!(expect(2, 0, &block).is_err(), "another place's");
    }
}
