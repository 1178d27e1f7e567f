//! What the guests have shown of the `crossvm` command: files, an IP link and round trips through channels, by either driver.

use comfy_table::Table;
use serde::Serialize;

use super::scenario::{CONNECTIONS, CROSSVM, DemoConnection, Tools, UIO, VMS};
use super::verify::{passed, sides};
use crate::progress::seconds;
use crate::tables::table;
use crate::trial::fields::Fields;
use crate::trial::findings::Finding;
use crate::trial::report::Check;
use crate::trial::transcript::Transcript;

/// How many packets busybox' `ping` sends.
const PACKETS: u64 = 20;
/// How often the two meet on a connection of round trips while their programs use the other one, and on that meanwhile.
pub(super) const MEETINGS: u64 = 5;

/// Doorbells of each side that the command does not count as a message's, at most: it opens the channel, meets the peer, and closes it.
pub(super) const MANNERS: u64 = 8;

/// The checks of one driver.
#[derive(Debug, Clone, Copy)]
struct Set {
    driver: &'static str,
    /// The connections: of files and packets, and of round trips.
    bulk: &'static str,
    ping: &'static str,
    /// Behind the names of the checks.
    suffix: &'static str,
}

const SETS: [Set; 2] = [
    Set { driver: UIO, bulk: "bulk", ping: "ping", suffix: "" },
    Set { driver: CROSSVM, bulk: "bulk-msix", ping: "ping-msix", suffix: "-msix" },
];

/// What the command has reached by one driver. Times are the guests', who run on a processor that may be emulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rates {
    driver: String,
    /// INTx or MSI-X.
    interrupt: String,
    /// `crossvm send` to `crossvm recv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    send: Option<Transfer>,
    /// `crossvm ping` to `crossvm pong`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<RoundTrips>,
    /// busybox' `ping` through `crossvm net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    net_ping: Option<Packets>,
    /// busybox' `nc` through `crossvm net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    net_tcp: Option<Transfer>,
}

/// Data that came from one guest to the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Transfer {
    connection: String,
    bytes: u64,
    seconds: f64,
    bytes_per_second: u64,
    /// Of both sides together, where the command counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    doorbells: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sleeps: Option<u64>,
}

/// Messages that came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RoundTrips {
    connection: String,
    count: u64,
    /// Length of each message in bytes.
    size: u64,
    nanoseconds: Nanoseconds,
    /// Of both sides together.
    doorbells: u64,
    sleeps: u64,
}

/// Of one round trip.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Nanoseconds {
    min: u64,
    mean: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

/// IP packets that were answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Packets {
    connection: String,
    sent: u64,
    received: u64,
    microseconds: Microseconds,
}

/// Of one packet and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Microseconds {
    min: u64,
    mean: u64,
    max: u64,
}

impl Set {
    fn name(self, check: &str) -> String {
        format!("{check}{}", self.suffix)
    }
}

/// The checks of a run, in the order in which the guests make them.
pub(super) fn checks(transcript: &Transcript, tools: Tools) -> Vec<Check> {
    if tools == Tools::Off {
        return Vec::new();
    }
    let of = |set: Set| {
        let check = |name: &str, finding: Finding| Check::new(set.name(name), finding);
        [
            check("send", send(transcript, set, tools)),
            check("net-ping", net_ping(transcript, set)),
            check("net-tcp", net_tcp(transcript, set, tools)),
            check("latency", latency(transcript, set, tools)),
        ]
    };
    SETS.into_iter().flat_map(of).collect()
}

/// Bytes of the files that came through `connection` as they were sent.
pub(super) fn bytes(transcript: &Transcript, tools: Tools, connection: &str) -> u64 {
    let Some(set) = SETS.iter().find(|set| tools != Tools::Off && set.bulk == connection) else { return 0 };
    let file = send(transcript, *set, tools).map_or(0, |_| tools.file_bytes());
    file + net_tcp(transcript, *set, tools).map_or(0, |_| tools.tcp_bytes())
}

/// How many events the two have sent on the round trips' `connection` for the command at least, each.
pub(super) fn events(transcript: &Transcript, tools: Tools, connection: &str) -> [u64; 2] {
    let Some(set) = SETS.iter().find(|set| tools != Tools::Off && set.ping == connection) else { return [0; 2] };
    let rung = |fields: &Fields| fields.number("doorbells").unwrap_or(0);
    let rung = sides(transcript, 0, &set.name("latency"), ["ping", "pong"]).map_or([0; 2], |sides| sides.each_ref().map(rung));
    rung.map(|rung| rung + MEETINGS)
}

fn send(transcript: &Transcript, set: Set, tools: Tools) -> Finding {
    let sides = sides(transcript, 0, &set.name("send"), ["send", "receive"])?;
    let digest = same(&sides, tools.file_bytes())?;
    let rate = transfer(set, &sides).ok_or("a side has told no rate")?;
    let rung = sides.each_ref().map(|side| side.number("doorbells").unwrap_or(0));
    Ok(format!("{}, SHA-256 equal ({digest}…); doorbells: {} and {}", rate.shown(), rung[0], rung[1]))
}

fn net_tcp(transcript: &Transcript, set: Set, tools: Tools) -> Finding {
    let sides = sides(transcript, 0, &set.name("net-tcp"), ["send", "receive"])?;
    let digest = same(&sides, tools.tcp_bytes())?;
    let rate = transfer(set, &sides).ok_or("a side has told no time")?;
    Ok(format!("{} by TCP, SHA-256 equal ({digest}…)", rate.shown()))
}

fn net_ping(transcript: &Transcript, set: Set) -> Finding {
    let packets = packets(transcript, set)?;
    if [packets.sent, packets.received] != [PACKETS; 2] {
        return Err(format!("{} packets were sent and {} answered; there should be {PACKETS}", packets.sent, packets.received));
    }
    let Microseconds { min, mean, max } = packets.microseconds;
    Ok(format!("{PACKETS} packets, none lost; {min} to {max} µs, {mean} µs on average"))
}

fn latency(transcript: &Transcript, set: Set, tools: Tools) -> Finding {
    let [ping, pong] = sides(transcript, 0, &set.name("latency"), ["ping", "pong"])?;
    let counts = [ping.number("sent"), ping.number("received"), pong.number("answered")];
    if counts != [Some(tools.pings()); 3] {
        let [sent, received, answered] = counts.map(|count| count.unwrap_or(0));
        return Err(format!("{sent} sent, {answered} answered, {received} received; there should be {} each", tools.pings()));
    }
    let rate = round_trips(set, &ping, &pong).ok_or("a side has told no times")?;
    Ok(format!("{} round trips of {} bytes, none lost: {}", rate.count, rate.size, rate.nanoseconds.shown()))
}

/// Both sides have had `bytes` bytes, and the same ones: the beginning of their digest.
fn same(sides: &[Fields; 2], bytes: u64) -> Result<String, String> {
    let counts = sides.each_ref().map(|side| side.number("bytes"));
    if counts != [Some(bytes); 2] {
        let [sent, received] = counts.map(|count| count.unwrap_or(0));
        return Err(format!("{sent} bytes sent and {received} received; there should be {bytes}"));
    }
    let digest = |side: &Fields| side.get("sha256").filter(|digest| digest.len() == 64).map(str::to_owned);
    let [one, other] = sides.each_ref().map(digest);
    match one.zip(other).ok_or("a side printed no SHA-256")? {
        (one, other) if one == other => Ok(one.chars().take(16).collect()),
        (one, other) => Err(format!("SHA-256 differs: sent {one}, received {other}")),
    }
}

/// The sender's time: it ends when the receiver has all.
fn transfer(set: Set, [sent, received]: &[Fields; 2]) -> Option<Transfer> {
    let (bytes, microseconds) = (sent.number("bytes")?, sent.number("us")?);
    let sum = |key: &str| Some(sent.number(key)? + received.number(key)?);
    let rate = u128::from(bytes) * 1_000_000 / u128::from(microseconds.max(1));
    Some(Transfer {
        connection: set.bulk.to_owned(),
        bytes,
        seconds: microseconds as f64 / 1e6,
        bytes_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
        doorbells: sum("doorbells"),
        sleeps: sum("sleeps"),
    })
}

fn round_trips(set: Set, ping: &Fields, pong: &Fields) -> Option<RoundTrips> {
    let time = |key: &str| ping.number(key);
    Some(RoundTrips {
        connection: set.ping.to_owned(),
        count: ping.number("received")?,
        size: ping.number("size")?,
        nanoseconds: Nanoseconds {
            min: time("min")?,
            mean: time("mean")?,
            p50: time("p50")?,
            p90: time("p90")?,
            p99: time("p99")?,
            p999: time("p999")?,
            max: time("max")?,
        },
        doorbells: ping.number("doorbells")? + pong.number("doorbells")?,
        sleeps: ping.number("sleeps")? + pong.number("sleeps")?,
    })
}

/// What vm0 says of the packets that it has sent.
fn packets(transcript: &Transcript, set: Set) -> Result<Packets, String> {
    let guest = transcript.guest(VMS[0]);
    let life = guest.first();
    let fields = passed(VMS[0], &guest, &life, &set.name("net-ping"))?;
    let read = || {
        let microseconds = Microseconds { min: fields.number("min_us")?, mean: fields.number("mean_us")?, max: fields.number("max_us")? };
        let (sent, received) = (fields.number("sent")?, fields.number("received")?);
        Some(Packets { connection: set.bulk.to_owned(), sent, received, microseconds })
    };
    read().ok_or_else(|| "vm0 has told no times".to_owned())
}

/// The rates of both drivers; nothing where nothing was tried.
pub(super) fn rates(transcript: &Transcript, tools: Tools) -> Vec<Rates> {
    if tools == Tools::Off {
        return Vec::new();
    }
    let of = |set: Set| {
        let both = |check: &str, names| sides(transcript, 0, &set.name(check), names).ok();
        let connection = CONNECTIONS.iter().find(|connection| connection.name == set.bulk);
        Rates {
            driver: set.driver.to_owned(),
            interrupt: connection.map_or("", DemoConnection::interrupt).to_owned(),
            send: both("send", ["send", "receive"]).and_then(|sides| transfer(set, &sides)),
            ping: both("latency", ["ping", "pong"]).and_then(|[ping, pong]| round_trips(set, &ping, &pong)),
            net_ping: packets(transcript, set).ok(),
            net_tcp: both("net-tcp", ["send", "receive"]).and_then(|sides| transfer(set, &sides)),
        }
    };
    SETS.map(of).to_vec()
}

/// The rates for a person, the drivers side by side.
pub(super) fn rates_table(rates: &[Rates]) -> Table {
    let heads: Vec<_> = rates.iter().map(|rates| format!("{} ({})", rates.driver, rates.interrupt)).collect();
    let mut table = table(&["by the crossvm command"].into_iter().chain(heads.iter().map(String::as_str)).collect::<Vec<_>>());
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut row = |what: &str, cell: &dyn Fn(&Rates) -> Option<String>| {
        table.add_row([what.to_owned()].into_iter().chain(rates.iter().map(|rates| or_dash(cell(rates)))));
    };
    row("send, recv", &|rates| rates.send.as_ref().map(Transfer::shown));
    row("… doorbells, sleeps", &|rates| {
        let send = rates.send.as_ref()?;
        Some(format!("{}, {}", send.doorbells?, send.sleeps?))
    });
    row("ping, pong", &|rates| rates.ping.as_ref().map(|ping| ping.nanoseconds.shown()));
    row("… doorbells, sleeps", &|rates| rates.ping.as_ref().map(|ping| format!("{}, {}", ping.doorbells, ping.sleeps)));
    row("net: busybox ping", &|rates| {
        let Microseconds { min, mean, max } = &rates.net_ping.as_ref()?.microseconds;
        Some(format!("{min} to {max} µs, {mean} µs on average"))
    });
    row("net: busybox nc (TCP)", &|rates| rates.net_tcp.as_ref().map(Transfer::shown));
    table
}

impl Transfer {
    /// `256 MiB in 3.1 s: 82.6 MiB/s`
    fn shown(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let took = seconds(std::time::Duration::from_secs_f64(self.seconds.max(0.0)));
        format!("{} MiB in {took}: {:.1} MiB/s", self.bytes >> 20, mib(self.bytes_per_second))
    }
}

impl Nanoseconds {
    /// `median 212.0 µs, 99 % 431.5 µs, most 5210.0 µs`
    fn shown(&self) -> String {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(|time| time as f64 / 1e3);
        format!("median {p50:.1} µs, 99 % in {p99:.1} µs, most {max:.1} µs")
    }
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
