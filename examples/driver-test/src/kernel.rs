//! What the tests ask of the kernel: modules, drivers, interrupts, messages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossvm_guest::spec::{COMMAND, Command as CommandRegister};
use crossvm_guest::{Interrupt, PciAddress};

const MODULE: &str = "/lib/modules/crossvm.ko";
const DRIVER: &str = "/sys/bus/pci/drivers/crossvm";

/// Loads the driver with these parameters.
pub(crate) fn load(parameters: &str) -> Result<(), String> {
    run(Command::new("insmod").arg(MODULE).args(parameters.split_whitespace()))
}

/// Unloads the driver.
pub(crate) fn unload() -> Result<(), String> {
    run(Command::new("rmmod").arg("crossvm"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// Gives the function to the driver.
pub(crate) fn bind(address: PciAddress) -> Result<(), String> {
    write(&Path::new(DRIVER).join("bind"), &address.to_string())
}

/// Takes the function from the driver.
pub(crate) fn unbind(address: PciAddress) -> Result<(), String> {
    write(&Path::new(DRIVER).join("unbind"), &address.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("writing {text} to {}: {error}", path.display()))
}

/// A file of the function's folder in sysfs.
pub(crate) fn function(address: PciAddress, file: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address.to_string()).join(file)
}

/// The function's command register.
pub(crate) fn command(address: PciAddress) -> Result<CommandRegister, String> {
    let path = function(address, "config");
    let config = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match config.get(usize::try_from(COMMAND).unwrap_or(usize::MAX)..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => Ok(CommandRegister::from_bits(u16::from_le_bytes(*bytes))),
        None => Err(format!("{} has {} bytes", path.display(), config.len())),
    }
}

/// An attribute of a connection.
pub(crate) fn attribute(name: &str, attribute: &str) -> Result<String, String> {
    let path = Path::new("/sys/class/crossvm").join(name).join(attribute);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// An attribute that is a number.
pub(crate) fn counter(name: &str, counter: &str) -> Result<u64, String> {
    let text = attribute(name, counter)?;
    text.parse().map_err(|error| format!("{name}/{counter} is {text}: {error}"))
}

/// How the function really interrupts, as the PCI core sees it.
pub(crate) fn interrupt(address: PciAddress) -> Interrupt {
    let messages = fs::read_dir(function(address, "msi_irqs")).into_iter().flatten().flatten();
    let mut modes = messages.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    if modes.any(|mode| mode.trim_end() == "msix") { Interrupt::Msix } else { Interrupt::Intx }
}

/// The line of /proc/interrupts that ends with `handler`: how often it came on all CPUs, and where from.
pub(crate) fn interrupts(handler: &str) -> Result<(u64, String), String> {
    let table = fs::read_to_string("/proc/interrupts").map_err(|error| format!("/proc/interrupts: {error}"))?;
    find(&table, handler).ok_or_else(|| format!("/proc/interrupts has no {handler}"))
}

fn find(table: &str, handler: &str) -> Option<(u64, String)> {
    let mut lines = table.lines();
    let cpus = lines.next()?.split_whitespace().count();
    // Handlers that share a line are separated by commas.
    let line = lines.find(|line| line.split([' ', ',']).any(|word| word == handler))?;
    let mut words = line.split_whitespace().skip(1);
    let counts: Option<Vec<u64>> = words.by_ref().take(cpus).map(|word| word.parse().ok()).collect();
    Some((counts?.iter().sum(), words.collect::<Vec<_>>().join("+")))
}

/// A place in the kernel's log.
#[derive(Debug)]
pub(crate) struct Messages(usize);

impl Messages {
    /// The end of the log.
    pub(crate) fn now() -> Result<Self, String> {
        Ok(Self(log()?.lines().count()))
    }

    /// Fails if the kernel has found a fault in itself or in us since.
    pub(crate) fn no_complaint_since(&self) -> Result<(), String> {
        match complaint(log()?.lines().skip(self.0)) {
            Some(line) => Err(format!("the kernel says: {line}")),
            None => Ok(()),
        }
    }
}

fn log() -> Result<String, String> {
    let output = Command::new("dmesg").output().map_err(|error| format!("dmesg: {error}"))?;
    if output.status.success() && !output.stdout.is_empty() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("dmesg: {}, {} bytes", output.status, output.stdout.len()))
    }
}

const COMPLAINTS: [&str; 10] =
    ["warning:", "bug:", "oops", "call trace", "nobody cared", "unable to handle", "use-after-free", "duplicate", "refcount", "hung"];

fn complaint<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    lines.find(|line| COMPLAINTS.iter().any(|complaint| line.to_ascii_lowercase().contains(complaint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
           CPU0       CPU1
 14:          3          4     GICv3  35 Level     crossvm-mirror, crossvm-sum
 21:         10          0  GICv2m-PCI-MSIX-0000:00:01.0   0 Edge      crossvm-feed
IPI0:        33        812       Rescheduling interrupts
";

    #[test]
    fn counts_of_all_cpus_are_added_whoever_shares_the_line() {
        for name in ["crossvm-mirror", "crossvm-sum"] {
            assert_eq!(find(TABLE, name), Some((7, "GICv3+35+Level+crossvm-mirror,+crossvm-sum".to_owned())));
        }
        assert_eq!(find(TABLE, "crossvm-feed").map(|(count, _)| count), Some(10));
        assert_eq!(find(TABLE, "crossvm"), None);
    }

    #[test]
    fn what_the_kernel_finds_wrong_is_found() {
        let good = ["crossvm: loading out-of-tree module taints kernel.", "crossvm 0000:00:01.0: /dev/crossvm/mirror: extended profile"];
        assert_eq!(complaint(good.into_iter()), None);
        for bad in [
            "WARNING: CPU: 0 PID: 1 at mm/memory.c:1",
            "BUG: sleeping function called from invalid context",
            "irq 35: nobody cared (try booting with the \"irqpoll\" option)",
            "sysfs: cannot create duplicate filename '/class/crossvm/mirror'",
        ] {
            assert_eq!(complaint([good[0], bad].into_iter()), Some(bad));
        }
    }
}
