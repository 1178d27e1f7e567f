//! One PCI bus behind a host bridge: functions, their addresses and their interrupt lines.

use core::fmt;

use crossvm_core::{
    BarIndex, BarWidth, Bdf, ClassCode, Command, ConfigAccess, ConfigEffect, Error, ErrorKind, ErrorType, Function, GuestAddr, GuestRange,
    InterruptStatus, Irq, MsixControl, PciSpace,
};
use heapless::Vec;

use crate::function::{Change, FunctionState};
use crate::placement;

/// Why the bus could not do what the VMM asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PciError {
    /// The bus holds as many functions as its type has room for.
    Capacity(usize),
    /// Every function number that the function's interrupt line allows is taken.
    NoNumber,
    /// No window has a free place for the BAR.
    NoAddress(BarIndex),
    /// The BAR's description makes no sense: larger than its address can reach, or behind a BAR of 64 bits.
    BadBar(BarIndex),
    /// There is no such function.
    NotFound(Bdf),
    /// A window overlaps another, or there are two already.
    BadWindow(GuestRange),
    /// The device number is wired to another line, or out of range.
    LineTaken(u8),
}

impl Error for PciError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Capacity(_) | Self::NoNumber | Self::NoAddress(_) => ErrorKind::Exhausted,
            Self::BadBar(_) => ErrorKind::OutOfRange,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::BadWindow(_) | Self::LineTaken(_) => ErrorKind::Overlap,
        }
    }
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity(capacity) => write!(f, "the bus has {capacity} functions already, as many as it has room for"),
            Self::NoNumber => write!(f, "no function number is left for this interrupt line"),
            Self::NoAddress(bar) => write!(f, "no window of the bridge has room for {bar}"),
            Self::BadBar(bar) => write!(f, "{bar} cannot be: too large for its address, or behind a BAR of 64 bits"),
            Self::NotFound(bdf) => write!(f, "there is no function {bdf}"),
            Self::BadWindow(window) => write!(f, "the window {window} overlaps another, or there are two already"),
            Self::LineTaken(device) => write!(f, "device number {device} has another interrupt line, or is none of 1 to 31"),
        }
    }
}

impl core::error::Error for PciError {}

/// Identity of the host bridge, the function 00:00.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostBridge {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
}

impl Default for HostBridge {
    /// The generic PCI Express host bridge that guests know from QEMU.
    fn default() -> Self {
        Self { vendor: 0x1b36, device: 0x0008 }
    }
}

/// The line of a device number's pin A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Free,
    /// Until its last function is removed.
    Used(Irq),
    /// For good.
    Fixed(Irq),
}

/// Most windows of a bridge: one below and one above 4 GiB.
const MAX_WINDOWS: usize = 2;

/// Bus 0 behind a host bridge, with room for `F` functions beside the bridge (at most 254).
///
/// Pure state: it is told what the guest reads and writes, and says what must happen.
///
/// Functions with a line of their own get a device number each. Functions that share a line share device numbers once no number is free; a guest
/// looks for those behind function 0 only, so where function 0 of a number is removed, the others of it are not found by a guest that scans the bus
/// before the next `insert` has filled its place.
#[derive(Debug)]
pub struct PciBus<const F: usize> {
    bridge: FunctionState,
    functions: [Option<FunctionState>; F],
    /// Index into `functions` by device and function number, [`ABSENT`] where there is none.
    index: [u8; 256],
    /// By device number.
    wires: [Wire; 32],
    windows: Vec<GuestRange, MAX_WINDOWS>,
}

const ABSENT: u8 = u8::MAX;

impl<const F: usize> PciBus<F> {
    const HAS_ROOM: () = assert!(F > 0 && F < ABSENT as usize, "a PciBus holds 1 to 254 functions");

    /// A bus with nothing but the bridge. BARs are decoded inside `window`.
    #[must_use]
    pub fn new(bridge: HostBridge, window: GuestRange) -> Self {
        let () = Self::HAS_ROOM;
        let bridge = Function {
            vendor: bridge.vendor,
            device: bridge.device,
            revision: 0,
            class: ClassCode { base: 0x06, sub: 0x00, interface: 0x00 },
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt: None,
            bars: [None; 6],
            vendor_specific: Vec::new(),
            msix: None,
        };
        let mut windows = Vec::new();
        // A list of two has room for one.
        let _ = windows.push(window);
        Self {
            bridge: FunctionState::new(bridge, [GuestAddr::default(); 6]),
            functions: [const { None }; F],
            index: [ABSENT; 256],
            wires: [Wire::Free; 32],
            windows,
        }
    }

    /// With a second window, such as one above 4 GiB.
    ///
    /// # Errors
    /// [`PciError::BadWindow`] where it overlaps the first or there are two already.
    pub fn with_window(mut self, window: GuestRange) -> Result<Self, PciError> {
        if self.windows.iter().any(|other| other.overlaps(window)) {
            return Err(PciError::BadWindow(window));
        }
        self.windows.push(window).map_err(PciError::BadWindow)?;
        Ok(self)
    }

    /// Wires pin A of a device number to a line for good, used or not: for functions that come after the guest was told its lines.
    ///
    /// # Errors
    /// [`PciError::LineTaken`] where the number has another line, or is not one of 1 to 31.
    pub fn wire(&mut self, device: u8, irq: Irq) -> Result<(), PciError> {
        match self.wires.get_mut(usize::from(device)).filter(|_| device != 0) {
            Some(wire) if wire.allows(irq) => {
                *wire = Wire::Fixed(irq);
                Ok(())
            }
            _ => Err(PciError::LineTaken(device)),
        }
    }

    /// The device numbers whose pin A is wired, and their lines: what a guest must be told.
    pub fn wires(&self) -> impl Iterator<Item = (u8, Irq)> + '_ {
        (0..).zip(&self.wires).filter_map(|(device, wire)| match wire {
            Wire::Free => None,
            Wire::Used(irq) | Wire::Fixed(irq) => Some((device, *irq)),
        })
    }

    /// The functions that are present, without the bridge, in the order of their numbers.
    pub fn functions(&self) -> impl Iterator<Item = Bdf> + '_ {
        (0..).zip(&self.index).filter(|(_, index)| **index != ABSENT).map(|(devfn, _)| Bdf::from_requester_id(devfn))
    }

    fn get(&self, bdf: Bdf) -> Option<&FunctionState> {
        if bdf.requester_id() == 0 {
            return Some(&self.bridge);
        }
        self.functions.get(self.place(bdf)?)?.as_ref()
    }

    fn get_mut(&mut self, bdf: Bdf) -> Option<&mut FunctionState> {
        if bdf.requester_id() == 0 {
            return Some(&mut self.bridge);
        }
        let place = self.place(bdf)?;
        self.functions.get_mut(place)?.as_mut()
    }

    fn place(&self, bdf: Bdf) -> Option<usize> {
        self.index.get(usize::from(bdf.requester_id())).filter(|place| **place != ABSENT).copied().map(usize::from)
    }

    /// Whether other functions than 0 share the device number.
    fn is_multifunction(&self, bdf: Bdf) -> bool {
        (1..8).any(|function| Bdf::new(bdf.bus(), bdf.device(), function).is_some_and(|other| self.place(other).is_some()))
    }

    /// A free number whose line is free or the same: function 0 of each device first.
    fn free_number(&self, irq: Option<Irq>) -> Option<Bdf> {
        let numbers = (0..8).flat_map(|function| (1..32).filter_map(move |device| Bdf::new(0, device, function)));
        let mut free = numbers.filter(|bdf| self.place(*bdf).is_none());
        free.find(|bdf| {
            let wire = self.wires.get(usize::from(bdf.device())).copied().unwrap_or(Wire::Free);
            irq.is_none_or(|irq| wire.allows(irq))
        })
    }

    /// Decides which BARs are decoded: a function of addresses and decode bits alone.
    fn decode(&mut self) {
        for function in self.functions.iter_mut().flatten() {
            function.decoded = [None; 6];
        }
        for devfn in 0..=u8::MAX {
            for bar in BarIndex::ALL {
                let decoded = self.decodable(Bdf::from_requester_id(devfn.into()), bar);
                if let Some(state) = self.get_mut(Bdf::from_requester_id(devfn.into()))
                    && let Some(slot) = state.decoded.get_mut(bar.get())
                {
                    *slot = decoded;
                }
            }
        }
    }

    /// Where a BAR is decoded, given those before it.
    fn decodable(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        let state = self.get(bdf)?;
        let range = state.range(bar).filter(|_| state.command.memory_decode)?;
        let in_window = self.windows.iter().any(|window| window.covers(range));
        let hidden = self.functions.iter().flatten().any(|other| {
            BarIndex::ALL
                .iter()
                .zip(&other.decoded)
                .any(|(bar, decoded)| decoded.is_some() && other.range(*bar).is_some_and(|taken| taken.overlaps(range)))
        });
        (in_window && !hidden).then_some(range.start())
    }

    /// Addresses for a new function's BARs: aligned, and clear of where any BAR is now or was at power-on.
    fn first_addresses(&self, function: &Function) -> Result<[GuestAddr; 6], PciError> {
        let mut addresses = [GuestAddr::default(); 6];
        let mut placed: Vec<GuestRange, 6> = Vec::new();
        for (index, address) in BarIndex::ALL.into_iter().zip(&mut addresses) {
            let Some(bar) = function.bars.get(index.get()).copied().flatten() else { continue };
            let taken = || {
                let others = self.functions.iter().flatten();
                let theirs =
                    others.flat_map(|other| BarIndex::ALL.into_iter().flat_map(|bar| [other.range(bar), other.first_range(bar)]).flatten());
                theirs.chain(placed.iter().copied())
            };
            let reachable = |window: &&GuestRange| bar.width == BarWidth::Bits64 || window.last().get() <= u64::from(u32::MAX);
            let range = self
                .windows
                .iter()
                .filter(reachable)
                .find_map(|window| placement::highest_free(*window, bar.size, taken))
                .ok_or(PciError::NoAddress(index))?;
            *address = range.start();
            // Six places for at most six BARs.
            let _ = placed.push(range);
        }
        Ok(addresses)
    }
}

impl Wire {
    fn allows(self, irq: Irq) -> bool {
        match self {
            Self::Free => true,
            Self::Used(other) | Self::Fixed(other) => other == irq,
        }
    }
}

/// Refuses BARs that cannot be.
fn check_bars(function: &Function) -> Result<(), PciError> {
    let mut behind_wide = false;
    for (index, bar) in BarIndex::ALL.into_iter().zip(&function.bars) {
        let wide = matches!(bar, Some(bar) if bar.width == BarWidth::Bits64);
        let too_large = matches!(bar, Some(bar) if bar.width == BarWidth::Bits32 && bar.size.bytes() > 1 << 31);
        let last = index == BarIndex::ALL[5];
        if too_large || (behind_wide && bar.is_some()) || (wide && last) {
            return Err(PciError::BadBar(index));
        }
        behind_wide = wide;
    }
    Ok(())
}

impl<const F: usize> ErrorType for PciBus<F> {
    type Error = PciError;
}

impl<const F: usize> PciSpace for PciBus<F> {
    fn windows(&self) -> &[GuestRange] {
        &self.windows
    }

    fn insert(&mut self, function: Function) -> Result<Bdf, PciError> {
        check_bars(&function)?;
        let place = self.functions.iter().position(Option::is_none).ok_or(PciError::Capacity(F))?;
        let bdf = self.free_number(function.interrupt).ok_or(PciError::NoNumber)?;
        let addresses = self.first_addresses(&function)?;
        let interrupt = function.interrupt;
        let state = FunctionState::new(function, addresses);
        if let (Some(slot), Some(index), Ok(number)) =
            (self.functions.get_mut(place), self.index.get_mut(usize::from(bdf.requester_id())), u8::try_from(place))
        {
            *slot = Some(state);
            *index = number;
        }
        if let (Some(irq), Some(wire @ Wire::Free)) = (interrupt, self.wires.get_mut(usize::from(bdf.device()))) {
            *wire = Wire::Used(irq);
        }
        self.decode();
        Ok(bdf)
    }

    fn remove(&mut self, bdf: Bdf) -> Result<(), PciError> {
        let place = self.place(bdf).ok_or(PciError::NotFound(bdf))?;
        if let (Some(slot), Some(index)) = (self.functions.get_mut(place), self.index.get_mut(usize::from(bdf.requester_id()))) {
            *slot = None;
            *index = ABSENT;
        }
        let uses_line =
            |other: Bdf| other.device() == bdf.device() && self.get(other).is_some_and(|state| state.description.interrupt.is_some());
        let line_used = self.functions().any(uses_line);
        if let Some(wire @ Wire::Used(_)) = self.wires.get_mut(usize::from(bdf.device())).filter(|_| !line_used) {
            *wire = Wire::Free;
        }
        self.decode();
        Ok(())
    }

    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32 {
        self.get(bdf).map_or(u32::MAX, |state| state.read(access, bdf.function() == 0 && self.is_multifunction(bdf)))
    }

    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect> {
        if bdf.requester_id() == 0 {
            // Nothing of the bridge is writable.
            return None;
        }
        match self.get_mut(bdf)?.write(access, value)? {
            Change::Bar { bar, from, to } => {
                self.decode();
                Some(ConfigEffect::BarMoved { bdf, bar, from, to })
            }
            Change::Command { before, after } => {
                if before.memory_decode != after.memory_decode {
                    self.decode();
                }
                Some(ConfigEffect::Command { bdf, before, after })
            }
        }
    }

    fn decoded(&self, bdf: Bdf, bar: BarIndex) -> Option<GuestAddr> {
        self.get(bdf)?.decoded.get(bar.get()).copied().flatten()
    }

    fn command(&self, bdf: Bdf) -> Command {
        self.get(bdf).map(|state| state.command).unwrap_or_default()
    }

    fn msix(&self, bdf: Bdf) -> MsixControl {
        self.get(bdf).map(|state| state.msix).unwrap_or_default()
    }

    fn set_interrupt_status(&mut self, bdf: Bdf, status: InterruptStatus) {
        if let Some(state) = self.get_mut(bdf) {
            state.status = status;
        }
    }

    fn reset(&mut self, bdf: Bdf) {
        if let Some(state) = self.get_mut(bdf) {
            state.reset();
            self.decode();
        }
    }
}
