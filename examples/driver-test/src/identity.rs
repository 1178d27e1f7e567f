//! Checks `identity`: what the driver tells of the connections is what the VM was given.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use crossvm_guest::{EventCount, Interrupt, Profile, Rights, System};

use crate::report::{Failure, Report};
use crate::{kernel, open};

/// Sizes and rights of a connection's dataports.
type Dataports = &'static [(u64, Rights)];

/// What the connections of a VM must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    interrupt: Interrupt,
    profile: Profile,
    dropped: Option<u32>,
    connections: [(&'static str, Dataports); 3],
}

impl Expected {
    /// Connections of the extended profile, which tells all, with events that come this way.
    pub(crate) const fn extended(interrupt: Interrupt) -> Self {
        Self {
            interrupt,
            profile: Profile::Extended { version: 1 },
            dropped: Some(0),
            connections: [
                ("mirror", &[(64 << 10, Rights::ReadWrite)]),
                ("sum", &[(12 << 10, Rights::ReadWrite), (4 << 10, Rights::Read)]),
                ("feed", &[(8 << 10, Rights::Read)]),
            ],
        }
    }

    /// Connections of the reference profile, which tells no rights, and of sizes those of the BARs.
    pub(crate) const fn reference() -> Self {
        Self {
            interrupt: Interrupt::Intx,
            profile: Profile::Reference,
            dropped: None,
            connections: [
                ("mirror", &[(64 << 10, Rights::ReadWrite)]),
                ("sum", &[(16 << 10, Rights::ReadWrite), (4 << 10, Rights::ReadWrite)]),
                ("feed", &[(8 << 10, Rights::ReadWrite)]),
            ],
        }
    }
}

/// Checks every connection.
pub(crate) fn check(system: &System, expected: Expected, check: &'static str) -> Result<(), Failure> {
    let mut report = Report::new(check);
    for (name, dataports) in expected.connections {
        let source = connection(system, expected, name, dataports).map_err(|reason| Failure::new(check, format!("{name}: {reason}")))?;
        report = report.with(name, source);
    }
    report.pass();
    Ok(())
}

fn connection(system: &System, expected: Expected, name: &str, dataports: Dataports) -> Result<String, String> {
    let node = open(system, name)?;
    let file = fs::metadata(node.path()).map_err(|error| error.to_string())?;
    if !file.file_type().is_char_device() || !node.path().ends_with(format!("crossvm/{name}")) {
        return Err(format!("{} is no device of that name", node.path().display()));
    }
    if node.profile() != expected.profile {
        return Err(format!("its profile is {:?}", node.profile()));
    }
    let found: Vec<_> = node.dataports().iter().map(|info| (info.size(), info.rights())).collect();
    if found != dataports {
        return Err(format!("its dataports are {found:?} instead of {dataports:?}"));
    }
    let offsets = (0..dataports.len()).map(|index| kernel::attribute(name, &format!("dataport{index}/offset")));
    let right: Vec<_> = (0..dataports.len() as u64).map(|index| format!("{:#x}", index << 40)).collect();
    if offsets.collect::<Result<Vec<_>, _>>()? != right {
        return Err("the offsets of its dataports are not those of the documentation".to_owned());
    }
    let (dropped, pending) = (node.dropped().map_err(|error| error.to_string())?, node.pending().map_err(|error| error.to_string())?);
    if (dropped, pending) != (expected.dropped, EventCount::ZERO) {
        return Err(format!("before there is any event, {pending} are pending, and {dropped:?} were dropped"));
    }
    let found = (node.interrupt(), kernel::interrupt(node.address()));
    if found != (expected.interrupt, expected.interrupt) {
        return Err(format!("the driver says {:?}, the kernel {:?}", found.0, found.1));
    }
    Ok(kernel::interrupts(&format!("crossvm-{name}"))?.1)
}
