//! A connection to another VM: events both ways, then the whole of each dataport from each side that may write it to the other.

use std::thread;
use std::time::Duration;

use crossvm_guest::Endpoint;

use super::token::{Side, Token};
use super::{Findings, Part, Right, Rights, pattern, stray};
use crate::link::{Link, Turns};
use crate::random::Random;

/// How many events go each way before any data.
const ROUNDS: u32 = 8;
/// Before an event: by then the peer is asleep, and needs an interrupt.
const PAUSE: Duration = Duration::from_millis(1);

/// One direction of one dataport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transfer {
    dataport: usize,
    writer: Side,
    /// The reader may not write: it tries to, and the writer finds its data unchanged.
    refused: bool,
}

/// All transfers, in the order in which both sides make them.
fn transfers(own: Side, rights: &[Rights]) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for (dataport, rights) in rights.iter().enumerate() {
        let may = |side| if side == own { rights.own == Right::ReadWrite } else { rights.peer == Right::ReadWrite };
        for writer in [Side::A, Side::B].into_iter().filter(|side| may(*side)) {
            transfers.push(Transfer { dataport, writer, refused: !may(writer.other()) });
        }
    }
    transfers
}

/// Checks one connection.
pub(super) fn check(connection: &Endpoint, part: &Part, link: &mut Link<'_>, random: &mut Random) -> Result<Findings, String> {
    let infos = connection.dataports();
    if infos.len() != part.rights.len() {
        return Err(format!("{} dataports, the plan has {}", infos.len(), part.rights.len()));
    }
    let mut token = Token::new(link, part.side);
    // What it takes for an event would make the counts differ.
    let undescribed = stray::undescribed(connection)?;
    events(&mut token)?;
    let (mut sums, mut bytes, mut refused, mut behind) = (Vec::new(), 0, 0, 0);
    for transfer in transfers(part.side, &part.rights) {
        let Some(info) = infos.get(transfer.dataport) else { continue };
        let dataport = connection.dataport(info.index()).map_err(|error| error.to_string())?;
        let (writer, reader) = (transfer.writer, transfer.writer.other());
        let what = |what: &'static str| move || format!("{what} of dataport {}", info.index());
        token.hand_to(writer, what("turn to write"))?;
        let mut sum = None;
        if token.own() == writer {
            sum = Some(pattern::write(&dataport, random)?);
        }
        token.hand_to(reader, what("data"))?;
        if token.own() == reader {
            let read = pattern::read(&dataport)?;
            if transfer.refused {
                refused += stray::read_only(connection, info)?;
                if pattern::read(&dataport)? != read {
                    return Err(format!("the read-only dataport {} is not as it was", info.index()));
                }
            }
            behind += stray::behind(connection, info)?;
            sum = Some(read);
        }
        token.hand_to(writer, what("receipt"))?;
        // The reader has tried to change the data.
        if token.own() == writer && transfer.refused && sum != Some(pattern::read(&dataport)?) {
            return Err(format!("the data in dataport {} are not as they were written, though only this end may write", info.index()));
        }
        bytes += info.size();
        sums.push(sum.map_or_else(String::new, |sum| sum.to_string()));
    }
    token.hand_to(Side::A, || "farewell".to_owned())?;
    Ok(vec![
        ("sums", sums.join("+")),
        ("bytes", bytes.to_string()),
        ("refused", refused.to_string()),
        ("behind", behind.to_string()),
        ("undescribed", undescribed.to_string()),
    ])
}

/// Events both ways, each to a peer that sleeps.
fn events(token: &mut Token<'_, impl Turns>) -> Result<(), String> {
    for round in 0..ROUNDS {
        for (from, to) in [(Side::A, Side::B), (Side::B, Side::A)] {
            if token.own() == from {
                thread::sleep(PAUSE);
            }
            token.hand_to(to, || format!("event {round}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_plan_the_same_transfers() {
        use Right::{Read as R, ReadWrite as W};
        let of_a = [(W, W), (W, R), (R, W)].map(|(own, peer)| Rights { own, peer });
        let of_b = of_a.map(|Rights { own, peer }| Rights { own: peer, peer: own });
        let transfer = |dataport, writer, refused| Transfer { dataport, writer, refused };
        let expected = [transfer(0, Side::A, false), transfer(0, Side::B, false), transfer(1, Side::A, true), transfer(2, Side::B, true)];
        assert_eq!(transfers(Side::A, &of_a), expected);
        assert_eq!(transfers(Side::B, &of_b), expected);
    }
}
