//! What the demonstration's traffic costs in exits to user space, where the hypervisor tells them.

use super::report::Cost;
use super::scenario::{BULK_BYTES, CONNECTIONS, VMS};
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

/// The exits of both ends of connection `name` in the check of that name, and how many units passed.
fn of(transcript: &Transcript, name: &str, unit: Unit) -> Option<(Exits, u64)> {
    let guests = VMS.map(|vm| transcript.guest(vm));
    let [one, other] = guests.each_ref().map(|guest| guest.exits_of(name, name));
    let units = match unit {
        Unit::RoundTrip => guests.first()?.first().passed.get(name)?.number("sent")?,
        Unit::Mib => BULK_BYTES >> 20,
    };
    Some((one?.and(other?), units))
}

/// The costs, for the report.
pub(super) fn report(transcript: &Transcript) -> Vec<Cost> {
    let cost = |(name, unit): (&str, Unit)| {
        let (exits, units) = of(transcript, name, unit)?;
        Some(Cost {
            connection: name.to_owned(),
            unit: match unit {
                Unit::RoundTrip => "round trip".to_owned(),
                Unit::Mib => "MiB".to_owned(),
            },
            units,
            exits,
            exits_per_unit: per(exits.sum(), units),
            emit_exits_per_unit: per(exits.emit, units),
        })
    };
    UNITS.into_iter().filter_map(cost).collect()
}

/// No emit of the whole run has cost an exit: the kernel takes them.
pub(super) fn check(transcript: &Transcript) -> Finding {
    for connection in &CONNECTIONS {
        for peer in connection.ends.peers().into_iter().filter(|peer| VMS.contains(peer)) {
            let name = connection.name;
            let exits = counts(transcript, connection.ends, peer, name).and_then(|counts| counts.exits);
            let emits = exits.ok_or_else(|| format!("the hypervisor does not tell the exits of {peer} for `{name}`"))?.emit;
            if emits > 0 {
                return Err(format!("{emits} emits of {peer} on `{name}` were exits to user space"));
            }
        }
    }
    let shown = report(transcript);
    if shown.len() != UNITS.len() {
        return Err("the hypervisor does not tell the exits of each check".to_owned());
    }
    let shown = shown.iter().map(|cost| format!("`{}` {:.2} per {}", cost.connection, cost.exits_per_unit, cost.unit));
    Ok(format!("no emit was an exit to user space; all exits of the checks: {}", shown.collect::<Vec<_>>().join(", ")))
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
        let mut say = |text: String| _ = transcript.add(&Line::parse(Duration::ZERO, &text));
        for vm in VMS {
            // What comes before a check, such as the kernel's look at the functions, is none of its cost.
            for (check, sent, count) in [("devices", 0, 0), ("bulk", 64, 96), ("ping", 1000, 1000), ("ping-msix", 500, 500)] {
                say(format!("[{vm}] DEMO check={check} vm={vm} ok=1 sent={sent}"));
                for name in ["bulk", "ping", "ping-msix"] {
                    let (count, config) = if name == check { (count, 2 * count + 70) } else { (0, 70) };
                    say(format!(
                        "[vmm] record=exits-so-far vm={vm} name={name} exits_emit=0 exits_count={count} exits_config={config} exits_other=0"
                    ));
                }
            }
            for connection in CONNECTIONS.iter().filter(|connection| connection.ends.peers().contains(&vm)) {
                let name = connection.name;
                let numbers = format!("exits_emit={emit} exits_count=9999 exits_config=9999 exits_other=0");
                say(format!("[vmm] record=connection vm={vm} name={name} emitted=9 received=9 dropped=0 {numbers}"));
            }
        }
        transcript
    }

    #[test]
    fn costs_are_per_round_trip_and_per_mib() {
        let costs = report(&transcript(0));
        let shown: Vec<_> = costs.iter().map(|cost| (cost.connection.as_str(), cost.units, cost.exits_per_unit)).collect();
        assert_eq!(shown, [("ping", 1000, 6.0), ("ping-msix", 500, 6.0), ("bulk", 64, 9.0)]);
        assert!(check(&transcript(0)).is_ok());
    }

    #[test]
    fn an_emit_that_exits_is_noticed_and_silence_is_no_proof() {
        assert!(check(&transcript(1)).unwrap_err().contains("1 emits of vm0 on `reverse`"));
        assert!(check(&Transcript::default()).unwrap_err().contains("does not tell"));
        assert!(report(&Transcript::default()).is_empty());
    }
}
