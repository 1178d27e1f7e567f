//! Base address registers: how large, and where.

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::{Error, PhysicalRange, Window};
use crate::fault::Fault;
use crate::raw;
use crate::spec::{BARS, BarRegister, Register};
use crate::words::Word;

/// A memory BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bar {
    index: usize,
    address: u64,
    size: u64,
    wide: bool,
}

impl Bar {
    /// Number of the (first) register: 0 to 5.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Guest-physical address of the first byte; zero where nobody has given it one.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Size in bytes: a power of two.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The first `length` bytes.
    pub(crate) fn range(&self, length: u64) -> Result<PhysicalRange, Error> {
        let range = PhysicalRange::new(self.address, length.min(self.size)).filter(|_| self.address != 0);
        range.ok_or(Error::OddDevice(Fault::ShortBar { bar: self.index }))
    }
}

/// The memory BARs of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bars([Option<Bar>; BARS]);

impl Bars {
    /// Sizes all BARs. The function must not decode memory meanwhile: each register holds all ones for a moment.
    pub(crate) fn probe(access: &impl ConfigRegionAccess, address: PciAddress) -> Result<Self, Fault> {
        let mut bars = Self::default();
        let mut index = 0;
        while index < BARS {
            let bar = probe(access, address, index)?;
            if let Some((slot, bar)) = bars.0.get_mut(index).zip(bar) {
                *slot = Some(bar);
            }
            index += if bar.is_some_and(|bar| bar.wide) { 2 } else { 1 };
        }
        Ok(bars)
    }

    /// BAR 0, the event registers.
    #[must_use]
    pub fn event_registers(&self) -> Option<&Bar> {
        self.0.first()?.as_ref()
    }

    /// The BARs that follow without a gap: one for each dataport.
    pub fn dataports(&self) -> impl Iterator<Item = &Bar> {
        let mut next = 0;
        self.0
            .iter()
            .flatten()
            .take_while(move |bar| {
                let follows = bar.index == next;
                next = bar.index + if bar.wide { 2 } else { 1 };
                follows
            })
            .skip(1)
    }

    /// All of them, in order. Behind a gap comes what MSI-X needs.
    pub fn iter(&self) -> impl Iterator<Item = &Bar> {
        self.0.iter().flatten()
    }

    /// Gives each an address from `window`, and writes it.
    pub(crate) fn place(&self, access: &impl ConfigRegionAccess, address: PciAddress, window: &mut Window) -> Result<(), Error> {
        for bar in self.iter() {
            let at = window.take(bar.size)?;
            if !bar.wide && u32::try_from(at).is_err() {
                return Err(Error::WindowFull { size: bar.size });
            }
            store(access, address, bar, at);
        }
        Ok(())
    }
}

/// Sizes one BAR (PCI 3.0, 6.2.5.1): what cannot be set to one are the bits below its size. `None` where there is none.
fn probe(access: &impl ConfigRegionAccess, address: PciAddress, index: usize) -> Result<Option<Bar>, Fault> {
    let Some(low) = Register::bar(index) else { return Ok(None) };
    let before = raw::read(access, address, low);
    let kind = BarRegister::from_bits(before);
    if kind.io() {
        return Ok(None);
    }
    let high = match kind.kind() {
        BarRegister::MEMORY_32 => None,
        // One of 64 bits needs the next register.
        BarRegister::MEMORY_64 => Some(Register::bar(index + 1).ok_or(Fault::BarKind { bar: index })?),
        _ => return Err(Fault::BarKind { bar: index }),
    };
    let before_high = high.map_or(0, |high| raw::read(access, address, high));
    let ones = |register| {
        raw::write(access, address, register, u32::MAX);
        raw::read(access, address, register)
    };
    let mask = u64::from(ones(low) & BarRegister::ADDRESS) | u64::from(high.map_or(0, ones)) << 32;
    raw::write(access, address, low, before);
    if let Some(high) = high {
        raw::write(access, address, high, before_high);
    }
    if mask == 0 {
        return Ok(None);
    }
    let place = u64::from(before & BarRegister::ADDRESS) | u64::from(before_high) << 32;
    Ok(Some(Bar { index, address: place, size: 1 << mask.trailing_zeros(), wide: high.is_some() }))
}

fn store(access: &impl ConfigRegionAccess, address: PciAddress, bar: &Bar, at: u64) {
    let halves = [at, at >> 32].map(u32::from_low_bits);
    for (index, half) in (bar.index..).zip(halves).take(if bar.wide { 2 } else { 1 }) {
        if let Some(register) = Register::bar(index) {
            raw::write(access, address, register, half);
        }
    }
}
