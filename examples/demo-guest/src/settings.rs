//! What the kernel command line asks for.

use std::fs;
use std::time::Duration;

use crate::check::Plan;
use crate::driver::Driver;
use crate::survive::Half;

/// Which VM of the demo this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Talks to the native component, sends, pings, and never restarts.
    Vm0,
    /// Receives, answers pings, reboots once.
    Vm1,
}

/// One connection of the demo as a VM expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) name: &'static str,
    pub(crate) driver: Driver,
}

const fn expected(name: &'static str, driver: Driver) -> Expected {
    Expected { name, driver }
}

/// vm0's connections, in order.
const OF_VM0: [Expected; 7] = [
    expected("reverse", Driver::Uio),
    expected("bulk", Driver::Uio),
    expected("ping", Driver::Uio),
    expected("ping-msix", Driver::CrossVm),
    expected("late", Driver::Uio),
    expected("late-msix", Driver::CrossVm),
    expected("bulk-msix", Driver::CrossVm),
];

impl Role {
    /// The connections that this VM must have, in order, and the driver for each.
    pub(crate) fn connections(self) -> &'static [Expected] {
        match self {
            Self::Vm0 => &OF_VM0,
            // All but the native component's.
            Self::Vm1 => OF_VM0.split_first().map_or(&[], |(_, rest)| rest),
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
    /// One of the events for the driver that comes late is not sent.
    Forget,
    /// The VM that should reboot switches itself off.
    Leave,
}

/// How much the two do with the `crossvm` command's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tools {
    Full,
    /// Less, for where each exit takes long.
    Brief,
    Off,
}

impl Tools {
    /// Length of the file that is sent, in bytes.
    pub(crate) const fn file_bytes(self) -> u64 {
        match self {
            Self::Full => 256 << 20,
            Self::Brief => 16 << 20,
            Self::Off => 0,
        }
    }

    /// How many round trips are measured.
    pub(crate) const fn pings(self) -> u64 {
        match self {
            Self::Full => 10_000,
            Self::Brief => 1000,
            Self::Off => 0,
        }
    }

    /// How much is sent by TCP, in bytes.
    pub(crate) const fn tcp_bytes(self) -> u64 {
        match self {
            Self::Full => 64 << 20,
            Self::Brief => 4 << 20,
            Self::Off => 0,
        }
    }
}

/// What this guest is here for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Its part of the demo.
    Demo(Role),
    /// To check each of its connections.
    Check(Plan),
    /// To live on whatever becomes of its peer.
    Survive(Half),
}

/// What the kernel command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// This VM's name.
    pub(crate) vm: String,
    pub(crate) task: Task,
    pub(crate) sabotage: Option<Sabotage>,
    /// How long to wait without progress before giving up.
    pub(crate) timeout: Duration,
    /// How long to wait for a peer that reboots.
    pub(crate) reboot_timeout: Duration,
    /// How many events each side of a connection emits in the check `count`.
    pub(crate) events: u32,
    /// How many round trips the check `ping` makes; the others like it make a part of them.
    pub(crate) rounds: u32,
    pub(crate) tools: Tools,
}

impl Settings {
    /// Reads `/proc/cmdline`.
    pub(crate) fn of_this_kernel() -> Result<Self, String> {
        Self::parse(&fs::read_to_string("/proc/cmdline").map_err(|error| format!("/proc/cmdline: {error}"))?)
    }

    fn parse(line: &str) -> Result<Self, String> {
        // The last one counts, as with the kernel's own parameters.
        let parameters = || line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let value = |key: &str| parameters().rfind(|(name, _)| *name == key).map(|(_, value)| value);
        let number = |key: &str, default: u32| {
            value(key).map_or(Ok(default), |number| number.parse().map_err(|error| format!("{key}={number}: {error}")))
        };
        let vm = value("crossvm.vm").ok_or("crossvm.vm is missing on the kernel command line")?;
        let task = match (value("demo.check"), value("demo.survive"), vm) {
            (Some(plan), _, _) => Task::Check(Plan::parse(plan).map_err(|error| format!("demo.check={plan}: {error}"))?),
            (None, Some("first"), _) => Task::Survive(Half::First),
            (None, Some("second"), _) => Task::Survive(Half::Second),
            (None, Some(half), _) => return Err(format!("demo.survive={half} is not first or second")),
            (None, None, "vm0") => Task::Demo(Role::Vm0),
            (None, None, "vm1") => Task::Demo(Role::Vm1),
            (None, None, name) => return Err(format!("crossvm.vm={name} has no part in the demo, and there is no demo.check")),
        };
        let sabotage = match value("demo.sabotage") {
            None => None,
            Some("corrupt") => Some(Sabotage::Corrupt),
            Some("die") => Some(Sabotage::Die),
            Some("mute") => Some(Sabotage::Mute),
            Some("forget") => Some(Sabotage::Forget),
            Some("leave") => Some(Sabotage::Leave),
            Some(kind) => return Err(format!("demo.sabotage={kind} is not corrupt, die, mute, forget or leave")),
        };
        let tools = match value("demo.tools") {
            None | Some("full") => Tools::Full,
            Some("brief") => Tools::Brief,
            Some("off") => Tools::Off,
            Some(tools) => return Err(format!("demo.tools={tools} is not full, brief or off")),
        };
        let timeout = number("demo.timeout", 60)?;
        // A reboot takes longer than any answer.
        let reboot_timeout = number("demo.reboot-timeout", timeout.saturating_mul(3))?;
        Ok(Self {
            vm: vm.to_owned(),
            task,
            sabotage,
            timeout: Duration::from_secs(timeout.into()),
            reboot_timeout: Duration::from_secs(reboot_timeout.into()),
            events: number("demo.events", 10_000)?,
            rounds: number("demo.rounds", 10_000)?,
            tools,
        })
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

/// How many CPUs the kernel has brought up.
pub(crate) fn cpus() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_decides() {
        let settings = Settings::parse(
            "console=ttyAMA0 crossvm.vm=vm1 demo.sabotage=die demo.timeout=5 demo.events=7 demo.rounds=2000 demo.tools=brief\n",
        )
        .unwrap();
        let expected = Settings {
            vm: "vm1".to_owned(),
            task: Task::Demo(Role::Vm1),
            sabotage: Some(Sabotage::Die),
            timeout: Duration::from_secs(5),
            reboot_timeout: Duration::from_secs(15),
            events: 7,
            rounds: 2000,
            tools: Tools::Brief,
        };
        assert_eq!(settings, expected);
        let settings = Settings::parse("crossvm.vm=vm1 crossvm.vm=vm0").unwrap();
        let expected = (Task::Demo(Role::Vm0), None, Duration::from_secs(60), 10_000, Tools::Full);
        assert_eq!((settings.task, settings.sabotage, settings.timeout, settings.rounds, settings.tools), expected);
        let settings = Settings::parse("crossvm.vm=camera demo.check=aruww").unwrap();
        assert!(matches!(settings.task, Task::Check(_)) && settings.vm == "camera");
        let settings = Settings::parse("crossvm.vm=vm0 demo.survive=second").unwrap();
        assert_eq!(settings.task, Task::Survive(Half::Second));
    }

    #[test]
    fn mistakes_in_it_are_reported() {
        for line in [
            "",
            "crossvm.vm=vm7",
            "crossvm.vm=vm0 demo.sabotage=coffee",
            "crossvm.vm=vm0 demo.timeout=soon",
            "crossvm.vm=vm0 demo.events=-1",
            "crossvm.vm=vm0 demo.rounds=many",
            "crossvm.vm=vm0 demo.tools=some",
            "crossvm.vm=a demo.check=nonsense",
            "crossvm.vm=vm0 demo.survive=1",
        ] {
            assert!(Settings::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn vm1_has_what_vm0_has_but_for_the_component() {
        let names = |role: Role| role.connections().iter().map(|expected| expected.name).collect::<Vec<_>>();
        assert_eq!(names(Role::Vm0)[0], "reverse");
        assert_eq!(names(Role::Vm0)[1..], names(Role::Vm1));
    }
}
