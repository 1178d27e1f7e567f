//! The trial: what the guest is told to do, and what came of it, one line for each check. `cargo xtask sel4 vtx` says what the numbers must be.

use core::fmt;
use core::sync::atomic::Ordering;

use crossvm_core::{ConnectionId, Notifier, Status};
use sel4_guest::{Command, Found, MAX_RESULTS, Mailbox, Report, machine};
use sel4_vmm::println;
use sel4_vmm::task::Trouble;

use crate::machine::{Counts, Ended, MOST, Machine};
use crate::peers::{BELOW, CONNECTIONS, PRIORITY};

/// Rounds of the main check.
const ROUNDS: u32 = 1000;
/// Rounds on all connections side by side.
const ROUNDS_ON_ALL: u32 = 100;
/// Words that the guest reads of the dataport that it may read only.
const WORDS: u32 = 64;
/// Index of the connection without a peer.
const NOTICE: u32 = CONNECTIONS as u32;
/// Where the second enumeration places the BARs: in the middle of the window.
const ELSEWHERE: u32 = machine::WINDOW + machine::WINDOW_LENGTH / 2;

/// Why a check came to nothing.
#[derive(Debug)]
enum Broken {
    /// The guest did something else than to report that it is ready.
    Guest(Ended),
    /// It could not do what it was told; the number is its own.
    Command(u32),
    /// The root task could not.
    Monitor(Trouble),
}

impl From<Trouble> for Broken {
    fn from(failure: Trouble) -> Self {
        Self::Monitor(failure)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(Ended::Reported(number)) => write!(f, "the guest reports {number}"),
            Self::Guest(Ended::Halted) => f.write_str("the guest has halted for good"),
            Self::Guest(Ended::Stalled) => f.write_str("the guest waits for an interrupt, and nobody is left who could cause one"),
            Self::Guest(Ended::Stopped(stop)) => stop.fmt(f),
            Self::Command(error) => write!(f, "the guest could not do what it was told (error {error})"),
            Self::Monitor(failure) => failure.fmt(f),
        }
    }
}

type Check<'a> = fn(&mut Trial<'a>) -> Result<(), Broken>;
type Results = Result<[u32; MAX_RESULTS], Broken>;

/// The trial of one guest.
pub(crate) struct Trial<'a> {
    machine: Machine<'a>,
    mailbox: &'static Mailbox,
}

impl<'a> Trial<'a> {
    /// Of this machine.
    pub(crate) fn new(machine: Machine<'a>) -> Result<Self, Trouble> {
        let mailbox = machine.mailbox()?;
        Ok(Self { machine, mailbox })
    }

    /// All checks, until one comes to nothing: behind it none could tell anything.
    pub(crate) fn run(mut self) -> Result<(), Trouble> {
        let checks: [(&str, Check<'a>); 13] = [
            ("start", Self::start),
            ("enumeration", Self::enumeration),
            ("moved-bars", Self::moved_bars),
            ("round-trips", Self::round_trips),
            ("side-by-side", Self::side_by_side),
            ("preempted", Self::preempted),
            ("dataport", Self::dataport),
            ("rights", Self::rights),
            ("pending", Self::pending),
            ("odd-stores", Self::odd_stores),
            ("hostile", Self::hostile),
            ("crash", Self::crash),
            ("reboot", Self::reboot),
        ];
        for (name, check) in checks {
            if let Err(broken) = check(&mut self) {
                println!("[vmm] {name}: {broken}");
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs the guest until it is ready for a command.
    fn ready(&mut self) -> Result<(), Broken> {
        match self.machine.run()? {
            Ended::Reported(number) if Report::from_number(number) == Some(Report::Ready) => Ok(()),
            ended => Err(Broken::Guest(ended)),
        }
    }

    /// Has the guest do something.
    fn command(&mut self, command: Command, arguments: &[u32]) -> Results {
        self.mailbox.put(command, arguments);
        self.ready()?;
        self.mailbox.outcome().unwrap_or(Err(0)).map_err(Broken::Command)
    }

    /// What the monitor knows of connection `index`.
    fn status(&self, index: u32) -> Option<Status> {
        let id: ConnectionId = self.machine.connections.connections().nth(index as usize)?;
        self.machine.connections.status(id)
    }

    /// How many connections the guest has found where the monitor has mapped them, with the right sizes and names.
    fn agreeing(&self) -> usize {
        let found = self.mailbox.found().iter().take(MOST);
        found.filter(|found| (0..=NOTICE).filter_map(|index| self.status(index)).any(|status| agrees(found, &status))).count()
    }

    fn start(&mut self) -> Result<(), Broken> {
        self.ready()?;
        println!("[vmm] check=start ports={}", self.machine.counts.ports);
        Ok(())
    }

    fn enumeration(&mut self) -> Result<(), Broken> {
        let [found, ..] = self.command(Command::Enumerate, &[])?;
        let Counts { ports, .. } = self.machine.counts;
        println!("[vmm] check=enumeration connections={MOST} found={found} agreeing={} ports={ports}", self.agreeing());
        Ok(())
    }

    fn moved_bars(&mut self) -> Result<(), Broken> {
        let before = self.mailbox.found().first().map_or(0, |found| found.events.load(Ordering::Relaxed));
        let [found, ..] = self.command(Command::Enumerate, &[1, ELSEWHERE, machine::WINDOW_LENGTH / 2])?;
        let [old, ..] = self.command(Command::Load, &[before + 4])?;
        let moved = self.mailbox.found().iter().take(MOST).filter(|found| found.events.load(Ordering::Relaxed) >= ELSEWHERE).count();
        println!("[vmm] check=moved-bars found={found} moved={moved} agreeing={} old={old:x}", self.agreeing());
        Ok(())
    }

    /// Rounds of a command, and what everybody has counted of them.
    fn rounds(&mut self, name: &str, command: Command, arguments: &[u32], connections: &[u32]) -> Result<(), Broken> {
        let sums = |trial: &Self| {
            let mut sums = [0_u64; 4];
            for index in connections {
                let status = trial.status(*index);
                let served = trial.machine.ends.get(*index as usize).map_or(0, |end| end.exchange().served.load(Ordering::Relaxed));
                let counted = status.map_or([0; 3], |status| [status.emitted, status.received, status.dropped]);
                for (sum, value) in sums.iter_mut().zip(counted.into_iter().chain([u64::from(served)])) {
                    *sum += value;
                }
            }
            sums
        };
        let (before, counts, delivered) = (sums(self), self.machine.counts, self.machine.delivered());
        let results = self.command(command, arguments);
        let after = sums(self);
        let [emitted, received, dropped, served] = core::array::from_fn(|index| {
            let value = |sums: &[u64; 4]| sums.get(index).copied().unwrap_or(0);
            value(&after) - value(&before)
        });
        let (now, delivered) = (self.machine.counts, self.machine.delivered() - delivered);
        let (halts, signals, memory) = (now.halts - counts.halts, now.signals - counts.signals, now.memory - counts.memory);
        let [done, wrong, events, waits, ..] = results.as_ref().copied().unwrap_or_default();
        println!(
            "[vmm] check={name} connections={} rounds={done} wrong={wrong} events={events} waits={waits} emitted={emitted} served={served} \
             received={received} dropped={dropped} interrupts={delivered} halts={halts} signals={signals} accesses={memory}",
            connections.len()
        );
        results.map(drop)
    }

    fn round_trips(&mut self) -> Result<(), Broken> {
        self.rounds("round-trips", Command::RoundTrips, &[0, ROUNDS], &[0])
    }

    /// The connection without a peer cannot take part, so each of the others does in turn.
    fn side_by_side(&mut self) -> Result<(), Broken> {
        for (index, name) in (1..NOTICE).zip(["second", "third"]) {
            self.rounds(name, Command::RoundTrips, &[index, ROUNDS_ON_ALL], &[index])?;
        }
        Ok(())
    }

    /// The peer runs at once when it is signalled: its answer breaks in before the guest is entered again.
    fn preempted(&mut self) -> Result<(), Broken> {
        self.machine.set_priority(BELOW)?;
        self.rounds("preempted", Command::RoundTrips, &[0, ROUNDS_ON_ALL], &[0])?;
        Ok(self.machine.set_priority(PRIORITY)?)
    }

    /// The guest reads what the monitor has written, word for word.
    fn dataport(&mut self) -> Result<(), Broken> {
        let pattern = |word: u32| word.wrapping_mul(0x9e37_79b9).rotate_left(13);
        let mut bytes = [0; WORDS as usize * 4];
        for (word, bytes) in (0..).zip(bytes.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&pattern(word).to_le_bytes());
        }
        self.machine.notice.fill(&bytes);
        let (mut read, mut written) = (Digest::default(), Digest::default());
        for word in 0..WORDS {
            let [value, ..] = self.command(Command::LoadDataport, &[NOTICE, 0, word * 4])?;
            read.add(value);
            written.add(pattern(word));
        }
        println!("[vmm] check=dataport words={WORDS} written={:x} read={:x}", written.0, read.0);
        Ok(())
    }

    /// Stores where the guest may only read do nothing, and it goes on.
    fn rights(&mut self) -> Result<(), Broken> {
        let memory = self.machine.counts.memory;
        let mut changed = 0_u32;
        for (command, arguments) in [
            // The name, the signature, a reserved word, and the dataport that the guest may read only.
            (Command::StoreEvents, [0, 0x08, u32::MAX, 0]),
            (Command::StoreEvents, [0, 0x40, 0, 0]),
            (Command::StoreEvents, [0, 0xffc, u32::MAX, 0]),
            (Command::StoreDataport, [NOTICE, 0, 0, u32::MAX]),
            (Command::StoreDataport, [NOTICE, 0, 4, 0]),
        ] {
            let [before, after, ..] = self.command(command, &arguments)?;
            changed += u32::from(before != after);
        }
        println!("[vmm] check=rights stores=5 trapped={} changed={changed}", self.machine.counts.memory - memory);
        Ok(())
    }

    /// Events that come while the guest's function may not interrupt are there when it may.
    fn pending(&mut self) -> Result<(), Broken> {
        self.command(Command::SetInterrupt, &[0, 0])?;
        let delivered = self.machine.delivered();
        self.command(Command::Emit, &[0, 1])?;
        self.machine.settle()?;
        let early = self.machine.delivered() - delivered;
        let count = self.status(0).map_or(0, |status| status.count);
        self.command(Command::SetInterrupt, &[0, 1])?;
        let [taken, ..] = self.command(Command::Await, &[0, 1])?;
        println!("[vmm] check=pending early={early} count={count} taken={taken}");
        Ok(())
    }

    /// Stores to EMIT by instructions that no decoder has to know emit all the same.
    fn odd_stores(&mut self) -> Result<(), Broken> {
        let emitted = |trial: &Self| trial.status(0).map_or(0, |status| status.emitted);
        let (before, mut executed, mut emitting) = (emitted(self), 0_u32, 0_u32);
        for number in 0..64 {
            let one = emitted(self);
            let [done, ..] = self.command(Command::Odd, &[0, number])?;
            if done == 0 {
                break;
            }
            executed += 1;
            emitting += u32::from(emitted(self) > one);
        }
        // What the peer has answered is nobody's business any more.
        self.machine.settle()?;
        self.command(Command::Take, &[0, u32::MAX])?;
        println!("[vmm] check=odd-stores instructions={executed} emitting={emitting} emits={}", emitted(self) - before);
        Ok(())
    }

    /// After accesses to configuration space that no driver makes, the guest finds its connections again.
    fn hostile(&mut self) -> Result<(), Broken> {
        let [steps, ..] = self.command(Command::Hostile, &[1, 2000])?;
        let [found, ..] = self.command(Command::Enumerate, &[1, machine::WINDOW, machine::WINDOW_LENGTH / 2])?;
        let agreeing = self.agreeing();
        println!("[vmm] check=hostile steps={steps} found={found} agreeing={agreeing}");
        self.command(Command::SetInterrupt, &[0, 1])?;
        self.rounds("after-hostile", Command::RoundTrips, &[0, ROUNDS_ON_ALL], &[0])
    }

    /// A guest that jumps to where nothing is ends alone: its peer answers on.
    fn crash(&mut self) -> Result<(), Broken> {
        self.mailbox.put(Command::Jump, &[machine::NOWHERE]);
        let ended = self.machine.run()?;
        let answered = self.ask_the_peer(77)?;
        match ended {
            Ended::Stopped(stop) => println!("[vmm] the guest has ended: {stop}"),
            ended => return Err(Broken::Guest(ended)),
        }
        println!("[vmm] check=crash stopped=1 peer={}", u32::from(answered));
        Ok(())
    }

    /// The monitor asks the peer itself: whether the answer is right.
    fn ask_the_peer(&mut self, request: u32) -> Result<bool, Trouble> {
        let [end, ..] = &self.machine.ends;
        end.exchange().request.store(request, Ordering::SeqCst);
        // It never fails.
        let _ = end.signal.notify();
        self.machine.settle()?;
        let [end, ..] = &self.machine.ends;
        Ok(end.exchange().answer.load(Ordering::SeqCst) == sel4_guest::peer::answer(request))
    }

    /// The guest is started anew, and everything works as before.
    fn reboot(&mut self) -> Result<(), Broken> {
        self.machine.reset()?;
        self.ready()?;
        let [found, ..] = self.command(Command::Enumerate, &[])?;
        println!("[vmm] check=reboot found={found} agreeing={}", self.agreeing());
        self.rounds("after-reboot", Command::RoundTrips, &[0, ROUNDS_ON_ALL], &[0])?;
        self.mailbox.put(Command::Stop, &[]);
        match self.machine.run()? {
            Ended::Halted => Ok(()),
            ended => Err(Broken::Guest(ended)),
        }
    }
}

/// What the guest has found is what the monitor has mapped.
fn agrees(found: &Found, status: &Status) -> bool {
    let load = |word: &core::sync::atomic::AtomicU32| word.load(Ordering::Relaxed);
    let name = found.name.iter().flat_map(|word| load(word).to_le_bytes());
    let named = name.take_while(|byte| *byte != 0).eq(status.name.as_str().bytes());
    let mapped = status.bars.iter().map(|bar| bar.mapped_at.map(|at| at.get()));
    let seen = [Some(&found.events), found.dataports.first().map(|dataport| &dataport.address)];
    let seen = seen.into_iter().map(|word| word.map(|word| u64::from(load(word))));
    let size = found.dataports.first().map_or(0, |dataport| load(&dataport.size));
    named && mapped.take(2).eq(seen) && size == 4096 && load(&found.dataport_count) == 1
}

/// FNV-1a over words.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
