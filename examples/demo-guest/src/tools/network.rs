//! An IP link between the VMs, and stock tools on it.
//!
//! busybox' `nc` ends when the other side has nothing more to send. So who listens must not close its half before it has all: its input is a
//! pipe that stays open.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::file::{Payload, digest_of};
use super::meet::Meeting;
use super::output::Pinged;
use super::process::Running;
use super::{Bench, Findings, Set};
use crate::report::Failure;

/// The device.
const DEVICE: &str = "xvm0";
/// The addresses of the two, and the network's length.
const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];
const PREFIX: &str = "30";
/// How many packets `ping` sends.
const PACKETS: u64 = 20;
/// Where the receiver listens.
const PORT: u16 = 5000;
/// How often to look whether something has come about.
const BEAT: Duration = Duration::from_millis(20);

/// vm0: pings, and sends.
pub(super) fn first(bench: &Bench<'_>, set: Set, meeting: &Meeting<'_>) -> Result<(), Failure> {
    let fail = |check: &'static str| move |reason: String| Failure::new(check, reason);
    let link = up(bench, set, "a", ADDRESSES[0]).map_err(fail(set.net))?;
    meeting.meet().map_err(fail(set.net))?;
    bench.report.pass(set.net_ping, &ping(bench).map_err(fail(set.net_ping))?);
    bench.report.pass(set.net_tcp, &send(bench).map_err(fail(set.net_tcp))?);
    meeting.meet().and_then(|()| down(link)).map_err(fail(set.net))
}

/// vm1: answers, and receives.
pub(super) fn second(bench: &Bench<'_>, set: Set, meeting: &Meeting<'_>) -> Result<(), Failure> {
    let fail = |check: &'static str| move |reason: String| Failure::new(check, reason);
    let link = up(bench, set, "b", ADDRESSES[1]).map_err(fail(set.net))?;
    let place = Payload::to_come(bench.path("tcp-received"));
    let listener = listen(bench, &place.path).map_err(fail(set.net_tcp))?;
    meeting.meet().map_err(fail(set.net))?;
    bench.report.pass(set.net_tcp, &receive(bench, listener, &place.path).map_err(fail(set.net_tcp))?);
    meeting.meet().and_then(|()| down(link)).map_err(fail(set.net))
}

/// Makes the link, and waits until the peer has made its end.
fn up(bench: &Bench<'_>, set: Set, side: &str, address: &str) -> Result<Running, String> {
    let address = format!("{address}/{PREFIX}");
    let mut link = bench.crossvm.start(["net", set.bulk, "--side", side, "--device", DEVICE, "--address", &address])?;
    link.says(&format!("{DEVICE} up"), bench.silence)?;
    Ok(link)
}

/// Ends the link: nothing of it must be left.
fn down(link: Running) -> Result<(), String> {
    link.stop()?;
    if Path::new("/sys/class/net").join(DEVICE).exists() { Err(format!("{DEVICE} is still there")) } else { Ok(()) }
}

fn ping(bench: &Bench<'_>) -> Result<Findings, String> {
    let (count, deadline) = (PACKETS.to_string(), bench.silence.as_secs().to_string());
    // Each as soon as the one before is answered.
    let pinging = bench.ping.start(["-q", "-A", "-c", &count, "-w", &deadline, ADDRESSES[1]])?;
    Pinged::read(&pinging.wait(bench.whole())?)?.findings(PACKETS)
}

fn send(bench: &Bench<'_>) -> Result<Findings, String> {
    let payload = Payload::random(bench.path("tcp-sent"), bench.tools.tcp_bytes())?;
    let input = File::open(&payload.path).map_err(|error| format!("{}: {error}", payload.path.display()))?;
    let begin = Instant::now();
    let sender = bench.nc.start_between([ADDRESSES[1], &PORT.to_string()], input.into(), Stdio::piped())?;
    sender.wait(bench.whole())?;
    Ok(findings("send", payload.bytes, &payload.digest, begin.elapsed()))
}

fn listen(bench: &Bench<'_>, place: &Path) -> Result<Running, String> {
    let output = File::create(place).map_err(|error| format!("{}: {error}", place.display()))?;
    let listener = bench.nc.start_between(["-l", "-p", &PORT.to_string()], Stdio::piped(), output.into())?;
    let begin = Instant::now();
    while !is_listening()? {
        if begin.elapsed() > bench.silence {
            // It tells its own reason, if it has one.
            listener.stop()?;
            return Err(format!("nc has not begun to listen in {} s", bench.silence.as_secs()));
        }
        thread::sleep(BEAT);
    }
    Ok(listener)
}

/// Whether somebody listens at the port, by IPv4 or by IPv6, which takes both.
fn is_listening() -> Result<bool, String> {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match fs::read_to_string(table) {
            Ok(text) if listens(&text, PORT) => return Ok(true),
            Ok(_) => {}
            // A kernel without IPv6.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{table}: {error}")),
        }
    }
    Ok(false)
}

/// Whether the kernel's table of sockets has one that listens at `port`.
fn listens(table: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, _remote, state) = (words.next(), words.next(), words.next());
        local.is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && state == Some(LISTEN)
    })
}

fn receive(bench: &Bench<'_>, listener: Running, place: &Path) -> Result<Findings, String> {
    let begin = Instant::now();
    listener.wait(bench.whole())?;
    let took = begin.elapsed();
    let (bytes, digest) = digest_of(place)?;
    Ok(findings("receive", bytes, &digest, took))
}

fn findings(side: &str, bytes: u64, digest: &str, took: Duration) -> Findings {
    vec![("side", side.to_owned()), ("bytes", bytes.to_string()), ("sha256", digest.to_owned()), ("us", took.as_micros().to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_listens_is_told_from_others() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |port: &str, state: &str| {
            format!(
                "{head}   0: 00000000000000000000000000000000:{port} 00000000000000000000000000000000:0000 {state} 00000000:00000000 00:0\n"
            )
        };
        assert!(listens(&line("1388", "0A"), PORT));
        assert!(!listens(&line("1388", "01"), PORT), "connected");
        assert!(!listens(&line("1389", "0A"), PORT));
        assert!(!listens(head, PORT));
    }
}
