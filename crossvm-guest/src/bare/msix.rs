//! Interrupts by messages: MSI-X (PCI 3.0, 6.8.2).

use core::fmt;

use pci_types::{ConfigRegionAccess, PciAddress};

use crate::bare::{Bars, Error, Function, PhysicalMemory, PhysicalRange};
use crate::fault::Fault;
use crate::spec::{
    CapabilityHeader, MAX_CAPABILITIES, MsixPlace, MsixRegister, Register, VECTOR_ADDRESS, VECTOR_CONTROL, VECTOR_DATA, VECTOR_LENGTH,
    VECTOR_UPPER_ADDRESS, VectorControl,
};
use crate::words::{Word, Words};

/// Vectors of a group of pending bits, which are one word of 64 bits.
const PENDING_GROUP: u16 = 64;

/// Number of a vector in the table of a function. A connection has one, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VectorIndex(u16);

impl VectorIndex {
    /// The one that every function with MSI-X has.
    pub const FIRST: Self = Self(0);

    /// Vector `index`.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VectorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a vector sends to the VM's interrupt controller, which says what both numbers mean: an Arm ITS or GICv2m frame, a local APIC.
///
/// A connection's VM monitor gives a message to that controller and to nothing else: an address that is not one of its is no store to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message {
    address: u64,
    data: u32,
}

impl Message {
    /// The message that stores `data` at `address`; `None` where that is not a multiple of four.
    #[must_use]
    pub const fn new(address: u64, data: u32) -> Option<Self> {
        if address.is_multiple_of(4) { Some(Self { address, data }) } else { None }
    }

    /// Where to.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address
    }

    /// What.
    #[must_use]
    pub const fn data(self) -> u32 {
        self.data
    }
}

/// Whether messages are held back. What is held back is pending, and is sent as one message when no longer masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mask {
    /// They are.
    Masked,
    /// They are sent.
    Open,
}

impl Mask {
    const fn of(masked: bool) -> Self {
        if masked { Self::Masked } else { Self::Open }
    }
}

/// The MSI-X of a function: its capability and its table.
///
/// Like a [`Connection`](crate::bare::Connection) it stays valid while the BARs stay where they are.
pub struct Msix<'bus, A, R> {
    function: Function<'bus, A>,
    control: Register,
    /// [`VECTOR_LENGTH`] bytes for each vector.
    table: R,
    /// A word of 64 bits for each [`PENDING_GROUP`].
    pending: R,
    vectors: u16,
}

impl<A, R> fmt::Debug for Msix<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Msix").field("function", &self.function).field("vectors", &self.vectors).finish_non_exhaustive()
    }
}

impl<'bus, A: ConfigRegionAccess, R: Words> Msix<'bus, A, R> {
    /// The MSI-X of `function`, whose memory is on: `None` where it has none.
    pub(crate) fn find<M: PhysicalMemory<Region = R>>(function: Function<'bus, A>, bars: &Bars, memory: &M) -> Result<Option<Self>, Error> {
        let Some(control) = find(function) else { return Ok(None) };
        let vectors = MsixRegister::from_bits(function.read(control)).last_vector() + 1;
        let region = |registers, length| {
            let place = control.plus(registers).ok_or(Fault::Msix)?;
            let range = range(bars, MsixPlace::from_bits(function.read(place)), length)?;
            memory.region(range).ok_or(Error::Unreachable { range })
        };
        let table = region(1, u64::from(vectors) * VECTOR_LENGTH as u64)?;
        let pending = region(2, u64::from(vectors.div_ceil(PENDING_GROUP)) * size_of::<u64>() as u64)?;
        Ok(Some(Self { function, control, table, pending, vectors }))
    }

    /// Where its function is.
    #[must_use]
    pub const fn address(&self) -> PciAddress {
        self.function.address()
    }

    /// How many vectors there are: 1 to 2048.
    #[must_use]
    pub const fn vectors(&self) -> u16 {
        self.vectors
    }

    /// Lets the function interrupt by messages, and no longer by its line. Where events wait, a vector that is open sends its message at once.
    ///
    /// It makes the function a bus master: a message is a store of the function.
    pub fn enable(&self) {
        self.function.set_bus_master();
        self.set_control(self.control().with_enable(true));
    }

    /// Lets the function interrupt by its line, where [INTx](Function::set_intx) is enabled, and no longer by messages.
    pub fn disable(&self) {
        self.set_control(self.control().with_enable(false));
    }

    /// Whether the function interrupts by messages.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.control().enable()
    }

    /// Holds back the messages of all vectors, or only of those that are masked.
    pub fn set_function_mask(&self, mask: Mask) {
        self.set_control(self.control().with_function_mask(mask == Mask::Masked));
    }

    /// Whether the messages of all vectors are held back.
    #[must_use]
    pub fn function_mask(&self) -> Mask {
        Mask::of(self.control().function_mask())
    }

    /// Sets what `vector` sends. It is masked meanwhile, so that no half of a message goes out, and then as it was before.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVector`].
    pub fn set_message(&self, vector: VectorIndex, message: Message) -> Result<(), Error> {
        let before = self.mask(vector)?;
        self.set_mask(vector, Mask::Masked)?;
        let [low, high] = [message.address, message.address >> 32].map(u32::from_low_bits);
        self.store(vector, VECTOR_ADDRESS, low)?;
        self.store(vector, VECTOR_UPPER_ADDRESS, high)?;
        self.store(vector, VECTOR_DATA, message.data)?;
        self.set_mask(vector, before)
    }

    /// What `vector` sends.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVector`].
    pub fn message(&self, vector: VectorIndex) -> Result<Message, Error> {
        let low = self.load(vector, VECTOR_ADDRESS)? & !0b11;
        let address = u64::from(low) | u64::from(self.load(vector, VECTOR_UPPER_ADDRESS)?) << 32;
        Ok(Message { address, data: self.load(vector, VECTOR_DATA)? })
    }

    /// Holds back the messages of `vector`, or not. After a reset they are held back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVector`].
    pub fn set_mask(&self, vector: VectorIndex, mask: Mask) -> Result<(), Error> {
        // Bits that mean nothing here keep their value (PCI 3.0, 6.8.2.9).
        let control = VectorControl::from_bits(self.load(vector, VECTOR_CONTROL)?);
        self.store(vector, VECTOR_CONTROL, control.with_masked(mask == Mask::Masked).into_bits())
    }

    /// Whether the messages of `vector` are held back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVector`].
    pub fn mask(&self, vector: VectorIndex) -> Result<Mask, Error> {
        self.load(vector, VECTOR_CONTROL).map(|control| Mask::of(VectorControl::from_bits(control).masked()))
    }

    /// Whether a message of `vector` is held back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchVector`].
    pub fn is_pending(&self, vector: VectorIndex) -> Result<bool, Error> {
        let missing = Error::NoSuchVector { vector, count: self.vectors };
        if vector.0 >= self.vectors {
            return Err(missing);
        }
        let group = self.pending.load::<u64>(usize::from(vector.0 / PENDING_GROUP) * size_of::<u64>()).ok_or(missing)?;
        Ok(u64::from_le(group) >> (vector.0 % PENDING_GROUP) & 1 != 0)
    }

    fn control(&self) -> MsixRegister {
        MsixRegister::from_bits(self.function.read(self.control))
    }

    fn set_control(&self, control: MsixRegister) {
        self.function.write(self.control, control.into_bits());
    }

    fn load(&self, vector: VectorIndex, offset: usize) -> Result<u32, Error> {
        let value = self.table.load::<u32>(usize::from(vector.0) * VECTOR_LENGTH + offset);
        value.map(u32::from_le).ok_or(Error::NoSuchVector { vector, count: self.vectors })
    }

    fn store(&self, vector: VectorIndex, offset: usize, value: u32) -> Result<(), Error> {
        let stored = self.table.store(usize::from(vector.0) * VECTOR_LENGTH + offset, value.to_le());
        stored.ok_or(Error::NoSuchVector { vector, count: self.vectors })
    }
}

/// The first register of the capability. A list that runs in circles ends, too.
fn find(function: Function<'_, impl ConfigRegionAccess>) -> Option<Register> {
    let [first, ..] = function.read(Register::CAPABILITIES).to_le_bytes();
    let mut pointer = if function.has_capabilities() { first } else { 0 };
    for _ in 0..MAX_CAPABILITIES {
        let register = Register::capability(pointer)?;
        let header = CapabilityHeader::from_bits(function.read(register));
        if header.id() == CapabilityHeader::MSIX {
            return Some(register);
        }
        pointer = header.next();
    }
    None
}

/// The `length` bytes at `place`, which must lie in a BAR that has an address.
fn range(bars: &Bars, place: MsixPlace, length: u64) -> Result<PhysicalRange, Error> {
    let offset = u64::from(place.offset_in_8_bytes()) * 8;
    let bar = bars.iter().find(|bar| bar.index() == usize::from(place.bar())).ok_or(Fault::Msix)?;
    let inside = offset.checked_add(length).is_some_and(|end| end <= bar.size());
    let whole = bar.range(bar.size())?;
    let start = whole.start().checked_add(offset).filter(|_| inside).ok_or(Fault::Msix)?;
    PhysicalRange::new(start, length).ok_or(Fault::Msix.into())
}
