//! Messages through shared memory whose other end may be hostile, or die at any point.
//!
//! Two ends, A and B, share memory: a dataport, a memfd, ordinary memory. A [`Channel`] carries messages of any length up to a quarter of it in
//! both directions, each through a ring that one end writes and the other reads. It does not allocate, takes no locks, and uses nothing but plain loads
//! and stores (words of 32 bits, and copies of bytes), so it works on memory that is mapped uncached too.
//!
//! ```text
//!        end A                         shared memory                        end B
//!
//!  push, flush ─▶ Sender ──────▶ records │ TAIL │ WAKE ──────▶ Receiver ─▶ try_recv, peek
//!                    │                                             │
//!                    └── ring, if B sleeps ──▶ doorbell ──▶ Wait ──┘
//!
//!  try_recv ◀─ Receiver ◀────── WAKE │ TAIL │ records ◀─────── Sender ◀─ push, flush
//! ```
//!
//! | part | where |
//! | --- | --- |
//! | memory, and how it is ordered | [`Memory`]; [`Shared`] is memory that is cached as usual |
//! | waking the peer, and sleeping | [`Doorbell`], [`Wait`]; with the feature `async`, `Signal` |
//! | meeting, parting, meeting again | [`Channel`] |
//! | the layout, word by word | [`spec`] |
//! | looking on | [`View`] |
//!
//! ```
//! use core::sync::atomic::AtomicU64;
//! use crossvm_channel::{Channel, Config, Shared, Side, Silent};
//!
//! let words: Vec<AtomicU64> = (0..512).map(|_| AtomicU64::new(0)).collect();
//! let mut a = Channel::open(Shared::of(&words), Silent, Config::new(Side::A))?;
//! let mut b = Channel::open(Shared::of(&words), Silent, Config::new(Side::B))?;
//! while !(a.poll_connect()? & b.poll_connect()?) {} // both must ask
//!
//! a.try_send(b"stressed")?;
//! let mut buffer = [0; 760];
//! let length = b.try_recv(&mut buffer)?;
//! assert_eq!(&buffer[..length], b"stressed");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trust
//!
//! The peer can write anything to the memory at any time. Each word of it is read once, checked against what this end knows by itself, and then used; no
//! value of the peer is read again to be relied on. An impossible one breaks the channel with [`Broken::Violated`], and nothing else: no
//! panic, no access outside of the memory, no message longer than its buffer, no endless loop. What a message says is the program's to check, and
//! [`Receiver::try_recv`] copies it before anybody can; [`Receiver::peek`] and [`Sender::reserve`] give access to the memory itself, without
//! copies, through methods that copy what is asked for and a pointer for system calls and devices. A peer can be slow, deaf, or ring without reason: calls that sleep
//! end when their [`Wait`] says so.
//!
//! # Doorbells
//!
//! To signal a peer costs far more than a message, so it is done only when the peer sleeps, in both directions: for messages, and for room. Who wants to sleep
//! writes to WAKE how far it has come, makes a full fence, and looks once more; who has told something makes a full fence and looks at the other's WAKE: it rings if
//! it went beyond what stands there. One of the two sees the other's word, whatever the order: no wake-up is lost, and a sleeper is rung once.
//! The fence is worth several short messages, so [`Sender::push`] does without, and [`Sender::flush`] makes one for all that were pushed.
//! An end that never sleeps says so ([`Config::polling`]): its peer makes no fence for it at all.
//!
//! # Death and return
//!
//! Each time an end opens the channel, it counts its generation up. Two ends are connected when each has accepted the other's generation. An end that dies
//! leaves what it had told, and nothing half: the other receives that, and sleeps until its time is over, or until the dead one's successor opens the channel
//! with the next generation. Then it gets [`Broken::Restarted`], [reopens](Channel::reopen), and both begin anew with empty rings: what was
//! on its way in either direction is lost, and what to send again is the program's to know. An end that [closes](Channel::close) loses nothing that it has sent.
//!
//! # Features
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `async` | `Signal`, and the calls that sleep as futures |
//! | `notifier` | `Notified`: a `Notifier` of `crossvm-core` as the doorbell, for native components |
//! | `defmt` | every public type implements `defmt::Format` |
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(test)]
extern crate std;

#[cfg(feature = "async")]
mod asynchronous;
mod base;
mod blocking;
mod channel;
mod config;
mod doorbell;
mod error;
mod layout;
mod memory;
#[cfg(feature = "notifier")]
mod notifier;
mod observe;
#[cfg(test)]
mod proof;
mod receiver;
mod sender;
mod shared;
mod side;
pub mod spec;
mod statistics;

#[cfg(feature = "async")]
pub use asynchronous::Signal;
pub use channel::{Armed, Channel, Interest};
pub use config::Config;
pub use doorbell::{Doorbell, RingFailed, Silent, Wait, Wake};
pub use error::{Broken, Error, Incompatible, Protocol, RecvError, SendError, TooSmall, Violation};
pub use layout::max_message;
pub use memory::Memory;
#[cfg(feature = "notifier")]
pub use notifier::Notified;
pub use observe::{SideState, SideView, View};
pub use receiver::{Message, Receiver};
pub use sender::{OutOfMessage, Sender, WriteGrant};
pub use shared::Shared;
pub use side::Side;
pub use statistics::{Statistics, Traffic};
