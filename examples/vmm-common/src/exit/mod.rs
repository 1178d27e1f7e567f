//! Why a guest was left, decoded, and how an exception is given to it.

mod exception;
mod psci;
pub mod spec;
mod syndrome;

pub use exception::{Cause, Delivered, El1Registers, Pstate, SNAPSHOT, deliver};
pub use psci::{Affinity, Call, PsciReturn, answer};
pub use syndrome::{Abort, AbortKind, Access, Exit, Loaded, Register, SystemRegisterAccess, decode};
