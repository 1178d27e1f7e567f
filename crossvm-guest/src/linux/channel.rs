//! A message channel through a connection: its dataport, its events.

use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crossvm_channel::{Broken, Channel, Config, Doorbell, Memory, RingFailed, Wait, Wake};

use crate::count::EventCount;
use crate::index::DataportIndex;
use crate::linux::dataport::{Caching, Dataport};
use crate::linux::endpoint::{Endpoint, EndpointWaiter};
use crate::linux::error::Error;
use crate::linux::wait::Patience;
use crate::memory::Ordered;
use crate::raw::Map;
use crate::rights::Rights;
use crate::words::{Word, Words};

/// A dataport as the memory of a channel: by ordinary copies where it is cacheable, else by aligned words and the instructions that order uncached memory.
#[derive(Debug)]
pub struct MappedDataport(Dataport);

impl MappedDataport {
    /// Takes a dataport that this end may read and write.
    ///
    /// # Errors
    ///
    /// [`Error::NoRight`].
    pub fn new(dataport: Dataport) -> Result<Self, Error> {
        match dataport.rights() {
            Rights::ReadWrite => Ok(Self(dataport)),
            granted => Err(Error::NoRight { needed: Rights::ReadWrite, granted }),
        }
    }

    /// The dataport.
    #[must_use]
    pub const fn dataport(&self) -> &Dataport {
        &self.0
    }

    const fn kind(&self) -> Kind<'_> {
        match self.0.caching() {
            Caching::Cacheable => Kind::Cached(self.0.map().shared()),
            Caching::WriteCombining | Caching::Device => Kind::Uncached(Ordered(self.0.map())),
        }
    }
}

/// How a dataport is accessed.
enum Kind<'a> {
    Cached(crossvm_channel::Shared<'a>),
    Uncached(Ordered<&'a Map>),
}

impl Words for &Map {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        (**self).load(offset)
    }
    fn store<W: Word>(&self, offset: usize, value: W) -> Option<()> {
        (**self).store(offset, value)
    }
}

/// Calls a method of either kind.
macro_rules! either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.kind() {
            Kind::Cached(memory) => memory.$method($($argument),*),
            Kind::Uncached(memory) => memory.$method($($argument),*),
        }
    };
}

impl Memory for MappedDataport {
    fn len(&self) -> usize {
        self.0.size()
    }
    fn load(&self, offset: usize) -> u32 {
        either!(self, load(offset))
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        either!(self, load_acquire(offset))
    }
    fn store(&self, offset: usize, value: u32) {
        either!(self, store(offset, value));
    }
    fn store_release(&self, offset: usize, value: u32) {
        either!(self, store_release(offset, value));
    }
    fn fence(&self) {
        either!(self, fence());
    }
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        either!(self, read(offset, buffer));
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        either!(self, write(offset, bytes));
    }
    fn pointer(&self, offset: usize) -> Option<NonNull<u8>> {
        either!(self, pointer(offset))
    }
}

/// A connection's EMIT as the doorbell of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Bell<'endpoint>(&'endpoint Endpoint);

impl<'endpoint> Bell<'endpoint> {
    /// Of `endpoint`.
    #[must_use]
    pub const fn new(endpoint: &'endpoint Endpoint) -> Self {
        Self(endpoint)
    }
}

impl Doorbell for Bell<'_> {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.emit(EventCount::ONE).map_err(|_| RingFailed)
    }
}

/// A connection's events as what a channel sleeps for, with a deadline.
#[derive(Debug)]
pub struct EventSleep<'endpoint> {
    waiter: EndpointWaiter<'endpoint>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl<'endpoint> EventSleep<'endpoint> {
    /// Takes `waiter`, and sleeps for ever.
    #[must_use]
    pub const fn new(waiter: EndpointWaiter<'endpoint>) -> Self {
        Self { waiter, timeout: None, deadline: None }
    }

    /// From the next [`restart`](Self::restart) on, gives up after so long.
    pub const fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The time begins now.
    pub fn restart(&mut self) {
        self.deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    /// The waiter.
    pub const fn waiter(&mut self) -> &mut EndpointWaiter<'endpoint> {
        &mut self.waiter
    }
}

impl Wait for EventSleep<'_> {
    type Error = Error;

    fn wait(&mut self) -> Result<Wake, Error> {
        let patience = match self.deadline {
            Some(deadline) => Patience::default().timeout(deadline.saturating_duration_since(Instant::now())),
            None => Patience::default(),
        };
        Ok(match self.waiter.wait(patience)? {
            Some(_) => Wake::Rung,
            None => Wake::TimedOut,
        })
    }
}

/// A message channel through a connection, with calls that sleep on its interrupt.
///
/// All events of the connection belong to the channel.
///
/// ```no_run
/// use crossvm_guest::channel::{Config, Side};
/// use crossvm_guest::{DataportIndex, GuestChannel, System};
///
/// let endpoint = System::default().endpoint("bulk")?;
/// let mut channel = GuestChannel::open(&endpoint, DataportIndex::FIRST, Config::new(Side::A))?;
/// channel.connect()?;
/// channel.send(b"stressed")?;
/// let mut answer = vec![0; channel.max_message()];
/// let length = channel.recv(&mut answer)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GuestChannel<'endpoint> {
    channel: Channel<MappedDataport, Bell<'endpoint>>,
    sleep: EventSleep<'endpoint>,
}

/// Why a call of a [`GuestChannel`] failed.
pub type ChannelError = crossvm_channel::Error<Error>;

impl<'endpoint> GuestChannel<'endpoint> {
    /// Opens this end of a channel through dataport `index` of `endpoint`, and takes hold of its interrupt.
    ///
    /// # Errors
    ///
    /// What [`Endpoint::dataport`] and [`Endpoint::waiter`] report; [`Error::NoRight`]; [`Error::TooSmall`].
    pub fn open(endpoint: &'endpoint Endpoint, index: DataportIndex, config: Config) -> Result<Self, Error> {
        // First the waiter, which one process only may have: two of them would write to the same end.
        let sleep = EventSleep::new(endpoint.waiter()?);
        let memory = MappedDataport::new(endpoint.dataport(index)?)?;
        let channel = Channel::open(memory, Bell::new(endpoint), config).map_err(|small| Error::TooSmall { size: small.len })?;
        Ok(Self { channel, sleep })
    }

    /// Calls that sleep give up when nothing has happened for so long. Without it they wait for ever.
    #[must_use]
    pub const fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.sleep.set_timeout(timeout);
        self
    }

    /// Meets the peer: [`Channel::connect`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn connect(&mut self) -> Result<(), ChannelError> {
        self.sleep.restart();
        self.channel.connect(&mut self.sleep)
    }

    /// Sends a message: [`Channel::send`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.sleep.restart();
        self.channel.send(message, &mut self.sleep)
    }

    /// Writes a message that a later [`flush`](Self::flush), or any call that sleeps, tells the peer of: [`Channel::push_waiting`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn push(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.sleep.restart();
        self.channel.push_waiting(message, &mut self.sleep)
    }

    /// Tells the peer of all that was pushed and read: [`Channel::flush`].
    ///
    /// # Errors
    ///
    /// [`Broken`].
    pub fn flush(&mut self) -> Result<(), Broken> {
        self.channel.flush()
    }

    /// Receives a message: [`Channel::recv`].
    ///
    /// # Errors
    ///
    /// [`ChannelError`].
    pub fn recv(&mut self, buffer: &mut [u8]) -> Result<usize, ChannelError> {
        self.sleep.restart();
        self.channel.recv(buffer, &mut self.sleep)
    }

    /// Leaves the present peer, and is ready for the next: [`Channel::reopen`].
    pub fn reopen(&mut self) {
        self.channel.reopen();
    }

    /// Length of the longest message in bytes; 0 without a peer.
    #[must_use]
    pub const fn max_message(&self) -> usize {
        self.channel.max_message()
    }

    /// The channel, for calls that do not sleep.
    pub const fn channel(&mut self) -> &mut Channel<MappedDataport, Bell<'endpoint>> {
        &mut self.channel
    }

    /// Both parts, for an event loop: the channel, and the descriptor of its events.
    pub const fn parts(&mut self) -> (&mut Channel<MappedDataport, Bell<'endpoint>>, &mut EventSleep<'endpoint>) {
        (&mut self.channel, &mut self.sleep)
    }
}
