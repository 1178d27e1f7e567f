//! The topology of a crossvm system as plain data: virtual machines, native components and the connections between
//! them, as a person writes them (TOML) and in the compact form that a bare-metal VMM reads.
//!
//! ```text
//!  text ──parse──▶ Manifest ──place images──▶ Topology ──encode──▶ bytes in memory ──decode──▶ Topology ──▶ the VMM composes it
//!         │           └──drawing──▶ SVG       └ on a host ┘          (postcard)                 └ no_std, no alloc ┘
//!         └──▶ Diagnostics: every mistake with line, column and mend
//! ```
//!
//! | look for | at |
//! | --- | --- |
//! | manifests in TOML, their diagnostics and drawings: features `toml` and `drawing`, which need std | module `manifest` |
//! | what there is and how it is connected | [`Topology`] |
//! | what no VMM could compose | [`Problem`] |
//! | the compact form | [`Topology::encode`], [`Topology::decode`] |
//! | what one program of a static system has, and Microkit system descriptions | [`FixedPeer`]; feature `microkit`, module `manifest::microkit` |
//!
//! `docs/manifest.md` of the repository says what can be in a manifest.
//!
//! [`Topology::check`] refuses what no VMM could compose: it runs on the host before anything boots, and once more in the VMM.
//!
//! ```
//! use crossvm_manifest::{Component, ComponentKind, Connection, End, Peer, Topology, text};
//!
//! let mut topology = Topology::default();
//! topology.components.push(Component { name: text("mirror")?, kind: ComponentKind::Reverse }).ok();
//! let mut bytes = [0; 256];
//! let encoded = topology.encode(&mut bytes)?;
//! assert_eq!(Topology::decode(encoded)?, topology);
//! # Ok::<(), crossvm_manifest::Error>(())
//! ```
#![cfg_attr(not(feature = "toml"), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::arithmetic_side_effects)
)]

mod check;
mod compact;
mod fixed;
#[cfg(feature = "toml")]
#[allow(clippy::arithmetic_side_effects, reason = "on a host, and overflow ends the command; no guest reaches it")]
pub mod manifest;
mod name;
mod topology;

pub use check::Problem;
pub use compact::{Error, FORMAT_VERSION};
pub use fixed::{FixedConnection, FixedDataport, FixedPeer, FixedVm, TwoViews};
pub use name::{NameRule, VMM_NAME};
pub use topology::{
    Component, ComponentKind, Connection, DATAPORT_REGISTERS, Dataport, Device, End, EventBar, Image, Interrupt, MAX_COMMAND_LINE,
    MAX_COMPONENTS, MAX_CONNECTIONS, MAX_DATAPORTS, MAX_NAME, MAX_VCPUS, MAX_VMS, Peer, Profile, Reboot, Rights, Topology, Vm, Width, text,
};
