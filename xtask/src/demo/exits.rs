//! What the demonstration's traffic costs in exits to user space, where the hypervisor tells them.

use super::report::Cost;
use super::scenario::{BULK_BYTES, CONNECTIONS};
use super::verify::counts;
use crate::trial::findings::Finding;
use crate::trial::transcript::{Exits, Transcript};

/// What is counted on a connection.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// An event there and one back.
    RoundTrip,
    /// A MiB of data.
    Mib,
}

/// The connections whose traffic has a unit.
const UNITS: [(&str, Unit); 3] = [("ping", Unit::RoundTrip), ("ping-msix", Unit::RoundTrip), ("bulk", Unit::Mib)];

/// The exits of both ends of connection `name`, and the events there and back.
fn of(transcript: &Transcript, name: &str) -> Option<(Exits, [u64; 2])> {
    let connection = CONNECTIONS.iter().find(|connection| connection.name == name)?;
    let [a, b] = connection.ends.peers();
    let [a, b] = [counts(transcript, connection.ends, a, name)?, counts(transcript, connection.ends, b, name)?];
    let (one, other) = (a.exits?, b.exits?);
    let sum = |of: fn(Exits) -> u64| of(one).saturating_add(of(other));
    Some((
        Exits {
            emit: sum(|exits| exits.emit),
            count: sum(|exits| exits.count),
            config: sum(|exits| exits.config),
            other: sum(|exits| exits.other),
        },
        [a.emitted, b.emitted],
    ))
}

/// The costs, for the report.
pub(super) fn report(transcript: &Transcript) -> Vec<Cost> {
    let cost = |(name, unit): (&str, Unit)| {
        let (exits, events) = of(transcript, name)?;
        let (unit, units) = match unit {
            Unit::RoundTrip => ("round trip", events[0].min(events[1])),
            Unit::Mib => ("MiB", BULK_BYTES >> 20),
        };
        Some(Cost {
            connection: name.to_owned(),
            unit: unit.to_owned(),
            units,
            exits,
            exits_per_unit: per(exits.sum(), units),
            emit_exits_per_unit: per(exits.emit, units),
        })
    };
    UNITS.into_iter().filter_map(cost).collect()
}

/// No emit has cost an exit: the kernel takes them.
pub(super) fn check(transcript: &Transcript) -> Finding {
    for (name, _) in UNITS {
        let (exits, events) = of(transcript, name).ok_or_else(|| format!("the hypervisor does not tell the exits of `{name}`"))?;
        if exits.emit > 0 {
            return Err(format!("{} of {} emits on `{name}` were exits to user space", exits.emit, events[0].saturating_add(events[1])));
        }
    }
    let shown = report(transcript);
    let shown = shown.iter().map(|cost| format!("`{}` {:.2} per {}", cost.connection, cost.exits_per_unit, cost.unit));
    Ok(format!("no emit was an exit to user space; all exits: {}", shown.collect::<Vec<_>>().join(", ")))
}

/// A quotient to two digits. The numbers are far below those that a `f64` does not hold exactly.
fn per(sum: u64, units: u64) -> f64 {
    if units == 0 { 0.0 } else { (sum as f64 / units as f64 * 100.0).round() / 100.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::launch::console::Line;

    fn transcript(emit: u64) -> Transcript {
        let mut transcript = Transcript::default();
        for vm in ["vm0", "vm1"] {
            for (name, events, count) in [("ping", 1000, 1000), ("ping-msix", 2000, 500), ("bulk", 512, 96)] {
                let text = format!(
                    "[vmm] record=connection vm={vm} name={name} emitted={events} received={events} dropped=0 exits_emit={emit} \
                     exits_count={count} exits_config={count} exits_other=0"
                );
                transcript.add(&Line::parse(Duration::ZERO, &text));
            }
        }
        transcript
    }

    #[test]
    fn costs_are_per_round_trip_and_per_mib() {
        let costs = report(&transcript(0));
        let shown: Vec<_> = costs.iter().map(|cost| (cost.connection.as_str(), cost.units, cost.exits_per_unit)).collect();
        assert_eq!(shown, [("ping", 1000, 4.0), ("ping-msix", 2000, 1.0), ("bulk", 64, 6.0)]);
        assert!(check(&transcript(0)).is_ok());
    }

    #[test]
    fn an_emit_that_exits_is_noticed_and_silence_is_no_proof() {
        assert!(check(&transcript(1)).unwrap_err().contains("2 of 2000 emits on `ping`"));
        assert!(check(&Transcript::default()).unwrap_err().contains("does not tell"));
        assert!(report(&Transcript::default()).is_empty());
    }
}
