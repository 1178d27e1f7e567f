//! The VM's PCI functions as `lspci` of pciutils shows them, for the report of the host. Where the initial RAM disk has none, there is nothing.

use std::path::Path;
use std::process::Command;

use crate::report::{Failure, Report};

/// Not busybox's, which shows neither capabilities nor regions.
const PROGRAM: &str = "/usr/bin/lspci";
/// Everything, and numbers in place of names: there is no list of names.
const FLAGS: [&str; 2] = ["-vv", "-n"];

/// Prints what `lspci -vv -n` shows, line by line.
pub(crate) fn show(report: &Report) -> Result<(), Failure> {
    if !Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let fail = |reason: String| Failure::new("lspci", reason);
    let output = Command::new(PROGRAM).args(FLAGS).output().map_err(|error| fail(format!("{PROGRAM}: {error}")))?;
    if !output.status.success() {
        return Err(fail(format!("{PROGRAM}: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end())));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        report.lspci(line);
    }
    Ok(())
}
