//! What is tried, in its order. Each check is a line `check=NAME` with numbers; `cargo xtask sel4 smoke` says what they must be.

use core::sync::atomic::Ordering::Relaxed;

use crossvm_core::device::Name;
use crossvm_core::{Connection, EventId, Rights};
use crossvm_sel4::kernel::{CPtr, CapRights, Kernel};
use crossvm_sel4::{Frame, FrameDataport, FrameKind, NotificationNotifier};
use heapless::Vec;
use sel4_guest::{Command, Found, thread};
use sel4_vmm::println;
use sel4_vmm::task::component::Component;
use sel4_vmm::task::domain::FAULTS;
use sel4_vmm::task::{Shared, System, Trouble};

use super::account::Account;
use super::failures;
use super::guest::{End, Port, Reason};
use super::sabotage::Sabotage;
use super::stage::{Failure, Stage, badge, event};

/// Connections of the first guest with the component.
const LINKS: u8 = 8;
/// Round trips that each of them makes alone, and all of them at once.
const ROUNDS: u32 = 12_500;
const ROUNDS_ON_ALL: u32 = 2_000;
/// How often the component sleeps while the guest emits.
const COALESCED_ROUNDS: u32 = 100;
/// Events between the guests, in each direction.
const PAIR_EVENTS: u32 = 1_000;
/// Round trips of the second guest while the first one lives, and after it has ended.
const SECOND_ROUNDS: u32 = 1_000;
/// The connection with a second dataport that the guest may read only, and the one with a large frame.
const READ_ONLY: usize = 1;
const LARGE: usize = 2;
/// What stands in the former, and at what offset in the latter something is written.
const PATTERN: u32 = 0x5eed_0001;
const FAR: u32 = 0x1f_fffc;
/// Priority of the first component: above the root task's.
const COMPONENT_PRIORITY: u8 = 150;
/// Offset of a name in the event registers, which no register takes stores at.
const NAME: u32 = 0x08;
/// Steps of disorder in configuration space.
const HOSTILE_STEPS: u32 = 20_000;

/// The first guest, and the second.
const FIRST: usize = 0;
const SECOND: usize = 1;

/// Plays all of it.
pub(crate) fn play(system: System<'_>) -> Result<(), Failure> {
    failures::install_failures(system)?;
    let mut stage = Stage::new(system)?;
    let mut component = Component::new(system)?;
    let mut other = Component::new(system)?;
    // FIRST and SECOND.
    stage.add_guest()?;
    stage.add_guest()?;

    let exchanges = connect_first(&mut stage, &mut component)?;
    let second = connect_second(&mut stage, &mut other)?;
    component.start(system, COMPONENT_PRIORITY)?;
    other.start(system, COMPONENT_PRIORITY)?;
    stage.step_down()?;
    stage.start(FIRST)?;
    stage.start(SECOND)?;
    let window = [1, thread::WINDOW, thread::WINDOW_LENGTH];

    enumerate(&mut stage, &window)?;
    round_trips(&mut stage, &exchanges)?;
    round_trips_on_all(&mut stage, &exchanges)?;
    coalesced(&mut stage, &component, &exchanges)?;
    read_only(&mut stage)?;
    large_frame(&mut stage)?;
    odd_instructions(&mut stage)?;
    hostile(&mut stage, &window)?;
    pair(&mut stage, &window)?;
    alone(&mut stage, &second)?;
    overhear(&mut stage)?;
    given_back(&mut stage)
}

/// A connection with one small frame as its dataport, which the component has as well.
fn link(stage: &Stage<'_>, component: &mut Component, (name, own): (&str, EventId)) -> Result<(End, Shared), Trouble> {
    let system = stage.system;
    let frame = system.create(FrameKind::Small.object())?;
    let event = component.connect(system, frame, stage.mail, own)?;
    let emit = NotificationNotifier::mint(system.kernel(), component.notification(), system.slot()?, event)?;
    let end = connection(name)?.with_emit(emit).with_event(own);
    Ok((with_port(end, frame, FrameKind::Small, Rights::ReadWrite)?, system.share(frame)?))
}

fn connection(name: &str) -> Result<End, Trouble> {
    Ok(Connection::new(Name::new(name).ok_or(Trouble::Program("no such name"))?))
}

fn with_port(end: End, frame: CPtr, kind: FrameKind, rights: Rights) -> Result<End, Trouble> {
    let port: Port = FrameDataport::new(Vec::from([Frame::new(frame, kind)])).map_err(|_| Trouble::Program("no such dataport"))?;
    end.with_dataport(port, rights).map_err(|_| Trouble::Program("too many dataports"))
}

/// Eight connections of the first guest with the component.
fn connect_first(stage: &mut Stage<'_>, component: &mut Component) -> Result<Vec<Shared, 8>, Trouble> {
    const NAMES: [&str; LINKS as usize] = ["link0", "link1", "link2", "link3", "link4", "link5", "link6", "link7"];
    let system = stage.system;
    let (mut ends, mut exchanges) = (Vec::<End, 8>::new(), Vec::new());
    for (index, name) in NAMES.into_iter().enumerate() {
        let own = event(u8::try_from(index).unwrap_or(u8::MAX))?;
        let (mut end, exchange) = link(stage, component, (name, own))?;
        if index == READ_ONLY {
            let frame = system.create(FrameKind::Small.object())?;
            let mut page = system.share(frame)?;
            page.fill(&PATTERN.to_le_bytes());
            system.unshare(page);
            let rights = if Sabotage::WritableDataport.is_on() { Rights::ReadWrite } else { Rights::Read };
            end = with_port(end, frame, FrameKind::Small, rights)?;
        }
        if index == LARGE {
            end = with_port(end, system.create(FrameKind::Large.object())?, FrameKind::Large, Rights::ReadWrite)?;
        }
        // As many places as names.
        let _ = (ends.push(end).is_ok(), exchanges.push(exchange).is_ok());
    }
    let installed = stage.guests[FIRST].install(ends)?;
    println!("[vmm] check=install connections={installed}");
    Ok(exchanges)
}

/// A connection of the second guest with a component of its own.
fn connect_second(stage: &mut Stage<'_>, component: &mut Component) -> Result<Shared, Trouble> {
    let (end, exchange) = link(stage, component, ("own", event(LINKS)?))?;
    stage.guests[SECOND].install([end])?;
    Ok(exchange)
}

/// A connection between the guests, which run already.
fn connect_pair(stage: &mut Stage<'_>) -> Result<(), Trouble> {
    let system = stage.system;
    let frame = system.create(FrameKind::Small.object())?;
    let events = [event(LINKS + 1)?, event(LINKS + 2)?];
    for (guest, own, peer) in [(FIRST, events[0], events[1]), (SECOND, events[1], events[0])] {
        let slot = system.slot()?;
        system.kernel().mint(stage.mail, slot, CapRights::WRITE, badge(peer))?;
        let end = connection("pair")?.with_emit(NotificationNotifier::new(system.kernel(), slot)).with_event(own);
        stage.guests[guest].install([with_port(end, frame, FrameKind::Small, Rights::ReadWrite)?])?;
    }
    Ok(())
}

/// Both guests find their connections, and place their BARs.
fn enumerate(stage: &mut Stage<'_>, window: &[u32]) -> Result<(), Failure> {
    let before = stage.guests[FIRST].counts.configuration;
    let [found, ..] = stage.command(FIRST, Command::Enumerate, window)?;
    let accesses = stage.guests[FIRST].counts.configuration - before;
    let [second, ..] = stage.command(SECOND, Command::Enumerate, window)?;
    // What the guest reads must be what the VMM has.
    let guest = &stage.guests[FIRST];
    let agreed = guest.statuses().zip(guest.mailbox().found()).filter(|(status, found)| {
        let at = u64::from(found.events.load(Relaxed));
        let mapped = status.bars.first().and_then(|bar| bar.mapped_at).is_some_and(|mapped| mapped.get() == at);
        mapped && name_of(found) == status.name.as_str().as_bytes()
    });
    println!("[vmm] check=enumerate found={found} agreed={} accesses={accesses} second={second}", agreed.count());
    Ok(())
}

/// The name that a guest has read.
fn name_of(found: &Found) -> Vec<u8, 48> {
    let words = found.name.iter().flat_map(|word| word.load(Relaxed).to_le_bytes());
    words.take_while(|byte| *byte != 0).collect()
}

/// What both ends and the VMM have counted on the connections with the component.
#[derive(Debug, Clone, Copy)]
struct Tally {
    emitted: u64,
    served: u64,
    received: u64,
}

impl Tally {
    fn now(stage: &Stage<'_>, exchanges: &[Shared]) -> Self {
        let links = || stage.guests[FIRST].statuses().take(LINKS.into());
        Self {
            emitted: links().map(|status| status.emitted).sum(),
            received: links().map(|status| status.received).sum(),
            served: exchanges.iter().map(|exchange| u64::from(exchange.exchange().served.load(Relaxed))).sum(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self { emitted: self.emitted - before.emitted, served: self.served - before.served, received: self.received - before.received }
    }
}

fn round_trips(stage: &mut Stage<'_>, exchanges: &[Shared]) -> Result<(), Failure> {
    let before = Tally::now(stage, exchanges);
    let (mut rounds, mut wrong, mut events) = (0, 0, 0);
    for link in 0..u32::from(LINKS) {
        let [done, bad, taken, ..] = stage.command(FIRST, Command::RoundTrips, &[link, ROUNDS])?;
        rounds += done;
        wrong += bad;
        events += taken;
    }
    let Tally { emitted, served, received } = Tally::now(stage, exchanges).since(before);
    println!("[vmm] check=round-trips rounds={rounds} wrong={wrong} emitted={emitted} served={served} received={received} taken={events}");
    Ok(())
}

/// All connections at once.
fn round_trips_on_all(stage: &mut Stage<'_>, exchanges: &[Shared]) -> Result<(), Failure> {
    let before = Tally::now(stage, exchanges);
    let [rounds, wrong, taken, ..] = stage.command(FIRST, Command::RoundTripsOnAll, &[ROUNDS_ON_ALL])?;
    let Tally { emitted, served, received } = Tally::now(stage, exchanges).since(before);
    println!(
        "[vmm] check=round-trips-on-all rounds={rounds} wrong={wrong} emitted={emitted} served={served} received={received} taken={taken}"
    );
    Ok(())
}

/// The component sleeps while the guest emits on all connections. When it wakes, it finds one badge with all of them, and signals all of them
/// before the root task runs: that finds one badge too.
fn coalesced(stage: &mut Stage<'_>, component: &Component, exchanges: &[Shared]) -> Result<(), Failure> {
    let system = stage.system;
    let before = Tally::now(stage, exchanges);
    let (badges, coalesced) = (stage.badges, stage.coalesced);
    let (mut taken, mut left) = (0, 0);
    for _ in 0..COALESCED_ROUNDS {
        component.pause(system)?;
        for link in 0..LINKS {
            stage.command(FIRST, Command::Emit, &[link.into(), 1])?;
        }
        component.go_on(system)?;
        for link in 0..LINKS {
            let [more, ..] = stage.command(FIRST, Command::Await, &[link.into(), 1])?;
            let [_, rest, ..] = stage.command(FIRST, Command::Take, &[link.into(), 0])?;
            taken += more;
            left += rest;
        }
    }
    let Tally { emitted, served, received } = Tally::now(stage, exchanges).since(before);
    let (badges, coalesced) = (stage.badges - badges, stage.coalesced - coalesced);
    println!(
        "[vmm] check=coalesced rounds={COALESCED_ROUNDS} emitted={emitted} served={served} received={received} taken={taken} left={left} \
         badges={badges} coalesced={coalesced}"
    );
    Ok(())
}

/// Stores that the kernel stops, because the page is mapped for reading.
fn read_only(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let refused = stage.guests[FIRST].counts.refused;
    let [before, after, ..] = stage.command(FIRST, Command::StoreEvents, &[0, NAME, 0xffff_ffff])?;
    let stopped = stage.guests[FIRST].counts.refused - refused;
    println!("[vmm] check=read-only-event-page before={before:#x} after={after:#x} stopped={stopped}");
    let refused = stage.guests[FIRST].counts.refused;
    let read_only = u32::try_from(READ_ONLY).unwrap_or(u32::MAX);
    let [before, after, ..] = stage.command(FIRST, Command::StoreDataport, &[read_only, 1, 0, 0xffff_ffff])?;
    let stopped = stage.guests[FIRST].counts.refused - refused;
    println!("[vmm] check=read-only-dataport before={before:#x} after={after:#x} stopped={stopped}");
    Ok(())
}

/// The last word of a dataport of 2 MiB.
fn large_frame(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let faults = stage.guests[FIRST].counts.faults;
    let large = u32::try_from(LARGE).unwrap_or(u32::MAX);
    let [before, after, ..] = stage.command(FIRST, Command::StoreDataport, &[large, 1, FAR, 0x1234_5678])?;
    // One is the report that the command is done.
    let faults = stage.guests[FIRST].counts.faults - faults - 1;
    println!("[vmm] check=large-frame before={before:#x} after={after:#x} faults={faults}");
    Ok(())
}

/// Stores to EMIT by instructions that nobody expects there: whatever they are, the guest goes on, and those that cover it emit.
fn odd_instructions(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let emitted = |stage: &Stage<'_>| stage.guests[FIRST].statuses().next().map_or(0, |status| status.emitted);
    let before = emitted(stage);
    let undecoded = stage.guests[FIRST].counts.undecoded;
    let mut tried = 0;
    while let [1, ..] = stage.command(FIRST, Command::Odd, &[0, tried])? {
        tried += 1;
    }
    let emitted = emitted(stage) - before;
    let undecoded = stage.guests[FIRST].counts.undecoded - undecoded;
    // What the component has answered.
    let [taken, left, ..] = stage.command(FIRST, Command::Take, &[0, u32::MAX])?;
    println!("[vmm] check=odd-instructions tried={tried} emitted={emitted} undecoded={undecoded} taken={taken} left={left}");
    Ok(())
}

/// Disorder in configuration space, and order again.
fn hostile(stage: &mut Stage<'_>, window: &[u32]) -> Result<(), Failure> {
    let [steps, ..] = stage.command(FIRST, Command::Hostile, &[0x5eed, HOSTILE_STEPS])?;
    let [found, ..] = stage.command(FIRST, Command::Enumerate, window)?;
    for link in 0..found {
        stage.command(FIRST, Command::SetInterrupt, &[link, 1])?;
    }
    let [_, left, ..] = stage.command(FIRST, Command::Take, &[0, u32::MAX])?;
    let [rounds, wrong, ..] = stage.command(FIRST, Command::RoundTrips, &[0, 100])?;
    println!("[vmm] check=hostile-configuration steps={steps} found={found} rounds={rounds} wrong={wrong} left={left}");
    Ok(())
}

/// Events between the two guests, on a connection that comes while they run.
fn pair(stage: &mut Stage<'_>, window: &[u32]) -> Result<(), Failure> {
    connect_pair(stage)?;
    stage.command(FIRST, Command::Enumerate, window)?;
    stage.command(SECOND, Command::Enumerate, window)?;
    let (first, second) = (u32::from(LINKS), 1);
    stage.begin(SECOND, Command::Await, &[second, PAIR_EVENTS])?;
    stage.command(FIRST, Command::Emit, &[first, PAIR_EVENTS])?;
    let [to_second, ..] = stage.finish(SECOND)?;
    stage.begin(FIRST, Command::Await, &[first, PAIR_EVENTS])?;
    stage.command(SECOND, Command::Emit, &[second, PAIR_EVENTS])?;
    let [to_first, ..] = stage.finish(FIRST)?;
    println!("[vmm] check=guest-to-guest to-second={to_second} to-first={to_first}");
    Ok(())
}

/// The first guest jumps to where nothing is, and ends; the second one goes on.
fn alone(stage: &mut Stage<'_>, exchange: &Shared) -> Result<(), Failure> {
    let [before, ..] = stage.command(SECOND, Command::RoundTrips, &[0, SECOND_ROUNDS])?;
    let reason = stage.last_command(FIRST, Command::Jump, &[thread::NOWHERE])?;
    let reason = reason.map_or("none", Reason::name);
    let [after, wrong, ..] = stage.command(SECOND, Command::RoundTrips, &[0, SECOND_ROUNDS])?;
    let served = exchange.exchange().served.load(Relaxed);
    println!("[vmm] check=ends-alone reason={reason} before={before} after={after} wrong={wrong} served={served}");
    Ok(())
}

/// A third guest listens where its own faults go, and those of the others: it ends for that, and they go on.
fn overhear(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let number = stage.add_guest()?;
    stage.start(number)?;
    let slot = u32::try_from(FAULTS).unwrap_or(u32::MAX);
    let reason = stage.last_command(number, Command::Listen, &[slot])?;
    let [rounds, wrong, ..] = stage.command(SECOND, Command::RoundTrips, &[0, SECOND_ROUNDS])?;
    if let Some(guest) = stage.guests.pop() {
        guest.destroy();
    }
    println!("[vmm] check=overhear reason={} rounds={rounds} wrong={wrong}", reason.map_or("none", Reason::name));
    Ok(())
}

/// A third guest comes, strays, and goes: nothing of it stays.
fn given_back(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let system = stage.system;
    let [mut before, mut after] = [Account::default(); 2];
    let mut reason = None;
    // Once more than it is measured: translation tables of the root task's own stay.
    for round in 0..2 {
        before = if round == 1 { Account::of(system) } else { before };
        let number = stage.add_guest()?;
        let frame = system.create(FrameKind::Small.object())?;
        let end = connection("last")?.with_event(event(LINKS + 3)?);
        stage.guests[number].install([with_port(end, frame, FrameKind::Small, Rights::ReadWrite)?])?;
        stage.start(number)?;
        stage.command(number, Command::Enumerate, &[1, thread::WINDOW, thread::WINDOW_LENGTH])?;
        reason = stage.last_command(number, Command::Store, &[thread::NOWHERE, 1])?;
        if let Some(guest) = stage.guests.pop() {
            guest.destroy();
        }
        system.destroy(frame);
        after = Account::of(system);
    }
    println!(
        "[vmm] check=given-back reason={} capabilities-before={} capabilities-after={} bytes-before={} bytes-after={}",
        reason.map_or("none", Reason::name),
        before.capabilities,
        after.capabilities,
        before.bytes,
        after.bytes
    );
    Ok(())
}
