//! One PCI bus behind a host bridge: functions, their addresses and their interrupt lines.

use crossvm_core::{
    BarIndex, Bdf, ClassCode, Command, ConfigAccess, ConfigEffect, ErrorType, Function, GuestAddr, GuestRange, InterruptStatus, Irq,
    MsixControl, PciSpace,
};
use heapless::Vec;

use crate::PciError;
use crate::check::check;
use crate::decode::{Changed, Disturbed};
use crate::function::{Change, FunctionState};

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
/// Functions with a line of their own get a device number each. Functions that share a line share device numbers once no number is free. A guest
/// looks for functions 1 to 7 behind function 0 only, so where function 0 of such a number is removed, a placeholder answers in its place: it has
/// the bridge's ids, the class "fits no other", no pin and no BAR, and nothing of it can be written. It is gone with the last of the others, and
/// with the next function that takes its place.
#[derive(Debug, Clone)]
pub struct PciBus<const F: usize> {
    bridge: FunctionState,
    /// Answers for a function 0 that is not there, where others share its device number.
    placeholder: FunctionState,
    pub(crate) functions: [Option<FunctionState>; F],
    /// Index into `functions` by device and function number, [`ABSENT`] where there is none.
    index: [u8; 256],
    /// By device number.
    wires: [Wire; 32],
    pub(crate) windows: Vec<GuestRange, MAX_WINDOWS>,
}

const ABSENT: u8 = u8::MAX;

/// Base class of a bridge.
const CLASS_BRIDGE: u8 = 0x06;
/// Base class of a function that no driver takes: it fits no other class.
const CLASS_NONE: u8 = 0xff;

impl<const F: usize> PciBus<F> {
    const HAS_ROOM: () = assert!(F > 0 && F < ABSENT as usize, "a PciBus holds 1 to 254 functions");

    /// A bus with nothing but the bridge. BARs are decoded inside `window`.
    #[must_use]
    pub fn new(bridge: HostBridge, window: GuestRange) -> Self {
        let () = Self::HAS_ROOM;
        let of_class = |base| Function {
            vendor: bridge.vendor,
            device: bridge.device,
            revision: 0,
            class: ClassCode { base, sub: 0x00, interface: 0x00 },
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt: None,
            bars: [None; 6],
            vendor_specific: Vec::new(),
            msix: None,
        };
        let plain = |base| FunctionState::new(Bdf::from_requester_id(0), of_class(base), [GuestAddr::default(); 6]);
        let mut windows = Vec::new();
        // A list of two has room for one.
        let _ = windows.push(window);
        Self {
            bridge: plain(CLASS_BRIDGE),
            placeholder: plain(CLASS_NONE),
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

    pub(crate) fn get(&self, bdf: Bdf) -> Option<&FunctionState> {
        if bdf.requester_id() == 0 {
            return Some(&self.bridge);
        }
        self.functions.get(self.place(bdf)?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, bdf: Bdf) -> Option<&mut FunctionState> {
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
}

impl Wire {
    fn allows(self, irq: Irq) -> bool {
        match self {
            Self::Free => true,
            Self::Used(other) | Self::Fixed(other) => other == irq,
        }
    }
}

impl<const F: usize> ErrorType for PciBus<F> {
    type Error = PciError;
}

impl<const F: usize> PciSpace for PciBus<F> {
    fn windows(&self) -> &[GuestRange] {
        &self.windows
    }

    fn insert(&mut self, function: Function) -> Result<Bdf, PciError> {
        check(&function)?;
        let place = self.functions.iter().position(Option::is_none).ok_or(PciError::Capacity(F))?;
        let bdf = self.free_number(function.interrupt).ok_or(PciError::NoNumber)?;
        let addresses = self.first_addresses(&function)?;
        let interrupt = function.interrupt;
        let state = FunctionState::new(bdf, function, addresses);
        if let (Some(slot), Some(index), Ok(number)) =
            (self.functions.get_mut(place), self.index.get_mut(usize::from(bdf.requester_id())), u8::try_from(place))
        {
            *slot = Some(state);
            *index = number;
        }
        if let (Some(irq), Some(wire @ Wire::Free)) = (interrupt, self.wires.get_mut(usize::from(bdf.device()))) {
            *wire = Wire::Used(irq);
        }
        self.redecode(Changed::Function(bdf));
        Ok(bdf)
    }

    fn remove(&mut self, bdf: Bdf) -> Result<(), PciError> {
        let place = self.place(bdf).ok_or(PciError::NotFound(bdf))?;
        let mut places = Disturbed::default();
        let decoded = |state: &FunctionState| BarIndex::ALL.map(|bar| state.decoded_range(bar));
        self.get(bdf).map(decoded).into_iter().flatten().flatten().for_each(|range| places.add(range));
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
        self.redecode_without(bdf, places);
        Ok(())
    }

    fn read(&self, bdf: Bdf, access: ConfigAccess) -> u32 {
        let multifunction = bdf.function() == 0 && self.is_multifunction(bdf);
        let placeholder = multifunction.then_some(&self.placeholder);
        self.get(bdf).or(placeholder).map_or(u32::MAX, |state| state.read(access, multifunction))
    }

    fn write(&mut self, bdf: Bdf, access: ConfigAccess, value: u32) -> Option<ConfigEffect> {
        if bdf.requester_id() == 0 {
            // Nothing of the bridge is writable.
            return None;
        }
        match self.get_mut(bdf)?.write(access, value)? {
            Change::Bar { bar, from, to } => {
                self.redecode(Changed::Bar(bdf, bar));
                Some(ConfigEffect::BarMoved { bdf, bar, from, to })
            }
            Change::Command { before, after } => {
                if before.memory_decode != after.memory_decode {
                    self.redecode(Changed::Function(bdf));
                }
                Some(ConfigEffect::Command { bdf, before, after })
            }
            Change::Msix { before, after } => Some(ConfigEffect::Msix { bdf, before, after }),
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
            self.redecode(Changed::Function(bdf));
        }
    }
}
