//! What a case has to work with.

use core::fmt::Write;

use crossvm_sel4::kernel::{Attributes, Badge, CPtr, CapRights, KernelError, Object, Space, Threads};

/// What the cases may use. They leave it as it was.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// Untyped memory of at least 2^23 bytes, of which nothing is in use.
    pub untyped: CPtr,
    /// The first of [`Resources::SLOTS`] empty slots that follow one another.
    pub slots: CPtr,
    /// The caller's thread. No notification is bound to it.
    pub thread: CPtr,
    /// The caller's CSpace.
    pub cspace: CPtr,
    /// Bits of that CSpace's guard, which is 0.
    pub guard_bits: u8,
    /// A pool with identifiers for at least four address spaces.
    pub asid_pool: CPtr,
    /// The caller's address space.
    pub vspace: CPtr,
    /// An address in it, a multiple of 2^39, with no table at all for the 2^39 bytes behind it.
    pub window: u64,
}

impl Resources {
    /// Slots that the cases use.
    pub const SLOTS: u64 = 300;
}

/// Loads and stores at addresses of the caller's address space that may not be mapped.
///
/// On a real kernel a second thread does them, whose faults the caller receives; on the simulated one nothing runs, and the simulation answers.
pub trait Probe {
    /// Loads a word; `None` where that faults.
    fn load(&mut self, at: u64) -> Option<u32>;

    /// Stores a word; `false` where that faults.
    fn store(&mut self, at: u64, value: u32) -> bool;
}

/// What came of a case.
pub type Outcome = heapless::String<280>;

/// What a case works with: the kernel, empty slots, and the line in which it says what it has seen.
#[derive(Debug)]
pub struct Bench<'a, K, P> {
    /// The kernel.
    pub kernel: &'a K,
    /// What may be used.
    pub resources: &'a Resources,
    probe: &'a mut P,
    used: u64,
    line: Outcome,
}

type Done<T = ()> = Result<T, KernelError>;

impl<'a, K: Threads, P: Probe> Bench<'a, K, P> {
    pub(crate) fn new(kernel: &'a K, resources: &'a Resources, probe: &'a mut P) -> Self {
        Self { kernel, resources, probe, used: 0, line: Outcome::new() }
    }

    /// Cleans up, and gives the line. A call that had to succeed and did not is its last word.
    pub(crate) fn end(mut self, ended: Done) -> Outcome {
        if let Err(error) = ended {
            self.done("stopped", Err(error));
        }
        let mut cleaned = self.kernel.revoke(self.resources.untyped);
        for slot in 0..self.used {
            cleaned = cleaned.and(self.kernel.delete(self.resources.slots.offset(slot)));
        }
        if cleaned.is_err() {
            self.done("cleaned", cleaned);
        }
        self.line
    }

    fn say(&mut self, what: &str, value: core::fmt::Arguments<'_>) {
        let space = if self.line.is_empty() { "" } else { " " };
        // A line that is too long loses its end: it then differs from none that is recorded.
        let _ = write!(self.line, "{space}{what}={value}");
    }

    /// Says what came of a call.
    pub fn done(&mut self, what: &str, result: Done) {
        match result {
            Ok(()) => self.say(what, format_args!("ok")),
            Err(KernelError { code, missing_table: None }) => self.say(what, format_args!("{code:?}")),
            Err(KernelError { code, missing_table: Some(bits) }) => self.say(what, format_args!("{code:?}({bits})")),
        }
    }

    /// Says a letter, without a space in front.
    pub(crate) fn letter(&mut self, letter: char) {
        let _ = self.line.push(letter);
    }

    /// Says a number.
    pub fn number(&mut self, what: &str, value: u64) {
        self.say(what, format_args!("{value:#x}"));
    }

    /// Says yes or no.
    pub fn flag(&mut self, what: &str, value: bool) {
        self.say(what, format_args!("{}", if value { "yes" } else { "no" }));
    }

    /// Says a badge.
    pub fn badge(&mut self, what: &str, badge: Badge) {
        self.number(what, badge.value());
    }

    /// Polls a notification, and says its badge.
    pub fn poll(&mut self, what: &str, notification: CPtr) {
        let badge = self.kernel.poll(notification);
        self.badge(what, badge);
    }

    /// Loads a word in the caller's address space, and says it.
    pub fn load(&mut self, what: &str, at: u64) {
        match self.probe.load(at) {
            Some(word) => self.number(what, u64::from(word)),
            None => self.say(what, format_args!("fault")),
        }
    }

    /// Stores a word in the caller's address space, and says whether it could.
    pub fn store(&mut self, what: &str, at: u64, value: u32) {
        let stored = self.probe.store(at, value);
        self.say(what, format_args!("{}", if stored { "ok" } else { "fault" }));
    }

    /// An empty slot.
    pub fn empty(&mut self) -> CPtr {
        let slot = self.resources.slots.offset(self.used);
        self.used += 1;
        slot
    }

    /// A slot that the CSpace does not have.
    pub fn outside(&self) -> CPtr {
        CPtr::new(1 << 40)
    }

    /// A new object.
    pub fn make(&mut self, object: Object) -> Done<CPtr> {
        self.make_of(self.resources.untyped, object)
    }

    /// A new object of this untyped memory.
    pub fn make_of(&mut self, untyped: CPtr, object: Object) -> Done<CPtr> {
        let slot = self.empty();
        self.kernel.retype(untyped, object, slot)?;
        Ok(slot)
    }

    /// How many such objects fit into 4 KiB.
    pub fn fit(&mut self, object: Object) -> Done<u64> {
        let memory = self.make(Object::Untyped(12))?;
        let mut count = 0;
        while count < Resources::SLOTS - 20 && self.make_of(memory, object).is_ok() {
            count += 1;
        }
        Ok(count)
    }

    /// A copy of a capability.
    pub fn copy(&mut self, from: CPtr, rights: CapRights) -> Done<CPtr> {
        let slot = self.empty();
        self.kernel.copy(from, slot, rights)?;
        Ok(slot)
    }

    /// A copy with all rights and a badge.
    pub fn badged(&mut self, from: CPtr, badge: u64) -> Done<CPtr> {
        let slot = self.empty();
        self.kernel.mint(from, slot, CapRights::ALL, Badge::new(badge))?;
        Ok(slot)
    }

    /// A new address space.
    pub fn space(&mut self) -> Done<Space> {
        let root = self.make(Object::VSpace)?;
        self.kernel.assign_asid(self.resources.asid_pool, root)?;
        Ok(Space::Virtual(root))
    }

    /// The caller's address space.
    pub fn own(&self) -> Space {
        Space::Virtual(self.resources.vspace)
    }

    /// The tables around `at` that cover 2^`bits` bytes and more: the last of them.
    pub fn tables(&mut self, space: Space, at: u64, bits: u8) -> Done<CPtr> {
        let mut last = CPtr::NULL;
        for size in [39, 30, 21].into_iter().filter(|size| *size >= bits) {
            last = self.make(Object::Table(size))?;
            self.kernel.map_table(last, size, space, at)?;
        }
        Ok(last)
    }

    /// Maps a frame.
    pub fn map(&mut self, frame: CPtr, space: Space, at: u64, rights: CapRights) -> Done {
        self.kernel.map_frame(frame, space, at, rights, Attributes::Memory)
    }

    /// Maps a frame with all rights.
    pub fn map_all(&mut self, frame: CPtr, space: Space, at: u64) -> Done {
        self.map(frame, space, at, CapRights::READ_WRITE)
    }
}
