//! `read` and `write`.

use std::io::{self, Read as _};

use clap::Args;
use crossvm_guest::{Dataport, System};

use crate::failure::{Failure, Status};
use crate::options::Run;
use crate::output::print_bytes;
use crate::values::{self, Place};

/// Print what stands in a dataport.
#[derive(Debug, Args)]
pub(crate) struct Read {
    #[command(flatten)]
    place: Place,
    /// How many bytes; to the end of the dataport without it.
    #[arg(long, value_name = "N", value_parser = values::bytes)]
    length: Option<usize>,
    /// Up to the first line feed, and with it.
    #[arg(long, conflicts_with = "length")]
    line: bool,
}

/// Write to a dataport: all of it or nothing.
#[derive(Debug, Args)]
pub(crate) struct Write {
    #[command(flatten)]
    place: Place,
    /// What to write; standard input without it.
    text: Option<String>,
    /// Add a line feed.
    #[arg(long)]
    line: bool,
}

/// How much is read at once in search of a line feed.
const PIECE: usize = 256;

impl Run for Read {
    /// Prints a part of a dataport as it is.
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, length, line: until_line_feed } = self;
        let dataport = system.endpoint(&place.name)?.dataport(place.dataport)?;
        let (offset, size) = (place.offset, dataport.size());
        let rest = size.checked_sub(offset).ok_or(crossvm_guest::Error::OutOfRange { offset, length: 0, size })?;
        print_bytes(&match until_line_feed {
            true => line(&dataport, offset, rest)?,
            false => bytes(&dataport, offset, length.unwrap_or(rest))?,
        })
    }
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
    let what = "there is no line feed from the offset to the end of the dataport: leave out --line to see what is there";
    Err(Failure::Other(Status::Failed, what.to_owned()))
}

impl Run for Write {
    /// Writes the text, or standard input, to a dataport: all of it or nothing.
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, text, line } = self;
        let dataport = system.endpoint(&place.name)?.dataport(place.dataport)?;
        let mut bytes = match text {
            Some(text) => text.into_bytes(),
            None => {
                // One byte more than can fit is enough to see that it does not.
                let most = u64::try_from(dataport.size()).unwrap_or(u64::MAX).saturating_add(1);
                let mut bytes = Vec::new();
                let read = io::stdin().lock().take(most).read_to_end(&mut bytes);
                read.map_err(|error| Failure::Stream("standard input".to_owned(), error))?;
                bytes
            }
        };
        if line {
            bytes.push(b'\n');
        }
        Ok(dataport.write(place.offset, &bytes)?)
    }
}
