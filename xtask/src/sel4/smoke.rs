//! What `cargo xtask sel4 smoke` verifies.

use crate::trial::fields::Fields;
use crate::trial::findings::Finding;

use super::kernel::Variant;
use super::machine::Machine;
use super::trial::{Expected, Trial};

/// The trial.
pub(crate) const TRIAL: Trial =
    Trial { task: "sel4-smoke", variant: Variant::Plain, machine: Machine::Qemu, expected: &EXPECTED, transcript: None, sabotage: None };

const EXPECTED: [Expected; 1] = [Expected { name: "memory", verify: memory }];

/// The kernel has left memory to the root task.
pub(super) fn memory(fields: &Fields) -> Finding {
    let bytes = fields.number("untyped").ok_or("the root task does not say how much")?;
    if bytes >> 20 < 128 {
        return Err(format!("the kernel has left {} MiB to the root task, not 128", bytes >> 20));
    }
    Ok(format!("{} MiB of untyped memory", bytes >> 20))
}
