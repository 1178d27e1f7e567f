//! `net`: a network device whose cable is a channel.
//!
//! ```text
//!   IP stack ── TUN device (device) ── forward ── channel ── dataport ── the same in the other VM
//! ```

mod device;
mod forward;

use std::io::{self, Write};
use std::time::Instant;

use clap::{Args, ValueEnum};
use crossvm_guest::channel::{Broken, Side, Statistics, max_message};
use crossvm_guest::{ChannelError, Endpoint, System};
use indicatif::HumanBytes;
use ipnet::IpNet;
use rustix::io::Errno;
use serde::Serialize;

use self::device::Wanted;
use self::forward::{Counts, Dropped, Ended, Forwarder, LONGEST, News, Settings};
use crate::failure::{Failure, Status};
use crate::options::Run;
use crate::output::{Format, print_json_line};
use crate::session::{NET, Where};
use crate::stop;

/// Make a network device whose packets go to the peer's: IP between two VMs. Ctrl-C or SIGTERM ends it.
///
/// The other end runs the same with the other side. When that is started anew, both go on. Without --address the device stays down, for
/// other tools to configure.
#[derive(Debug, Args)]
pub(crate) struct Net {
    #[command(flatten)]
    place: Where,
    /// Which end of the channel this is: one is a, the other b.
    #[arg(long, value_enum)]
    side: End,
    /// What the network device is called.
    #[arg(long, value_name = "DEVICE", default_value = "xvm0", value_parser = device_name)]
    device: String,
    /// Address of this end with the length of the net's prefix, as 10.77.0.1/30; the device goes up.
    #[arg(long, value_name = "ADDRESS/PREFIX", value_parser = address)]
    address: Option<IpNet>,
    /// Length of the longest packet in bytes. By default what has room in the dataport four times each way, 1500 to 16384.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(i64::from(LEAST_MTU)..))]
    mtu: Option<u16>,
    /// Report only what went wrong.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

/// An end of a channel, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum End {
    A,
    B,
}

impl From<End> for Side {
    fn from(end: End) -> Self {
        match end {
            End::A => Self::A,
            End::B => Self::B,
        }
    }
}

/// Every host that speaks IPv4 must be able to forward so much (RFC 791).
const LEAST_MTU: u16 = 68;
/// IPv6 demands so much (RFC 8200, section 5).
const LEAST_MTU_OF_IPV6: u16 = 1280;
/// What most networks have.
const USUAL_MTU: usize = 1500;
/// Each packet costs two system calls and a walk through the IP stack at each end, however long it is, so long ones carry more. But the longer they
/// are, the longer short ones wait behind them, and the harder it is for the kernel to find memory for each.
const LARGE_MTU: usize = 16384;

/// The MTU where nobody has chosen one. The longest message takes half of a ring: with half of that, four packets can be on their way at once, so
/// that both ends work at the same time.
fn default_mtu(longest_message: usize) -> usize {
    (longest_message / 2).clamp(USUAL_MTU, LARGE_MTU).min(longest_message)
}

/// A name for a network device, which the kernel demands to be like this.
fn device_name(text: &str) -> Result<String, String> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    match text {
        "" | "." | ".." => Err("no device can be called that".to_owned()),
        long if long.len() > 15 => Err("give at most 15 bytes".to_owned()),
        bad if bad.contains(odd) => Err("give a name without '/', ':' and spaces".to_owned()),
        good => Ok(good.to_owned()),
    }
}

/// An address of a host with its net.
fn address(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| "give address and prefix, as 10.77.0.1/30 or fd77::1/64".to_owned())?;
    let address = net.addr();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("{address} can be no host's address here"));
    }
    // In nets of one or two addresses each is a host's.
    if net.max_prefix_len().saturating_sub(net.prefix_len()) > 1
        && (address == net.network() || matches!(net, IpNet::V4(_)) && address == net.broadcast())
    {
        return Err(format!("{address} stands for all of the net {}: give the address of one host in it", net.trunc()));
    }
    Ok(net)
}

/// How much went in one direction.
#[derive(Debug, Serialize)]
struct Flow {
    packets: u64,
    bytes: u64,
}

/// What came of it, as JSON shows it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    connection: &'a str,
    role: &'a str,
    side: End,
    device: &'a str,
    address: Option<IpNet>,
    mtu: u16,
    seconds: f64,
    sent: Flow,
    received: Flow,
    dropped: Dropped,
    doorbells: u64,
    sleeps: u64,
    /// How often a peer came after the first.
    reconnects: u64,
}

impl Net {
    fn mtu(&self, endpoint: &Endpoint) -> Result<u16, Failure> {
        let info = endpoint.dataports().iter().find(|info| info.index() == self.place.dataport);
        // Without it, opening the channel fails, and says why.
        let longest = info.map_or(LONGEST, |info| max_message(usize::try_from(info.size()).unwrap_or(usize::MAX)));
        let usage = |what| Err(Failure::Other(Status::Usage, what));
        let mtu = self.mtu.unwrap_or_else(|| u16::try_from(default_mtu(longest)).unwrap_or(u16::MAX));
        if usize::from(mtu) > longest {
            return usage(format!(
                "--mtu {mtu}: a message of this channel has {longest} bytes at most; a larger dataport has room for more"
            ));
        }
        if mtu < LEAST_MTU || matches!(self.address, Some(IpNet::V6(_))) && mtu < LEAST_MTU_OF_IPV6 {
            return usage(format!("the MTU would be {mtu}: IPv4 takes at least {LEAST_MTU}, IPv6 {LEAST_MTU_OF_IPV6}"));
        }
        Ok(mtu)
    }

    /// Says what has happened. Who cannot read it has the exit status.
    fn tell(&self, first: bool, mtu: u16, news: News) {
        let Self { place: Where { name, .. }, device, .. } = self;
        if self.quiet {
            return;
        }
        let _ = match news {
            News::Connected if first => {
                let address = self.address.map(|address| format!(", {address}")).unwrap_or_default();
                writeln!(io::stderr(), "{device} up{address}, MTU {mtu}: connected through '{name}'")
            }
            News::Connected => writeln!(io::stderr(), "{device}: connected again"),
            News::Lost(Broken::Incompatible(_)) => writeln!(io::stderr(), "{device}: the other end is not `crossvm net`; waiting for it"),
            News::Lost(broken) => writeln!(io::stderr(), "{device}: {broken}; waiting for the next"),
        };
    }

    fn report(&self, mtu: u16, begin: Instant, statistics: &Statistics, counts: Counts) -> Result<(), Failure> {
        let report = Report {
            connection: &self.place.name,
            role: "net",
            side: self.side,
            device: &self.device,
            address: self.address,
            mtu,
            seconds: begin.elapsed().as_secs_f64(),
            sent: Flow { packets: statistics.sent.messages, bytes: statistics.sent.bytes },
            received: Flow { packets: statistics.received.messages, bytes: statistics.received.bytes },
            dropped: counts.dropped,
            doorbells: statistics.doorbells(),
            sleeps: counts.sleeps,
            reconnects: counts.sessions.saturating_sub(1),
        };
        if self.format.json {
            return print_json_line(&report);
        }
        if !self.quiet {
            let Report { seconds, sent, received, dropped, doorbells, sleeps, reconnects, device, .. } = report;
            let _ = writeln!(
                io::stderr(),
                "{device} was there for {seconds:.1} s: sent {} packets, {}; received {} packets, {}; dropped {} without a peer, {} for their \
                 length, {} that were refused; {doorbells} doorbells, {sleeps} sleeps, {reconnects} reconnects",
                sent.packets,
                HumanBytes(sent.bytes),
                received.packets,
                HumanBytes(received.bytes),
                dropped.no_peer,
                dropped.length,
                dropped.refused,
            );
        }
        Ok(())
    }
}

impl Run for Net {
    fn run(self, system: &System) -> Result<(), Failure> {
        let begin = Instant::now();
        let endpoint = self.place.endpoint(system)?;
        let mtu = self.mtu(&endpoint)?;
        let stop = stop::descriptor()?;
        // The channel before the device: who cannot have it should leave no trace.
        let channel = self.place.open(&endpoint, self.side.into(), NET)?;
        let device = device::open(&Wanted { name: &self.device, mtu, address: self.address })?;
        let settings = Settings { spins: self.place.spins, timeout: self.place.timeout };
        let mut forwarder = Forwarder::new(device, channel, settings);
        let mut first = true;
        let ended = forwarder.run(&stop, |news| {
            self.tell(first, mtu, news);
            first = false;
        });
        let counts = forwarder.counts();
        let channel = forwarder.channel();
        let failed = ended.map_err(|ended| match ended {
            Ended::Channel(ChannelError::TimedOut) => self.place.failure(channel, ChannelError::TimedOut),
            Ended::Channel(error) => self.place.failure(channel, error),
            Ended::Device(error) => {
                let gone = Errno::from_io_error(&error) == Some(Errno::BADFD);
                let what = if gone { " is gone: it was deleted".to_owned() } else { format!(": {error}") };
                Failure::Other(Status::Failed, format!("the network device {}{what}", self.device))
            }
        });
        let statistics = channel.channel().statistics();
        // The peer learns of it before anybody reads the report.
        drop(forwarder);
        failed?;
        self.report(mtu, begin, &statistics, counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_mtu_leaves_room_for_several_packets_and_always_fits() {
        for (longest, mtu) in [(760, 760), (1500, 1500), (2000, 1500), (16120, 8060), (65536, 16384), (1 << 24, 16384)] {
            assert_eq!(default_mtu(longest), mtu, "{longest}");
        }
    }

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        assert!(device_name("xvm0").is_ok() && device_name("a-b_c.15_bytes.").is_ok());
        for bad in ["", ".", "..", "a/b", "a b", "a:0", "0123456789abcdef", "a\n"] {
            assert!(device_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_those_of_one_host() {
        for good in ["10.77.0.1/30", "10.77.0.0/31", "10.77.0.1/32", "fd77::1/64", "fd77::ff/120"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "10.77.0.1",
            "10.77.0.1/33",
            "10.77.0.0/30",
            "10.77.0.3/30",
            "0.0.0.0/0",
            "224.0.0.1/24",
            "127.0.0.1/8",
            "fd77::/64",
            "::1/64",
            "x/1",
            "fd77::1/129",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
