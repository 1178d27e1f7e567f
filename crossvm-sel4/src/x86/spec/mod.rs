//! Numbers and layouts of VT-x (Intel SDM Vol. 3C) and of messages to a local APIC (Vol. 3A, §11.11). Nothing here does anything.

mod controls;
mod exits;
mod field;
mod message;
mod state;

pub use controls::{EntryInterruption, ExitControls, InterruptionKind, PinControls, PrimaryControls};
pub use exits::{AccessQualification, ControlRegisterQualification, PortQualification, PortSize, Reason};
pub use field::{Field, Segment};
pub use message::{DeliveryMode, MessageAddress, MessageData};
pub use state::{AccessRights, Cr0, Cr4, Flags, Interruptibility};
