//! PCI addresses as sysfs writes them.

use std::fmt;
use std::str::FromStr;

use crate::linux::error::Error;

/// Where a function sits: domain, bus, device and function number. Displayed like sysfs' folder names, `0000:00:01.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device, self.function))
    }
}

impl FromStr for PciAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| Error::BadAddress { text: text.to_owned() })
    }
}

/// `dddd:bb:dd.f`, hexadecimal, at exactly these widths (the domain may be wider).
fn parse(text: &str) -> Option<PciAddress> {
    let number = |text: &str, widths: std::ops::RangeInclusive<usize>| {
        let digits = widths.contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
    };
    let mut parts = text.split(':');
    let (domain, bus, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (device, function) = rest.split_once('.')?;
    let address = PciAddress {
        domain: number(domain, 4..=8)?,
        bus: u8::try_from(number(bus, 2..=2)?).ok()?,
        device: u8::try_from(number(device, 2..=2)?).ok()?,
        function: u8::try_from(number(function, 1..=1)?).ok()?,
    };
    (parts.next().is_none() && address.device < 32 && address.function < 8).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sysfs_writes_is_read_and_written_back() {
        for text in ["0000:00:01.0", "0000:ff:1f.7", "10000:e1:00.0"] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in [
            "",
            "ping",
            "00:01.0",
            "0000:00:01",
            "0000:00:20.0",
            "0000:00:01.8",
            "0000:00:01.00",
            "0000:00:+1.0",
            "0000:00:01.0:",
            "0:0:1.0",
        ] {
            assert!(matches!(text.parse::<PciAddress>(), Err(Error::BadAddress { .. })), "{text}");
        }
    }
}
