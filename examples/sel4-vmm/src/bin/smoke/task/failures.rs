//! Installs that fail, at every call to the kernel and to the allocator: afterwards everything is as before, by the kernel's own account.

use core::cell::RefCell;

use crossvm_core::device::Name;
use crossvm_core::{Connection, CrossVm, Parts, Rights};
use crossvm_sel4::kernel::{CPtr, Kernel, Object, Space};
use crossvm_sel4::libsel4::{Libsel4, slots};
use crossvm_sel4::{Frame, FrameDataport, FrameKind, NotificationNotifier, ObjectPool, Objects, VSpace};
use heapless::Vec;
use sel4_vmm::println;
use sel4_vmm::task::{System, Trouble};

use super::account;
use super::failing::{Failing, Gate};
use super::guest::{self, CONNECTIONS};
use super::lines::{Interrupt, Lines};
use super::sabotage::Sabotage;
use super::stage::event;

/// Connections that are installed.
const LINKS: u8 = 8;
/// Untyped memory for the trial: 2^this bytes.
const MEMORY: u8 = 20;
/// Pieces of it, and words of its slots.
const PIECES: usize = 600;
const WORDS: usize = 16;
/// More calls than an install makes.
const MOST_STEPS: u32 = 2_000;

type Store<'a> = ObjectPool<Failing<'a>, WORDS, PIECES>;

/// What is left in the trial's own pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    /// Slots that are not empty.
    capabilities: u64,
    /// Pages that could be made of the untyped memory, and the sum of their physical addresses.
    pages: u64,
    addresses: u64,
    /// Interrupt lines in use.
    lines: u32,
}

/// Fills the pool with pages, asks the kernel where they are, and destroys them.
fn probe(kernel: Libsel4, store: &RefCell<Store<'_>>, own: core::ops::Range<u64>, lines: u32) -> Left {
    let mut made = Vec::<CPtr, 512>::new();
    let (mut pages, mut addresses) = (0, 0);
    let mut store = store;
    while let Ok(slot) = store.allocate_slots(1) {
        if made.is_full() || store.create(Object::SmallFrame, slot).is_err() {
            store.release_slots(slot, 1);
            break;
        }
        pages += 1;
        addresses += kernel.frame_address(slot).unwrap_or(0);
        // There is a place: see above.
        let _ = made.push(slot);
    }
    for slot in made {
        store.destroy(slot);
        store.release_slots(slot, 1);
    }
    Left { capabilities: account::capabilities(kernel, own), pages, addresses, lines }
}

/// Fails an install of eight connections at its first call, at its second, and so on until it succeeds.
pub(crate) fn install_failures(system: System<'_>) -> Result<(), Trouble> {
    let kernel = system.kernel();
    let gate = Gate::default();
    let failing = Failing::new(kernel, &gate);
    let count = WORDS * 64;
    let first = system.objects().borrow_mut().allocate_slots(count)?;
    let mut store = Store::new(failing, first, count)?;
    store.add_untyped(system.create(Object::Untyped(MEMORY))?, MEMORY)?;
    let store = RefCell::new(store);
    // Behind the capabilities of the pieces, which come and go as the pool likes.
    let own = first.raw() + PIECES as u64..first.raw() + count as u64;

    let vspace = system.create(Object::VSpace)?;
    kernel.assign_asid(slots::ASID_POOL, vspace)?;
    let notification = system.create(Object::Notification)?;
    let mut frames = Vec::<CPtr, { LINKS as usize }>::new();
    for _ in 0..LINKS {
        // As many places as connections.
        let _ = frames.push(system.create(FrameKind::Small.object())?);
    }
    let memory = VSpace::new(failing, failing.objects(&store), Space::Virtual(vspace), system.window(15)?);
    let memory: VSpace<_, _, _> = memory.map_err(|_| Trouble::Program("the trial's address space cannot be opened"))?;
    let mut backend = Parts { memory, pci: guest::bus()?, irqs: Lines::default(), interrupts: Interrupt::new(kernel, notification) };
    let mut connections: CrossVm<_, FrameDataport<[Frame; 1]>, NotificationNotifier<Libsel4>, CONNECTIONS> = CrossVm::new(guest::config());

    // The first probe splits the memory as far as it goes.
    let settled = probe(kernel, &store, own.clone(), 0);
    let before = probe(kernel, &store, own.clone(), 0);
    let (mut failures, mut unequal) = (0, 0);
    let mut steps = 0;
    let installed = loop {
        let mut ends = Vec::<_, { LINKS as usize }>::new();
        for (index, frame) in (0..).zip(&frames) {
            let _ = ends.push(end(kernel, index, *frame, notification)?);
        }
        gate.fail_at(steps);
        let result = connections.install(&mut backend, ends);
        gate.open();
        match result {
            Ok(ids) => break ids.len(),
            Err(_) if steps > MOST_STEPS => break 0,
            Err(_) => {}
        }
        if Sabotage::LeakSlot.is_on() && steps == 20 {
            let slot = store.borrow_mut().allocate_slots(1)?;
            kernel.copy(notification, slot, crossvm_sel4::kernel::CapRights::ALL)?;
        }
        if Sabotage::LeakMemory.is_on() && steps == 20 {
            let slot = store.borrow_mut().allocate_slots(1)?;
            store.borrow_mut().create(Object::SmallFrame, slot)?;
        }
        failures += 1;
        unequal += u32::from(probe(kernel, &store, own.clone(), backend.irqs.used()) != before);
        steps += 1;
    };
    let ids: Vec<_, CONNECTIONS> = connections.connections().collect();
    for id in ids {
        let _ = connections.remove(&mut backend, id);
    }
    let after = probe(kernel, &store, own, backend.irqs.used());
    println!(
        "[vmm] check=install-failures failures={failures} unequal={unequal} installed={installed} removed={} pages={} settled={} calls={}",
        u8::from(after == before),
        before.pages,
        settled.pages,
        gate.calls()
    );
    Ok(())
}

fn end(
    kernel: Libsel4,
    index: u8,
    frame: CPtr,
    notification: CPtr,
) -> Result<Connection<FrameDataport<[Frame; 1]>, NotificationNotifier<Libsel4>>, Trouble> {
    const NAMES: [&str; LINKS as usize] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const BAD: Trouble = Trouble::Program("the trial's connections cannot be described");
    let name = NAMES.get(usize::from(index)).and_then(|name| Name::new(name)).ok_or(BAD)?;
    let port = FrameDataport::new([Frame::new(frame, FrameKind::Small)]).map_err(|_| BAD)?;
    let end = Connection::new(name).with_emit(NotificationNotifier::new(kernel, notification)).with_event(event(index)?);
    end.with_dataport(port, Rights::ReadWrite).map_err(|_| BAD)
}
