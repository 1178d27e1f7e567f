//! A bus as bytes and masks: the plainest model of configuration space, beside which `crossvm-pci` must look the same.

use std::collections::BTreeMap;

use crossvm_core::{
    BarIndex, BarWidth, Bdf, Command, ConfigAccess, ConfigEffect, Error, ErrorKind, ErrorType, Function, GuestAddr, GuestRange,
    InterruptStatus, MsixControl, PciSpace, Width,
};

/// Why a [`FakeBus`] refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BusError(ErrorKind);

impl Error for BusError {
    fn kind(&self) -> ErrorKind {
        self.0
    }
}

/// One function: what its bytes are, which of their bits a guest can change, and what they were at power-on.
#[derive(Debug, Clone)]
struct Bytes {
    function: Function,
    now: [u8; 256],
    power_on: [u8; 256],
    writable: [u8; 256],
    /// Offset of the MSI-X capability.
    msix_at: Option<usize>,
}

/// A bus of byte arrays.
#[derive(Debug, Clone)]
pub struct FakeBus {
    windows: Vec<GuestRange>,
    bridge: Bytes,
    /// Answers for a function 0 that is not there, where others share its device number.
    placeholder: Bytes,
    functions: BTreeMap<Bdf, Bytes>,
}

const BAR: usize = 0x10;
/// Where the capabilities start: behind the header.
const CAPABILITIES: usize = 0x40;

impl FakeBus {
    /// A bus whose bridge has one window.
    #[must_use]
    pub fn new(window: GuestRange) -> Self {
        let plain = |class| {
            let function = Function {
                vendor: 0x1b36,
                device: 0x0008,
                revision: 0,
                class: crossvm_core::ClassCode { base: class, sub: 0, interface: 0 },
                subsystem_vendor: 0,
                subsystem: 0,
                interrupt: None,
                bars: [None; 6],
                vendor_specific: heapless::Vec::new(),
                msix: None,
            };
            Bytes { writable: [0; 256], ..Bytes::new(&function, &[None; 6]) }
        };
        Self { windows: vec![window], bridge: plain(0x06), placeholder: plain(0xff), functions: BTreeMap::new() }
    }

    /// With one window more.
    #[must_use]
    pub fn with_window(mut self, window: GuestRange) -> Self {
        self.windows.push(window);
        self
    }

    /// The functions that are present, without the bridge.
    pub fn functions(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.functions.keys().copied()
    }

    fn get(&self, bdf: Bdf) -> Option<&Bytes> {
        if bdf.requester_id() == 0 { Some(&self.bridge) } else { self.functions.get(&bdf) }
    }

    /// The functions of one device number.
    fn of_device(&self, number: Bdf) -> impl Iterator<Item = (Bdf, &Bytes)> {
        let same = move |bdf: &Bdf| (bdf.bus(), bdf.device()) == (number.bus(), number.device());
        self.functions.iter().map(|(bdf, bytes)| (*bdf, bytes)).filter(move |(bdf, _)| same(bdf))
    }

    /// A number that is free, function 0 of each device first; all pins of a device have one line.
    fn free_number(&self, function: &Function) -> Option<Bdf> {
        let mut numbers = (0..8).flat_map(|number| (1..32).filter_map(move |device| Bdf::new(0, device, number)));
        numbers.find(|bdf| {
            let mut lines = self.of_device(*bdf).filter_map(|(_, bytes)| bytes.function.interrupt);
            !self.functions.contains_key(bdf) && function.interrupt.is_none_or(|irq| lines.all(|other| other == irq))
        })
    }

    /// Where a BAR may go, best first: one of 64 bits above 4 GiB, then below it.
    fn places(&self, width: BarWidth) -> Vec<(u64, u64)> {
        let windows = self.windows.iter().map(|window| (window.start().get(), window.last().get()));
        let above = windows.clone().filter(|_| width == BarWidth::Bits64).map(|(first, last)| (first.max(1 << 32), last));
        above.chain(windows.map(|(first, last)| (first, last.min(u64::from(u32::MAX))))).filter(|(first, last)| first <= last).collect()
    }
}

/// The highest multiple of the size that is free, one by one.
fn highest_free((first, last): (u64, u64), size: u64, taken: &[GuestRange]) -> Option<GuestRange> {
    let mut start = last & !(size - 1);
    loop {
        let candidate = GuestRange::new(GuestAddr::new(start), size)?;
        if candidate.last().get() <= last && !taken.iter().any(|taken| taken.overlaps(candidate)) {
            return Some(candidate);
        }
        start = start.checked_sub(size).filter(|start| *start >= first)?;
    }
}

/// The place at `at`, if a BAR can be there.
fn fixed_place(places: &[(u64, u64)], at: GuestAddr, size: u64, taken: &[GuestRange]) -> Result<GuestRange, BusError> {
    let range = GuestRange::new(at, size)
        .filter(|range| at.get() & (size - 1) == 0 && places.iter().any(|(first, last)| *first <= at.get() && range.last().get() <= *last));
    let range = range.ok_or(BusError(ErrorKind::OutOfRange))?;
    if taken.iter().any(|other| other.overlaps(range)) { Err(BusError(ErrorKind::Overlap)) } else { Ok(range) }
}

/// What no function can be: a BAR in the upper half of another or out of its reach, a table of MSI-X outside of its BAR.
fn nonsense(function: &Function) -> bool {
    let wide = |index: usize| function.bars.get(index).copied().flatten().is_some_and(|bar| bar.width == BarWidth::Bits64);
    let bars = (0..6).any(|index| {
        let behind_wide = index > 0 && wide(index - 1) && function.bars[index].is_some();
        let too_large = !wide(index) && function.bars[index].is_some_and(|bar| bar.size.bytes() > 1 << 31);
        behind_wide || too_large || (index == 5 && wide(index))
    });
    let msix = function.msix.is_some_and(|msix| {
        let outside = |(bar, offset): (BarIndex, u32), bytes: u64| {
            offset % 8 != 0 || function.bars[bar.get()].is_none_or(|bar| u64::from(offset) + bytes > bar.size.bytes())
        };
        let vectors = u64::from(msix.vectors);
        vectors == 0 || vectors > 2048 || outside(msix.table, 16 * vectors) || outside(msix.pending, 8 * vectors.div_ceil(64))
    });
    bars || msix
}

impl Bytes {
    fn new(function: &Function, addresses: &[Option<u64>; 6]) -> Self {
        let (mut now, mut writable) = ([0u8; 256], [0u8; 256]);
        let mut put = |at: usize, bytes: &[u8], mask: &[u8]| {
            now[at..at + bytes.len()].copy_from_slice(bytes);
            writable[at..at + mask.len()].copy_from_slice(mask);
        };
        put(0x00, &function.vendor.to_le_bytes(), &[]);
        put(0x02, &function.device.to_le_bytes(), &[]);
        // Memory space on; memory space, bus master and interrupt disable can be changed.
        put(0x04, &[0x02, 0x00], &[0x06, 0x04]);
        put(0x08, &[function.revision, function.class.interface, function.class.sub, function.class.base], &[]);
        put(0x2c, &function.subsystem_vendor.to_le_bytes(), &[]);
        put(0x2e, &function.subsystem.to_le_bytes(), &[]);
        put(0x3c, &[0, u8::from(function.interrupt.is_some())], &[0xff]);
        for (index, (bar, address)) in function.bars.iter().zip(addresses).enumerate() {
            let (Some(bar), Some(address)) = (bar, address) else { continue };
            let (wide, prefetchable) = (bar.width == BarWidth::Bits64, bar.prefetchable);
            let flags = u64::from(wide) << 2 | u64::from(prefetchable) << 3;
            let mask = !(bar.size.bytes() - 1);
            let used = if wide { 8 } else { 4 };
            put(BAR + 4 * index, &(address | flags).to_le_bytes()[..used], &mask.to_le_bytes()[..used]);
        }
        let mut at = CAPABILITIES;
        let mut link = 0x34;
        if !function.vendor_specific.is_empty() {
            let body: Vec<u8> = function.vendor_specific.iter().flat_map(|dword| dword.to_le_bytes()).collect();
            let length = 4 + body.len();
            put(at, &[0x09, 0, u8::try_from(length).expect("at most 64")], &[]);
            put(at + 4, &body, &[]);
            put(link, &[u8::try_from(at).expect("below 256")], &[]);
            (link, at) = (at + 1, at + length);
        }
        let msix_at = function.msix.map(|msix| {
            let place = |(bar, offset): (BarIndex, u32)| (offset | u32::try_from(bar.get()).expect("below 6")).to_le_bytes();
            let [size, more] = (msix.vectors - 1).to_le_bytes();
            // Function mask and enable.
            put(at, &[0x11, 0, size, more], &[0, 0, 0, 0xc0]);
            put(at + 4, &place(msix.table), &[]);
            put(at + 8, &place(msix.pending), &[]);
            put(link, &[u8::try_from(at).expect("below 256")], &[]);
            at
        });
        if now[0x34] != 0 {
            now[0x06] |= 0x10;
        }
        Self { function: function.clone(), now, power_on: now, writable, msix_at }
    }

    fn command(&self) -> Command {
        Command { memory_decode: self.now[4] & 0x02 != 0, bus_master: self.now[4] & 0x04 != 0, intx_disable: self.now[5] & 0x04 != 0 }
    }

    fn msix(&self) -> MsixControl {
        let control = self.msix_at.map_or(0, |at| self.now[at + 3]);
        MsixControl { enabled: control & 0x80 != 0, masked: control & 0x40 != 0 }
    }

    /// What the bytes of a BAR point at.
    fn range(bytes: &[u8; 256], function: &Function, bar: BarIndex) -> Option<GuestRange> {
        let described = function.bars[bar.get()]?;
        let mut raw = [0; 8];
        let used = if described.width == BarWidth::Bits64 { 8 } else { 4 };
        raw[..used].copy_from_slice(&bytes[BAR + 4 * bar.get()..][..used]);
        GuestRange::new(GuestAddr::new(u64::from_le_bytes(raw) & !0xf), described.size.bytes())
    }

    fn addresses(&self) -> [Option<GuestAddr>; 6] {
        BarIndex::ALL.map(|bar| Self::range(&self.now, &self.function, bar).map(GuestRange::start))
    }
}

/// Where the access lies in 256 bytes, if it is a configuration cycle.
fn span(access: ConfigAccess) -> Option<std::ops::Range<usize>> {
    let bytes = access.width.bytes();
    let valid = access.width != Width::U64 && u64::from(access.offset).is_multiple_of(bytes) && access.offset < 0x1000;
    let start = usize::from(access.offset);
    valid.then(|| start..start + usize::try_from(bytes).expect("at most 8"))
}

impl ErrorType for FakeBus {
    type Error = BusError;
}

impl PciSpace for FakeBus {
    fn windows(&self) -> &[GuestRange] {
        &self.windows
    }

    fn insert(&mut self, function: Function) -> Result<Bdf, BusError> {
        if nonsense(&function) {
            return Err(BusError(ErrorKind::OutOfRange));
        }
        let bdf = self.free_number(&function).ok_or(BusError(ErrorKind::Exhausted))?;
        let mut taken: Vec<GuestRange> = Vec::new();
        for other in self.functions.values() {
            for bytes in [&other.now, &other.power_on] {
                taken.extend(BarIndex::ALL.into_iter().filter_map(|bar| Bytes::range(bytes, &other.function, bar)));
            }
        }
        let mut addresses = [None; 6];
        // Fixed BARs first.
        for fixed in [true, false] {
            for (bar, address) in function.bars.iter().zip(&mut addresses) {
                let Some(bar) = bar.filter(|bar| bar.fixed.is_some() == fixed) else { continue };
                let places = self.places(bar.width);
                let range = match bar.fixed {
                    Some(at) => fixed_place(&places, at, bar.size.bytes(), &taken)?,
                    None => {
                        let range = places.into_iter().find_map(|place| highest_free(place, bar.size.bytes(), &taken));
                        range.ok_or(BusError(ErrorKind::Exhausted))?
                    }
                };
                taken.push(range);
                *address = Some(range.start().get());
            }
        }
        self.functions.insert(bdf, Bytes::new(&function, &addresses));
        Ok(bdf)
    }

    fn remove(&mut self, bdf: Bdf) -> Result<(), BusError> {
        self.functions.remove(&bdf).map(|_| ()).ok_or(BusError(ErrorKind::NotFound))
    }

    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32 {
        let leads = bdf.function() == 0 && self.of_device(bdf).any(|(other, _)| other != bdf);
        let placeholder = leads.then_some(&self.placeholder);
        let (Some(bytes), Some(span)) = (self.get(bdf).or(placeholder), span(access)) else { return u32::MAX };
        let byte = |at| if leads && at == 0x0e { 0x80 } else { bytes.now.get(at).copied().unwrap_or(0) };
        span.rev().fold(0, |value, at| value << 8 | u32::from(byte(at)))
    }

    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect> {
        let bytes = self.functions.get_mut(&bdf)?;
        let (command, msix, addresses) = (bytes.command(), bytes.msix(), bytes.addresses());
        for (at, byte) in span(access)?.zip(value.to_le_bytes()).filter(|(at, _)| *at < 256) {
            let mask = bytes.writable[at];
            bytes.now[at] = (bytes.now[at] & !mask) | (byte & mask);
        }
        if bytes.command() != command {
            return Some(ConfigEffect::Command { bdf, before: command, after: bytes.command() });
        }
        if bytes.msix() != msix {
            return Some(ConfigEffect::Msix { bdf, before: msix, after: bytes.msix() });
        }
        let moved = BarIndex::ALL.into_iter().find_map(|bar| match (addresses[bar.get()], bytes.addresses()[bar.get()]) {
            (Some(from), Some(to)) if from != to => Some((bar, from, to)),
            _ => None,
        });
        moved.map(|(bar, from, to)| ConfigEffect::BarMoved { bdf, bar, from, to })
    }

    fn decoded(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        let mut decoded: Vec<GuestRange> = Vec::new();
        for (number, bytes) in &self.functions {
            for index in BarIndex::ALL {
                let range = Bytes::range(&bytes.now, &bytes.function, index).filter(|range| {
                    bytes.command().memory_decode
                        && bytes.function.bars[index.get()].and_then(|bar| bar.fixed).is_none_or(|fixed| fixed == range.start())
                        && self.windows.iter().any(|window| window.covers(*range))
                        && !decoded.iter().any(|taken| taken.overlaps(*range))
                });
                if (*number, index) == (bdf, bar) {
                    return range.map(GuestRange::start);
                }
                decoded.extend(range);
            }
        }
        None
    }

    fn command(&self, bdf: Bdf) -> Command {
        self.get(bdf).map(Bytes::command).unwrap_or_default()
    }

    fn msix(&self, bdf: Bdf) -> MsixControl {
        self.get(bdf).map(Bytes::msix).unwrap_or_default()
    }

    fn set_interrupt_status(&mut self, bdf: Bdf, status: InterruptStatus) {
        if let Some(bytes) = self.functions.get_mut(&bdf) {
            bytes.now[6] = (bytes.now[6] & !0x08) | if status == InterruptStatus::Pending { 0x08 } else { 0 };
        }
    }

    fn reset(&mut self, bdf: Bdf) {
        if let Some(bytes) = self.functions.get_mut(&bdf) {
            bytes.now = bytes.power_on;
        }
    }
}
