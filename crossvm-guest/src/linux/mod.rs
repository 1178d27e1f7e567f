//! Linux user space: functions found in sysfs, bound to a driver, mapped and waited for.

mod address;
#[cfg(feature = "tokio")]
mod asynchronous;
mod bar;
mod bind;
mod channel;
mod connection;
mod dataport;
mod descriptor;
mod endpoint;
mod error;
mod event_page;
mod irq;
mod node;
mod observation;
mod system;
mod uio;
mod uio_connection;
mod uio_map;
pub mod wait;

pub use address::PciAddress;
#[cfg(feature = "tokio")]
pub use asynchronous::AsyncWaiter;
pub use bar::{Bar, Bars};
pub use bind::{Bound, Scope};
pub use channel::{Bell, ChannelError, EventSleep, GuestChannel, MappedDataport};
pub use connection::{Connection, Waiter};
pub use dataport::{Caching, Dataport, DataportInfo};
pub use endpoint::{Endpoint, EndpointWaiter};
pub use error::Error;
pub use event_page::EventPage;
pub use irq::{Interrupts, Irq};
pub use node::{Interrupt, Node, NodeWaiter};
pub use observation::Observation;
pub use system::{Function, System};
pub use uio::Uio;
pub use uio_connection::{UioConnection, UioWaiter};
pub use uio_map::UioMap;
pub use wait::{Patience, Prepared, Taken};
