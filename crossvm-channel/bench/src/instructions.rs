//! How many instructions a message takes, counted by callgrind: the only figures here that are the same each time.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::contenders::{CONTENDERS, Contender, Kind};
use crate::report::Instructions;

/// Lengths for which instructions say something: longer messages are all memcpy.
const SIZES: [usize; 2] = [8, 64];
/// How many messages are counted, after as many that are not.
const MESSAGES: u64 = 3200;

/// For all contenders, or nothing where there is no valgrind.
pub(crate) fn count(mut done: impl FnMut()) -> Result<Vec<Instructions>> {
    let mut rows = Vec::new();
    if !Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    {
        return Ok(rows);
    }
    for size in SIZES {
        for contender in CONTENDERS.iter().filter(|contender| contender.kind != Kind::Alone) {
            let [few, many] = [MESSAGES, 2 * MESSAGES].map(|messages| collected(contender, size, messages));
            let instructions = (many? - few?) as f64 / MESSAGES as f64;
            rows.push(Instructions { contender: contender.name, size, instructions });
            done();
        }
    }
    Ok(rows)
}

fn collected(contender: &Contender, size: usize, messages: u64) -> Result<u64> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_messages*"])
        .arg(program)
        .args(["count", contender.name, &size.to_string(), &messages.to_string()])
        .output()
        .context("valgrind cannot be started")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.with_context(|| format!("callgrind counted nothing for {}:\n{text}", contender.name))
}
