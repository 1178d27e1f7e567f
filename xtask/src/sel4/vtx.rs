//! What `cargo xtask sel4 vtx` verifies.

use super::kernel::Variant;
use super::machine::Machine;
use super::smoke;
use super::trial::{Expected, Trial};

/// The trial.
pub(crate) const TRIAL: Trial =
    Trial { task: "sel4-vtx", variant: Variant::Vtx, machine: Machine::Bochs, expected: &EXPECTED, transcript: None, sabotage: None };

const EXPECTED: [Expected; 1] = [Expected { name: "memory", verify: smoke::memory }];
