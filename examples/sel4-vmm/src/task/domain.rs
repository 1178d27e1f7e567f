//! A protection domain: a program in an address space and a CSpace of its own, with one thread.

use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, Kernel, Object, Space, ThreadSpaces, Threads};
use crossvm_sel4::libsel4::slots;
use elf::ElfBytes;
use elf::abi::{PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use heapless::Vec;

use super::shared::PAGE;
use super::system::{System, Trouble};

/// Slots of its CSpace: 2^this.
const CSPACE_BITS: u8 = 5;
/// Bits of a capability's address.
const ADDRESS_BITS: u8 = 64;
/// Where in its CSpace faults find their endpoint. The program can send there as well: a message from it is not to be believed more than
/// the program is. It cannot receive there.
pub const FAULTS: u64 = 31;
/// Most objects of a domain, and most copies of capabilities.
const MOST: usize = 512;

/// A protection domain.
#[derive(Debug)]
pub struct Domain {
    thread: CPtr,
    cspace: CPtr,
    vspace: CPtr,
    entry: u64,
    /// Where the program's code is, which it cannot change.
    text: (u64, &'static [u8]),
    objects: Vec<CPtr, MOST>,
    copies: Vec<CPtr, MOST>,
}

impl Domain {
    /// A domain with the program `image`, an ELF file, whose thread does not run yet. Its faults go to `endpoint` under `badge`; without an
    /// endpoint, the kernel stops it.
    ///
    /// # Errors
    /// [`Trouble`]. What was made by then is lost: a root task that cannot compose its system ends.
    pub fn new(system: System<'_>, image: &'static [u8], faults: Option<(CPtr, Badge)>) -> Result<Self, Trouble> {
        let kernel = system.kernel();
        let vspace = system.create(Object::VSpace)?;
        kernel.assign_asid(slots::ASID_POOL, vspace)?;
        let cspace = system.create(Object::CNode(CSPACE_BITS))?;
        let thread = system.create(Object::Tcb)?;
        let objects = Vec::from([thread, cspace, vspace]);
        let mut domain = Self { thread, cspace, vspace, entry: 0, text: (0, &[]), objects, copies: Vec::new() };
        domain.load(system, image)?;
        let fault_endpoint = match faults {
            Some((endpoint, badge)) => {
                domain.give(system, endpoint, FAULTS, CapRights::FAULTS, badge)?;
                CPtr::new(FAULTS)
            }
            None => CPtr::NULL,
        };
        let guard_bits = ADDRESS_BITS - CSPACE_BITS;
        kernel.configure(thread, ThreadSpaces { cspace, guard_bits, vspace, fault_endpoint, ipc_buffer: None })?;
        Ok(domain)
    }

    fn load(&mut self, system: System<'_>, image: &'static [u8]) -> Result<(), Trouble> {
        const BAD: Trouble = Trouble::Program("the program is no ELF file that can be loaded: was it built?");
        let file = ElfBytes::<LittleEndian>::minimal_parse(image).map_err(|_| BAD)?;
        self.entry = file.ehdr.e_entry;
        for segment in file.segments().ok_or(BAD)?.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0) {
            let data = file.segment_data(&segment).map_err(|_| BAD)?;
            let rights = if segment.p_flags & PF_W != 0 { CapRights::READ_WRITE } else { CapRights::READ };
            let attributes = if segment.p_flags & PF_X != 0 { Attributes::Code } else { Attributes::Memory };
            if segment.p_flags & (PF_W | PF_X) == PF_X {
                self.text = (segment.p_vaddr, data);
            }
            if !segment.p_vaddr.is_multiple_of(PAGE as u64) {
                return Err(Trouble::Program("the segments of the program do not start at pages"));
            }
            let pages = usize::try_from(segment.p_memsz).map_err(|_| BAD)?.div_ceil(PAGE);
            for (index, at) in (0..pages).zip((segment.p_vaddr..).step_by(PAGE)) {
                let frame = self.create(system, Object::SmallFrame)?;
                let mut page = system.share(frame)?;
                page.fill(data.get(index * PAGE..).unwrap_or(&[]));
                system.unshare(page);
                self.map_object(system, frame, at, (rights, attributes))?;
            }
        }
        Ok(())
    }

    fn create(&mut self, system: System<'_>, object: Object) -> Result<CPtr, Trouble> {
        let slot = system.create(object)?;
        self.objects.push(slot).map_err(|_| Trouble::Program("a domain has too many objects"))?;
        Ok(slot)
    }

    fn map_object(&mut self, system: System<'_>, frame: CPtr, at: u64, how: (CapRights, Attributes)) -> Result<(), Trouble> {
        let Self { vspace, objects, .. } = self;
        system.map(frame, Space::Virtual(*vspace), at, how, |table| {
            objects.push(table).map_err(|_| Trouble::Program("a domain has too many objects"))
        })
    }

    /// Puts a copy of a capability into the domain's CSpace.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn give(&self, system: System<'_>, capability: CPtr, slot: u64, rights: CapRights, badge: Badge) -> Result<(), Trouble> {
        Ok(system.kernel().mint_into(capability, self.cspace, CSPACE_BITS, slot, rights, badge)?)
    }

    /// Maps a frame that others have as well.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn map(&mut self, system: System<'_>, frame: CPtr, at: u64, rights: CapRights) -> Result<(), Trouble> {
        let copy = system.copy(frame, rights)?;
        self.copies.push(copy).map_err(|_| Trouble::Program("a domain has too many mappings"))?;
        self.map_object(system, copy, at, (rights, Attributes::Memory))
    }

    /// A page of the domain, mapped read-write at `at`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn page(&mut self, system: System<'_>, at: u64) -> Result<CPtr, Trouble> {
        let frame = self.create(system, Object::SmallFrame)?;
        self.map_object(system, frame, at, (CapRights::READ_WRITE, Attributes::Memory))?;
        Ok(frame)
    }

    /// Lets the thread run, from the program's entry on, with `argument` in `rdi`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(&self, system: System<'_>, priority: u8, argument: u64) -> Result<(), Trouble> {
        /// Where `rdi` is in `seL4_UserContext`, and what RFLAGS must be: interrupts on.
        const RDI: usize = 8;
        const RFLAGS: usize = 2;
        let mut registers = [0; RDI + 1];
        registers[0] = self.entry;
        registers[RFLAGS] = 0x202;
        registers[RDI] = argument;
        let kernel = system.kernel();
        kernel.set_priority(self.thread, slots::TCB, priority)?;
        kernel.write_registers(self.thread, &registers)?;
        Ok(kernel.resume(self.thread)?)
    }

    /// Its thread.
    #[must_use]
    pub const fn thread(&self) -> CPtr {
        self.thread
    }

    /// Its address space.
    #[must_use]
    pub const fn vspace(&self) -> CPtr {
        self.vspace
    }

    /// The program's code from `at` on, `None` where there is none.
    #[must_use]
    pub fn code(&self, at: u64) -> Option<&'static [u8]> {
        let (start, text) = self.text;
        text.get(usize::try_from(at.checked_sub(start)?).ok()?..).filter(|code| !code.is_empty())
    }

    /// Takes the domain apart, and gives back all that it took.
    pub fn destroy(self, system: System<'_>) {
        for copy in self.copies.iter().rev() {
            system.drop_copy(*copy);
        }
        // The thread first, then its spaces, then what they were made of.
        for object in &self.objects {
            system.destroy(*object);
        }
    }
}
