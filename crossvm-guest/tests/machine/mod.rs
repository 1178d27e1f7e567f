//! A VM of crossvm-core and crossvm-pci on the testkit's fakes, as a program in it reaches it: each access of the driver goes where a
//! guest's would go, to what is mapped, or else to the VM monitor.

use std::cell::RefCell;
use std::rc::Rc;

use crossvm_core::device::Name;
use crossvm_core::{
    BarWidth, Bdf, Config, ConfigAccess, Connection, CrossVm, EventId, EventSet, GuestAccess, GuestAddr, InterruptMode, Outcome, Parts,
    PciSpace, Rights, Width,
};
use crossvm_guest::bare::{Bus, ConfigRegionAccess, PciAddress, PhysicalMemory, PhysicalRange};
use crossvm_guest::{Word, Words};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{Doorbell, FakeDataport, FakeInterrupts, FakeIrqs, FakeMemory, FakeNotifier, RAM, WINDOW, range};

/// Most connections of a machine.
pub(crate) const CONNECTIONS: usize = 64;

pub(crate) type Vm = Parts<FakeMemory, PciBus<CONNECTIONS>, FakeIrqs, FakeInterrupts>;

/// What a connection shall be like.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) dataports: Vec<(u64, BarWidth, Rights)>,
    pub(crate) mode: InterruptMode,
}

pub(crate) struct Inner {
    pub(crate) vm: Vm,
    pub(crate) connections: CrossVm<Vm, FakeDataport, FakeNotifier, CONNECTIONS>,
    pub(crate) peer: Doorbell,
    /// The peers' handles of the dataports, by connection.
    pub(crate) shared: Vec<Vec<FakeDataport>>,
}

/// The machine; clones are handles of the same.
#[derive(Clone)]
pub(crate) struct Machine(pub(crate) Rc<RefCell<Inner>>);

impl Machine {
    /// With these connections; those that are too many for the bus are left out. Connection i receives and emits event i.
    pub(crate) fn new(config: Config, plans: &[Plan]) -> Self {
        let mut inner = Inner {
            vm: Parts {
                memory: FakeMemory::new([range(RAM)]),
                pci: PciBus::new(HostBridge::default(), range(WINDOW)),
                irqs: FakeIrqs::new(32..96),
                interrupts: FakeInterrupts::default(),
            },
            connections: CrossVm::new(config),
            peer: Doorbell::default(),
            shared: Vec::new(),
        };
        for (index, plan) in (0..).zip(plans) {
            let event = EventId::new(index).unwrap();
            let name = Name::new(&format!("connection {index}")).unwrap();
            let mut connection = Connection::new(name).with_emit(inner.peer.notifier(event)).with_event(event).with_interrupt(plan.mode);
            let mut shared = Vec::new();
            for (size, width, rights) in &plan.dataports {
                let dataport = FakeDataport::new(*size);
                shared.push(dataport.clone());
                connection = match width {
                    BarWidth::Bits32 => connection.with_dataport(dataport, *rights).unwrap(),
                    BarWidth::Bits64 => connection.with_wide_dataport(dataport, *rights).unwrap(),
                };
            }
            if inner.connections.install(&mut inner.vm, [connection]).is_err() {
                break;
            }
            inner.shared.push(shared);
        }
        Self(Rc::new(RefCell::new(inner)))
    }

    #[allow(dead_code, reason = "not every test drives the bus itself")]
    pub(crate) fn bus(&self) -> Bus<Self> {
        Bus::new(self.clone())
    }

    /// The peer of connection `index` emits.
    pub(crate) fn signal(&self, index: u8) {
        let Inner { vm, connections, .. } = &mut *self.0.borrow_mut();
        connections.consume(vm, EventSet::of(EventId::new(index).unwrap())).unwrap();
    }

    /// Whether any line is high.
    pub(crate) fn interrupted(&self) -> bool {
        self.0.borrow().vm.interrupts.high().next().is_some()
    }
}

fn bdf(address: PciAddress) -> Bdf {
    Bdf::new(address.bus(), address.device(), address.function()).unwrap()
}

// The trait's methods are unsafe to call, and this crate's lint is about blocks: there are none here.
#[allow(unsafe_code, reason = "the trait demands it; nothing unsafe is done")]
impl ConfigRegionAccess for Machine {
    unsafe fn read(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.borrow().vm.pci.read(bdf(address), ConfigAccess { offset, width: Width::U32 })
    }

    unsafe fn write(&self, address: PciAddress, offset: u16, value: u32) {
        let Inner { vm, connections, .. } = &mut *self.0.borrow_mut();
        if let Some(effect) = vm.pci.write(bdf(address), ConfigAccess { offset, width: Width::U32 }, value) {
            connections.apply(vm, effect).unwrap();
        }
    }
}

impl PhysicalMemory for Machine {
    type Region = Region;

    fn region(&self, range: PhysicalRange) -> Option<Region> {
        Some(Region { machine: self.clone(), range })
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

/// Guest-physical memory, each access of which is the guest's.
#[derive(Debug)]
pub(crate) struct Region {
    machine: Machine,
    range: PhysicalRange,
}

impl Region {
    fn at<W: Word>(&self, offset: usize) -> Option<(GuestAddr, Width)> {
        let inside = offset.checked_add(size_of::<W>())? <= self.len() && offset.is_multiple_of(size_of::<W>());
        let at = GuestAddr::new(self.range.start() + u64::try_from(offset).ok()?);
        Some((at, Width::from_bytes(u64::try_from(size_of::<W>()).ok()?)?)).filter(|_| inside)
    }
}

impl Words for Region {
    fn len(&self) -> usize {
        usize::try_from(self.range.length()).unwrap()
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        let (at, width) = self.at::<W>(offset)?;
        let Inner { vm, connections, .. } = &mut *self.machine.0.borrow_mut();
        let value = match vm.memory.load(at, width.bytes()) {
            Ok(bytes) => bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            Err(_) => match connections.handle(vm, GuestAccess::Read { at, width }).unwrap() {
                Outcome::Read(value) => value,
                other => panic!("a load at {at} gave {other:?}"),
            },
        };
        Some(W::from_low_bits(value))
    }

    fn store<W: Word>(&self, offset: usize, value: W) -> Option<()> {
        let (at, width) = self.at::<W>(offset)?;
        let Inner { vm, connections, .. } = &mut *self.machine.0.borrow_mut();
        let bytes = value.into().to_le_bytes();
        if vm.memory.store(at, &bytes[..size_of::<W>()]).is_err() {
            let outcome = connections.handle(vm, GuestAccess::Write { at, width, value: value.into() }).unwrap();
            assert_ne!(outcome, Outcome::NotOurs, "a store at {at}");
        }
        Some(())
    }
}
