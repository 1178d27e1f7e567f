//! Check `reverse`: a native component in the VM monitor sends each line back reversed.

use std::process::{Command, Stdio};

use crossvm_guest::{DataportIndex, System};

use crate::events::Spins;
use crate::link::{Link, Shared, Turns};
use crate::random::Random;
use crate::report::{Failure, Report};
use crate::settings::Settings;

const CHECK: &str = "reverse";
const CONNECTION: &str = "reverse";

/// Lengths of the lines that go through the `crossvm` command, one process for each step.
const COMMAND_LENGTHS: [usize; 4] = [1, 16, 63, 200];
/// Lengths of the lines that go through the library: around word and cache line boundaries, and long ones.
const LIBRARY_LENGTHS: [usize; 12] = [2, 7, 8, 9, 31, 64, 65, 127, 255, 257, 511, 1000];

/// Sends lines and checks that each comes back reversed.
pub(crate) fn check(system: &System, settings: &Settings, report: &Report) -> Result<(), Failure> {
    let bytes = run(system, settings).map_err(|reason| Failure::new(CHECK, reason))?;
    let lines = COMMAND_LENGTHS.len() + LIBRARY_LENGTHS.len();
    report.pass(CHECK, &[("lines", lines.to_string()), ("bytes", bytes.to_string())]);
    Ok(())
}

fn run(system: &System, settings: &Settings) -> Result<usize, String> {
    let mut random = Random::from_kernel().map_err(|error| format!("/dev/urandom: {error}"))?;
    let connection = system.endpoint(CONNECTION).map_err(|error| error.to_string())?;
    let dataport = connection.dataport(DataportIndex::FIRST).map_err(|error| error.to_string())?;
    let half = dataport.size() / 2;
    let mut bytes = 0;
    for length in COMMAND_LENGTHS {
        let line = random.line(length);
        compare(&line, &by_command(&line, half, settings)?)?;
        bytes += length;
    }
    let mut link = Link::new(&connection, settings.timeout)?;
    bytes += exchange(&dataport, &mut link, &mut random)?;
    Ok(bytes)
}

/// Sends lines of many lengths, and returns how many bytes came back reversed.
pub(crate) fn exchange(dataport: &impl Shared, link: &mut impl Turns, random: &mut Random) -> Result<usize, String> {
    let half = dataport.size() / 2;
    let mut bytes = 0;
    for length in LIBRARY_LENGTHS.into_iter().filter(|length| length + 1 < half) {
        let line = random.line(length);
        dataport.write(0, format!("{line}\n").as_bytes()).map_err(|error| error.to_string())?;
        link.emit()?;
        link.event(Spins::NONE, || format!("answer to a line of {length} bytes"))?;
        let mut answer = vec![0; length + 1];
        dataport.read(half, &mut answer).map_err(|error| error.to_string())?;
        compare(&line, &answer)?;
        bytes += length;
    }
    Ok(bytes)
}

/// Sends `line` as a person at a shell would, and returns the answer.
fn by_command(line: &str, half: usize, settings: &Settings) -> Result<Vec<u8>, String> {
    let (half, timeout) = (half.to_string(), settings.timeout.as_secs().to_string());
    // The text may begin with a dash, so it stands behind `--`.
    crossvm(&["write", "--line", CONNECTION, "--", line])?;
    crossvm(&["emit", CONNECTION])?;
    let taken = crossvm(&["wait", "--timeout", &timeout, CONNECTION])?;
    if taken != b"1\n" {
        return Err(format!("crossvm wait took {} events instead of 1", String::from_utf8_lossy(&taken).trim_end()));
    }
    crossvm(&["read", "--line", "--offset", &half, CONNECTION])
}

/// Runs the `crossvm` command and returns what it prints.
fn crossvm(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let verb = arguments.first().copied().unwrap_or_default();
    let output = Command::new("crossvm").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("crossvm {verb}: {error}"))?;
    if !output.status.success() {
        return Err(format!("crossvm {verb}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    Ok(output.stdout)
}

/// Whether `answer` is `line` reversed, with a line feed.
fn compare(line: &str, answer: &[u8]) -> Result<(), String> {
    let expected: Vec<_> = line.bytes().rev().chain([b'\n']).collect();
    match expected.iter().zip(answer).position(|(expected, answer)| expected != answer) {
        None if expected.len() == answer.len() => Ok(()),
        None => Err(format!("the answer to {} bytes has {} bytes", line.len(), answer.len())),
        Some(at) => Err(format!("the answer to {} bytes is wrong from byte {at} on", line.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reversed_line_will_do() {
        assert_eq!(compare("abc", b"cba\n"), Ok(()));
        for wrong in [&b"cba"[..], b"cb\n", b"abc\n", b"cbaa\n", b"cba\n\n", b""] {
            assert!(compare("abc", wrong).is_err());
        }
    }

    #[test]
    fn there_are_sixteen_lines() {
        assert_eq!(COMMAND_LENGTHS.len() + LIBRARY_LENGTHS.len(), 16);
    }
}
