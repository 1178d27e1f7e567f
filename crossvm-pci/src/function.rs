//! Configuration space of one function with a type 0 header, as plain data.

use crossvm_core::{BarIndex, BarWidth, Bdf, Command, ConfigAccess, Function, GuestAddr, GuestRange, InterruptStatus, MsixControl};

use crate::capabilities::Capabilities;
use crate::lane::Lane;
use crate::spec::{
    self, BAR_KIND_64, ClassRegister, CommandRegister, HeaderRegister, InterruptRegister, MemoryBar, MsixHeader, StatusRegister,
};

/// What a write to a function's configuration space changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Bar { bar: BarIndex, from: GuestAddr, to: GuestAddr },
    Command { before: Command, after: Command },
    Msix { before: MsixControl, after: MsixControl },
}

/// A function's identity and registers.
#[derive(Debug, Clone)]
pub(crate) struct FunctionState {
    pub(crate) bdf: Bdf,
    pub(crate) description: Function,
    pub(crate) command: Command,
    pub(crate) status: InterruptStatus,
    pub(crate) msix: MsixControl,
    capabilities: Capabilities,
    interrupt_line: u8,
    /// Address bits of the six base address registers.
    addresses: [u32; 6],
    /// The same at power-on.
    first_addresses: [u32; 6],
    /// Where each BAR is decoded; the bus decides.
    pub(crate) decoded: [Option<GuestAddr>; 6],
}

impl FunctionState {
    /// The function at power-on, its BARs at `addresses`.
    pub(crate) fn new(bdf: Bdf, description: Function, addresses: [GuestAddr; 6]) -> Self {
        let mut registers = [0; 6];
        for bar in BarIndex::ALL {
            let Some(Some(described)) = description.bars.get(bar.get()) else { continue };
            let (low, high) = halves(addresses.get(bar.get()).map_or(0, |address| address.get()));
            store(&mut registers, bar.get(), low);
            if described.width == BarWidth::Bits64 {
                store(&mut registers, bar.get().saturating_add(1), high);
            }
        }
        Self {
            bdf,
            capabilities: Capabilities::of(&description),
            description,
            command: POWER_ON,
            status: InterruptStatus::Clear,
            msix: MsixControl::default(),
            interrupt_line: 0,
            addresses: registers,
            first_addresses: registers,
            decoded: [None; 6],
        }
    }

    /// Back to power-on.
    pub(crate) fn reset(&mut self) {
        self.command = POWER_ON;
        self.status = InterruptStatus::Clear;
        self.msix = MsixControl::default();
        self.interrupt_line = 0;
        self.addresses = self.first_addresses;
    }

    /// Where a BAR's registers point now, whether or not it is decoded; `None` where there is no such BAR.
    pub(crate) fn range(&self, bar: BarIndex) -> Option<GuestRange> {
        self.range_in(&self.addresses, bar)
    }

    /// Where a BAR is at power-on.
    pub(crate) fn first_range(&self, bar: BarIndex) -> Option<GuestRange> {
        self.range_in(&self.first_addresses, bar)
    }

    /// Where a BAR is decoded, if it is.
    pub(crate) fn decoded_range(&self, bar: BarIndex) -> Option<GuestRange> {
        let at = self.decoded.get(bar.get()).copied().flatten()?;
        GuestRange::new(at, self.description.bars.get(bar.get()).copied().flatten()?.size.bytes())
    }

    /// Whether a BAR can be decoded at `at`: a fixed one in its own place only.
    pub(crate) fn may_decode(&self, bar: BarIndex, at: GuestAddr) -> bool {
        let described = self.description.bars.get(bar.get()).copied().flatten();
        described.is_some_and(|described| described.fixed.is_none_or(|fixed| fixed == at))
    }

    fn range_in(&self, addresses: &[u32; 6], bar: BarIndex) -> Option<GuestRange> {
        let described = self.description.bars.get(bar.get()).copied().flatten()?;
        GuestRange::new(self.address_in(addresses, bar), described.size.bytes())
    }

    fn address_in(&self, addresses: &[u32; 6], bar: BarIndex) -> GuestAddr {
        let half = |index: usize| addresses.get(index).copied().unwrap_or(0);
        let wide = matches!(self.description.bars.get(bar.get()), Some(Some(described)) if described.width == BarWidth::Bits64);
        let high = if wide { half(bar.get().saturating_add(1)) } else { 0 };
        GuestAddr::new(u64::from(high) << 32 | u64::from(half(bar.get())))
    }

    /// What the guest reads. `multifunction` is the bus's knowledge.
    pub(crate) fn read(&self, access: ConfigAccess, multifunction: bool) -> u32 {
        match Lane::of(access) {
            Some(lane) => lane.extract(self.dword(lane.register, multifunction)),
            None => u32::MAX,
        }
    }

    fn dword(&self, register: u16, multifunction: bool) -> u32 {
        let function = &self.description;
        match register {
            spec::ID => pair(function.vendor, function.device),
            spec::COMMAND_STATUS => pair(command_register(self.command).into_bits(), self.status_register().into_bits()),
            spec::CLASS => ClassRegister::new()
                .with_revision(function.revision)
                .with_interface(function.class.interface)
                .with_sub(function.class.sub)
                .with_base(function.class.base)
                .into_bits(),
            spec::HEADER => HeaderRegister::new().with_multifunction(multifunction).into_bits(),
            spec::BAR0..=spec::BAR5 => bar_at(register).map_or(0, |bar| self.bar_register(bar)),
            spec::SUBSYSTEM => pair(function.subsystem_vendor, function.subsystem),
            spec::INTERRUPT => {
                InterruptRegister::new().with_line(self.interrupt_line).with_pin(u8::from(function.interrupt.is_some())).into_bits()
            }
            spec::CAPABILITIES => self.capabilities.pointer(),
            _ => self.capabilities.dword(function, self.msix, register),
        }
    }

    fn status_register(&self) -> StatusRegister {
        StatusRegister::new()
            .with_interrupt_status(self.status == InterruptStatus::Pending)
            .with_capabilities_list(!self.capabilities.is_empty())
    }

    fn bar_register(&self, index: BarIndex) -> u32 {
        let address = self.addresses.get(index.get()).copied().unwrap_or(0);
        match self.description.bars.get(index.get()) {
            // The upper half of a BAR of 64 bits, or no BAR: its address bits alone.
            None | Some(None) => address,
            Some(Some(bar)) => {
                let kind = if bar.width == BarWidth::Bits64 { BAR_KIND_64 } else { 0 };
                address | MemoryBar::new().with_kind(kind).with_prefetchable(bar.prefetchable).into_bits()
            }
        }
    }

    /// A guest's write.
    pub(crate) fn write(&mut self, access: ConfigAccess, value: u32) -> Option<Change> {
        let lane = Lane::of(access)?;
        match lane.register {
            spec::COMMAND_STATUS => {
                let before = self.command;
                let [b0, b1, ..] = lane.merge(u32::from(command_register(before).into_bits()), value).to_le_bytes();
                self.command = command(CommandRegister::from_bits(u16::from_le_bytes([b0, b1])));
                (before != self.command).then_some(Change::Command { before, after: self.command })
            }
            spec::BAR0..=spec::BAR5 => self.write_bar(bar_at(lane.register)?, lane, value),
            spec::INTERRUPT => {
                let [line, ..] = lane.merge(u32::from(self.interrupt_line), value).to_le_bytes();
                self.interrupt_line = line;
                None
            }
            register if self.capabilities.msix() == Some(register) => {
                let before = self.msix;
                let header = self.capabilities.dword(&self.description, before, register);
                let written = MsixHeader::from_bits(lane.merge(header, value));
                self.msix = MsixControl { enabled: written.enable(), masked: written.function_mask() };
                (before != self.msix).then_some(Change::Msix { before, after: self.msix })
            }
            _ => None,
        }
    }

    /// One of the six registers: a whole BAR of 32 bits, or either half of one of 64.
    fn write_bar(&mut self, register: BarIndex, lane: Lane, value: u32) -> Option<Change> {
        let below = register.get().checked_sub(1).and_then(|index| BarIndex::ALL.get(index).copied());
        let is_wide =
            |bar: &BarIndex| matches!(self.description.bars.get(bar.get()), Some(Some(described)) if described.width == BarWidth::Bits64);
        let (bar, upper) = match below.filter(is_wide) {
            Some(below) => (below, true),
            None => (register, false),
        };
        let size = self.description.bars.get(bar.get()).copied().flatten()?.size.bytes();
        // The bits below the size are wired to zero: this is how a guest learns the size.
        let (low_mask, high_mask) = halves(!size.wrapping_sub(1));
        let mask = if upper { high_mask } else { low_mask };
        let from = self.address_in(&self.addresses, bar);
        let before = self.addresses.get(register.get()).copied()?;
        store(&mut self.addresses, register.get(), lane.merge(before, value) & mask);
        let to = self.address_in(&self.addresses, bar);
        (from != to).then_some(Change::Bar { bar, from, to })
    }
}

/// Memory decode is on: the BARs have addresses, as if firmware had given them.
const POWER_ON: Command = Command { memory_decode: true, bus_master: false, intx_disable: false };

fn command_register(command: Command) -> CommandRegister {
    CommandRegister::new()
        .with_memory_space(command.memory_decode)
        .with_bus_master(command.bus_master)
        .with_interrupt_disable(command.intx_disable)
}

fn command(register: CommandRegister) -> Command {
    Command { memory_decode: register.memory_space(), bus_master: register.bus_master(), intx_disable: register.interrupt_disable() }
}

fn bar_at(register: u16) -> Option<BarIndex> {
    let index = register.checked_sub(spec::BAR0)? / 4;
    BarIndex::ALL.get(usize::from(index)).copied()
}

fn pair(low: u16, high: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

/// Lower and upper half of an address.
fn halves(address: u64) -> (u32, u32) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = address.to_le_bytes();
    (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7]))
}

fn store(registers: &mut [u32; 6], index: usize, value: u32) {
    if let Some(register) = registers.get_mut(index) {
        *register = value;
    }
}
