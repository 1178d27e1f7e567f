//! Random walks: calls that follow a seed, on a handful of slots, so that capabilities are derived, mapped, revoked and reused in ways that nobody has
//! thought of.
//!
//! What a walk calls next depends on what the calls before have answered, so two kernels walk the same way for as long as they agree. It does nothing
//! that stops the caller, or seL4 5.0.0: no endpoint, no copy of a table of 2^39.

use crossvm_sel4::kernel::{Badge, CPtr, CapRights, Code, KernelError, Object, Space, ThreadSpaces, Threads};

use crate::{Bench, Probe};

/// How many walks there are.
pub(crate) const COUNT: u64 = 60;
/// The calls of a walk.
const STEPS: usize = 200;
/// The slots that it walks on.
const SLOTS: usize = 14;

/// What a walk believes to be in a slot: from the calls that went well. It may have gone since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    Nothing,
    Untyped,
    Notification,
    Tcb,
    Frame,
    Table(u8),
    Root,
}

/// Numbers that follow from a seed (xorshift).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The remainder is smaller than `sides`.
        usize::try_from((self.0 >> 16) % (sides as u64)).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())]
    }
}

struct Walk<'b, 'a, K, P> {
    b: &'b mut Bench<'a, K, P>,
    dice: Dice,
    slots: [CPtr; SLOTS],
    beliefs: [Belief; SLOTS],
    spaces: [Space; 2],
    bell: CPtr,
}

/// Walks, and says the answers: a letter for each call.
pub(crate) fn walk<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, seed: u64) -> Result<(), KernelError> {
    let spaces = [b.space()?, b.space()?];
    for space in spaces {
        b.tables(space, 0, 39)?;
    }
    // In one of the two, small frames lack a single table.
    for at in [0, 1 << 30] {
        let table = b.make(Object::Table(30))?;
        b.kernel.map_table(table, 30, spaces[0], at)?;
    }
    let bell = b.make(Object::Notification)?;
    let mut slots = [CPtr::NULL; SLOTS];
    slots.fill_with(|| b.empty());
    b.kernel.retype(b.resources.untyped, Object::Untyped(17), slots[0])?;
    let mut beliefs = [Belief::Nothing; SLOTS];
    beliefs[0] = Belief::Untyped;
    let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut walk = Walk { b, dice, slots, beliefs, spaces, bell };
    for _ in 0..STEPS {
        let answer = walk.step();
        walk.b.letter(letter(answer));
    }
    // The bell may be bound to a thread of the walk: nobody else can poll it then.
    for slot in slots {
        b.kernel.delete(slot)?;
    }
    b.poll("poll", bell);
    Ok(())
}

impl<K: Threads, P: Probe> Walk<'_, '_, K, P> {
    fn step(&mut self) -> Result<(), KernelError> {
        match self.dice.roll(24) {
            0..=4 => self.retype(),
            5 | 6 => self.copy(),
            7 => self.ring(),
            8 | 20..=23 => {
                // Without the first, all comes to an end.
                let at = 1 + self.dice.roll(SLOTS - 1);
                self.beliefs[at] = Belief::Nothing;
                self.b.kernel.delete(self.slots[at])
            }
            9 if self.dice.roll(3) == 0 => {
                let at = self.dice.roll(SLOTS);
                self.b.kernel.revoke(self.slots[at])
            }
            9..=12 => self.map_frame(),
            13 => {
                let frame = self.believed(|belief| belief == Belief::Frame);
                self.b.kernel.unmap_frame(self.slots[frame])
            }
            14..=16 => self.map_table(),
            17 => self.unmap_table(),
            18 => {
                let root = self.believed(|belief| belief == Belief::Root);
                self.b.kernel.assign_asid(self.b.resources.asid_pool, self.slots[root])
            }
            _ => self.thread(),
        }
    }

    /// A slot that probably has what is wanted, now and then any.
    fn believed(&mut self, wanted: impl Fn(Belief) -> bool) -> usize {
        let start = self.dice.roll(SLOTS);
        let mut found = (0..SLOTS).map(|offset| (start + offset) % SLOTS).filter(|at| wanted(self.beliefs[*at]));
        if self.dice.0 >> 60 == 0 { start } else { found.next().unwrap_or(start) }
    }

    fn retype(&mut self) -> Result<(), KernelError> {
        let (from, to) = (self.believed(|belief| belief == Belief::Untyped), self.believed(|belief| belief == Belief::Nothing));
        let (object, belief) = self.dice.pick(&[
            (Object::Untyped(13), Belief::Untyped),
            (Object::Untyped(15), Belief::Untyped),
            (Object::Notification, Belief::Notification),
            (Object::Tcb, Belief::Tcb),
            (Object::SmallFrame, Belief::Frame),
            (Object::SmallFrame, Belief::Frame),
            (Object::SmallFrame, Belief::Frame),
            (Object::Table(21), Belief::Table(21)),
            (Object::Table(21), Belief::Table(21)),
            (Object::Table(30), Belief::Table(30)),
            (Object::VSpace, Belief::Root),
        ]);
        self.b.kernel.retype(self.slots[from], object, self.slots[to])?;
        // A notification takes any call for a signal, and has made nothing.
        if self.beliefs[from] == Belief::Untyped {
            self.beliefs[to] = belief;
        }
        Ok(())
    }

    fn copy(&mut self) -> Result<(), KernelError> {
        let (from, to) = (self.dice.roll(SLOTS), self.believed(|belief| belief == Belief::Nothing));
        let rights = self.rights();
        if self.dice.roll(2) == 0 {
            self.b.kernel.copy(self.slots[from], self.slots[to], rights)?;
        } else {
            let badge = Badge::new(1 << self.dice.roll(4));
            self.b.kernel.mint(self.slots[from], self.slots[to], rights, badge)?;
        }
        self.beliefs[to] = self.beliefs[from];
        Ok(())
    }

    /// A badged copy of the bell, or a signal by what is there.
    fn ring(&mut self) -> Result<(), KernelError> {
        if self.dice.roll(2) == 0 {
            let at = self.dice.roll(SLOTS);
            self.b.kernel.signal(self.slots[at]);
            return Ok(());
        }
        let (to, badge, rights) = (self.believed(|belief| belief == Belief::Nothing), 1 << self.dice.roll(8), self.rights());
        self.b.kernel.mint(self.bell, self.slots[to], rights, Badge::new(badge))?;
        self.beliefs[to] = Belief::Notification;
        Ok(())
    }

    fn rights(&mut self) -> CapRights {
        self.dice.pick(&[CapRights::ALL, CapRights::ALL, CapRights::READ_WRITE, CapRights::READ, CapRights::WRITE, CapRights::NONE])
    }

    fn space(&mut self) -> Space {
        match self.dice.roll(8) {
            0 => {
                let root = self.believed(|belief| belief == Belief::Root);
                Space::Virtual(self.slots[root])
            }
            1 | 2 => self.spaces[1],
            _ => self.spaces[0],
        }
    }

    /// One of a few addresses below two tables of 2^30 bytes and four of 2^21.
    fn address(&mut self) -> u64 {
        let at = |index: usize, bits: u32| (index as u64) << bits;
        at(self.dice.roll(2), 30) + at(self.dice.roll(2), 21) + at(self.dice.roll(3), 12) + at(self.dice.roll(12) / 11, 3)
    }

    fn map_frame(&mut self) -> Result<(), KernelError> {
        let (frame, space, at, rights) = (self.believed(|belief| belief == Belief::Frame), self.space(), self.address(), self.rights());
        self.b.map(self.slots[frame], space, at, rights)
    }

    fn table(&mut self) -> (CPtr, u8) {
        let table = self.believed(|belief| matches!(belief, Belief::Table(_)));
        let bits = match self.beliefs[table] {
            Belief::Table(bits) if self.dice.roll(16) > 0 => bits,
            _ => self.dice.pick(&[21, 30]),
        };
        (self.slots[table], bits)
    }

    fn map_table(&mut self) -> Result<(), KernelError> {
        let ((table, bits), space, at) = (self.table(), self.space(), self.address());
        self.b.kernel.map_table(table, bits, space, at)
    }

    fn unmap_table(&mut self) -> Result<(), KernelError> {
        let (table, bits) = self.table();
        self.b.kernel.unmap_table(table, bits, self.spaces[0])
    }

    /// Binds or configures a thread. None ever runs.
    fn thread(&mut self) -> Result<(), KernelError> {
        let tcb = self.believed(|belief| belief == Belief::Tcb);
        if self.dice.roll(2) == 0 {
            let notification = self.believed(|belief| belief == Belief::Notification);
            return self.b.kernel.bind_notification(self.slots[tcb], self.slots[notification]);
        }
        let spaces = ThreadSpaces {
            cspace: self.b.resources.cspace,
            guard_bits: self.b.resources.guard_bits,
            vspace: self.space().root(),
            fault_endpoint: CPtr::NULL,
            ipc_buffer: None,
        };
        self.b.kernel.configure(self.slots[tcb], spaces)
    }
}

/// The letter of an answer; for a missing table its level.
fn letter(answer: Result<(), KernelError>) -> char {
    match answer {
        Ok(()) => '.',
        Err(KernelError { missing_table: Some(39), .. }) => '3',
        Err(KernelError { missing_table: Some(30), .. }) => '2',
        Err(KernelError { missing_table: Some(21), .. }) => '1',
        Err(KernelError { missing_table: Some(_), .. }) => '?',
        Err(KernelError { code, .. }) => match code {
            Code::InvalidArgument => 'A',
            Code::InvalidCapability => 'C',
            Code::IllegalOperation => 'O',
            Code::RangeError => 'R',
            Code::AlignmentError => 'L',
            Code::FailedLookup => 'F',
            Code::TruncatedMessage => 'T',
            Code::DeleteFirst => 'D',
            Code::RevokeFirst => 'V',
            Code::NotEnoughMemory => 'M',
        },
    }
}
