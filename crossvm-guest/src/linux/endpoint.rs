//! A connection, whichever driver holds it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::count::{EventCount, Profile};
use crate::index::DataportIndex;
use crate::linux::address::PciAddress;
use crate::linux::connection::{Connection, Waiter};
use crate::linux::dataport::{Dataport, DataportInfo};
use crate::linux::error::Error;
use crate::linux::node::{Node, NodeWaiter};
use crate::linux::system::Function;
use crate::linux::uio_connection::{UioConnection, UioWaiter};
use crate::linux::wait::{Patience, Prepared, Taken};

/// An opened connection, through our own driver where that holds it, through the maps of another UIO driver where one holds it that answers
/// interrupts itself, else through the registers and the stock driver.
#[derive(Debug)]
pub enum Endpoint {
    /// Our own driver: `/dev/crossvm/NAME`.
    Node(Node),
    /// Another UIO driver that answers interrupts itself, as seL4's own: `/dev/uioN` and its maps. What it counts are interrupts.
    Uio(UioConnection),
    /// The registers, mapped, and the stock driver's `/dev/uioN` to wait.
    Registers(Connection),
}

impl Endpoint {
    /// Opens the connection that `function` is.
    ///
    /// # Errors
    ///
    /// What [`Node::open`], [`UioConnection::open`] or [`Connection::open`] report.
    pub fn open(function: &Function) -> Result<Self, Error> {
        match (function.node(), function.mapping_uio()) {
            (Some(_), _) => Node::open(function).map(Self::Node),
            (None, Some(_)) => UioConnection::open(function).map(Self::Uio),
            (None, None) => Connection::open(function).map(Self::Registers),
        }
    }

    /// The connection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node(node) => node.name(),
            Self::Uio(connection) => connection.name(),
            Self::Registers(connection) => connection.name(),
        }
    }

    /// Where the function sits.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.function().address()
    }

    /// The function as it was when the connection was opened.
    #[must_use]
    pub const fn function(&self) -> &Function {
        match self {
            Self::Node(node) => node.function(),
            Self::Uio(connection) => connection.function(),
            Self::Registers(connection) => connection.function(),
        }
    }

    /// Which registers the device has.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        match self {
            Self::Node(node) => node.profile(),
            Self::Uio(connection) => connection.profile(),
            Self::Registers(connection) => connection.events().profile(),
        }
    }

    /// The dataports, in order.
    #[must_use]
    pub fn dataports(&self) -> &[DataportInfo] {
        match self {
            Self::Node(node) => node.dataports(),
            Self::Uio(connection) => connection.dataports(),
            Self::Registers(connection) => connection.dataports(),
        }
    }

    /// Events that came and that nobody has taken yet; of [`Uio`](Self::Uio), interrupts.
    ///
    /// # Errors
    ///
    /// What [`Node::pending`] or [`UioConnection::pending`] report.
    pub fn pending(&self) -> Result<EventCount, Error> {
        match self {
            Self::Node(node) => node.pending(),
            Self::Uio(connection) => connection.pending(),
            Self::Registers(connection) => Ok(connection.events().count()),
        }
    }

    /// Emits of this end that could not be delivered; `None` in the reference profile, which does not count them.
    ///
    /// # Errors
    ///
    /// What [`Node::dropped`] reports.
    pub fn dropped(&self) -> Result<Option<u32>, Error> {
        match self {
            Self::Node(node) => node.dropped(),
            Self::Uio(connection) => Ok(connection.dropped()),
            Self::Registers(connection) => Ok(connection.events().dropped()),
        }
    }

    /// Signals the peer `count` times.
    ///
    /// # Errors
    ///
    /// What [`Node::emit`] reports.
    pub fn emit(&self, count: EventCount) -> Result<(), Error> {
        match self {
            Self::Node(node) => return node.emit(count),
            Self::Uio(connection) => (0..count.get()).for_each(|_| connection.emit()),
            Self::Registers(connection) => (0..count.get()).for_each(|_| connection.emit()),
        }
        Ok(())
    }

    /// Maps dataport `index` in the best way that the driver offers.
    ///
    /// # Errors
    ///
    /// What [`Node::dataport`], [`UioConnection::dataport`] or [`Connection::dataport`] report.
    pub fn dataport(&self, index: DataportIndex) -> Result<Dataport, Error> {
        match self {
            Self::Node(node) => node.dataport(index),
            Self::Uio(connection) => connection.dataport(index),
            Self::Registers(connection) => connection.dataport(index),
        }
    }

    /// Makes ready to wait for events. Only one waiter can exist at a time, in all processes.
    ///
    /// # Errors
    ///
    /// What [`Node::waiter`], [`UioConnection::waiter`] or [`Connection::waiter`] report.
    pub fn waiter(&self) -> Result<EndpointWaiter<'_>, Error> {
        match self {
            Self::Node(node) => node.waiter().map(EndpointWaiter::Node),
            Self::Uio(connection) => connection.waiter().map(EndpointWaiter::Uio),
            Self::Registers(connection) => connection.waiter().map(EndpointWaiter::Registers),
        }
    }
}

/// The one who waits for the events of an [`Endpoint`].
#[derive(Debug)]
pub enum EndpointWaiter<'endpoint> {
    /// Of our own driver.
    Node(NodeWaiter),
    /// Of another UIO driver that answers interrupts itself.
    Uio(UioWaiter<'endpoint>),
    /// Of the stock driver.
    Registers(Waiter<'endpoint>),
}

impl EndpointWaiter<'_> {
    /// Takes the events that wait, waiting for the first as long as `patience` allows: `None` where none came.
    ///
    /// # Errors
    ///
    /// What [`NodeWaiter::wait`], [`UioWaiter::wait`] or [`Waiter::wait`] report.
    pub fn wait(&mut self, patience: Patience) -> Result<Option<Taken>, Error> {
        match self {
            Self::Node(waiter) => waiter.wait(patience),
            Self::Uio(waiter) => waiter.wait(patience),
            Self::Registers(waiter) => waiter.wait(patience),
        }
    }

    /// Makes ready for a sleep until the descriptor is readable, or takes the events that are there, at most `limit` of the stock driver's:
    /// see [`wait`](crate::wait).
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn prepare(&mut self, limit: EventCount) -> Result<Prepared, Error> {
        match self {
            Self::Node(waiter) => waiter.prepare(),
            Self::Uio(waiter) => waiter.prepare(),
            Self::Registers(waiter) => waiter.prepare(limit),
        }
    }

    /// Takes the events that wait, at most `limit` of the stock driver's, after the descriptor became readable: `None` where none waits. It
    /// does not sleep.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn take(&mut self, limit: EventCount) -> Result<Option<EventCount>, Error> {
        match self {
            Self::Node(waiter) => waiter.take(),
            Self::Uio(waiter) => waiter.take(),
            Self::Registers(waiter) => waiter.take(limit),
        }
    }
}

#[cfg(feature = "tokio")]
impl EndpointWaiter<'_> {
    /// The device file.
    pub(crate) fn path(&self) -> &std::path::Path {
        match self {
            Self::Node(waiter) => &waiter.device.path,
            Self::Uio(waiter) => &waiter.device.path,
            Self::Registers(waiter) => &waiter.line.device.path,
        }
    }
}

impl AsFd for EndpointWaiter<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Node(waiter) => waiter.as_fd(),
            Self::Uio(waiter) => waiter.as_fd(),
            Self::Registers(waiter) => waiter.as_fd(),
        }
    }
}

impl AsRawFd for EndpointWaiter<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
