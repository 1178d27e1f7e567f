//! The guest's RAM: one large frame, which the monitor has in its own address space as well. The one place here that looks into memory by address.

use core::ptr::with_exposed_provenance;
use core::sync::atomic::{AtomicU8, Ordering};

use crossvm_core::GuestAddr;
use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Code, Kernel, KernelError, Object, Space};
use crossvm_sel4::libsel4::slots;
use crossvm_sel4::x86::{GuestRam, Start};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use sel4_guest::{Mailbox, machine};
use sel4_vmm::task::{System, Trouble};

/// The guest's program.
static PROGRAM: &[u8] = include_bytes!(env!("SEL4_VM_GUEST"));

/// Where the monitor has it: below the shared pages, behind the program's image.
const ADDRESS: u64 = 0x4000_0000;
const LENGTH: usize = machine::RAM_LENGTH as usize;
/// What translation tables of guest-physical memory cover, as powers of two, the largest first.
const LEVELS: [u8; 3] = [39, 30, 21];

/// The guest's RAM. The guest may change it at any time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ram(&'static [AtomicU8]);

impl Ram {
    /// New RAM in the guest-physical memory with this root. To be called once.
    pub(crate) fn new(system: System<'_>, root: CPtr) -> Result<Self, Trouble> {
        let rights = CapRights::READ_WRITE;
        let frame = system.create(Object::LargeFrame)?;
        map(system, frame, Space::Ept(root), machine::RAM.into())?;
        let copy = system.copy(frame, rights)?;
        // Tables of the root task's own address space stay.
        system.map(copy, Space::Virtual(slots::VSPACE), ADDRESS, (rights, Attributes::Memory), |_| Ok(()))?;
        let address = usize::try_from(ADDRESS).map_err(|_| Trouble::Program("no such address"))?;
        // SAFETY: mapped there just now for good, and nothing else of the program is. Bytes have no alignment, and these are atomic.
        Ok(Self(unsafe { core::slice::from_raw_parts(with_exposed_provenance(address), LENGTH) }))
    }

    fn bytes(&self, at: u64, length: usize) -> Option<&'static [AtomicU8]> {
        let start = usize::try_from(at.checked_sub(machine::RAM.into())?).ok()?;
        self.0.get(start..start.checked_add(length)?)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let place = self.bytes(at, bytes.len()).ok_or(Trouble::Program("the guest does not fit into its RAM"))?;
        for (place, byte) in place.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The page by which guest and monitor talk.
    pub(crate) fn mailbox(&self) -> Result<&'static Mailbox, Trouble> {
        let page = self.bytes(machine::MAILBOX.into(), size_of::<Mailbox>()).ok_or(Trouble::Program("no mailbox in the guest's RAM"))?;
        // SAFETY: the page is mapped for good and aligned, any bytes are a mailbox, and it is made of atomic words.
        Ok(unsafe { &*page.as_ptr().cast() })
    }

    /// Loads the guest's program and its page directory.
    pub(crate) fn load(&self) -> Result<Start, Trouble> {
        const BAD: Trouble = Trouble::Program("the guest is no ELF file that can be loaded: was it built?");
        for byte in self.0 {
            byte.store(0, Ordering::Relaxed);
        }
        let file = ElfBytes::<LittleEndian>::minimal_parse(PROGRAM).map_err(|_| BAD)?;
        for segment in file.segments().ok_or(BAD)?.iter().filter(|segment| segment.p_type == PT_LOAD) {
            self.write(segment.p_vaddr, file.segment_data(&segment).map_err(|_| BAD)?)?;
        }
        for index in 0..1024 {
            self.write(u64::from(machine::PAGE_DIRECTORY + 4 * index), &machine::page_directory_entry(index).to_le_bytes())?;
        }
        let entry = u32::try_from(file.ehdr.e_entry).map_err(|_| BAD)?;
        let page_directory = GuestAddr::new(machine::PAGE_DIRECTORY.into());
        Ok(Start { entry, stack: machine::PAGE_DIRECTORY, page_directory, large_pages: true, timer: None })
    }
}

impl GuestRam for Ram {
    fn read(&self, at: GuestAddr, into: &mut [u8]) -> bool {
        let bytes = self.bytes(at.get(), into.len());
        bytes.is_some_and(|bytes| {
            for (byte, into) in bytes.iter().zip(into) {
                *into = byte.load(Ordering::Relaxed);
            }
            true
        })
    }
}

/// Maps a large frame into guest-physical memory, for good. seL4 5.0.0 does not name the table that is missing there: so all are made.
fn map(system: System<'_>, frame: CPtr, space: Space, at: u64) -> Result<(), Trouble> {
    for bits in LEVELS {
        match system.kernel().map_frame(frame, space, at, CapRights::READ_WRITE, Attributes::Memory) {
            Err(KernelError { code: Code::FailedLookup, .. }) => {
                let table = system.create(Object::EptTable(bits))?;
                system.kernel().map_table(table, bits, space, at)?;
            }
            result => return Ok(result?),
        }
    }
    Ok(system.kernel().map_frame(frame, space, at, CapRights::READ_WRITE, Attributes::Memory)?)
}
