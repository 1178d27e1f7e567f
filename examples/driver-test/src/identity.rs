//! Checks `identity`: what the driver tells of the connections is what the VM was given.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use crossvm_guest::{EventCount, Interrupt, Profile, Rights, System};

use crate::report::{Failure, Report};
use crate::{kernel, open};

/// Name, and size and rights of each dataport.
const EXPECTED: [(&str, &[(u64, Rights)]); 3] = [
    ("mirror", &[(64 << 10, Rights::ReadWrite)]),
    ("sum", &[(12 << 10, Rights::ReadWrite), (4 << 10, Rights::Read)]),
    ("feed", &[(8 << 10, Rights::Read)]),
];

/// Checks every connection; `expected` is how its events must come.
pub(crate) fn check(system: &System, expected: Interrupt, check: &'static str) -> Result<(), Failure> {
    let mut report = Report::new(check);
    for (name, dataports) in EXPECTED {
        let source = connection(system, expected, name, dataports).map_err(|reason| Failure::new(check, format!("{name}: {reason}")))?;
        report = report.with(name, source);
    }
    report.pass();
    Ok(())
}

fn connection(system: &System, expected: Interrupt, name: &str, dataports: &[(u64, Rights)]) -> Result<String, String> {
    let node = open(system, name)?;
    let file = fs::metadata(node.path()).map_err(|error| error.to_string())?;
    if !file.file_type().is_char_device() || !node.path().ends_with(format!("crossvm/{name}")) {
        return Err(format!("{} is no device of that name", node.path().display()));
    }
    if node.profile() != (Profile::Extended { version: 1 }) {
        return Err(format!("its profile is {:?}", node.profile()));
    }
    let found: Vec<_> = node.dataports().iter().map(|info| (info.size(), info.rights())).collect();
    if found != dataports {
        return Err(format!("its dataports are {found:?} instead of {dataports:?}"));
    }
    let offsets: Result<Vec<_>, _> =
        (0..dataports.len()).map(|index| kernel::attribute(name, &format!("dataport{index}/offset"))).collect();
    let right: Vec<_> = (0..dataports.len() as u64).map(|index| format!("{:#x}", index << 40)).collect();
    if offsets? != right {
        return Err("the offsets of its dataports are not those of the documentation".to_owned());
    }
    if node.dropped().map_err(|error| error.to_string())? != Some(0)
        || node.pending().map_err(|error| error.to_string())? != EventCount::ZERO
    {
        return Err("it has events, or has dropped some, before there were any".to_owned());
    }
    if node.interrupt() != expected || kernel::interrupt(node.address()) != expected {
        return Err(format!("the driver says {:?}, the kernel {:?}", node.interrupt(), kernel::interrupt(node.address())));
    }
    Ok(kernel::interrupts(&format!("crossvm-{name}"))?.1)
}
