//! What the kernel command line asks for.

use std::fs;
use std::time::Duration;

/// Which VM of the demo this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Talks to the native component, sends, pings.
    Vm0,
    /// Receives, answers pings.
    Vm1,
}

impl Role {
    /// The VM's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vm0 => "vm0",
            Self::Vm1 => "vm1",
        }
    }

    /// The connections that this VM must have.
    pub(crate) const fn connections(self) -> &'static [&'static str] {
        match self {
            Self::Vm0 => &["reverse", "bulk", "ping"],
            Self::Vm1 => &["bulk", "ping"],
        }
    }
}

/// A mistake to make on purpose, so that somebody can see that the demo notices it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The sender changes one byte in the dataport behind its own back.
    Corrupt,
    /// The receiver's kernel crashes in the middle of the transfer.
    Die,
    /// One ping gets no answer.
    Mute,
}

/// What the kernel command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) role: Role,
    pub(crate) sabotage: Option<Sabotage>,
    /// How long to wait without progress before giving up.
    pub(crate) timeout: Duration,
}

impl Settings {
    /// Reads `/proc/cmdline`.
    pub(crate) fn of_this_kernel() -> Result<Self, String> {
        Self::parse(&fs::read_to_string("/proc/cmdline").map_err(|error| format!("/proc/cmdline: {error}"))?)
    }

    fn parse(line: &str) -> Result<Self, String> {
        // The last one counts, as with the kernel's own parameters.
        let parameters = || line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let value = |key: &str| parameters().rfind(|(name, _)| *name == key);
        let role = match value("crossvm.vm").map(|(_, name)| name) {
            Some("vm0") => Role::Vm0,
            Some("vm1") => Role::Vm1,
            Some(name) => return Err(format!("crossvm.vm={name} has no part in the demo")),
            None => return Err("crossvm.vm is missing on the kernel command line".to_owned()),
        };
        let sabotage = match value("demo.sabotage").map(|(_, kind)| kind) {
            None => None,
            Some("corrupt") => Some(Sabotage::Corrupt),
            Some("die") => Some(Sabotage::Die),
            Some("mute") => Some(Sabotage::Mute),
            Some(kind) => return Err(format!("demo.sabotage={kind} is not corrupt, die or mute")),
        };
        let seconds = value("demo.timeout").map_or(Ok(60), |(_, seconds)| seconds.parse::<u32>());
        let seconds = seconds.map_err(|error| format!("demo.timeout: {error}"))?;
        Ok(Self { role, sabotage, timeout: Duration::from_secs(seconds.into()) })
    }
}

/// The running kernel's release, as `uname -r` prints it.
pub(crate) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// How long this kernel has been running.
pub(crate) fn uptime() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|seconds| seconds.parse().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_decides() {
        let settings = Settings::parse("console=ttyAMA0 crossvm.vm=vm1 demo.sabotage=die demo.timeout=5\n").unwrap();
        assert_eq!(settings, Settings { role: Role::Vm1, sabotage: Some(Sabotage::Die), timeout: Duration::from_secs(5) });
        let settings = Settings::parse("crossvm.vm=vm1 crossvm.vm=vm0").unwrap();
        assert_eq!(settings, Settings { role: Role::Vm0, sabotage: None, timeout: Duration::from_secs(60) });
    }

    #[test]
    fn mistakes_in_it_are_reported() {
        for line in ["", "crossvm.vm=vm7", "crossvm.vm=vm0 demo.sabotage=coffee", "crossvm.vm=vm0 demo.timeout=soon"] {
            assert!(Settings::parse(line).is_err(), "{line}");
        }
    }
}
