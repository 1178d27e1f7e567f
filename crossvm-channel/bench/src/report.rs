//! What was measured, as JSON has it.

use serde::Serialize;

use crate::rounds::Times;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Memory of a channel, in bytes; the others have half of it for each direction.
    pub(crate) memory: usize,
    pub(crate) rounds: usize,
    /// How each contender carries a message.
    pub(crate) ways: Vec<Way>,
    /// One way, two threads: nanoseconds are for a message.
    pub(crate) throughput: Vec<Row>,
    /// There and back, both ends spinning: nanoseconds are for a round trip.
    pub(crate) round_trips: Vec<Row>,
    /// There and back, both ends asleep in between.
    pub(crate) sleeping_round_trips: Vec<Row>,
    pub(crate) busy: Vec<BusyRow>,
    pub(crate) instructions: Vec<Instructions>,
    pub(crate) targets: Vec<Target>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) virtual_machine: bool,
    pub(crate) kernel: String,
    /// Whether the measured threads ran before all others.
    pub(crate) realtime: bool,
}

/// How a contender carries a message.
#[derive(Debug, Serialize)]
pub(crate) struct Way {
    pub(crate) contender: &'static str,
    pub(crate) way: &'static str,
}

/// One contender, one length.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) contender: &'static str,
    /// Length of a message in bytes.
    pub(crate) size: usize,
    /// Median, least and most of all rounds.
    pub(crate) nanoseconds: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// How many in a second, of the median.
    pub(crate) per_second: f64,
    /// Speed beside the limit's, compared round by round: median.
    pub(crate) of_limit: f64,
}

impl Row {
    pub(crate) fn new(contender: &'static str, size: usize, times: &Times, limit: &Times) -> Self {
        let nanoseconds = times.median();
        Self {
            contender,
            size,
            nanoseconds,
            least: times.least(),
            most: times.most(),
            per_second: 1e9 / nanoseconds,
            of_limit: times.speed_beside(limit),
        }
    }
}

/// Two ends with real doorbells.
#[derive(Debug, Serialize)]
pub(crate) struct BusyRow {
    pub(crate) size: usize,
    /// How often each end looks before it sleeps.
    pub(crate) spins: u32,
    pub(crate) batch: bool,
    pub(crate) nanoseconds: f64,
    /// Of all rounds together.
    pub(crate) doorbells_per_message: f64,
    pub(crate) sleeps_per_message: f64,
}

/// Sending and receiving one message in one thread.
#[derive(Debug, Serialize)]
pub(crate) struct Instructions {
    pub(crate) contender: &'static str,
    pub(crate) size: usize,
    pub(crate) instructions: f64,
}

/// What was to be shown.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    /// `true`: at least `wanted`; `false`: less than it.
    pub(crate) at_least: bool,
    pub(crate) wanted: f64,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

impl Target {
    pub(crate) fn at_least(what: String, wanted: f64, measured: f64) -> Self {
        Self { what, at_least: true, wanted, measured, met: measured >= wanted }
    }

    pub(crate) fn below(what: String, wanted: f64, measured: f64) -> Self {
        Self { what, at_least: false, wanted, measured, met: measured < wanted }
    }
}

impl Machine {
    /// This one.
    pub(crate) fn here(realtime: bool) -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, value)| value.trim()));
        Self {
            processor: field("model name").or_else(|| field("CPU part")).unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            virtual_machine: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            realtime,
        }
    }
}
