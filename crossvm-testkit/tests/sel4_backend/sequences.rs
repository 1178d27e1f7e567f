//! Mappings in any order, with calls that fail: what the guest reaches is what was mapped, and nothing is left over.

use std::collections::{BTreeMap, HashMap};

use crossvm_core::{Error, ErrorKind, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Rights};
use crossvm_sel4::kernel::Kernel;
use crossvm_sel4::{Frame, FrameKind};
use crossvm_testkit::{WINDOW, range};
use proptest::prelude::*;

use crate::machine::{ALL, Machine};

/// Pages of 4 KiB in the window, around the borders of translation tables.
const PLACES: [u64; 12] = [0, 1, 2, 3, 4, 510, 511, 512, 513, 1023, 1024, 0xffff];

#[derive(Debug, Clone)]
enum Step {
    /// Some of the dataport's frames.
    Map {
        place: usize,
        first: usize,
        count: usize,
        rights: Rights,
    },
    Large {
        place: u64,
    },
    EventPage {
        place: usize,
    },
    Unmap(prop::sample::Index),
    /// The call with this number from now on fails.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let rights = prop_oneof![Just(Rights::Read), Just(Rights::ReadWrite)];
    prop_oneof![
        6 => (0..PLACES.len(), 0usize..4, 1usize..4, rights).prop_map(|(place, first, count, rights)| Step::Map { place, first, count, rights }),
        1 => (0u64..4).prop_map(|place| Step::Large { place }),
        2 => (0..PLACES.len()).prop_map(|place| Step::EventPage { place }),
        5 => any::<prop::sample::Index>().prop_map(Step::Unmap),
        2 => (0usize..30).prop_map(Step::Fail),
    ]
}

fn at(page: u64) -> GuestAddr {
    GuestAddr::new(WINDOW.0 + page * 4096)
}

fn mapping(size: FrameSize, rights: Rights) -> Mapping {
    Mapping { size, rights, memory_type: MemoryType::WriteBack }
}

/// What is mapped: from which page on, how many, of which frames' physical memory, with which rights.
type Model = BTreeMap<u64, (u64, Vec<u64>, Rights)>;

/// Whether these pages are free.
fn free(model: &Model, first: u64, count: u64) -> bool {
    model.iter().all(|(start, (pages, ..))| first + count <= *start || start + pages <= first)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_guest_reaches_what_is_mapped_and_nothing_is_left_over(
        space in 0..ALL.len(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut machine = Machine::new(ALL[space]);
        machine.reserve(range(WINDOW)).unwrap();
        let small: Vec<Frame> = (0..6).map(|_| machine.frame(FrameKind::Small)).collect();
        let large = machine.frame(FrameKind::Large);
        let page = machine.create_event_page(FrameSize::KIB_16).unwrap();
        let physical: HashMap<Frame, u64> = small
            .iter()
            .chain([&large, page.frame()])
            .map(|frame| (*frame, machine.kernel.frame_address(frame.capability()).unwrap()))
            .collect();
        let before = machine.left();
        let mut model = Model::new();
        for step in steps {
            let (first, size, frames, rights) = match step {
                Step::Map { place, first, count, rights } => (PLACES[place], FrameSize::KIB_4, &small[first..(first + count).min(6)], rights),
                Step::Large { place } => (place * 512, FrameSize::MIB_2, std::slice::from_ref(&large), Rights::ReadWrite),
                Step::EventPage { place } => (PLACES[place], FrameSize::KIB_16, std::slice::from_ref(page.frame()), Rights::Read),
                Step::Unmap(index) => {
                    if !model.is_empty() {
                        let first = *model.keys().nth(index.index(model.len())).unwrap();
                        let (pages, ..) = model.remove(&first).unwrap();
                        machine.unmap(GuestRange::new(at(first), pages * 4096).unwrap());
                    }
                    continue;
                }
                Step::Fail(nth) => {
                    machine.kernel.faults().fail_at(Some(nth));
                    continue;
                }
            };
            let pages = size.bytes() / 4096 * frames.len() as u64;
            let mapped = machine.left();
            match machine.map(at(first), frames, mapping(size, rights)) {
                Ok(()) => {
                    prop_assert!(free(&model, first, pages) && first * 4096 % size.bytes() == 0);
                    let addresses = frames.iter().map(|frame| physical[frame]).collect();
                    model.insert(first, (pages, addresses, rights));
                }
                Err(error) => {
                    prop_assert_eq!(machine.left(), mapped);
                    match error.kind() {
                        ErrorKind::Overlap => prop_assert!(!free(&model, first, pages)),
                        ErrorKind::Misaligned => prop_assert!(first * 4096 % size.bytes() != 0),
                        ErrorKind::OutOfRange => prop_assert!(first * 4096 + pages * 4096 > WINDOW.1),
                        // By plan.
                        kind => prop_assert_eq!(kind, ErrorKind::Hypervisor),
                    }
                }
            }
            let mut expected = Vec::new();
            for (first, (pages, addresses, rights)) in &model {
                let store = *rights == Rights::ReadWrite;
                // The parts of an event page follow one another in memory.
                let large = *pages == 512;
                let parts = if large { 1 } else { *pages };
                for part in 0..parts {
                    let physical = addresses.get(usize::try_from(part).unwrap()).copied().unwrap_or_else(|| addresses[0] + part * 4096);
                    expected.push((at(first + part).get(), if large { 1 << 21 } else { 4096 }, physical, store));
                }
            }
            let found: Vec<_> =
                machine.mappings().into_iter().map(|mapping| (mapping.at, mapping.bytes, mapping.physical, mapping.store)).collect();
            prop_assert_eq!(found, expected);
        }
        machine.kernel.faults().fail_at(None);
        for (first, (pages, ..)) in model {
            machine.unmap(GuestRange::new(at(first), pages * 4096).unwrap());
        }
        prop_assert_eq!(machine.left(), before);
        prop_assert_eq!(machine.mappings(), vec![]);
        machine.destroy_event_page(page);
    }
}
