//! Base address registers as Linux reports them in sysfs' `resource` file.

use crate::spec::{BARS, MAX_DATAPORTS, ResourceFlags};

/// A memory BAR that has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    index: usize,
    address: u64,
    size: u64,
}

impl Bar {
    /// Number of the (first) register: 0 to 5.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Guest-physical address of the first byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// What one register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// Nothing, or an I/O range: not ours.
    Absent,
    /// Memory without an address.
    Unassigned,
    /// Memory; whether the next register belongs to it too.
    Memory { bar: Bar, wide: bool },
}

/// The memory BARs of a function: BAR 0, then the dataports', up to the first register that holds none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bars {
    event_page: Option<Bar>,
    dataports: Vec<Bar>,
}

impl Bars {
    /// Reads the text of the `resource` file; `None` where it is not such a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut slots = Vec::new();
        for (index, line) in text.lines().take(BARS).enumerate() {
            slots.push(slot(index, line)?);
        }
        let mut bars = Self::default();
        let mut slots = slots.into_iter();
        let event_page = slots.next()?;
        let Slot::Memory { bar, wide } = event_page else { return Some(bars) };
        bars.event_page = Some(bar);
        if wide {
            slots.next();
        }
        while let Some(Slot::Memory { bar, wide }) = slots.next() {
            if bars.dataports.len() < MAX_DATAPORTS {
                bars.dataports.push(bar);
            }
            if wide {
                slots.next();
            }
        }
        Some(bars)
    }

    /// BAR 0, the event registers.
    #[must_use]
    pub const fn event_page(&self) -> Option<&Bar> {
        self.event_page.as_ref()
    }

    /// The BARs that follow without a gap: one for each dataport.
    #[must_use]
    pub fn dataports(&self) -> &[Bar] {
        &self.dataports
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bar> {
        self.event_page.iter().chain(&self.dataports)
    }
}

/// One line, `0xSTART 0xEND 0xFLAGS`.
fn slot(index: usize, line: &str) -> Option<Slot> {
    let mut fields = line.split_ascii_whitespace().map(|field| u64::from_str_radix(field.strip_prefix("0x")?, 16).ok());
    let (start, end, flags) = (fields.next()??, fields.next()??, fields.next()??);
    if fields.next().is_some() {
        return None;
    }
    let flags = ResourceFlags::from_bits(flags);
    if !flags.memory() || flags.io() {
        return Some(Slot::Absent);
    }
    if flags.unset() || start == 0 {
        return Some(Slot::Unassigned);
    }
    let size = end.checked_sub(start)?.checked_add(1)?;
    Some(Slot::Memory { bar: Bar { index, address: start, size }, wide: flags.memory_64() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ABSENT: &str = "0x0000000000000000 0x0000000000000000 0x0000000000000000";

    fn text(lines: &[&str]) -> String {
        lines.join("\n")
    }

    #[test]
    fn thirty_two_bit_bars_follow_one_another() {
        let bars = Bars::parse(&text(&[
            "0x0000000010000000 0x0000000010000fff 0x0000000000042208",
            "0x0000000010100000 0x00000000101fffff 0x0000000000042208",
            "0x0000000010200000 0x0000000010200fff 0x0000000000042208",
            ABSENT,
            "0x0000000010300000 0x0000000010300fff 0x0000000000040200",
            ABSENT,
            ABSENT,
        ]))
        .unwrap();
        assert_eq!(bars.event_page(), Some(&Bar { index: 0, address: 0x1000_0000, size: 4096 }));
        let dataports: Vec<_> = bars.dataports().iter().map(|bar| (bar.index(), bar.address(), bar.size())).collect();
        assert_eq!(dataports, [(1, 0x1010_0000, 0x10_0000), (2, 0x1020_0000, 4096)], "what stands behind the gap is no dataport");
    }

    #[test]
    fn a_64_bit_bar_takes_two_registers() {
        let wide = "0x0000008000000000 0x00000080000fffff 0x000000000014220c";
        let bars = Bars::parse(&text(&["0x10000000 0x10000fff 0x42208", wide, ABSENT, wide, ABSENT, ABSENT])).unwrap();
        let indices: Vec<_> = bars.iter().map(Bar::index).collect();
        assert_eq!(indices, [0, 1, 3]);
    }

    #[test]
    fn a_bar_without_an_address_ends_the_list() {
        let unset = "0x0000000000000000 0x00000000000fffff 0x0000000020042208";
        assert_eq!(Bars::parse(&text(&[unset, ABSENT])).unwrap(), Bars::default());
        let bars = Bars::parse(&text(&["0x10000000 0x10000fff 0x42208", unset])).unwrap();
        assert!(bars.event_page().is_some() && bars.dataports().is_empty());
    }

    #[test]
    fn odd_text_is_refused() {
        for odd in ["", "hello", "0x1 0x2", "0x2000 0x1000 0x200", "0x1 0xffffffffffffffffff 0x200", "0x1 0x2 0x200 0x3", "1 2 512"] {
            assert_eq!(Bars::parse(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-fx \n]{0,200}") {
            let _ = Bars::parse(&text);
        }
    }
}
