//! One function that is a connection.

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::{Bars, Connection, Error, Msix, PhysicalMemory};
use crate::fault::Fault;
use crate::raw;
use crate::spec::{Command, InterruptRegister, Register, Status};

/// Whether a function may raise its interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Intx {
    /// The line is high while COUNT is not zero and [MSI-X](Function::msix) is not enabled.
    Enabled,
    /// The line stays low.
    Disabled,
}

/// The pin by which a function raises its line. The VM monitor's description of the machine (a device tree, ACPI) says which interrupt
/// that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pin {
    /// INTA#.
    A,
    /// INTB#.
    B,
    /// INTC#.
    C,
    /// INTD#.
    D,
}

/// A PCI function that is a connection, found but not opened.
pub struct Function<'bus, A> {
    access: &'bus A,
    address: PciAddress,
}

impl<A> Clone for Function<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Function<'_, A> {}

impl<A> fmt::Debug for Function<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({})", self.address)
    }
}

impl<'bus, A: ConfigRegionAccess> Function<'bus, A> {
    pub(crate) const fn new(access: &'bus A, address: PciAddress) -> Self {
        Self { access, address }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.address
    }

    /// Its BARs. Its memory is switched off for a moment.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`] where a BAR is of a kind that PCI does not have.
    pub fn bars(&self) -> Result<Bars, Error> {
        let before = self.command();
        self.set_command(before.with_memory(false).with_io(false));
        let bars = Bars::probe(self.access, self.address);
        self.set_command(before);
        Ok(bars?)
    }

    /// Lets the function raise its line, or not. Events are counted all the same.
    pub fn set_intx(&self, intx: Intx) {
        self.set_command(self.command().with_intx_disable(intx == Intx::Disabled));
    }

    /// Whether the function would raise its line: whether events wait. True also where INTx is disabled.
    #[must_use]
    pub fn interrupt_pending(&self) -> bool {
        Status::from_bits(self.command_and_status()[1]).interrupt()
    }

    /// The pin by which it raises its line; `None` where it has none.
    #[must_use]
    pub fn pin(&self) -> Option<Pin> {
        match self.interrupt().pin() {
            1 => Some(Pin::A),
            2 => Some(Pin::B),
            3 => Some(Pin::C),
            4 => Some(Pin::D),
            _ => None,
        }
    }

    /// The number of the interrupt that firmware has noted for the line; `None` where it has noted that there is none. Only a PC's firmware
    /// notes it: elsewhere this is zero, and the description of the machine tells what the [pin](Self::pin) is connected to.
    #[must_use]
    pub fn noted_line(&self) -> Option<u8> {
        let line = self.interrupt().line();
        (line != InterruptRegister::NO_LINE).then_some(line)
    }

    /// Its MSI-X: `None` where it has none, as in the reference profile, where [INTx](Self::set_intx) is all there is. Switches its memory on
    /// where it is.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`] where table or pending bits do not lie in a BAR, or nobody has [placed](crate::bare::Bus::place) that;
    /// [`Error::Unreachable`] where `memory` does not reach them.
    pub fn msix<M: PhysicalMemory>(&self, memory: &M) -> Result<Option<Msix<'bus, A, M::Region>>, Error> {
        let bars = self.bars()?;
        self.set_memory(true);
        Msix::find(*self, &bars, memory)
    }

    /// Opens the connection: switches its memory on where it is, and reads its registers.
    ///
    /// # Errors
    ///
    /// [`Error::OddDevice`] where the device's contents cannot be, or nobody has [placed](crate::bare::Bus::place) it;
    /// [`Error::Unreachable`] where `memory` does not reach its registers.
    pub fn open<M: PhysicalMemory>(&self, memory: &M) -> Result<Connection<M::Region>, Error> {
        let bars = self.bars()?;
        let registers = bars.event_registers().ok_or(Fault::EventPage)?;
        let range = registers.range(registers.size())?;
        self.set_memory(true);
        let region = memory.region(range).ok_or(Error::Unreachable { range })?;
        Connection::new(self.address, region, &bars)
    }

    pub(crate) fn set_memory(&self, on: bool) {
        self.set_command(self.command().with_memory(on));
    }

    /// Lets it store: messages are stores.
    pub(crate) fn set_bus_master(&self) {
        self.set_command(self.command().with_bus_master(true));
    }

    /// Whether there is a list of capabilities.
    pub(crate) fn has_capabilities(&self) -> bool {
        Status::from_bits(self.command_and_status()[1]).capabilities()
    }

    pub(crate) fn read(&self, register: Register) -> u32 {
        raw::read(self.access, self.address, register)
    }

    pub(crate) fn write(&self, register: Register, value: u32) {
        raw::write(self.access, self.address, register, value);
    }

    fn interrupt(&self) -> InterruptRegister {
        InterruptRegister::from_bits(self.read(Register::INTERRUPT))
    }

    fn command_and_status(&self) -> [u16; 2] {
        let [a, b, c, d] = self.read(Register::COMMAND).to_le_bytes();
        [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
    }

    fn command(&self) -> Command {
        Command::from_bits(self.command_and_status()[0])
    }

    fn set_command(&self, command: Command) {
        // Bits of the status register are cleared by writing ones: zeros leave them as they are (PCI 3.0, 6.2.3).
        self.write(Register::COMMAND, u32::from(command.into_bits()));
    }
}
