//! A channel whose calls end when the command shall end, and not only when the peer does something.

use std::time::{Duration, Instant};

use crossvm_guest::channel::{Broken, Channel, Error, Protocol, Side, Statistics, Wait, Wake};
use crossvm_guest::{Bell, ChannelError, Endpoint, EndpointWaiter, GuestChannel, MappedDataport, Patience};

use crate::failure::{Failure, Status};
use crate::session::Where;
use crate::stop::Stop;

/// So often a sleeper looks whether the command shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Why a call has not done what it should.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The command was told to end.
    Asked,
    /// The channel says why.
    Channel(ChannelError),
    /// What came does not go with the protocol: what is wrong with it.
    Nonsense(String),
}

impl Ended {
    /// What came is wrong.
    pub(crate) fn nonsense(what: impl Into<String>) -> Self {
        Self::Nonsense(what.into())
    }

    /// Whether the peer has left as it should.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self, Self::Channel(Error::Broken(Broken::Closed)))
    }

    /// Whether another peer is there now.
    pub(crate) const fn is_restarted(&self) -> bool {
        matches!(self, Self::Channel(Error::Broken(Broken::Restarted)))
    }

    /// Whether the peer has done what it may not. Another one may do better.
    pub(crate) const fn is_fault(&self) -> bool {
        match self {
            Self::Nonsense(_) => true,
            Self::Channel(Error::Broken(broken)) => matches!(broken, Broken::Violated(_) | Broken::Refused(_) | Broken::Incompatible(_)),
            Self::Channel(_) | Self::Asked => false,
        }
    }
}

/// One end of a channel, until the command shall end.
#[derive(Debug)]
pub(crate) struct Talk<'a, 'endpoint> {
    place: &'a Where,
    stop: &'a Stop,
    channel: GuestChannel<'endpoint>,
}

type Line<'endpoint> = Channel<MappedDataport, Bell<'endpoint>>;

impl<'a, 'endpoint> Talk<'a, 'endpoint> {
    /// Opens the end `side` of the channel, and waits for nobody.
    pub(crate) fn open(
        place: &'a Where,
        stop: &'a Stop,
        endpoint: &'endpoint Endpoint,
        side: Side,
        protocol: Protocol,
    ) -> Result<Self, Failure> {
        Ok(Self { place, stop, channel: place.open(endpoint, side, protocol)? })
    }

    /// A call that sleeps.
    #[inline]
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Line<'endpoint>, &mut Sleep<'_, 'endpoint>) -> Result<T, ChannelError>,
    ) -> Result<T, Ended> {
        // Who talks to a quick peer never sleeps.
        if self.stop.asked() {
            return Err(Ended::Asked);
        }
        let (channel, sleep) = self.channel.parts();
        let mut sleep = Sleep { waiter: sleep.waiter(), stop: self.stop, timeout: self.place.timeout, deadline: None };
        match call(channel, &mut sleep) {
            Ok(done) => Ok(done),
            Err(ChannelError::TimedOut) if self.stop.asked() => Err(Ended::Asked),
            Err(error) => Err(Ended::Channel(error)),
        }
    }

    /// Meets the peer.
    pub(crate) fn connect(&mut self) -> Result<(), Ended> {
        self.call(|channel, sleep| channel.connect(sleep))
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<(), Ended> {
        self.call(|channel, sleep| channel.send(message, sleep))
    }

    /// Writes a message that a later [`flush`](Self::flush), or any call that sleeps, tells the peer of.
    pub(crate) fn push(&mut self, message: &[u8]) -> Result<(), Ended> {
        self.call(|channel, sleep| channel.push_waiting(message, sleep))
    }

    /// Tells the peer of all that was pushed.
    pub(crate) fn flush(&mut self) -> Result<(), Ended> {
        self.channel.flush().map_err(|broken| Ended::Channel(broken.into()))
    }

    /// Receives a message into `buffer`.
    pub(crate) fn recv<'buffer>(&mut self, buffer: &'buffer mut [u8]) -> Result<&'buffer [u8], Ended> {
        let length = self.call(|channel, sleep| channel.recv(buffer, sleep))?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Leaves the present peer, and is ready for the next.
    pub(crate) fn reopen(&mut self) {
        self.channel.reopen();
    }

    /// Length of the longest message in bytes.
    pub(crate) const fn max_message(&self) -> usize {
        self.channel.max_message()
    }

    /// What it cost until now.
    pub(crate) fn statistics(&mut self) -> Statistics {
        self.channel.channel().statistics()
    }

    /// What to say; `None` where it is no failure.
    pub(crate) fn failure(&mut self, ended: Ended) -> Option<Failure> {
        match ended {
            Ended::Asked => None,
            Ended::Channel(error) => Some(self.place.failure(&mut self.channel, error)),
            Ended::Nonsense(what) => {
                let name = &self.place.name;
                Some(Failure::Other(Status::PeerLost, format!("'{name}': the other end has broken the protocol of ping and pong: {what}")))
            }
        }
    }
}

/// Sleeps for events, and looks between whether the command shall end.
struct Sleep<'a, 'endpoint> {
    waiter: &'a mut EndpointWaiter<'endpoint>,
    stop: &'a Stop,
    timeout: Option<Duration>,
    /// The time begins with the first sleep of a call.
    deadline: Option<Instant>,
}

impl Wait for Sleep<'_, '_> {
    type Error = crossvm_guest::Error;

    fn wait(&mut self) -> Result<Wake, Self::Error> {
        if self.deadline.is_none() {
            self.deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        }
        while !self.stop.asked() {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.waiter.wait(Patience::default().timeout(left.map_or(LOOK, |left| left.min(LOOK))))?.is_some() {
                return Ok(Wake::Rung);
            }
            if left.is_some_and(|left| left <= LOOK) {
                break;
            }
        }
        Ok(Wake::TimedOut)
    }
}
