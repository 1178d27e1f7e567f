//! `send` and `recv`: a file, or a stream, from one end to the other.
//!
//! ```text
//!   send                         recv
//!    │ BEGIN  size, if known      │
//!    │ DATA   ...              ─▶ │  written as it comes
//!    │ END    bytes, SHA-256      │
//!    │                         ◀─ │ RESULT  bytes, SHA-256
//! ```
//!
//! A message begins with 8 bytes: its kind, then zeros. Numbers are little endian.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use crossvm_guest::channel::Side;
use crossvm_guest::{GuestChannel, System};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::{Failure, Status};
use crate::options::Run;
use crate::output::{Format, print_json_line};
use crate::session::{Cost, FILE, Where};

/// Send a file, or standard input, to `crossvm recv` at the other end. Ends when the other end has confirmed the checksum.
#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    place: Where,
    /// The file; standard input without it, or where it is -.
    file: Option<PathBuf>,
    #[command(flatten)]
    show: Show,
}

/// Receive a file, or a stream, that `crossvm send` sends at the other end.
#[derive(Debug, Args)]
pub(crate) struct Recv {
    #[command(flatten)]
    place: Where,
    /// Where to write it; standard output without it, or where it is -. A file that exists is replaced.
    file: Option<PathBuf>,
    #[command(flatten)]
    show: Show,
}

/// What to show.
#[derive(Debug, Args)]
struct Show {
    /// No progress bar, and no report but with --json.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

/// Length of what stands in front of a message's content.
const HEADER: usize = 8;
/// The most data in one message: less than a ring has room for, so that both ends work at once.
const MOST: usize = 64 << 10;
/// In BEGIN: nobody knows how much will come.
const UNKNOWN: u64 = u64::MAX;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Begin,
    Data,
    End,
    Result,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Begin, Self::Data, Self::End, Self::Result];

    const fn header(self) -> [u8; HEADER] {
        [b'B' + self as u8, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// A message's kind and content.
fn parse(message: &[u8]) -> Result<(Kind, &[u8]), Failure> {
    message
        .split_first_chunk()
        .and_then(|(header, content)| Some((Kind::ALL.into_iter().find(|kind| kind.header() == *header)?, content)))
        .ok_or_else(|| broken("a message is of no known kind"))
}

fn broken(what: &str) -> Failure {
    Failure::Other(Status::PeerLost, format!("the other end has broken the protocol of send and recv: {what}"))
}

/// How much it was, and its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    digest: [u8; 32],
}

impl Sum {
    fn message(&self, kind: Kind) -> [u8; 48] {
        let mut message = [0; 48];
        let parts = kind.header().into_iter().chain(self.bytes.to_le_bytes()).chain(self.digest);
        message.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        message
    }

    fn parse(content: &[u8]) -> Result<Self, Failure> {
        let parts = content.split_first_chunk().and_then(|(bytes, rest)| Some((u64::from_le_bytes(*bytes), rest.try_into().ok()?)));
        parts.map(|(bytes, digest)| Self { bytes, digest }).ok_or_else(|| broken("a sum has the wrong length"))
    }
}

/// Counts and sums what goes by.
struct Meter {
    hash: Sha256,
    bytes: u64,
    begin: Instant,
    bar: ProgressBar,
}

impl Meter {
    fn new(show: &Show, size: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(size, if show.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
        let template = match size {
            Some(_) => "{bar:40} {percent:>3} %  {bytes}  {binary_bytes_per_sec}  {eta} left",
            None => "{spinner} {bytes}  {binary_bytes_per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { hash: Sha256::new(), bytes: 0, begin: Instant::now(), bar }
    }

    fn add(&mut self, data: &[u8]) {
        self.hash.update(data);
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        self.bar.set_position(self.bytes);
    }

    /// What it was in all, and how long it took.
    fn finish(self) -> (Sum, Duration) {
        self.bar.finish_and_clear();
        (Sum { bytes: self.bytes, digest: self.hash.finalize().into() }, self.begin.elapsed())
    }
}

/// What came of it, as JSON shows it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    connection: &'a str,
    role: &'a str,
    bytes: u64,
    sha256: String,
    seconds: f64,
    bytes_per_second: f64,
    #[serde(flatten)]
    cost: Cost,
}

/// Reports a transfer: to standard error where standard output is what was received.
fn report(show: &Show, role: &str, name: &str, (sum, time): (Sum, Duration), cost: Cost, piped: bool) -> Result<(), Failure> {
    let seconds = time.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate is approximate")]
    let rate = sum.bytes as f64 / seconds.max(1e-9);
    let sha256 = sum.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let report = Report { connection: name, role, bytes: sum.bytes, sha256, seconds, bytes_per_second: rate, cost };
    match (show.format.json, piped) {
        (true, false) => print_json_line(&report),
        (true, true) => {
            let text = serde_json::to_string(&report).map_err(|error| Failure::Stream("JSON".to_owned(), error.into()))?;
            writeln!(io::stderr(), "{text}").map_err(|error| Failure::Stream("standard error".to_owned(), error))
        }
        (false, _) if show.quiet => Ok(()),
        (false, _) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive, and far below 2^64")]
            let rate = HumanBytes(rate as u64);
            let Report { sha256, cost, .. } = report;
            let bytes = HumanBytes(sum.bytes);
            let done = if role == "send" { "sent" } else { "received" };
            // Who cannot read it has the exit status.
            let _ = writeln!(
                io::stderr(),
                "{done} {bytes} in {seconds:.2} s, {rate}/s, {} messages, {} doorbells; SHA-256 {sha256}",
                cost.messages,
                cost.doorbells
            );
            Ok(())
        }
    }
}

/// Whether `file` stands for standard input or output.
fn piped(file: Option<&Path>) -> bool {
    file.is_none_or(|file| file == Path::new("-"))
}

impl Run for Send {
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, file, show } = self;
        let stream = || file.as_deref().map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
        let failed = |error| Failure::Stream(stream(), error);
        let (mut source, size): (Box<dyn Read>, _) = match file.as_deref() {
            Some(path) if !piped(Some(path)) => {
                let source = File::open(path).map_err(failed)?;
                let metadata = source.metadata().map_err(failed)?;
                (Box::new(source), metadata.is_file().then_some(metadata.len()))
            }
            _ => (Box::new(io::stdin().lock()), None),
        };
        let endpoint = place.endpoint(system)?;
        let mut channel = place.connect(&endpoint, Side::A, FILE)?;
        let mut meter = Meter::new(&show, size);
        let push = |channel: &mut GuestChannel<'_>, message: &[u8]| channel.push(message).map_err(|error| place.failure(channel, error));
        let mut begin = [0; 16];
        begin
            .iter_mut()
            .zip(Kind::Begin.header().into_iter().chain(size.unwrap_or(UNKNOWN).to_le_bytes()))
            .for_each(|(byte, part)| *byte = part);
        push(&mut channel, &begin)?;
        let mut buffer = vec![0; MOST.min(channel.max_message())];
        while let Some((header, data)) = buffer.split_first_chunk_mut() {
            *header = Kind::Data.header();
            let read = source.read(data).map_err(failed)?;
            if read == 0 {
                break;
            }
            meter.add(data.get(..read).unwrap_or_default());
            push(&mut channel, buffer.get(..HEADER.saturating_add(read)).unwrap_or_default())?;
        }
        // The clock stops when the other end has all of it.
        let sum = Sum { bytes: meter.bytes, digest: meter.hash.clone().finalize().into() };
        push(&mut channel, &sum.message(Kind::End))?;
        let length = channel.recv(&mut buffer).map_err(|error| place.failure(&mut channel, error))?;
        let confirmed = match parse(buffer.get(..length).unwrap_or_default())? {
            (Kind::Result, content) => Sum::parse(content)?,
            _ => return Err(broken("something else where the result should be")),
        };
        let (_, time) = meter.finish();
        let cost = Cost::of(&channel.channel().statistics());
        drop(channel);
        report(&show, "send", &place.name, (sum, time), cost, false)?;
        compare(sum, confirmed, "the other end received")
    }
}

impl Run for Recv {
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, file, show } = self;
        let to_stdout = piped(file.as_deref());
        let stream = || file.as_deref().map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
        // A closed pipe is no success here: what was sent did not get to where it should.
        let failed = |error: io::Error| Failure::Other(Status::Failed, format!("{}: {error}", stream()));
        let endpoint = place.endpoint(system)?;
        let mut channel = place.open(&endpoint, Side::B, FILE)?;
        // Before anybody sends: who cannot write to the file should know at once.
        let mut sink: Box<dyn Write> = match file.as_deref() {
            Some(path) if !to_stdout => Box::new(File::create(path).map_err(failed)?),
            _ => Box::new(io::stdout().lock()),
        };
        channel.connect().map_err(|error| place.failure(&mut channel, error))?;
        let mut meter = None;
        let mut buffer = vec![0; channel.max_message()];
        let claimed = loop {
            let length = channel.recv(&mut buffer).map_err(|error| place.failure(&mut channel, error))?;
            match (parse(buffer.get(..length).unwrap_or_default())?, &mut meter) {
                ((Kind::Begin, content), None) => {
                    let size = content.try_into().map(u64::from_le_bytes).map_err(|_| broken("its beginning has the wrong length"))?;
                    meter = Some(Meter::new(&show, Some(size).filter(|size| *size != UNKNOWN)));
                }
                ((Kind::Data, data), Some(meter)) => {
                    sink.write_all(data).map_err(failed)?;
                    meter.add(data);
                }
                ((Kind::End, content), Some(_)) => break Sum::parse(content)?,
                _ => return Err(broken("its messages come in the wrong order")),
            }
        };
        let Some(meter) = meter else { return Err(broken("its messages come in the wrong order")) };
        sink.flush().map_err(failed)?;
        let (sum, time) = meter.finish();
        channel.send(&sum.message(Kind::Result)).map_err(|error| place.failure(&mut channel, error))?;
        let cost = Cost::of(&channel.channel().statistics());
        drop(channel);
        report(&show, "recv", &place.name, (sum, time), cost, to_stdout)?;
        compare(sum, claimed, "the other end sent")
    }
}

fn compare(own: Sum, other: Sum, what: &str) -> Result<(), Failure> {
    if own == other {
        return Ok(());
    }
    let what = format!(
        "{what} {} bytes, and this end had {}; the checksums {}",
        other.bytes,
        own.bytes,
        if own.digest == other.digest { "agree" } else { "differ" }
    );
    Err(Failure::Other(Status::DigestsDiffer, what))
}
