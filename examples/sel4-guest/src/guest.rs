//! A guest: obeys the VMM's commands.

use core::fmt;

use crossvm_guest::bare::{self, Bus, Connection, Dataport, Intx, PhysicalMemory, PhysicalRange, Window};
use crossvm_guest::{DataportIndex, EventCount, Profile, Rights};
use heapless::Vec;

use crate::peer::answer;
use crate::platform::{Platform, Random};
use crate::{Command, Error, Found, MAX_ARGUMENTS, MAX_FOUND, MAX_RESULTS, Mailbox, Report};

/// Offsets in the [`Exchange`](crate::peer::Exchange) at the beginning of dataport 0.
const REQUEST: usize = core::mem::offset_of!(crate::peer::Exchange, request);
const ANSWER: usize = core::mem::offset_of!(crate::peer::Exchange, answer);

/// Obeys commands until it is told to stop.
pub fn obey<P: Platform>(platform: &P, mailbox: &Mailbox) {
    let mut guest = Guest::new(platform, mailbox);
    loop {
        platform.report(Report::Ready);
        match mailbox.command() {
            Some((Command::Stop, _)) => return,
            Some((command, arguments)) => mailbox.complete(guest.execute(command, arguments)),
            None => mailbox.complete(Err(Error::Command)),
        }
    }
}

type Region<P> = <<P as Platform>::Memory as PhysicalMemory>::Region;
type Results = Result<[u32; MAX_RESULTS], Error>;

/// A connection in use.
struct Line<P: Platform> {
    connection: Connection<Region<P>>,
    /// Dataport 0, where this end may read and write it.
    exchange: Option<Dataport<Region<P>>>,
    /// Address of the event registers.
    events_at: u32,
}

/// What a guest knows.
struct Guest<'a, P: Platform> {
    platform: &'a P,
    memory: P::Memory,
    bus: Option<Bus<P::Access>>,
    lines: Vec<Line<P>, MAX_FOUND>,
    mailbox: &'a Mailbox,
    /// Numbers the requests, so that no two are the same.
    requests: u32,
}

impl<P: Platform> fmt::Debug for Guest<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines.iter().map(|line| line.connection.name())).finish()
    }
}

/// A list of results, with zeros behind it.
fn results<const N: usize>(given: [u32; N]) -> Results {
    let mut results = [0; MAX_RESULTS];
    for (result, value) in results.iter_mut().zip(given) {
        *result = value;
    }
    Ok(results)
}

impl<'a, P: Platform> Guest<'a, P> {
    fn new(platform: &'a P, mailbox: &'a Mailbox) -> Self {
        Self { platform, memory: platform.memory(), bus: platform.access().map(Bus::new), lines: Vec::new(), mailbox, requests: 0 }
    }

    fn execute(&mut self, command: Command, [a, b, c, d]: [u32; MAX_ARGUMENTS]) -> Results {
        match command {
            Command::Enumerate => self.enumerate((a != 0).then_some((b, c))),
            Command::RoundTrips => {
                self.line(a)?;
                self.round_trips(|index| index == a as usize, b)
            }
            Command::RoundTripsOnAll => self.round_trips(|_| true, a),
            Command::Emit => {
                let line = self.line(a)?;
                (0..b).for_each(|_| line.connection.events().emit());
                results([b])
            }
            Command::Take => {
                let events = self.line(a)?.connection.events();
                let taken = events.take(EventCount::new(b)).unwrap_or(EventCount::ZERO);
                results([taken.get(), events.count().get()])
            }
            Command::Await => self.wait_for(a, b),
            Command::StoreEvents => self.store(self.line(a)?.events_at.wrapping_add(b), c),
            Command::StoreDataport => self.store(self.dataport_address(a, b, c)?, d),
            Command::LoadDataport => results([self.platform.load(self.dataport_address(a, b, c)?)]),
            Command::Jump => {
                self.platform.jump(a);
                results([])
            }
            Command::Load => results([self.platform.load(a)]),
            Command::Store => {
                self.platform.store(a, b);
                results([])
            }
            Command::SetInterrupt => self.set_interrupt(a, if b == 0 { Intx::Disabled } else { Intx::Enabled }),
            Command::Hostile => {
                self.lines.clear();
                let mut random = Random::new(a);
                (0..b).for_each(|_| self.platform.disturb(&mut random));
                results([b])
            }
            Command::Odd => results([u32::from(self.platform.store_oddly(self.line(a)?.events_at, b))]),
            Command::Listen => {
                self.platform.listen(a);
                results([])
            }
            // The caller's.
            Command::Stop => results([]),
        }
    }

    /// Finds all connections, after it has placed them in a window of this start and length.
    fn enumerate(&mut self, window: Option<(u32, u32)>) -> Results {
        self.lines.clear();
        let bus = self.bus.as_ref().ok_or(Error::Device)?;
        if let Some((start, length)) = window {
            let range = PhysicalRange::new(u64::from(start), u64::from(length)).ok_or(Error::Window)?;
            bus.place(Window::new(range)).map_err(|error| match error {
                bare::Error::WindowFull { .. } => Error::Window,
                _ => Error::Device,
            })?;
        }
        for function in bus.connections() {
            let connection = function.open(&self.memory).map_err(|_| Error::Device)?;
            let events_at = function.bars().ok().and_then(|bars| u32::try_from(bars.event_registers()?.address()).ok());
            let events_at = events_at.ok_or(Error::Device)?;
            let exchange = connection.dataport(&self.memory, DataportIndex::FIRST).ok();
            let exchange = exchange.filter(|dataport| dataport.rights() == Rights::ReadWrite);
            let found = self.mailbox.found().get(self.lines.len()).ok_or(Error::TooMany)?;
            describe(found, &connection, events_at);
            self.lines.push(Line { connection, exchange, events_at }).map_err(|_| Error::TooMany)?;
        }
        results([u32::try_from(self.lines.len()).unwrap_or(u32::MAX)])
    }

    /// Rounds on the connections that `on` names, side by side.
    fn round_trips(&mut self, on: impl Fn(usize) -> bool, rounds: u32) -> Results {
        let (mut wrong, mut events, mut waits) = (0_u32, 0_u32, 0_u32);
        for _ in 0..rounds {
            self.requests = self.requests.wrapping_add(1);
            let request = self.requests;
            let lines = || self.lines.iter().enumerate().filter(|(index, _)| on(*index)).map(|(_, line)| line);
            for line in lines() {
                line.exchange()?.store(REQUEST, request).map_err(|_| Error::Dataport)?;
                line.connection.events().emit();
            }
            for line in lines() {
                let (taken, slept) = self.sleep_for(line);
                events = events.wrapping_add(taken);
                waits = waits.wrapping_add(slept);
                let given: u32 = line.exchange()?.load(ANSWER).map_err(|_| Error::Dataport)?;
                wrong = wrong.wrapping_add(u32::from(given != answer(request)));
            }
        }
        results([rounds, wrong, events, waits])
    }

    /// Waits until an event comes: how many came, and how often it slept.
    fn sleep_for(&self, line: &Line<P>) -> (u32, u32) {
        let mut waits = 0_u32;
        loop {
            if let Some(taken) = line.connection.events().take(EventCount::MAX) {
                return (taken.get(), waits);
            }
            self.platform.wait();
            waits = waits.wrapping_add(1);
        }
    }

    fn wait_for(&self, index: u32, events: u32) -> Results {
        let line = self.line(index)?;
        let (mut taken, mut waits) = (0_u32, 0_u32);
        while taken < events {
            let (more, slept) = self.sleep_for(line);
            taken = taken.saturating_add(more);
            waits = waits.wrapping_add(slept);
        }
        results([taken, waits])
    }

    /// What a load gave before, and after a store.
    fn store(&self, address: u32, value: u32) -> Results {
        let before = self.platform.load(address);
        self.platform.store(address, value);
        results([before, self.platform.load(address)])
    }

    fn set_interrupt(&self, index: u32, intx: Intx) -> Results {
        let address = self.line(index)?.connection.address();
        let bus = self.bus.as_ref().ok_or(Error::Device)?;
        let function = bus.connections().find(|function| function.address() == address).ok_or(Error::Connection)?;
        function.set_intx(intx);
        results([])
    }

    fn line(&self, index: u32) -> Result<&Line<P>, Error> {
        usize::try_from(index).ok().and_then(|index| self.lines.get(index)).ok_or(Error::Connection)
    }

    /// Address of a word of a dataport, whatever the rights are.
    fn dataport_address(&self, line: u32, dataport: u32, offset: u32) -> Result<u32, Error> {
        let dataports = self.line(line)?.connection.dataports();
        let info = usize::try_from(dataport).ok().and_then(|index| dataports.get(index)).ok_or(Error::Dataport)?;
        let inside = u64::from(offset) + 4 <= info.size && offset.is_multiple_of(4);
        u32::try_from(info.bar.address() + u64::from(offset)).ok().filter(|_| inside).ok_or(Error::Dataport)
    }
}

impl<P: Platform> Line<P> {
    fn exchange(&self) -> Result<&Dataport<Region<P>>, Error> {
        self.exchange.as_ref().ok_or(Error::Dataport)
    }
}

/// Tells the VMM of a connection.
fn describe<R: crossvm_guest::Words>(found: &Found, connection: &Connection<R>, events_at: u32) {
    use core::sync::atomic::Ordering::Relaxed;
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let address = connection.address();
    let function = u32::from(address.bus()) << 8 | u32::from(address.device()) << 3 | u32::from(address.function());
    found.function.store(function, Relaxed);
    found.events.store(events_at, Relaxed);
    let version = match connection.events().profile() {
        Profile::Reference => 0,
        Profile::Extended { version } => version,
    };
    found.version.store(version, Relaxed);
    found.dataport_count.store(number(connection.dataports().len() as u64), Relaxed);
    for (told, info) in found.dataports.iter().zip(connection.dataports()) {
        told.address.store(number(info.bar.address()), Relaxed);
        told.size.store(number(info.size), Relaxed);
        told.rights.store(u32::from(info.rights.can_read()) | u32::from(info.rights.can_write()) << 1, Relaxed);
    }
    let bytes = connection.name().as_bytes();
    for (index, word) in found.name.iter().enumerate() {
        let byte = |at: usize| bytes.get(index * 4 + at).copied().unwrap_or(0);
        word.store(u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]), Relaxed);
    }
}
