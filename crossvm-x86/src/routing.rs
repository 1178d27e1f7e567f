//! Where the lines of a PC end: at a pin of the IOAPIC and at an input of the 8259 pair.

use crossvm_core::Irq;

use crate::Pin;

/// An input of the 8259 pair that a device can be wired to: 0 to 15 without 2, where the slave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PicIrq(u8);

impl PicIrq {
    /// The input `number`, if a device can be wired to it.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 16 && number != 2 { Some(Self(number)) } else { None }
    }

    /// Its number, 8 to 15 on the slave.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// One of the eight lines that PCI functions interrupt on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PciLine(u8);

impl PciLine {
    /// All of them, in the order of their GSIs.
    pub const ALL: [Self; 8] = [Self(0), Self(1), Self(2), Self(3), Self(4), Self(5), Self(6), Self(7)];

    /// GSI of the first.
    pub const FIRST_GSI: Irq = Irq::new(16);

    /// The line that is this GSI: 16 to 23.
    #[must_use]
    pub const fn from_gsi(gsi: Irq) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "below 8")]
        match gsi.number().checked_sub(16) {
            Some(index) if index < 8 => Some(Self(index as u8)),
            _ => None,
        }
    }

    /// Its GSI, which is also its pin of the IOAPIC.
    #[must_use]
    pub const fn gsi(self) -> Irq {
        Irq::new(16_u32.saturating_add(self.0 as u32))
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The line of each device's interrupt pin A, by device number 0 to 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PciLines([Option<PciLine>; 32]);

impl PciLines {
    /// Device n has line n modulo 8; the bridge, device 0, has none.
    #[must_use]
    pub fn rotating() -> Self {
        Self::from_fn(|device| PciLine::ALL.get(usize::from(device & 7)).copied().filter(|_| device != 0))
    }

    /// As a function says.
    #[must_use]
    pub fn from_fn(line: impl Fn(u8) -> Option<PciLine>) -> Self {
        let mut lines = [None; 32];
        (0..).zip(&mut lines).for_each(|(device, place)| *place = line(device));
        Self(lines)
    }

    /// As a bus is wired; devices whose line is none of the eight are left out.
    #[must_use]
    pub fn from_wires(wires: impl IntoIterator<Item = (u8, Irq)>) -> Self {
        let mut lines = [None; 32];
        for (device, gsi) in wires {
            if let Some(place) = lines.get_mut(usize::from(device)) {
                *place = PciLine::from_gsi(gsi);
            }
        }
        Self(lines)
    }

    /// The line of a device.
    #[must_use]
    pub fn get(&self, device: u8) -> Option<PciLine> {
        self.0.get(usize::from(device)).copied().flatten()
    }

    /// The devices that have one.
    pub fn iter(&self) -> impl Iterator<Item = (u8, PciLine)> + '_ {
        (0..).zip(&self.0).filter_map(|(device, line)| Some((device, (*line)?)))
    }
}

/// Where a GSI ends. At least one of the two is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Inputs {
    /// Pin of the IOAPIC.
    pub ioapic: Option<Pin>,
    /// Input of the 8259 pair.
    pub pic: Option<PicIrq>,
}

/// Where each GSI ends. ACPI tables, the split irqchip and a hypervisor's routes are all made from one value of this type.
///
/// | GSI | IOAPIC | 8259 |
/// | --- | --- | --- |
/// | 0 | pin 2 | input 0 |
/// | 1, 3 to 15 | the pin of that number | the input of that number |
/// | 2 | none: the slave 8259 is at input 2, and the timer at pin 2 | none |
/// | 16 to 23 | the pin of that number | of the eight PCI lines, one input each |
/// | from 24 on | the pin of that number | none |
///
/// An input where several lines end is asserted while one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Routing {
    pci: [PicIrq; 8],
}

/// GSI of ACPI's interrupt (SCI).
pub const SCI: Irq = Irq::new(9);

impl Routing {
    /// The PCI lines end at inputs 5, 10, 11, 3, 6, 12, 14 and 15 of the 8259 pair, in the order of their GSIs.
    pub const PC: Self = Self { pci: [PicIrq(5), PicIrq(10), PicIrq(11), PicIrq(3), PicIrq(6), PicIrq(12), PicIrq(14), PicIrq(15)] };

    /// The PCI lines end at these inputs of the 8259 pair, in the order of their GSIs; `None` where one of them cannot be level-triggered: 0, 1,
    /// 8 and 13.
    #[must_use]
    pub fn new(pci: [PicIrq; 8]) -> Option<Self> {
        pci.iter().all(|irq| !matches!(irq.0, 0 | 1 | 8 | 13)).then_some(Self { pci })
    }

    /// The input of the 8259 pair where a PCI line ends.
    #[must_use]
    pub fn pic_irq(&self, line: PciLine) -> PicIrq {
        // The index is below 8.
        self.pci.get(line.index()).copied().unwrap_or(PicIrq(5))
    }

    /// Where a GSI ends at an IOAPIC with `pins` pins; `None` where there is no such GSI.
    #[must_use]
    pub fn inputs(&self, gsi: Irq, pins: usize) -> Option<Inputs> {
        let number = gsi.number();
        let pin = match number {
            0 => Pin::new(2),
            2 => None,
            _ => Pin::new(number),
        };
        let ioapic = pin.filter(|pin| pin.index() < pins);
        let pic = match PciLine::from_gsi(gsi) {
            Some(line) => Some(self.pic_irq(line)),
            None => u8::try_from(number).ok().and_then(PicIrq::new),
        };
        (ioapic.is_some() || pic.is_some()).then_some(Inputs { ioapic, pic })
    }

    /// The GSIs that end at an input of the 8259 pair.
    pub fn gsis(&self, irq: PicIrq) -> impl Iterator<Item = Irq> + '_ {
        let pci = PciLine::ALL.into_iter().filter(move |line| self.pic_irq(*line) == irq).map(PciLine::gsi);
        core::iter::once(Irq::new(u32::from(irq.0))).chain(pci)
    }

    /// The GSI that ends at a pin of the IOAPIC; `None` for pin 0, where nothing is wired.
    #[must_use]
    pub fn gsi(pin: Pin) -> Option<Irq> {
        match pin.number() {
            0 => None,
            2 => Some(Irq::new(0)),
            number => Some(Irq::new(u32::from(number))),
        }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self::PC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(gsi: u32) -> Option<(Option<u8>, Option<u8>)> {
        Routing::PC.inputs(Irq::new(gsi), 24).map(|inputs| (inputs.ioapic.map(Pin::number), inputs.pic.map(PicIrq::number)))
    }

    #[test]
    fn the_timer_is_at_pin_2_and_the_others_at_their_own() {
        assert_eq!((inputs(0), inputs(2)), (Some((Some(2), Some(0))), None));
        for gsi in (1..16).filter(|gsi| *gsi != 2) {
            assert_eq!(inputs(u32::from(gsi)), Some((Some(gsi), Some(gsi))));
        }
        assert_eq!((inputs(24), inputs(u32::MAX)), (None, None));
        assert_eq!(Routing::PC.inputs(Irq::new(24), 25).map(|inputs| inputs.ioapic), Some(Pin::new(24)));
    }

    #[test]
    fn each_pci_line_has_an_8259_input_of_its_own_that_may_be_a_level() {
        let mut seen = std::collections::BTreeSet::new();
        for (line, gsi) in PciLine::ALL.into_iter().zip(16..) {
            let irq = Routing::PC.pic_irq(line);
            assert_eq!((line.gsi(), PciLine::from_gsi(Irq::new(gsi))), (Irq::new(gsi), Some(line)));
            assert_eq!(inputs(gsi), Some((u8::try_from(gsi).ok(), Some(irq.number()))));
            assert!(seen.insert(irq) && ![0, 1, 2, 4, 8, 9, 13].contains(&irq.number()));
            assert_eq!(Routing::PC.gsis(irq).collect::<std::vec::Vec<_>>(), [Irq::new(irq.number().into()), line.gsi()]);
        }
        assert_eq!((PciLine::from_gsi(Irq::new(15)), PciLine::from_gsi(Irq::new(24))), (None, None));
    }

    #[test]
    fn lines_keep_off_inputs_that_are_always_edges() {
        for edge in [0, 1, 8, 13] {
            let mut pci = Routing::PC.pci;
            pci[3] = PicIrq::new(edge).unwrap();
            assert_eq!(Routing::new(pci), None);
        }
        assert_eq!((Routing::new(Routing::PC.pci), PicIrq::new(2), PicIrq::new(16)), (Some(Routing::PC), None, None));
    }

    #[test]
    fn every_pin_is_found_from_its_gsi_and_back() {
        for pin in Pin::FIRST.onwards().skip(1) {
            let gsi = Routing::gsi(pin).unwrap();
            assert_eq!(Routing::PC.inputs(gsi, 240).and_then(|inputs| inputs.ioapic), Some(pin));
        }
    }
}
