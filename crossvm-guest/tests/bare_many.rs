//! The bare-metal driver on buses with many functions, and on devices that are not what they say.

mod machine;

use std::cell::Cell;

use crossvm_core::{BarWidth, Config, FrameSize, InterruptMode, Rights};
use crossvm_guest::bare::{Bus, ConfigRegionAccess, Message, PciAddress, PhysicalMemory, PhysicalRange, VectorIndex, Window};
use crossvm_guest::{DataportIndex, EventCount, Word, Words};
use machine::{Machine, Plan};
use proptest::prelude::*;

fn plan() -> impl Strategy<Value = Plan> {
    let sizes = prop_oneof![Just(4_u64 << 10), Just(12 << 10), Just(64 << 10), Just(100 << 10)];
    let width = prop_oneof![4 => Just(BarWidth::Bits32), 1 => Just(BarWidth::Bits64)];
    let rights = prop_oneof![Just(Rights::Read), Just(Rights::ReadWrite)];
    let mode = prop_oneof![2 => Just(InterruptMode::OwnLine), 3 => Just(InterruptMode::SharedLine)];
    // Two dataports of 64 bits and the BAR of MSI-X: no more fit beside BAR 0.
    (prop::collection::vec((sizes, width, rights), 0..=2), mode).prop_map(|(dataports, mode)| Plan { dataports, mode })
}

/// What the driver says of all connections, and where their BARs are.
fn driven(machine: &Machine) -> Vec<(String, Vec<u64>)> {
    let bus = machine.bus();
    let open = bus.connections().map(|function| function.open(machine).unwrap());
    open.map(|connection| (connection.name().to_owned(), connection.dataports().iter().map(|info| info.size).collect())).collect()
}

/// What was installed, in the order of function numbers.
fn installed(machine: &Machine, plans: &[Plan]) -> Vec<(String, Vec<u64>)> {
    let inner = machine.0.borrow();
    let mut functions: Vec<_> = inner.connections.connections().map(|id| (inner.connections.status(id).unwrap().bdf, id.index())).collect();
    functions.sort_unstable();
    let sizes = |index: usize| plans[index].dataports.iter().map(|(size, ..)| *size).collect();
    functions.into_iter().map(|(_, index)| (format!("connection {index}"), sizes(index))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_driver_finds_what_was_installed_and_places_it_without_overlap(plans in prop::collection::vec(plan(), 0..=60)) {
        let machine = Machine::new(Config::default(), &plans);
        prop_assert_eq!(driven(&machine), installed(&machine, &plans));

        let range = PhysicalRange::new(0x1400_0000, 0x0800_0000).unwrap();
        machine.bus().place(Window::new(range)).unwrap();
        prop_assert_eq!(driven(&machine), installed(&machine, &plans));

        let bus = machine.bus();
        let bars: Vec<_> = bus.connections().map(|function| function.bars().unwrap()).collect();
        let mut ranges: Vec<(u64, u64)> = bars.iter().flat_map(|bars| bars.iter().map(|bar| (bar.address(), bar.size()))).collect();
        ranges.sort_unstable();
        prop_assert!(ranges.iter().all(|(at, size)| at % size == 0 && *at >= range.start() && at + size - 1 <= range.last()));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        // What the guest has placed is what the VM monitor has mapped: each frame of event registers and dataports.
        let frames: u64 = plans.iter().take(bars.len()).flat_map(|plan| &plan.dataports).map(|(size, ..)| size.div_ceil(FrameSize::KIB_4.bytes())).sum();
        prop_assert_eq!(machine.0.borrow().vm.memory.mappings().count() as u64, frames + bars.len() as u64);

        // Each is still connected.
        for (index, function) in bus.connections().enumerate() {
            let connection = function.open(&machine).unwrap();
            let event: u8 = connection.name().rsplit(' ').next().unwrap().parse().unwrap();
            machine.signal(event);
            prop_assert_eq!(connection.events().take(EventCount::MAX), Some(EventCount::ONE), "function {}", index);
        }
        prop_assert!(!machine.interrupted());
    }
}

/// Configuration space and memory that answer anything.
struct Noise(Cell<u64>);

impl Noise {
    /// Pseudo-random (xorshift), often all ones, our ids, or zero.
    fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.0.set(state);
        match state % 8 {
            0 => u64::MAX,
            1 => 0,
            2..=4 => 0xa111_1af4,
            _ => state.rotate_left(29),
        }
    }
}

#[allow(unsafe_code, reason = "the trait demands it; nothing unsafe is done")]
impl ConfigRegionAccess for &Noise {
    unsafe fn read(&self, _: PciAddress, _: u16) -> u32 {
        u32::from_low_bits(self.next())
    }

    unsafe fn write(&self, _: PciAddress, _: u16, _: u32) {}
}

struct NoisyRegion<'a>(&'a Noise, usize);

impl Words for NoisyRegion<'_> {
    fn len(&self) -> usize {
        self.1
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        // A name that may be one.
        let value = if (8..0x38).contains(&offset) && self.0.0.get().is_multiple_of(2) { 0x4141_4141 } else { self.0.next() };
        Some(W::from_low_bits(value))
    }

    fn store<W: Word>(&self, _: usize, _: W) -> Option<()> {
        Some(())
    }
}

impl<'a> PhysicalMemory for &'a Noise {
    type Region = NoisyRegion<'a>;

    fn region(&self, range: PhysicalRange) -> Option<NoisyRegion<'a>> {
        Some(NoisyRegion(self, usize::try_from(range.length()).ok()?))
    }
}

proptest! {
    #[test]
    fn no_device_makes_the_driver_panic(seed in 1..u64::MAX, start in any::<u64>(), length in 1..u64::MAX) {
        let noise = Noise(Cell::new(seed));
        let bus = Bus::new(&noise);
        for function in bus.connections() {
            if let Ok(Some(msix)) = function.msix(&&noise) {
                msix.enable();
                for vector in [VectorIndex::FIRST, VectorIndex::new(seed.to_le_bytes()[0].into()), VectorIndex::new(u16::MAX)] {
                    let _ = msix.set_message(vector, Message::new(start & !3, 0).unwrap());
                    let _ = (msix.message(vector), msix.is_pending(vector));
                }
            }
            let _ = (function.pin(), function.noted_line());
            if let Ok(connection) = function.open(&&noise) {
                let _ = connection.events().take(EventCount::MAX);
                let _ = connection.dataport(&&noise, DataportIndex::FIRST).map(|dataport| dataport.write(0, b"anything"));
            }
        }
        if let Some(range) = PhysicalRange::new(start, length) {
            let _ = bus.place(Window::new(range));
        }
    }
}
