//! What the demonstration consists of: two Linux VMs, a native component, seven connections.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use crossvm_manifest::ComponentKind;

use super::Play;
use crate::system::{ComponentSpec, ConnectionSpec, System, VmSpec};

/// The VMs, by name.
pub(super) const VMS: [&str; 2] = ["vm0", "vm1"];
/// The native component.
pub(super) const MIRROR: &str = "mirror";
/// Bytes that go through `bulk`.
pub(super) const BULK_BYTES: u64 = 64 << 20;
/// Events that vm1's late drivers find, on each of their connections.
pub(super) const EARLY: u64 = 5;

/// The kernel's stock driver.
pub(super) const UIO: &str = "uio_pci_generic";
/// Ours.
pub(super) const CROSSVM: &str = "crossvm";

/// A connection of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(super) struct DemoConnection {
    pub(super) name: &'static str,
    size: u64,
    pub(super) ends: Ends,
    /// Who holds it in each guest.
    pub(super) driver: &'static str,
}

impl DemoConnection {
    /// How it interrupts.
    pub(super) fn interrupt(&self) -> &'static str {
        if self.driver == CROSSVM { "MSI-X" } else { "INTx" }
    }
}

/// Who is connected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    /// Two VMs.
    Vms([&'static str; 2]),
    /// A VM and a native component.
    VmAndComponent {
        /// The VM.
        vm: &'static str,
        /// The component.
        component: &'static str,
    },
}

impl Ends {
    /// The names of both.
    pub(super) fn peers(self) -> [&'static str; 2] {
        match self {
            Self::Vms(names) => names,
            Self::VmAndComponent { vm, component } => [vm, component],
        }
    }
}

/// The connections, in the order in which the VMs see them.
pub(super) const CONNECTIONS: [DemoConnection; 7] = [
    DemoConnection { name: "reverse", size: 64 << 10, ends: Ends::VmAndComponent { vm: "vm0", component: MIRROR }, driver: UIO },
    DemoConnection { name: "bulk", size: 1 << 20, ends: Ends::Vms(VMS), driver: UIO },
    DemoConnection { name: "ping", size: 4 << 10, ends: Ends::Vms(VMS), driver: UIO },
    DemoConnection { name: "ping-msix", size: 4 << 10, ends: Ends::Vms(VMS), driver: CROSSVM },
    DemoConnection { name: "late", size: 4 << 10, ends: Ends::Vms(VMS), driver: UIO },
    DemoConnection { name: "late-msix", size: 4 << 10, ends: Ends::Vms(VMS), driver: CROSSVM },
    DemoConnection { name: "bulk-msix", size: 1 << 20, ends: Ends::Vms(VMS), driver: CROSSVM },
];

/// Round trips by events alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rally {
    /// The check.
    pub(super) name: &'static str,
    pub(super) connection: &'static str,
    /// Of the run's rounds, this part.
    part: u64,
    /// Which of vm1's lives.
    pub(super) life: usize,
}

impl Rally {
    /// How many round trips it has in a run with so many.
    pub(super) const fn rounds(&self, Rounds(rounds): Rounds) -> u64 {
        rounds / self.part
    }
}

/// All of them.
pub(super) const RALLIES: [Rally; 4] = [
    Rally { name: "ping", connection: "ping", part: 1, life: 0 },
    Rally { name: "ping-msix", connection: "ping-msix", part: 2, life: 0 },
    Rally { name: "resume", connection: "ping", part: 10, life: 1 },
    Rally { name: "resume-msix", connection: "ping-msix", part: 10, life: 1 },
];

/// The checks of many events at once, and their connections.
pub(super) const COUNTS: [(&str, &str); 2] = [("count", "ping"), ("count-msix", "ping-msix")];

/// How many events the guests send each other as fast as they can: over two connections, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Events(u64);

impl Events {
    /// A million.
    pub(crate) const MILLION: Self = Self(1_000_000);
    /// What goes through one counter must fit in it.
    const MOST: u64 = 1 << 30;

    /// Of them, those of one side of one connection.
    pub(super) const fn of_one_side(self) -> u64 {
        self.0 / 4
    }
}

impl Default for Events {
    fn default() -> Self {
        Self(40_000)
    }
}

impl FromStr for Events {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (4..=Self::MOST).contains(&number) && number % 4 == 0 => Ok(Self(number)),
            _ => Err(format!("the number of events is a multiple of 4 from 4 to {}", Self::MOST)),
        }
    }
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many round trips by INTx the guests make; those by messages and those after the reboot are parts of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds(u64);

impl Rounds {
    /// Where each costs milliseconds, as in an emulated machine's guests.
    pub(crate) const FEW: Self = Self(2000);
    const UNIT: u64 = 1000;
    const MOST: u64 = 10_000_000;
}

impl Default for Rounds {
    fn default() -> Self {
        Self(10_000)
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Rounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (Self::UNIT..=Self::MOST).contains(&number) && number % Self::UNIT == 0 => Ok(Self(number)),
            _ => Err(format!("the number of round trips is a multiple of {} from {} to {}", Self::UNIT, Self::UNIT, Self::MOST)),
        }
    }
}

/// How much the guests do with the `crossvm` command's channels, on connections of either driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tools {
    /// A file of 256 MiB, 10000 round trips, and 64 MiB by TCP, in guests with 768 MiB
    #[default]
    Full,
    /// 16 MiB, 1000 round trips, and 4 MiB by TCP, for where each exit takes long
    Brief,
    /// Nothing
    Off,
}

impl Tools {
    /// Length of the file that `crossvm send` sends.
    pub(super) const fn file_bytes(self) -> u64 {
        match self {
            Self::Full => 256 << 20,
            Self::Brief => 16 << 20,
            Self::Off => 0,
        }
    }

    /// How many round trips `crossvm ping` makes.
    pub(super) const fn pings(self) -> u64 {
        match self {
            Self::Full => 10_000,
            Self::Brief => 1000,
            Self::Off => 0,
        }
    }

    /// How much goes through `crossvm net` by TCP.
    pub(super) const fn tcp_bytes(self) -> u64 {
        match self {
            Self::Full => 64 << 20,
            Self::Brief => 4 << 20,
            Self::Off => 0,
        }
    }

    /// A VM's memory: a guest has the whole file in it.
    const fn memory(self) -> u64 {
        match self {
            Self::Full => 768 << 20,
            Self::Brief | Self::Off => 256 << 20,
        }
    }

    /// What the guests are told where it is not the usual.
    const fn parameter(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Brief => " demo.tools=brief",
            Self::Off => " demo.tools=off",
        }
    }
}

/// A mistake made on purpose: the demonstration must notice it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// vm0 changes one byte of the bulk data behind its own back
    CorruptByte,
    /// vm1's kernel crashes in the middle of the bulk data
    KillGuest,
    /// vm1 leaves one ping without an answer
    MutePeer,
    /// vm0 sends one event less before vm1's drivers are there
    LoseEarlyEvent,
    /// vm1 switches itself off where it should reboot
    StayAway,
}

impl Sabotage {
    /// The VM that makes the mistake, and the parameter of its kernel that asks for it.
    fn parameter(self) -> (&'static str, &'static str) {
        match self {
            Self::CorruptByte => ("vm0", "demo.sabotage=corrupt"),
            Self::KillGuest => ("vm1", "demo.sabotage=die"),
            Self::MutePeer => ("vm1", "demo.sabotage=mute"),
            Self::LoseEarlyEvent => ("vm0", "demo.sabotage=forget"),
            Self::StayAway => ("vm1", "demo.sabotage=leave"),
        }
    }

    /// The check that must fail.
    pub(crate) fn culprit(self) -> &'static str {
        match self {
            Self::CorruptByte => "bulk",
            Self::KillGuest | Self::StayAway => "reboot",
            Self::MutePeer => "ping",
            Self::LoseEarlyEvent => "late",
        }
    }

    /// What the reason must say.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::CorruptByte => "SHA-256 differs",
            Self::KillGuest => "crashed",
            Self::MutePeer => "no answer to ping 5000",
            Self::LoseEarlyEvent => "4 events instead of 5",
            Self::StayAway => "did not come back",
        }
    }

    /// Checks that must pass all the same: the failure is the intended one and nothing else.
    pub(crate) fn untouched(self) -> &'static [&'static str] {
        match self {
            Self::CorruptByte => &[
                "hypervisor",
                "boot-vm0",
                "boot-vm1",
                "reverse",
                "ping",
                "late",
                "late-msix",
                "ping-msix",
                "count",
                "count-msix",
                "reboot",
                "resume",
                "resume-msix",
                "console-vm0",
                "console-vm1",
                "power-off-vm0",
                "power-off-vm1",
            ],
            Self::KillGuest => &["boot-vm0", "devices-vm0", "reverse", "console-vm0"],
            Self::MutePeer => &["boot-vm0", "boot-vm1", "reverse", "bulk", "console-vm0", "console-vm1"],
            Self::LoseEarlyEvent => &["boot-vm0", "boot-vm1", "reverse", "bulk", "ping", "console-vm0", "console-vm1"],
            Self::StayAway => &[
                "boot-vm0",
                "reverse",
                "bulk",
                "ping",
                "late",
                "late-msix",
                "ping-msix",
                "count",
                "count-msix",
                "console-vm0",
                "console-vm1",
                "power-off-vm1",
            ],
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CorruptByte => "corrupt-byte",
            Self::KillGuest => "kill-guest",
            Self::MutePeer => "mute-peer",
            Self::LoseEarlyEvent => "lose-early-event",
            Self::StayAway => "stay-away",
        })
    }
}

/// The whole system of a run, with this kernel, initial RAM disk and console in both VMs.
pub(super) fn system(kernel: &Path, initrd: &Path, console: &str, play: &Play) -> System {
    let Play { events, rounds, tools, sabotage, .. } = *play;
    let vm = |name: &str| {
        // A kernel that panics resets at once, so that the hypervisor learns of it.
        let events = events.of_one_side();
        let mut command_line = format!("console={console} panic=-1 crossvm.vm={name} demo.events={events}");
        if rounds != Rounds::default() {
            command_line.push_str(&format!(" demo.rounds={rounds}"));
        }
        command_line.push_str(tools.parameter());
        if let Some(sabotage) = sabotage {
            // Nobody needs to wait long for what is known to fail.
            command_line.push_str(" demo.timeout=20 demo.reboot-timeout=20");
            let (victim, parameter) = sabotage.parameter();
            if victim == name {
                command_line.push_str(&format!(" {parameter}"));
            }
        }
        // A VM that crashes on purpose is not to start again.
        VmSpec { memory: tools.memory(), initrd: Some(initrd.to_owned()), ..VmSpec::new(name, kernel.to_owned(), command_line) }
    };
    let connection = |connection: &DemoConnection| ConnectionSpec::new(connection.name, connection.ends.peers(), connection.size);
    System {
        vms: VMS.map(vm).to_vec(),
        components: vec![ComponentSpec { name: MIRROR.to_owned(), kind: ComponentKind::Reverse }],
        connections: CONNECTIONS.iter().map(connection).collect(),
    }
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::Image;

    use super::*;

    fn played(play: Play) -> System {
        system(Path::new("Image"), Path::new("initrd"), "ttyAMA0", &play)
    }

    #[test]
    fn the_system_can_be_composed() {
        let system = played(Play::default());
        let topology = system.topology(|_| Ok(Image { address: 0x4200_0000, size: 1 })).unwrap();
        assert_eq!((topology.vms.len(), topology.components.len(), topology.connections.len()), (2, 1, 7));
        assert!(topology.vms.iter().all(|vm| vm.command_line.contains("demo.events=10000") && !vm.command_line.contains("sabotage")));
    }

    #[test]
    fn rounds_reach_the_guests_where_they_are_not_the_usual() {
        let line = |rounds| played(Play { rounds, ..Play::default() }).vms[1].command_line.clone();
        assert!(line(Rounds::FEW).ends_with(" demo.rounds=2000") && !line(Rounds::default()).contains("demo.rounds"));
        assert_eq!(RALLIES.map(|rally| rally.rounds(Rounds::default())), [10_000, 5000, 1000, 1000]);
        assert_eq!("3000".parse(), Ok(Rounds(3000)));
        for wrong in ["0", "1500", "x", "20000000"] {
            assert!(wrong.parse::<Rounds>().unwrap_err().contains("a multiple of 1000"), "{wrong}");
        }
    }

    #[test]
    fn a_guest_has_room_for_the_file_and_as_much_again() {
        for tools in Tools::value_variants() {
            let system = played(Play { tools: *tools, ..Play::default() });
            // A guest's /tmp takes half of its memory.
            assert!(system.vms.iter().all(|vm| vm.memory / 2 > tools.file_bytes() + tools.tcp_bytes()), "{tools:?}");
        }
        let line = |tools| played(Play { tools, ..Play::default() }).vms[0].command_line.clone();
        assert!(line(Tools::Brief).ends_with(" demo.tools=brief") && line(Tools::Off).ends_with(" demo.tools=off"));
        assert!(!line(Tools::Full).contains("demo.tools"));
    }

    #[test]
    fn a_sabotage_reaches_its_vm_only() {
        let system = played(Play { sabotage: Some(Sabotage::KillGuest), ..Play::default() });
        assert!(!system.vms[0].command_line.contains("sabotage"));
        assert!(system.vms[1].command_line.ends_with("demo.sabotage=die"));
    }

    #[test]
    fn no_sabotage_expects_its_own_check_to_pass() {
        for sabotage in Sabotage::value_variants() {
            assert!(!sabotage.untouched().contains(&sabotage.culprit()));
        }
    }

    #[test]
    fn events_are_shared_out_to_four() {
        assert_eq!("1000000".parse::<Events>().map(Events::of_one_side), Ok(250_000));
        for wrong in ["0", "3", "1000001", "x", "2000000000"] {
            assert!(wrong.parse::<Events>().unwrap_err().contains("a multiple of 4"), "{wrong}");
        }
    }
}
