//! The life of a pair of VMs of two processes: they seek each other, come together, part, and again.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::channel::{Channel, ChannelError, Listener, Until};
use super::handshake::{HandshakeError, Plan, Role};
use super::join::{LinkError, Patience};
use super::lock;
use super::message::Message;
use super::wires::Wires;

/// How often one that connects tries, and one that waits for its first handshake looks whether the other process lives.
const AGAIN: Duration = Duration::from_millis(50);
/// Longest pause after failures that follow each other. It starts with [`AGAIN`] and doubles. Shorter than one that connects waits for an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whether the other process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is: events reach it.
    Present,
    /// It is not: emits are to be refused.
    Absent,
}

/// What is told of a pair, for a person to read: with the other VM's name.
pub(crate) type Notice = Arc<dyn Fn(&str, &str, &dyn fmt::Display) + Send + Sync>;

type Watcher = Box<dyn FnMut(Presence) + Send>;

struct Seen {
    presence: Presence,
    watcher: Option<Watcher>,
    /// There are wires, and the first attempt to use them with the other process has come to its end.
    ready: bool,
    /// Why the first handshake can never succeed, or has not.
    failed: Option<LinkError>,
}

/// What the threads of this process share about a pair.
pub(crate) struct Pair {
    plan: Plan,
    /// Where one of the two listens.
    path: PathBuf,
    /// What the locks' paths are made of.
    socket: PathBuf,
    held: OnceLock<Arc<Wires>>,
    seen: Mutex<Seen>,
    changed: Condvar,
    notice: Notice,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("own", &self.plan.own).field("other", &self.plan.other).finish_non_exhaustive()
    }
}

impl Pair {
    /// The pair of `plan`, whose numbers in the topology are `numbers`, the listener's first.
    pub(crate) fn new(plan: Plan, numbers: [u8; 2], socket: &Path, notice: Notice) -> Self {
        let [first, second] = numbers;
        let mut path = socket.as_os_str().to_owned();
        path.push(format!(".{first}-{second}"));
        let seen = Mutex::new(Seen { presence: Presence::Absent, watcher: None, ready: false, failed: None });
        Self { plan, path: path.into(), socket: socket.to_owned(), held: OnceLock::new(), seen, changed: Condvar::new(), notice }
    }

    /// What the two processes share, once there is something.
    pub(crate) fn wires(&self) -> Option<&Arc<Wires>> {
        self.held.get()
    }

    /// Whether this process's VM comes first in the topology.
    pub(crate) fn is_first(&self) -> bool {
        self.plan.role == Role::Listener
    }

    /// Calls `watcher` at once, and whenever the other process comes or goes, in that order and never twice at the same time.
    pub(crate) fn watch(&self, mut watcher: Watcher) {
        let mut seen = self.seen();
        watcher(seen.presence);
        seen.watcher = Some(watcher);
    }

    /// Waits until there are wires, and if the other process lives, until it is present.
    ///
    /// # Errors
    /// [`LinkError`] where there will be none.
    pub(crate) fn wait(&self) -> Result<(), LinkError> {
        let mut seen = self.seen();
        loop {
            if seen.ready {
                return Ok(());
            }
            if let Some(error) = seen.failed.take() {
                return Err(error);
            }
            seen = self.changed.wait(seen).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seeks the other process until `stop`.
    pub(crate) fn live(&self, patience: Patience, stop: BorrowedFd<'_>) {
        let failed = match self.seek(patience, stop) {
            Ok(never) => match never {},
            Err(Left::Stopped) => None,
            Err(Left::Failed(error)) => Some(error),
        };
        let mut seen = self.seen();
        if self.held.get().is_some()
            && let Some(error) = &failed
        {
            (self.notice)(&self.plan.own, &self.plan.other, error);
        }
        seen.failed = Some(failed.unwrap_or(LinkError::Left));
        self.changed.notify_all();
    }

    fn seek(&self, patience: Patience, stop: BorrowedFd<'_>) -> Result<std::convert::Infallible, Left> {
        let bind = |error| LinkError::Socket { path: self.path.clone(), error };
        let listener = match self.plan.role {
            Role::Listener => Some(Listener::new(&self.path).map_err(bind)?),
            Role::Connector => None,
        };
        let start = Instant::now();
        let (mut last, mut pause, mut told_wait): (Option<HandshakeError>, Duration, bool) = (None, AGAIN, false);
        loop {
            let alone = self.held.get().is_none();
            let met = self.meet(listener.as_ref(), alone, patience, stop)?;
            if matches!(met, Some(Err(_))) && self.held.get().is_some() {
                self.ready();
            }
            match met {
                Some(Ok(channel)) => {
                    (last, pause) = (None, AGAIN);
                    self.stay(&channel, listener.as_ref(), stop)?;
                }
                Some(Err(error)) => {
                    // The same thing is said once.
                    if last.as_ref() != Some(&error) {
                        (self.notice)(&self.plan.own, &self.plan.other, &error);
                    }
                    if alone && error.is_final() && self.plan.role == Role::Connector {
                        return Err(Left::Failed(self.failure(error)));
                    }
                    last = Some(error);
                    rest(pause, stop)?;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                None => {}
            }
            if self.held.get().is_none() {
                self.consider(start, patience, &mut told_wait, last.as_ref())?;
            }
        }
    }

    /// Tries to come together once. `None`: nobody was there.
    fn meet(
        &self,
        listener: Option<&Listener>,
        alone: bool,
        patience: Patience,
        stop: BorrowedFd<'_>,
    ) -> Result<Option<Result<Channel, HandshakeError>>, Left> {
        let channel = match listener {
            // With wires there is nothing else to look after.
            Some(listener) => match listener.accept(if alone { Until::within(AGAIN, stop) } else { Until { deadline: None, stop } }) {
                Ok(channel) => channel,
                Err(ChannelError::Timeout) => return Ok(None),
                Err(ChannelError::Stopped) => return Err(Left::Stopped),
                Err(error) => return Ok(Some(Err(error.into()))),
            },
            None => match Channel::connect(&self.path) {
                Ok(Some(channel)) => channel,
                Ok(None) => {
                    rest(AGAIN, stop)?;
                    return Ok(None);
                }
                Err(error) => return Ok(Some(Err(error.into()))),
            },
        };
        match self.plan.shake(&channel, &self.held, Until::within(patience.handshake, stop)) {
            Ok(()) => Ok(Some(Ok(channel))),
            Err(HandshakeError::Channel(ChannelError::Stopped)) => Err(Left::Stopped),
            Err(error) => Ok(Some(Err(error))),
        }
    }

    /// Both are there, until the channel hangs up.
    fn stay(&self, channel: &Channel, listener: Option<&Listener>, stop: BorrowedFd<'_>) -> Result<(), Left> {
        self.see(Presence::Present);
        let until = Until { deadline: None, stop };
        loop {
            let ready = match listener {
                Some(listener) => until.wait([(channel.as_fd(), PollFlags::IN), (listener.as_fd(), PollFlags::IN)]),
                None => until.wait([(channel.as_fd(), PollFlags::IN)]).map(|[gone]| [gone, false]),
            };
            match ready {
                // Nothing is said any more: it has hung up, or breaks the protocol, which is the same to us.
                Ok([true, _]) => break,
                Ok([false, _]) => {}
                // It is this process that leaves.
                Err(_) => return Err(Left::Stopped),
            }
            if let Some(Ok(surplus)) = listener.map(|listener| listener.accept(Until::within(AGAIN, stop))) {
                let reason = format!("`{}` is connected with `{}` already", self.plan.other, self.plan.own);
                let _ = surplus.send(&Message::refuse(&reason).encode(), &[], Until::within(AGAIN, stop));
            }
        }
        self.see(Presence::Absent);
        Ok(())
    }

    /// There are no wires yet: makes them alone if nobody comes, or gives up.
    fn consider(&self, start: Instant, patience: Patience, told: &mut bool, last: Option<&HandshakeError>) -> Result<(), Left> {
        let waited = start.elapsed();
        match lock::holder(&self.socket, &self.plan.other)? {
            None if waited >= patience.start => {
                let made = Wires::create(&self.plan.topology, &self.plan.connections).map_err(|error| self.failure(error.into()))?;
                self.held.get_or_init(|| Arc::new(made));
                (self.notice)(&self.plan.own, &self.plan.other, &"its process does not run: this one starts without it");
                self.ready();
            }
            None if !*told => {
                *told = true;
                (self.notice)(
                    &self.plan.own,
                    &self.plan.other,
                    &format_args!("waiting for at most {} s for its process", patience.start.as_secs()),
                );
            }
            Some(pid) if waited >= patience.start.saturating_add(patience.answer) => {
                let why = last.cloned().unwrap_or(HandshakeError::Channel(ChannelError::Timeout));
                return Err(Left::Failed(LinkError::Silent { vm: self.plan.other.clone(), pid, why: Box::new(why) }));
            }
            _ => {}
        }
        Ok(())
    }

    fn failure(&self, error: HandshakeError) -> LinkError {
        LinkError::Handshake { vm: self.plan.other.clone(), error }
    }

    fn see(&self, presence: Presence) {
        let mut seen = self.seen();
        if seen.presence != presence {
            seen.presence = presence;
            if let Some(watcher) = &mut seen.watcher {
                watcher(presence);
            }
        }
        seen.ready = true;
        self.changed.notify_all();
    }

    /// There are wires: whoever waits for them is woken.
    fn ready(&self) {
        self.seen().ready = true;
        self.changed.notify_all();
    }
}

/// Why a pair is no longer looked after.
enum Left {
    Stopped,
    Failed(LinkError),
}

impl From<LinkError> for Left {
    fn from(error: LinkError) -> Self {
        Self::Failed(error)
    }
}

fn rest(pause: Duration, stop: BorrowedFd<'_>) -> Result<(), Left> {
    match Until::within(pause, stop).wait([]) {
        Err(ChannelError::Timeout) => Ok(()),
        _ => Err(Left::Stopped),
    }
}
