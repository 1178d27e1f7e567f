//! `pong`: answers `ping` and `bench`.

use std::io::Write;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use clap::Args;
use crossvm_guest::System;
use crossvm_guest::channel::Side;
use serde::Serialize;

use crate::failure::Failure;
use crate::options::Run;
use crate::output::{Format, print, print_json_line};
use crate::runs::{Begin, Done, Mode, number};
use crate::session::{Cost, PING, Where};
use crate::stop::{Stop, Wake};
use crate::talk::{Ended, Talk};

/// Answer `crossvm ping` and `crossvm bench` at the other end, until that closes, or Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Pong {
    #[command(flatten)]
    place: Where,
    /// End after so many answers.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Go on with the next peer when one has closed, was restarted, or has broken the protocol.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    format: Format,
}

/// After a peer that does what it may not, so long nobody is listened to: nor does it keep this end busy.
const PENALTY: Duration = Duration::from_secs(1);

/// What was done, as JSON shows it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    connection: &'a str,
    /// Messages that were sent back.
    answered: u64,
    /// Messages that should not come back.
    received: u64,
    /// How many have connected.
    peers: u64,
    doorbells: u64,
    sleeps: u64,
}

/// Counts what was done, over all peers.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    received: u64,
    peers: u64,
}

impl Run for Pong {
    fn run(self, system: &System) -> Result<(), Failure> {
        let Self { place, count, keep, format } = self;
        let stop = Stop::new()?;
        let endpoint = place.endpoint(system)?;
        let mut talk = Talk::open(&place, &stop, &endpoint, Side::B, PING)?;
        let mut tally = Tally::default();
        let mut buffer = Vec::new();
        let mut told = String::new();
        let failure = loop {
            let Err(ended) = talk.connect().and_then(|()| serve(&mut talk, &mut buffer, &mut tally, count)) else { break None };
            let left = ended.is_closed() || (keep && ended.is_restarted());
            let fault = ended.is_fault();
            match talk.failure(ended) {
                _ if left && keep => {}
                _ if left => break None,
                Some(failure) if keep && fault => {
                    // Once: the same peer may do the same again and again.
                    let text = failure.to_string();
                    if text != told {
                        let _ = writeln!(std::io::stderr(), "crossvm: {text}");
                        told = text;
                    }
                    if Instant::now().checked_add(PENALTY).is_some_and(|end| stop.sleep_until(end) == Wake::Stop) {
                        break None;
                    }
                }
                failure => break failure,
            }
            talk.reopen();
        };
        let Cost { doorbells, sleeps, .. } = Cost::of(&talk.statistics());
        // The last answer is on its way before anybody reads of it.
        drop(talk);
        let Tally { answered, received, peers } = tally;
        let shown = if format.json {
            print_json_line(&Report { connection: &place.name, answered, received, peers, doorbells, sleeps })
        } else {
            print(&format!("{answered} answered, {received} received, {peers} peers, {doorbells} doorbells, {sleeps} sleeps\n"))
        };
        failure.map_or(shown, Err)
    }
}

/// Serves a peer until there were `count` answers in all.
fn serve(talk: &mut Talk<'_, '_>, buffer: &mut Vec<u8>, tally: &mut Tally, count: Option<NonZeroU64>) -> Result<(), Ended> {
    tally.peers = tally.peers.saturating_add(1);
    buffer.resize(talk.max_message(), 0);
    loop {
        let begin = Begin::parse(talk.recv(buffer)?).ok_or_else(|| Ended::nonsense("a run begins in an unknown way"))?;
        let before = talk.statistics();
        let mut messages = 0_u64;
        loop {
            let message = talk.recv(buffer)?;
            if message.is_empty() {
                break;
            }
            if message.len() != begin.size || number(message) != Some(messages) {
                return Err(Ended::nonsense(format!("message {messages} of a run of {} bytes is another one", begin.size)));
            }
            messages = messages.saturating_add(1);
            match begin.mode {
                Mode::Sink => tally.received = tally.received.saturating_add(1),
                Mode::Echo => {
                    talk.send(message)?;
                    tally.answered = tally.answered.saturating_add(1);
                    if count.is_some_and(|count| tally.answered >= count.get()) {
                        return Ok(());
                    }
                }
            }
        }
        let done = Done::of(messages, &before, &talk.statistics());
        talk.send(&done.message())?;
    }
}
