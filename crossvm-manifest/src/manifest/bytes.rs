//! Sizes with units, as a person writes them.

use std::fmt;
use std::str::FromStr;

const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// A number of bytes. It is written as a whole number and a unit: `4 KiB`, `64 MiB`, `1 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        let (unit, shift) = UNITS.into_iter().find(|(_, shift)| fits(*shift)).unwrap_or(("B", 0));
        write!(f, "{} {unit}", self.0 >> shift)
    }
}

impl Bytes {
    /// A size as a person may have meant it: `1.5 MiB`. `None` where it is no whole number of bytes.
    pub(super) fn from_fraction(text: &str) -> Option<Self> {
        let (whole, rest) = text.split_once('.')?;
        let (digits, unit) = rest.split_at(rest.find(|character: char| !character.is_ascii_digit())?);
        let Self(unit) = format!("1{unit}").parse().ok()?;
        let ten = 10u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
        let scaled = whole.parse::<u64>().ok()?.checked_mul(ten)?.checked_add(digits.parse().ok()?)?.checked_mul(unit)?;
        scaled.is_multiple_of(ten).then(|| Self(scaled / ten))
    }

    /// For sums, where the last bytes do not matter: a whole number of the largest unit of which there are at least ten.
    #[must_use]
    pub fn rounded(self) -> String {
        let unit = UNITS.into_iter().find(|(_, shift)| self.0 >> shift >= 10);
        let (unit, shift) = unit.unwrap_or(("B", 0));
        format!("{} {unit}", (self.0 >> shift) + u64::from(shift > 0 && self.0 >> (shift - 1) & 1 == 1))
    }
}

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotASize {
    /// There is no whole number at the start.
    Number,
    /// There is no unit.
    NoUnit,
    /// There is no such unit.
    Unit {
        /// The unit found.
        found: String,
        /// What may be meant: the same number with the unit of this project that is nearest.
        meant: Option<String>,
    },
    /// It is more than 64 bits hold.
    TooLarge,
}

impl fmt::Display for NotASize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number => f.write_str("a size is a whole number and a unit, such as `4 KiB` or `64 MiB`"),
            Self::NoUnit => f.write_str("the unit is missing: B, KiB, MiB or GiB"),
            Self::Unit { found, .. } => write!(f, "there is no unit `{found}`; the units are B, KiB, MiB and GiB"),
            Self::TooLarge => f.write_str("the size is more than 64 bits hold"),
        }
    }
}

impl std::error::Error for NotASize {}

impl FromStr for Bytes {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let text = text.trim();
        let (digits, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()));
        if digits.is_empty() || unit.starts_with(['.', ',']) {
            return Err(NotASize::Number);
        }
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Err(NotASize::NoUnit);
        }
        let Some((_, shift)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
            let prefix = unit.chars().next().unwrap_or('?').to_ascii_uppercase();
            let near = UNITS.into_iter().find(|(name, _)| name.starts_with(prefix));
            let meant = near.map(|(name, _)| format!("{digits} {name}"));
            return Err(NotASize::Unit { found: unit.to_owned(), meant });
        };
        let number: u64 = digits.parse().map_err(|_| NotASize::TooLarge)?;
        number.checked_mul(1 << shift).map(Self).ok_or(NotASize::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_reads_as_it_is_written() {
        for (text, bytes) in [("4 KiB", 4096), ("64MiB", 64 << 20), ("1 GiB", 1 << 30), ("512 B", 512), (" 12  KiB ", 12 << 10), ("0 B", 0)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for (bytes, text) in [(0, "0 B"), (5, "5 B"), (4096, "4 KiB"), (12 << 10, "12 KiB"), (1 << 20, "1 MiB"), (3 << 29, "1536 MiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn a_fraction_has_a_whole_equivalent_where_it_is_a_number_of_bytes() {
        assert_eq!(Bytes::from_fraction("1.5 MiB"), Some(Bytes(1536 << 10)));
        assert_eq!(Bytes::from_fraction("0.25GiB"), Some(Bytes(256 << 20)));
        for text in ["0.1 MiB", "1.5", "1.5 MB", ".", "1. KiB", "9999999999999999999.5 GiB", "1.00000000000000000000 KiB"] {
            assert_eq!(Bytes::from_fraction(text), None, "{text}");
        }
    }

    #[test]
    fn sums_are_rounded_to_the_nearest_of_a_unit() {
        for (bytes, text) in
            [(524_292 << 10, "512 MiB"), (0x2eff_0000, "752 MiB"), (5 << 30, "5120 MiB"), (100, "100 B"), (20_000, "20 KiB")]
        {
            assert_eq!(Bytes(bytes).rounded(), text);
        }
    }

    #[test]
    fn what_is_no_size_is_told() {
        let meant = |text: &str| match text.parse::<Bytes>() {
            Err(NotASize::Unit { meant, .. }) => meant,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(meant("64 MB").as_deref(), Some("64 MiB"));
        assert_eq!(meant("64m").as_deref(), Some("64 MiB"));
        assert_eq!(meant("1k").as_deref(), Some("1 KiB"));
        assert_eq!(meant("1 pages"), None);
        for (text, why) in [
            ("", NotASize::Number),
            ("MiB", NotASize::Number),
            ("1.5 MiB", NotASize::Number),
            ("-1 MiB", NotASize::Number),
            ("64", NotASize::NoUnit),
            ("99999999999 GiB", NotASize::TooLarge),
            ("99999999999999999999 B", NotASize::TooLarge),
        ] {
            assert_eq!(text.parse::<Bytes>(), Err(why), "{text}");
        }
    }
}
