//! `bind`.

use std::io::Write;

use crossvm_guest::{Scope, System};

use crate::failure::Failure;

/// Binds the connections and prints which they are.
pub(crate) fn bind(system: &System, scope: Scope) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    for bound in system.bind(scope)? {
        writeln!(output, "{} {}", bound.address, bound.device.display()).map_err(|error| Failure::Stream("standard output", error))?;
    }
    Ok(())
}
