//! The handshake of two processes for one pair of VMs: who has what, who gives it to whom.
//!
//! ```text
//!   both:   HELLO {version, manifest, from, to, the generation held}
//!
//!   held by     neither                one of them              both, the same      both, different
//!               the listener makes     that one gives           nothing is given    both refuse
//!               one and gives
//!
//!   giver:  CONNECTION + descriptors, for each; READY          taker:  … checks all, keeps them, READY
//! ```
//!
//! Each side may die at any point. What it held is with the other one, or nobody has used it yet.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossvm_manifest::Topology;

use super::channel::{Channel, ChannelError, Until};
use super::message::{Hello, MAGIC, Message, MessageError, VERSION, shown};
use super::stage::{Stage, reach};
use super::wires::{Wire, WireError, Wires};

/// How long a listener waits for the first word of one that has connected.
const PROMPT: Duration = Duration::from_secs(2);

/// Why two processes did not come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandshakeError {
    /// The socket failed, or it took too long.
    Channel(ChannelError),
    /// What came is no message, of another version, or a refusal.
    Message(MessageError),
    /// The other process was started with a manifest that names other VMs, components or connections.
    Manifest,
    /// It runs, or seeks, another VM than is expected on this socket.
    Names {
        /// What it says it runs.
        from: String,
        /// What it says it seeks.
        to: String,
    },
    /// Both hold memory, and not the same.
    Generations,
    /// A message came that is not due.
    Order,
    /// Connections could not be made, or those that came are refused.
    Wire(WireError),
}

impl HandshakeError {
    /// Whether the same would happen again however often it were tried: the two processes do not fit together.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Channel(_) | Self::Message(MessageError::Foreign(_)) | Self::Order | Self::Wire(_) => false,
            Self::Message(MessageError::Version(_) | MessageError::Refused(_))
            | Self::Manifest
            | Self::Names { .. }
            | Self::Generations => true,
        }
    }

    /// What the other side is told. `None`: it has gone, or has said itself why.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Channel(ChannelError::Closed | ChannelError::Stopped) | Self::Message(MessageError::Refused(_)) => None,
            error => Some(error.to_string()),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::Message(error) => error.fmt(f),
            Self::Manifest => f.write_str(
                "the two processes have different manifests: VMs' names, components and connections must be the same on both sides",
            ),
            Self::Names { from, to } => write!(f, "it says that it runs `{from}` and seeks `{to}`"),
            Self::Generations => {
                f.write_str("each of the two processes has memory of its own for their connections: stop one of them and start it again")
            }
            Self::Order => f.write_str("what it sent was not due"),
            Self::Wire(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl From<ChannelError> for HandshakeError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl From<MessageError> for HandshakeError {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}

impl From<WireError> for HandshakeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Which side of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It listens: that of the VM that comes first in the topology.
    Listener,
    /// It connects.
    Connector,
}

/// What a process knows of a pair of VMs before it talks to the other process.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What there is.
    pub(crate) topology: Arc<Topology>,
    /// What [`super::share::digest`] says of it.
    pub(crate) digest: String,
    /// The VM of this process.
    pub(crate) own: String,
    /// The VM of the other one.
    pub(crate) other: String,
    /// This process's side.
    pub(crate) role: Role,
    /// The indices of their connections.
    pub(crate) connections: Vec<usize>,
}

/// Who gives connections to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Make,
    Give,
    Take,
    Resume,
}

impl Plan {
    /// Comes together with the process at the other end of `channel`. Afterwards `held` holds what both have; it may do so after an error as well: then
    /// the other side may have it or not.
    ///
    /// # Errors
    /// [`HandshakeError`]; the other side has been told if it can be.
    pub(crate) fn shake(&self, channel: &Channel, held: &OnceLock<Arc<Wires>>, until: Until<'_>) -> Result<(), HandshakeError> {
        let result = self.talk(channel, held, until);
        if let Some(reason) = result.as_ref().err().and_then(HandshakeError::reason) {
            // It may not listen any more.
            let _ = channel.send(&Message::refuse(&reason).encode(), &[], until);
        }
        result
    }

    fn talk(&self, channel: &Channel, held: &OnceLock<Arc<Wires>>, until: Until<'_>) -> Result<(), HandshakeError> {
        reach(Stage::Connected);
        let holds = held.get().map(|wires| wires.generation().clone());
        let own = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            manifest: self.digest.clone(),
            from: self.own.clone(),
            to: self.other.clone(),
            holds,
        };
        channel.send(&own.encode(), &[], until)?;
        reach(Stage::HelloSent);
        // Who connects says hello at once, and waits longer for the answer than somebody else can keep the listener waiting.
        let soon = if self.role == Role::Listener { until.at_most(PROMPT) } else { until };
        let hello = Hello::decode(&channel.receive(soon)?.0)?;
        let turn = self.decide(&own, &hello)?;
        reach(Stage::Decided);
        let wires = match (turn, held.get()) {
            (Turn::Make, _) => {
                let made = Arc::new(Wires::create(&self.topology, &self.connections)?);
                reach(Stage::Created);
                let made = held.get_or_init(|| made);
                give(channel, made, until)?;
                made
            }
            (Turn::Give, Some(wires)) => {
                give(channel, wires, until)?;
                wires
            }
            (Turn::Resume, Some(wires)) => wires,
            (Turn::Take, _) => {
                let taken = self.take(channel, until)?;
                held.get_or_init(|| Arc::new(taken))
            }
            (Turn::Give | Turn::Resume, None) => return Err(HandshakeError::Order),
        };
        let generation = wires.generation().clone();
        channel.send(&Message::Ready { generation }.encode(), &[], until)?;
        reach(Stage::ReadySent);
        // The taker has had the giver's with its connections.
        if turn != Turn::Take {
            expect_ready(channel, wires, until)?;
        }
        reach(Stage::Present);
        Ok(())
    }

    fn decide(&self, own: &Hello, other: &Hello) -> Result<Turn, HandshakeError> {
        if other.manifest != own.manifest {
            return Err(HandshakeError::Manifest);
        }
        if (&other.from, &other.to) != (&own.to, &own.from) {
            return Err(HandshakeError::Names { from: shown(&other.from), to: shown(&other.to) });
        }
        match (&own.holds, &other.holds) {
            (None, None) if self.role == Role::Listener => Ok(Turn::Make),
            (None, _) => Ok(Turn::Take),
            (Some(_), None) => Ok(Turn::Give),
            (Some(own), Some(other)) if own == other => Ok(Turn::Resume),
            (Some(_), Some(_)) => Err(HandshakeError::Generations),
        }
    }

    /// Takes all connections, and the generation that ends them.
    fn take(&self, channel: &Channel, until: Until<'_>) -> Result<Wires, HandshakeError> {
        let mut taken = Vec::new();
        for expected in &self.connections {
            let (packet, descriptors) = channel.receive(until)?;
            taken.push(self.take_one(*expected, &packet, descriptors)?);
            if taken.len() == 1 {
                reach(Stage::FirstTaken);
            }
        }
        let (packet, _) = channel.receive(until)?;
        let Message::Ready { generation } = Message::decode(&packet)? else { return Err(HandshakeError::Order) };
        reach(Stage::AllTaken);
        Ok(Wires::adopt(generation, taken))
    }

    fn take_one(&self, expected: usize, packet: &[u8], descriptors: Vec<OwnedFd>) -> Result<Wire, HandshakeError> {
        let Message::Connection { index, name } = Message::decode(packet)? else { return Err(HandshakeError::Order) };
        let known = self.topology.connections.get(expected).is_some_and(|connection| connection.name == name.as_str());
        if index != expected || !known {
            return Err(HandshakeError::Order);
        }
        Ok(Wire::adopt(&self.topology, index, descriptors)?)
    }
}

/// Gives all connections. [`Message::Ready`] ends them.
fn give(channel: &Channel, wires: &Wires, until: Until<'_>) -> Result<(), HandshakeError> {
    for (number, wire) in wires.iter().enumerate() {
        let message = Message::Connection { index: wire.index(), name: wire.name().to_owned() };
        let descriptors: Vec<BorrowedFd<'_>> = wire.descriptors();
        channel.send(&message.encode(), &descriptors, until)?;
        if number == 0 {
            reach(Stage::FirstGiven);
        }
    }
    reach(Stage::AllGiven);
    Ok(())
}

fn expect_ready(channel: &Channel, wires: &Wires, until: Until<'_>) -> Result<(), HandshakeError> {
    match Message::decode(&channel.receive(until)?.0)? {
        Message::Ready { generation } if generation == *wires.generation() => Ok(()),
        _ => Err(HandshakeError::Order),
    }
}
