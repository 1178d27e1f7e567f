//! The root task's loop: faults and events of all guests, until something is done.

use core::fmt;

use crossvm_core::{EventId, EventSet};
use crossvm_sel4::kernel::{Badge, CPtr, Kernel, Object, Threads};
use crossvm_sel4::libsel4::slots;
use heapless::Vec;
use sel4_guest::{Command, MAX_RESULTS};
use sel4_vmm::task::idle::Idle;
use sel4_vmm::task::{System, Trouble};

use super::guest::{Guest, Reason, State};
use super::sabotage::Sabotage;

/// Most guests.
pub(crate) const GUESTS: usize = 3;
/// Bit of a badge: a fault, of the guest whose number the lowest bits are. Signals never have it.
const FAULT: u64 = 1 << 27;
/// Bit of a badge: nothing runs any more.
const IDLE: u64 = 1 << 26;
/// Priority of the root task: below components, so that their signals coalesce, and above guests.
const OWN_PRIORITY: u8 = 120;
/// Priority of guests.
const GUEST_PRIORITY: u8 = 100;

/// Why the scenario did not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing runs any more, and the guest is not done: an event was lost.
    Stalled(usize),
    /// A guest has ended that should not.
    Ended(usize, Reason),
    /// A guest says that a command failed, with this number.
    Refused(usize, u32),
    /// Something could not be composed.
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Failure {
    /// In one word.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Stalled(_) => "stalled",
            Self::Ended(..) => "guest-ended",
            Self::Refused(..) => "command-failed",
            Self::Trouble(_) => "trouble",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(guest) => write!(f, "guest {guest} waits, and nothing runs any more: an event was lost"),
            Self::Ended(guest, reason) => write!(f, "guest {guest} has ended: {reason:?}"),
            Self::Refused(guest, error) => write!(f, "guest {guest} could not do what it was told to: error {error}"),
            Self::Trouble(trouble) => trouble.fmt(f),
        }
    }
}

/// All guests, and what they are served by.
pub(crate) struct Stage<'a> {
    pub(crate) system: System<'a>,
    /// Where faults arrive.
    endpoint: CPtr,
    /// Where events arrive; bound to the root task's thread.
    pub(crate) mail: CPtr,
    idle: Idle,
    pub(crate) guests: Vec<Guest<'a>, GUESTS>,
    /// Badges that were received with more than one event.
    pub(crate) coalesced: u64,
    /// Badges that were received with an event.
    pub(crate) badges: u64,
}

impl<'a> Stage<'a> {
    /// A stage without guests.
    pub(crate) fn new(system: System<'a>) -> Result<Self, Trouble> {
        let endpoint = system.create(Object::Endpoint)?;
        let mail = system.create(Object::Notification)?;
        system.kernel().bind_notification(slots::TCB, mail)?;
        let idle = Idle::new(system, mail, Badge::new(IDLE))?;
        Ok(Self { system, endpoint, mail, idle, guests: Vec::new(), coalesced: 0, badges: 0 })
    }

    /// From now on components go before the root task. Whatever has a higher priority must have been started.
    pub(crate) fn step_down(&self) -> Result<(), Trouble> {
        Ok(self.system.kernel().set_priority(slots::TCB, slots::TCB, OWN_PRIORITY)?)
    }

    /// A new guest without connections; gives its number.
    pub(crate) fn add_guest(&mut self) -> Result<usize, Trouble> {
        let number = self.guests.len();
        let badge = Badge::new(FAULT | number as u64);
        let window = u8::try_from(number).map_err(|_| Trouble::Program("too many guests"))?;
        let guest = Guest::new(self.system, window, self.endpoint, badge)?;
        self.guests.push(guest).map_err(|_| Trouble::Program("too many guests"))?;
        Ok(number)
    }

    /// Starts a guest, and waits until it is ready for a command.
    pub(crate) fn start(&mut self, guest: usize) -> Result<(), Failure> {
        self.guests[guest].start(GUEST_PRIORITY)?;
        self.until_ready(guest)
    }

    /// Lets a guest obey a command to its end.
    pub(crate) fn command(&mut self, guest: usize, command: Command, arguments: &[u32]) -> Result<[u32; MAX_RESULTS], Failure> {
        self.begin(guest, command, arguments)?;
        self.finish(guest)
    }

    /// Lets a guest begin to obey a command.
    pub(crate) fn begin(&mut self, guest: usize, command: Command, arguments: &[u32]) -> Result<(), Failure> {
        if let State::Ended(reason) = self.guests[guest].state {
            return Err(Failure::Ended(guest, reason));
        }
        Ok(self.guests[guest].command(command, arguments)?)
    }

    /// Waits until the command is done.
    pub(crate) fn finish(&mut self, guest: usize) -> Result<[u32; MAX_RESULTS], Failure> {
        self.until_ready(guest)?;
        match self.guests[guest].mailbox().outcome() {
            Some(Ok(results)) => Ok(results),
            Some(Err(error)) => Err(Failure::Refused(guest, error)),
            None => Err(Failure::Refused(guest, 0)),
        }
    }

    /// Lets a guest obey a command that it will not survive; gives why it ended.
    pub(crate) fn last_command(&mut self, guest: usize, command: Command, arguments: &[u32]) -> Result<Option<Reason>, Failure> {
        self.begin(guest, command, arguments)?;
        self.pump(guest)?;
        let State::Ended(reason) = self.guests[guest].state else { return Ok(None) };
        if Sabotage::SharedFate.is_on() {
            self.guests.iter_mut().for_each(|guest| guest.end(Reason::Shared));
        }
        Ok(Some(reason))
    }

    fn until_ready(&mut self, guest: usize) -> Result<(), Failure> {
        self.pump(guest)?;
        match self.guests[guest].state {
            State::Ended(reason) => Err(Failure::Ended(guest, reason)),
            _ => Ok(()),
        }
    }

    /// Serves everybody while a guest runs.
    fn pump(&mut self, guest: usize) -> Result<(), Failure> {
        let kernel = self.system.kernel();
        self.idle.watch(&kernel);
        while self.guests[guest].state == State::Running {
            let received = kernel.receive(self.endpoint);
            let badge = received.badge.value();
            if badge & FAULT != 0 {
                let number = usize::try_from(badge & !FAULT).unwrap_or(usize::MAX);
                if let Some(guest) = self.guests.get_mut(number) {
                    guest.fault(&received.message);
                }
            } else if badge == IDLE {
                return Err(Failure::Stalled(guest));
            } else {
                self.serve_events(badge & !IDLE);
            }
        }
        Ok(())
    }

    fn serve_events(&mut self, badge: u64) {
        self.badges += 1;
        self.coalesced += u64::from(badge.count_ones() > 1);
        let mut served = badge;
        if Sabotage::OneOfBadge.is_on() {
            served &= served.wrapping_neg();
        }
        if Sabotage::LoseEvent.is_on() && self.badges == 5000 {
            served = 0;
        }
        for guest in &mut self.guests {
            guest.consume(Badge::new(served));
        }
    }
}

/// The event with this number.
pub(crate) fn event(number: u8) -> Result<EventId, Trouble> {
    EventId::new(number).ok_or(Trouble::Program("there are not so many events"))
}

/// Its bit of a badge.
pub(crate) fn badge(event: EventId) -> Badge {
    Badge::new(EventSet::of(event).word())
}
