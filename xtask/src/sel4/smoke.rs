//! What `cargo xtask sel4 smoke` verifies.

use std::fmt;

use clap::ValueEnum;

use crate::trial::fields::Fields;
use crate::trial::findings::Finding;

use super::kernel::Variant;
use super::machine::Machine;
use super::trial::{Expected, Trial, equal, number};

/// A mistake that the root task makes on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// An event of the component is dropped
    LoseEvent,
    /// Of a badge with several events, one is served
    OneOfBadge,
    /// A dataport that the guest may read only is mapped for writing
    WritableDataport,
    /// When a guest ends, all do
    SharedFate,
    /// An install that has failed leaves a capability behind
    LeakSlot,
    /// An install that has failed leaves an object behind
    LeakMemory,
}

impl Sabotage {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::LoseEvent, Self::OneOfBadge, Self::WritableDataport, Self::SharedFate, Self::LeakSlot, Self::LeakMemory];

    const fn name(self) -> &'static str {
        match self {
            Self::LoseEvent => "lose-event",
            Self::OneOfBadge => "one-of-badge",
            Self::WritableDataport => "writable-dataport",
            Self::SharedFate => "shared-fate",
            Self::LeakSlot => "leak-slot",
            Self::LeakMemory => "leak-memory",
        }
    }

    /// The check that must fail.
    pub(crate) const fn culprit(self) -> &'static str {
        match self {
            Self::LoseEvent => "round-trips",
            Self::OneOfBadge => "coalesced",
            Self::WritableDataport => "read-only-dataport",
            Self::SharedFate => "ends-alone",
            Self::LeakSlot | Self::LeakMemory => "install-failures",
        }
    }

    /// What the reasons of the failure must say.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::LoseEvent | Self::OneOfBadge => "ended early: stalled",
            Self::WritableDataport => "after is",
            Self::SharedFate => "ended early: guest-ended",
            Self::LeakSlot | Self::LeakMemory => "unequal is",
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The trial.
pub(crate) fn trial(sabotage: Option<Sabotage>) -> Trial {
    Trial {
        task: "sel4-smoke",
        variant: Variant::Plain,
        machine: Machine::Qemu,
        expected: &EXPECTED,
        transcript: None,
        sabotage: sabotage.map(Sabotage::name),
    }
}

/// Connections of the first guest with the component.
const LINKS: u64 = 8;
/// Round trips on them, one after the other.
const ROUND_TRIPS: u64 = 100_000;
/// What an access to the name register of `link0`, and to a dataport that holds a pattern, gives.
const NAME: u64 = 0x6b6e_696c;
const PATTERN: u64 = 0x5eed_0001;

const EXPECTED: [Expected; 16] = [
    Expected { name: "memory", verify: memory },
    Expected { name: "install-failures", verify: install_failures },
    Expected { name: "install", verify: install },
    Expected { name: "enumerate", verify: enumerate },
    Expected { name: "round-trips", verify: round_trips },
    Expected { name: "round-trips-on-all", verify: round_trips_on_all },
    Expected { name: "coalesced", verify: coalesced },
    Expected { name: "read-only-event-page", verify: event_page },
    Expected { name: "read-only-dataport", verify: dataport },
    Expected { name: "large-frame", verify: large_frame },
    Expected { name: "odd-instructions", verify: odd_instructions },
    Expected { name: "hostile-configuration", verify: hostile },
    Expected { name: "guest-to-guest", verify: pair },
    Expected { name: "ends-alone", verify: ends_alone },
    Expected { name: "overhear", verify: overhear },
    Expected { name: "given-back", verify: given_back },
];

/// The kernel has left memory to the root task.
pub(super) fn memory(fields: &Fields) -> Finding {
    let bytes = number(fields, "untyped")?;
    if bytes >> 20 < 128 {
        return Err(format!("the kernel has left {} MiB to the root task, not 128", bytes >> 20));
    }
    Ok(format!("{} MiB of untyped memory", bytes >> 20))
}

fn install_failures(fields: &Fields) -> Finding {
    equal(fields, &[("unequal", 0), ("installed", LINKS), ("removed", 1)])?;
    let (failures, pages) = (number(fields, "failures")?, number(fields, "pages")?);
    // Each connection takes an event page, two copies of capabilities, and slots for them, at least.
    if failures < 8 * LINKS || pages == 0 {
        return Err(format!("{failures} failures with {pages} pages of memory are too few to show anything"));
    }
    Ok(format!("failed at each of {failures} calls, and after removal: the same slots empty, the same {pages} pages to be had"))
}

fn install(fields: &Fields) -> Finding {
    equal(fields, &[("connections", LINKS)])?;
    Ok(format!("{LINKS} connections"))
}

fn enumerate(fields: &Fields) -> Finding {
    equal(fields, &[("found", LINKS), ("agreed", LINKS), ("second", 1)])?;
    let accesses = number(fields, "accesses")?;
    if accesses < 16 * LINKS {
        return Err(format!("{accesses} accesses to configuration space cannot find and place {LINKS} functions"));
    }
    Ok(format!("{LINKS} functions found and placed in {accesses} configuration accesses, names and places as the VMM has them"))
}

fn counted(fields: &Fields, events: u64) -> Finding {
    let same = ["emitted", "served", "received", "taken"].map(|key| (key, events));
    equal(fields, &same)
}

fn round_trips(fields: &Fields) -> Finding {
    equal(fields, &[("rounds", ROUND_TRIPS), ("wrong", 0)])?;
    counted(fields, ROUND_TRIPS)?;
    Ok(format!("{ROUND_TRIPS}: as many emits, events served by the component, received by the VMM, taken by the guest"))
}

fn round_trips_on_all(fields: &Fields) -> Finding {
    const ROUNDS: u64 = 2_000;
    equal(fields, &[("rounds", ROUNDS), ("wrong", 0)])?;
    counted(fields, ROUNDS * LINKS)?;
    Ok(format!("{ROUNDS} on {LINKS} connections at once, none lost"))
}

fn coalesced(fields: &Fields) -> Finding {
    const ROUNDS: u64 = 100;
    equal(fields, &[("rounds", ROUNDS), ("left", 0), ("badges", ROUNDS), ("coalesced", ROUNDS)])?;
    counted(fields, ROUNDS * LINKS)?;
    Ok(format!("{} events in {ROUNDS} badges, all served", ROUNDS * LINKS))
}

fn event_page(fields: &Fields) -> Finding {
    equal(fields, &[("before", NAME), ("after", NAME), ("stopped", 1)])?;
    Ok("the kernel stopped the store, the guest went on".to_owned())
}

fn dataport(fields: &Fields) -> Finding {
    equal(fields, &[("before", PATTERN), ("after", PATTERN), ("stopped", 1)])?;
    Ok("the kernel stopped the store, the guest went on".to_owned())
}

fn large_frame(fields: &Fields) -> Finding {
    equal(fields, &[("before", 0), ("after", 0x1234_5678), ("faults", 0)])?;
    Ok("the last word of 2 MiB written and read without a fault".to_owned())
}

fn odd_instructions(fields: &Fields) -> Finding {
    let tried = number(fields, "tried")?;
    // All but the one that stores beside EMIT.
    equal(fields, &[("emitted", tried.saturating_sub(1)), ("left", 0)])?;
    let undecoded = number(fields, "undecoded")?;
    if tried < 10 || undecoded == 0 {
        return Err(format!("{tried} instructions, {undecoded} of which were passed over, show nothing"));
    }
    Ok(format!("{tried} stores, {undecoded} by instructions that are not decoded: those that cover EMIT emitted, the guest went on"))
}

fn hostile(fields: &Fields) -> Finding {
    equal(fields, &[("steps", 20_000), ("found", LINKS), ("rounds", 100), ("wrong", 0), ("left", 0)])?;
    Ok("20000 accesses in disorder, then found, placed and used again".to_owned())
}

fn pair(fields: &Fields) -> Finding {
    equal(fields, &[("to-second", 1000), ("to-first", 1000)])?;
    Ok("1000 events each way, on a connection installed while both ran".to_owned())
}

fn ends_alone(fields: &Fields) -> Finding {
    equal(fields, &[("before", 1000), ("after", 1000), ("wrong", 0), ("served", 2000)])?;
    match fields.get("reason") {
        Some("fetch") => Ok("the guest that jumped away ended; the other made 1000 more round trips".to_owned()),
        other => Err(format!("the guest that jumped away must end for its fetch, not for {}", other.unwrap_or("nothing"))),
    }
}

fn overhear(fields: &Fields) -> Finding {
    equal(fields, &[("rounds", 1000), ("wrong", 0)])?;
    match fields.get("reason") {
        Some("exception") => Ok("the guest that listened where faults go ended; another made 1000 more round trips".to_owned()),
        other => Err(format!("the guest that listened must end for that, not for {}", other.unwrap_or("nothing"))),
    }
}

fn given_back(fields: &Fields) -> Finding {
    let (capabilities, bytes) = (number(fields, "capabilities-before")?, number(fields, "bytes-before")?);
    if capabilities == 0 {
        return Err("the kernel does not say what is in a slot: it was built without debugging".to_owned());
    }
    equal(fields, &[("capabilities-after", capabilities), ("bytes-after", bytes)])?;
    match fields.get("reason") {
        Some("stray") => {
            Ok(format!("a guest came, strayed and went: {capabilities} capabilities, as the kernel counts, and {bytes} bytes as before"))
        }
        other => Err(format!("the guest that stored where nothing is must end for that, not for {}", other.unwrap_or("nothing"))),
    }
}
