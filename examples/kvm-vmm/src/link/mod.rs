//! VMs in several processes: who runs what, and how the processes find each other, connect their VMs and outlive each other.
//!
//! ```text
//!   process of vm0                  a socket for each pair of VMs: SOCKET.0-1                 process of vm1
//!   holds SOCKET.vm0.lock   hello ─────────────────────────────────────────────▶      holds SOCKET.vm1.lock
//!   listens                       ◀───────────────────────────────────────────── hello       connects
//!                           memfds and eventfds, for each connection ──────────▶
//!                           ready ◀────────────────────────────────────────────▶ ready
//!                           (open for as long as both live)
//!
//!   EMIT of vm0 ── ioeventfd ──▶ eventfd ── read by ──▶ process of vm1 ── interrupt ──▶ vm1         and the other way round
//!   dataports: memfds that both guests have mapped
//! ```
//!
//! Each process takes a lock for each VM that it runs. For each pair of VMs of different processes that have connections, the process of the
//! VM that comes first in the manifest listens on a socket of their own and the other one connects: the roles never change, there is no middleman,
//! and the death of one process touches nobody's connections but its own. The socket carries nothing after the handshake; that it hangs
//! up is how either side learns at once that the other has died, however that happened.
//!
//! # Who makes the memory
//!
//! A pair's memory and eventfds have a *generation*, a random number. A process that holds a generation gives it to one that holds none;
//! if neither does, the listener makes one. So the survivor of any death gives what it holds to whoever comes back: the restarted guest
//! boots anew and finds the dataports with the contents that they had. A process that finds its peer's lock free, for as long as its
//! patience lasts, makes a generation alone and starts without the peer. Since each process takes its own locks before it looks at others',
//! two processes never both do that, so two that live never hold different generations. Were it so, they say so and stay apart.
//!
//! # What becomes of events
//!
//! While both are present, an event is in the eventfd before the guest's store has returned: none is lost, also not those that the receiver
//! had not read when it died. They wait in the eventfd and are the first that the restarted guest finds, as if they had come before its driver. From the
//! moment at which a death is noticed, emits are refused and counted as dropped; none of them is delivered later. What is emitted
//! between a death and the notice of it, some milliseconds, counts as emitted while the peer was present.
//!
//! # What the other process can do
//!
//! It is not trusted to keep the protocol: each message is bounded, checked and waited for with a deadline; memory that could shrink, that
//! has another size, or what is no eventfd is refused; superfluous descriptors are closed. It can do to the connections that it shares whatever
//! it wants, as both have the same memory and eventfds: the rights to a dataport bind the guests, not the processes. While an EMIT is an exit and no
//! ioeventfd, it can have the vCPU that emits wait, until a signal: an eventfd whose flags it has changed and whose counter it has filled blocks its writer.
//! Nobody but the owner of the sockets, or whom the umask admits, can connect, and somebody who may can keep a listener busy for some seconds at a time.
//!
//! | to find | look in |
//! | --- | --- |
//! | which VMs, components and connections are whose | [`share`] |
//! | the joining of a process, and what it has then | [`join`] |
//! | the life of one pair of VMs | [`pair`] |
//! | the handshake, its messages, their transport | [`handshake`], [`message`], [`channel`] |
//! | the memory and events of a pair | [`wires`] |
//! | who runs a VM | [`lock`] |

pub(crate) mod channel;
pub(crate) mod handshake;
pub(crate) mod join;
pub(crate) mod lock;
pub(crate) mod message;
pub(crate) mod pair;
pub(crate) mod share;
pub(crate) mod stage;
pub(crate) mod wires;

#[cfg(test)]
mod tests;

pub(crate) use join::{Link, Patience, RemoteEnd};
pub(crate) use pair::{Notice, Presence};
pub(crate) use wires::Tally;
