//! The loader's command line.

use core::fmt;

/// Bytes that QEMU has put into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Physical address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}

/// What there is to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arguments {
    /// The kernel's ELF file.
    pub kernel: Loaded,
    /// The root task's ELF file.
    pub root: Loaded,
}

/// The parameter that names the kernel.
const KERNEL: &str = "crossvm.kernel=";
/// The parameter that names the root task.
const ROOT: &str = "crossvm.root=";

/// A parameter is missing, or is not an address and a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadParameter(&'static str);

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command line lacks {}ADDRESS,SIZE, two numbers in hexadecimal: give it with QEMU's -append", self.0)
    }
}

impl core::error::Error for BadParameter {}

impl Arguments {
    /// Reads a command line. Parameters of others are left alone.
    ///
    /// # Errors
    /// The parameter that is missing or that makes no sense.
    pub fn parse(line: &str) -> Result<Self, BadParameter> {
        Ok(Self { kernel: parameter(line, KERNEL)?, root: parameter(line, ROOT)? })
    }
}

fn parameter(line: &str, name: &'static str) -> Result<Loaded, BadParameter> {
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let (address, size) = value.and_then(|value| value.split_once(',')).ok_or(BadParameter(name))?;
    number(address).zip(number(size)).map(|(address, size)| Loaded { address, size }).ok_or(BadParameter(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_named() {
        let line = "a=b crossvm.kernel=0x42000000,0x1234 crossvm.topology=0x1,0x2 crossvm.root=0x43000000,0x10";
        let arguments = Arguments::parse(line).unwrap();
        assert_eq!(arguments.kernel, Loaded { address: 0x4200_0000, size: 0x1234 });
        assert_eq!(arguments.root, Loaded { address: 0x4300_0000, size: 0x10 });
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        assert_eq!(Arguments::parse("crossvm.root=0x1,0x2"), Err(BadParameter(KERNEL)));
        for wrong in ["", "0x1", "1,2", "0x1,0x", "0x1,0x2,0x3", ",", "0xg,0x1"] {
            let line = format!("crossvm.kernel=0x1,0x2 crossvm.root={wrong}");
            assert_eq!(Arguments::parse(&line), Err(BadParameter(ROOT)), "{wrong}");
        }
        assert!(BadParameter(ROOT).to_string().contains("crossvm.root=ADDRESS,SIZE"));
    }
}
