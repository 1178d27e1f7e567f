//! What holds after any calls.

use std::collections::BTreeMap;

use crossvm_sel4::kernel::{
    ArmVcpus, Attributes, Badge, CPtr, CapRights, Code, Kernel, KernelError, Label, Object, Space, ThreadSpaces, Threads, VirtualInterrupt,
};
use crossvm_testkit::sel4::{Arch, LIST_REGISTERS, ListRegister, SimKernel};
use proptest::prelude::*;

use super::{ALL, machine, make};

/// Slots that the calls use.
const SLOTS: u64 = 12;

/// A call. Slots are numbers from 0 on.
#[derive(Debug, Clone, Copy)]
enum Call {
    Retype(u64, Object, u64),
    Copy(u64, u64, CapRights),
    Mint(u64, u64, u64),
    Delete(u64),
    Revoke(u64),
    Assign(u64),
    MapFrame(u64, u64, CapRights),
    UnmapFrame(u64),
    MapTable(u64, u8, u64),
    UnmapTable(u64, u8),
    Bind(u64, u64),
    Configure(u64, u64),
    Signal(u64),
}

fn rights() -> impl Strategy<Value = CapRights> {
    prop::sample::select(vec![CapRights::ALL, CapRights::READ_WRITE, CapRights::READ, CapRights::WRITE, CapRights::NONE])
}

/// Few addresses, so that mappings meet.
fn address() -> impl Strategy<Value = u64> {
    (0u64..2, 0u64..2, 0u64..3).prop_map(|(directory, table, page)| (directory << 30) + (table << 21) + (page << 12))
}

fn call() -> impl Strategy<Value = Call> {
    let slot = || 0..SLOTS;
    let bits = || prop::sample::select(vec![21u8, 30]);
    let objects = vec![
        Object::SmallFrame,
        Object::SmallFrame,
        Object::LargeFrame,
        Object::Table(21),
        Object::Table(30),
        Object::Untyped(14),
        Object::Notification,
        Object::Tcb,
        Object::VSpace,
    ];
    prop_oneof![
        6 => (prop_oneof![3 => Just(0), 1 => slot()], prop::sample::select(objects), slot()).prop_map(|(from, object, to)| Call::Retype(from, object, to)),
        2 => (slot(), slot(), rights()).prop_map(|(from, to, rights)| Call::Copy(from, to, rights)),
        1 => (slot(), slot(), 0u64..8).prop_map(|(from, to, badge)| Call::Mint(from, to, badge)),
        3 => (1..SLOTS).prop_map(Call::Delete),
        1 => slot().prop_map(Call::Revoke),
        1 => slot().prop_map(Call::Assign),
        6 => (slot(), address(), rights()).prop_map(|(frame, at, rights)| Call::MapFrame(frame, at, rights)),
        2 => slot().prop_map(Call::UnmapFrame),
        4 => (slot(), bits(), address()).prop_map(|(table, bits, at)| Call::MapTable(table, bits, at)),
        1 => (slot(), bits()).prop_map(|(table, bits)| Call::UnmapTable(table, bits)),
        1 => (slot(), slot()).prop_map(|(tcb, notification)| Call::Bind(tcb, notification)),
        1 => (slot(), slot()).prop_map(|(tcb, root)| Call::Configure(tcb, root)),
        1 => slot().prop_map(Call::Signal),
    ]
}

/// A kernel whose VMM has the tables of 2^39 and one of 2^30, with untyped memory in slot 0 of the calls.
struct Machine {
    kernel: SimKernel,
    first: CPtr,
}

const SPACE: Space = Space::Virtual(SimKernel::VSPACE);

impl Machine {
    fn new(arch: Arch) -> Self {
        let kernel = SimKernel::new(arch, [16, 22]);
        let own = kernel.first_free();
        for (slot, bits) in [(own, 39), (own.offset(1), 30)] {
            make(&kernel, Object::Table(bits), slot);
            kernel.map_table(slot, bits, SPACE, 0).unwrap();
        }
        let first = own.offset(2);
        kernel.retype(SimKernel::UNTYPED.offset(1), Object::Untyped(22), first).unwrap();
        Self { kernel, first }
    }

    fn slot(&self, number: u64) -> CPtr {
        self.first.offset(number)
    }

    fn slots(&self) -> impl Iterator<Item = CPtr> + '_ {
        (0..SLOTS).map(|number| self.slot(number))
    }

    fn call(&self, call: Call) -> Result<(), KernelError> {
        let kernel = &self.kernel;
        let slot = |number| self.slot(number);
        match call {
            Call::Retype(from, object, to) => kernel.retype(slot(from), object, slot(to)),
            Call::Copy(from, to, rights) => kernel.copy(slot(from), slot(to), rights),
            Call::Mint(from, to, badge) => kernel.mint(slot(from), slot(to), CapRights::ALL, Badge::new(badge)),
            Call::Delete(at) => {
                self.unmap_where_needed([slot(at)]);
                kernel.delete(slot(at))
            }
            Call::Revoke(at) => {
                self.unmap_where_needed(self.slots());
                kernel.revoke(slot(at))
            }
            Call::Assign(root) => kernel.assign_asid(SimKernel::ASID_POOL, slot(root)),
            Call::MapFrame(frame, at, rights) => kernel.map_frame(slot(frame), SPACE, at, rights, Attributes::Memory),
            Call::UnmapFrame(frame) => kernel.unmap_frame(slot(frame)),
            Call::MapTable(table, bits, at) => kernel.map_table(slot(table), bits, SPACE, at),
            Call::UnmapTable(table, bits) => kernel.unmap_table(slot(table), bits, SPACE),
            Call::Bind(tcb, notification) => kernel.bind_notification(slot(tcb), slot(notification)),
            Call::Configure(tcb, root) => {
                let spaces = ThreadSpaces {
                    cspace: SimKernel::CSPACE,
                    guard_bits: 52,
                    vspace: slot(root),
                    fault_endpoint: CPtr::NULL,
                    ipc_buffer: None,
                };
                kernel.configure(slot(tcb), spaces)
            }
            Call::Signal(at) => {
                kernel.signal(slot(at));
                Ok(())
            }
        }
    }

    /// As every backend must before it deletes: 5.0.0 leaves what a copy has mapped.
    fn unmap_where_needed(&self, slots: impl IntoIterator<Item = CPtr>) {
        for slot in slots.into_iter().filter(|slot| self.kernel.arch() == Arch::X86_64_5_0_0 && !self.kernel.is_empty(*slot)) {
            let _ = self.kernel.unmap_frame(slot);
        }
    }

    /// Physical addresses of the frames that there are capabilities of.
    fn frames(&self) -> Vec<u64> {
        // A notification takes any call for a signal, and says 0.
        self.slots().filter(|slot| !self.kernel.is_empty(*slot)).filter_map(|slot| self.kernel.frame_address(slot).ok()).collect()
    }
}

fn arch() -> impl Strategy<Value = Arch> {
    prop::sample::select(ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn when_all_is_deleted_all_is_as_before(arch in arch(), calls in prop::collection::vec(call(), 1..80), order in Just((1..SLOTS).collect::<Vec<_>>()).prop_shuffle()) {
        let machine = Machine::new(arch);
        let before = machine.kernel.account();
        for call in calls {
            let _ = machine.call(call);
        }
        for slot in order {
            machine.call(Call::Delete(slot)).unwrap();
        }
        prop_assert_eq!(machine.kernel.account(), before);
        prop_assert!(machine.kernel.mappings(SPACE).is_empty());
        machine.kernel.retype(machine.first, Object::Untyped(22), machine.slot(1)).unwrap();
    }

    #[test]
    fn a_call_that_fails_changes_nothing(arch in arch(), calls in prop::collection::vec(call(), 1..60)) {
        let machine = Machine::new(arch);
        for call in calls {
            let before = format!("{:?}", machine.kernel);
            // A deletion unmaps first, and never fails.
            if machine.call(call).is_err() && !matches!(call, Call::Delete(_) | Call::Revoke(_)) {
                let after = format!("{:?}", machine.kernel);
                // Behind the state comes the plan of calls that fail, which counts this one.
                let state = |kernel: &str| kernel.split("faults:").next().map(str::to_owned);
                prop_assert_eq!(state(&before), state(&after), "{:?}", call);
            }
        }
    }

    #[test]
    fn what_is_mapped_has_a_capability_and_is_there_for_loads_and_stores(arch in arch(), calls in prop::collection::vec(call(), 1..80)) {
        let machine = Machine::new(arch);
        for call in calls {
            let _ = machine.call(call);
            let frames = machine.frames();
            for mapping in machine.kernel.mappings(SPACE) {
                prop_assert!(frames.contains(&mapping.physical), "{:?} has left {:?}", call, mapping);
                prop_assert_eq!(machine.kernel.load(SPACE, mapping.at, 4).is_ok(), mapping.load);
                prop_assert_eq!(machine.kernel.store(SPACE, mapping.at + mapping.bytes - 4, &[1; 4]).is_ok(), mapping.store);
                prop_assert!(mapping.at % mapping.bytes == 0 && mapping.physical % mapping.bytes == 0);
            }
        }
    }

    #[test]
    fn two_views_of_a_frame_show_the_same(arch in arch(), calls in prop::collection::vec(call(), 20..80), value in 1u8..) {
        let machine = Machine::new(arch);
        for call in calls {
            let _ = machine.call(call);
        }
        let mut written = BTreeMap::new();
        let mappings = machine.kernel.mappings(SPACE);
        for mapping in mappings.iter().filter(|mapping| mapping.store) {
            machine.kernel.store(SPACE, mapping.at + 0x10, &[value]).unwrap();
            written.insert(mapping.physical, value);
        }
        for mapping in mappings.iter().filter(|mapping| mapping.load) {
            let there = machine.kernel.load(SPACE, mapping.at + 0x10, 1).unwrap()[0];
            prop_assert_eq!(there, written.get(&mapping.physical).copied().unwrap_or(0));
        }
    }

    #[test]
    fn a_poll_gives_all_badges_since_the_last_and_no_other(steps in prop::collection::vec(prop::option::of(0usize..6), 1..60)) {
        let (kernel, mut slot) = machine(Arch::X86_64);
        let all = make(&kernel, Object::Notification, slot());
        let badged: Vec<_> = (0..6u64).map(|bit| {
            let to = slot();
            kernel.mint(all, to, CapRights::WRITE, Badge::new(1 << bit)).unwrap();
            to
        }).collect();
        let mut waiting = 0;
        for step in steps {
            match step {
                Some(signal) => {
                    kernel.signal(badged[signal]);
                    waiting |= 1 << signal;
                }
                None => prop_assert_eq!(kernel.poll(all), Badge::new(std::mem::take(&mut waiting))),
            }
        }
    }

    #[test]
    fn an_interrupt_that_a_guest_has_taken_ends_once_and_is_told(
        steps in prop::collection::vec((0u8..3, 32u16..40, 0u8..32, 0..=u8::try_from(LIST_REGISTERS).unwrap()), 1..80),
    ) {
        let (kernel, mut slot) = machine(Arch::Aarch64);
        let (endpoint, tcb, vcpu) = (make(&kernel, Object::Endpoint, slot()), make(&kernel, Object::Tcb, slot()), make(&kernel, Object::Vcpu, slot()));
        let spaces =
            ThreadSpaces { cspace: SimKernel::CSPACE, guard_bits: 52, vspace: SimKernel::VSPACE, fault_endpoint: endpoint, ipc_buffer: None };
        kernel.configure(tcb, spaces).unwrap();
        ArmVcpus::set_tcb(&kernel, vcpu, tcb).unwrap();
        for (step, intid, priority, index) in steps {
            let before = kernel.list(vcpu);
            match step {
                0 => {
                    let injected = kernel.inject(vcpu, VirtualInterrupt { intid, priority: priority << 3, group: 0, index });
                    let expected = match before.get(usize::from(index)) {
                        None => Err(Code::RangeError.into()),
                        Some(ListRegister::Active(_)) => Err(Code::DeleteFirst.into()),
                        Some(_) => Ok(()),
                    };
                    prop_assert_eq!(injected, expected);
                }
                1 => {
                    let taken = kernel.guest_acknowledge(vcpu);
                    let pending = before.iter().filter_map(|register| match register {
                        ListRegister::Pending(interrupt) => Some(interrupt.priority),
                        _ => None,
                    });
                    prop_assert_eq!(taken.is_some(), pending.min().is_some());
                }
                _ => {
                    let was_active = before.iter().filter(|register| matches!(register, ListRegister::Active(active) if active.intid == intid)).count();
                    prop_assert_eq!(kernel.guest_end(vcpu, intid), was_active > 0);
                    if was_active > 0 {
                        let message = kernel.receive(endpoint).message;
                        let freed = kernel.list(vcpu)[usize::try_from(message.word(0)).unwrap()];
                        prop_assert_eq!((message.label, freed), (Label::VgicMaintenance, ListRegister::Empty));
                    }
                    prop_assert!(kernel.try_receive(endpoint).is_none());
                }
            }
        }
    }
}
