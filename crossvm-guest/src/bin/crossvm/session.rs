//! A channel as the verbs use it: which connection, which end, for how long, and what to say when it fails.

use std::time::Duration;

use clap::Args;
use crossvm_guest::channel::{Broken, Config, Incompatible, Protocol, Side, SideState, Statistics};
use crossvm_guest::{ChannelError, DataportIndex, Endpoint, GuestChannel, System};
use serde::Serialize;

use crate::failure::{Failure, Status};
use crate::values;

/// What `send` and `recv` speak.
pub(crate) const FILE: Protocol = Protocol::named(*b"file");
/// What `ping`, `bench` and `pong` speak.
pub(crate) const PING: Protocol = Protocol::named(*b"ping");

/// What `net` speaks.
pub(crate) const NET: Protocol = Protocol::named(*b"net0");

/// Where a channel is.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The connection. The channel takes all of its dataport, and all of its events.
    pub(crate) name: String,
    /// Which dataport of the connection.
    #[arg(long, value_name = "I", default_value = "0", value_parser = values::index)]
    pub(crate) dataport: DataportIndex,
    /// Give up when the peer does nothing for so many seconds; wait for ever without it.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Look so often for an answer before going to sleep. More is faster where each VM has processors of its own, and slower where it has not.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) spins: u32,
}

impl Where {
    /// The connection.
    pub(crate) fn endpoint(&self, system: &System) -> Result<Endpoint, Failure> {
        Ok(system.endpoint(&self.name)?)
    }

    /// Opens the end `side` of the channel through `endpoint`, and waits for nobody.
    pub(crate) fn open<'endpoint>(
        &self,
        endpoint: &'endpoint Endpoint,
        side: Side,
        protocol: Protocol,
    ) -> Result<GuestChannel<'endpoint>, Failure> {
        let config = Config::new(side).protocol(protocol).spins(self.spins);
        Ok(GuestChannel::open(endpoint, self.dataport, config)?.timeout(self.timeout))
    }

    /// The same, and meets the peer.
    pub(crate) fn connect<'endpoint>(
        &self,
        endpoint: &'endpoint Endpoint,
        side: Side,
        protocol: Protocol,
    ) -> Result<GuestChannel<'endpoint>, Failure> {
        let mut channel = self.open(endpoint, side, protocol)?;
        match channel.connect() {
            Ok(()) => Ok(channel),
            Err(error) => Err(self.failure(&mut channel, error)),
        }
    }

    /// What to say when a call of the channel has failed.
    pub(crate) fn failure(&self, channel: &mut GuestChannel<'_>, error: ChannelError) -> Failure {
        let name = &self.name;
        let lost = |what: String| Failure::Other(Status::PeerLost, format!("'{name}': {what}"));
        match error {
            ChannelError::TimedOut => {
                let seconds = self.timeout.unwrap_or_default().as_secs_f64();
                let state = match channel.channel().status() {
                    Ok(()) => "it is connected, and does nothing".to_owned(),
                    Err(_) => self.absent(channel),
                };
                Failure::Other(Status::TimedOut, format!("'{name}': the peer did not answer within {seconds} s: {state}"))
            }
            ChannelError::Wait(error) => error.into(),
            ChannelError::Broken(Broken::Incompatible(Incompatible::Protocol(spoken))) => {
                lost(format!("the other end is `{}`, which does not go with this command", program(spoken)))
            }
            ChannelError::Broken(broken) => lost(broken.to_string()),
            error => Failure::Other(Status::Failed, format!("'{name}': {error}")),
        }
    }

    /// Why nobody has connected.
    fn absent(&self, channel: &mut GuestChannel<'_>) -> String {
        let peer = channel.channel().peer();
        match peer.state {
            SideState::Open => {
                format!("the other end's last visitor, `{}`, has ended without closing, or is stopped", program(peer.protocol))
            }
            SideState::Closed | SideState::Down => "the other end is closed: start the command that goes with this one there".to_owned(),
            SideState::Failed(code) => format!("the other end has given up for a violation of the protocol (code {code})"),
            SideState::Absent | SideState::Odd(_) => {
                "no channel was ever opened at the other end: start the command that goes with this one there, on the same dataport"
                    .to_owned()
            }
        }
    }
}

/// The command that speaks `protocol`.
fn program(protocol: Protocol) -> String {
    match protocol {
        FILE => "crossvm send or recv".to_owned(),
        PING => "crossvm ping, bench or pong".to_owned(),
        NET => "crossvm net".to_owned(),
        other => other.to_string(),
    }
}

/// What a channel cost, as JSON shows it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    /// Messages in both directions.
    pub(crate) messages: u64,
    /// How often this end rang the other.
    pub(crate) doorbells: u64,
    /// How often this end slept.
    pub(crate) sleeps: u64,
}

impl Cost {
    /// Of what `statistics` counted.
    pub(crate) const fn of(statistics: &Statistics) -> Self {
        Self {
            messages: statistics.sent.messages.saturating_add(statistics.received.messages),
            doorbells: statistics.doorbells(),
            sleeps: statistics.sleeps,
        }
    }
}
