//! A VMM on fake backends: two simulated guests exchange a message through a connection, step by step.
//!
//! What is real here: the PCI bus, the event registers, the interrupt levels. What is simulated: the guests' memory and CPUs.

use crossvm_core::device::Name;
use crossvm_core::{BarIndex, Config, ConfigAccess, Connection, CrossVm, EventId, GuestAccess, GuestAddr, Parts, PciSpace, Rights, Width};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, RAM, WINDOW, range};

/// The backends of one VM. On a real hypervisor, these are its page tables, its bus, its free lines and its interrupt controller.
type Backends = Parts<FakeMemory, PciBus<4>, FakeIrqs, FakeInterrupts>;
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One virtual machine: backends and connections, side by side.
struct Vm {
    name: &'static str,
    backends: Backends,
    connections: CrossVm<Backends, FakeDataport, FakeNotifier, 4>,
    /// Events of peers that wait for this VM.
    doorbell: Doorbell,
}

impl Vm {
    fn new(name: &'static str) -> Self {
        let backends = Parts {
            memory: FakeMemory::new([range(RAM)]),
            pci: PciBus::new(HostBridge::default(), range(WINDOW)),
            irqs: FakeIrqs::new(32..64),
            interrupts: FakeInterrupts::default(),
        };
        Self { name, backends, connections: CrossVm::new(Config::default()), doorbell: Doorbell::default() }
    }

    /// What a VMM does when its guest's store traps.
    fn trap(&mut self, at: GuestAddr, value: u64) -> Result {
        let outcome = self.connections.handle(&mut self.backends, GuestAccess::Write { at, width: Width::U32, value })?;
        println!("[{}] the guest's store to {at} traps: {outcome:?}", self.name);
        Ok(())
    }

    /// What a VMM does when it learns that peers have signalled.
    fn serve_events(&mut self) -> Result {
        let events = self.doorbell.take();
        self.connections.consume(&mut self.backends, events)?;
        let high: Vec<_> = self.backends.interrupts.high().collect();
        println!("[{}] the VMM consumes {events:?}; interrupt lines that are high now: {high:?}", self.name);
        Ok(())
    }

    /// What a guest's driver does first: find the function on the bus, and the addresses of its BARs.
    fn probe(&self) -> Result<(GuestAddr, GuestAddr)> {
        let pci = &self.backends.pci;
        let dword = |offset| ConfigAccess { offset, width: Width::U32 };
        let bdf = pci.functions().find(|bdf| pci.read(*bdf, dword(0)) == 0xa111_1af4).ok_or("no connection device")?;
        let bar = |index: u16| GuestAddr::new(u64::from(pci.read(bdf, dword(0x10 + 4 * index)) & !0xf));
        println!("[{}] the guest finds {bdf}: events at {}, dataport at {}", self.name, bar(0), bar(1));
        assert_eq!(pci.decoded(bdf, BarIndex::ALL[0]), Some(bar(0)));
        Ok((bar(0), bar(1)))
    }
}

fn main() -> Result {
    let (mut alice, mut bob) = (Vm::new("alice"), Vm::new("bob"));
    let event = EventId::new(0).ok_or("an event id is below 64")?;
    let mail = Name::new("mail").ok_or("a name is 1 to 48 printable characters")?;

    // One dataport, two ends: each emits to the other's doorbell.
    let dataport = FakeDataport::new(64 << 10);
    let doorbells = (bob.doorbell.clone(), alice.doorbell.clone());
    for (vm, peer) in [(&mut alice, doorbells.0), (&mut bob, doorbells.1)] {
        let connection = Connection::new(mail).with_dataport(dataport.clone(), Rights::ReadWrite)?;
        vm.connections.install(&mut vm.backends, [connection.with_emit(peer.notifier(event)).with_event(event)])?;
        println!("[{}] the VMM installs '{mail}'", vm.name);
    }

    send(&mut alice, b"hello, bob!")?;
    receive(&mut bob, b"hello, bob!")?;
    send(&mut bob, b"hi, alice!!")?;
    receive(&mut alice, b"hi, alice!!")?;
    println!("done: both messages arrived, and the interrupt lines are low again");
    Ok(())
}

/// The guest writes a message straight into shared memory, and emits.
fn send(vm: &mut Vm, message: &[u8]) -> Result {
    let (events, memory) = vm.probe()?;
    vm.backends.memory.store(memory, message).map_err(|fault| format!("{fault:?}"))?;
    println!("[{}] the guest writes '{}', without an exit", vm.name, String::from_utf8_lossy(message));
    vm.trap(events, 1)
}

/// The guest is interrupted, reads COUNT and the message without an exit, and clears COUNT.
fn receive(vm: &mut Vm, expected: &[u8]) -> Result {
    vm.serve_events()?;
    let (events, memory) = vm.probe()?;
    let count = events.checked_add(4).ok_or("COUNT lies behind EMIT")?;
    let load = |vm: &Vm, at, length| vm.backends.memory.load(at, length).map_err(|fault| format!("{fault:?}"));
    let message = load(vm, memory, expected.len() as u64)?;
    println!("[{}] the guest reads COUNT {:?} and '{}'", vm.name, load(vm, count, 4)?, String::from_utf8_lossy(&message));
    vm.trap(count, 0)?;
    let lines: Vec<_> = vm.backends.interrupts.high().collect();
    if message == expected && lines.is_empty() { Ok(()) } else { Err(format!("got {message:?}, lines high: {lines:?}").into()) }
}
