//! `read` and `write`.

use std::io::{self, Read, Write};

use crossvm_guest::{Dataport, System};

use crate::failure::Failure;
use crate::options::Place;

/// How much to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    /// Up to the end of the dataport.
    Rest,
    /// So many bytes.
    Bytes(usize),
    /// Up to the first line feed, and with it.
    Line,
}

/// What to write behind the text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Nothing.
    AsIs,
    /// A line feed.
    LineFeed,
}

/// How much is read at once in search of a line feed.
const PIECE: usize = 256;

/// Prints a part of a dataport as it is.
pub(crate) fn read(system: &System, place: &Place, extent: Extent) -> Result<(), Failure> {
    let dataport = system.endpoint(&place.name)?.dataport(place.dataport)?;
    let (offset, size) = (place.offset, dataport.size());
    let rest = size.checked_sub(offset).ok_or(crossvm_guest::Error::OutOfRange { offset, length: 0, size })?;
    let bytes = match extent {
        Extent::Rest => bytes(&dataport, offset, rest)?,
        Extent::Bytes(length) => bytes(&dataport, offset, length)?,
        Extent::Line => line(&dataport, offset, rest)?,
    };
    let mut output = io::stdout().lock();
    output.write_all(&bytes).and_then(|()| output.flush()).map_err(|error| Failure::Stream("standard output", error))
}

fn bytes(dataport: &Dataport, offset: usize, length: usize) -> Result<Vec<u8>, Failure> {
    let size = dataport.size();
    // Checked here too, because a buffer of an impossible length cannot be had.
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(crossvm_guest::Error::OutOfRange { offset, length, size }.into());
    }
    let mut buffer = vec![0; length];
    dataport.read(offset, &mut buffer)?;
    Ok(buffer)
}

fn line(dataport: &Dataport, offset: usize, rest: usize) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    while line.len() < rest {
        let piece = bytes(dataport, offset.saturating_add(line.len()), rest.saturating_sub(line.len()).min(PIECE))?;
        match piece.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend(piece.into_iter().take(end.saturating_add(1)));
                return Ok(line);
            }
            None => line.extend(piece),
        }
    }
    Err(Failure::NoLine)
}

/// Writes `text`, or standard input, to a dataport: all of it or nothing.
pub(crate) fn write(system: &System, place: &Place, text: Option<String>, end: End) -> Result<(), Failure> {
    let dataport = system.endpoint(&place.name)?.dataport(place.dataport)?;
    let mut bytes = match text {
        Some(text) => text.into_bytes(),
        None => {
            // One byte more than can fit is enough to see that it does not.
            let most = u64::try_from(dataport.size()).unwrap_or(u64::MAX).saturating_add(1);
            let mut bytes = Vec::new();
            io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(|error| Failure::Stream("standard input", error))?;
            bytes
        }
    };
    if let End::LineFeed = end {
        bytes.push(b'\n');
    }
    Ok(dataport.write(place.offset, &bytes)?)
}
