//! `PciBus` against the plain model of configuration space: bytes with masks.

mod pci_common;

use crossvm_core::{
    Bar, BarIndex, BarWidth, Bdf, ClassCode, ConfigAccess, Error, FrameSize, Function, GuestAddr, InterruptStatus, Irq, MsixTable,
    PciSpace, Width,
};
use crossvm_pci::PciBus;
use crossvm_testkit::{FakeBus, WINDOW, range, strategy};
use pci_common::{bus, high_window};
use proptest::prelude::*;

type Bus = PciBus<64>;

fn bar() -> impl Strategy<Value = Option<Bar>> {
    let size = (12u32..24).prop_map(|exponent| FrameSize::from_bytes(1 << exponent).unwrap());
    let width = prop::sample::select(vec![BarWidth::Bits32, BarWidth::Bits64]);
    let fixed = prop_oneof![5 => Just(None), 1 => (0u64..16).prop_map(|place| Some(GuestAddr::new(WINDOW.0 + (place << 20))))];
    prop::option::of((size, width, any::<bool>(), fixed).prop_map(|(size, width, prefetchable, fixed)| Bar {
        size,
        width,
        prefetchable,
        fixed,
    }))
}

/// MSI-X in a BAR that is there, mostly, and of any size.
fn msix() -> impl Strategy<Value = Option<MsixTable>> {
    let place = || (prop::sample::select(BarIndex::ALL.to_vec()), prop_oneof![6 => (0u32..0x200).prop_map(|at| 8 * at), 1 => 0u32..0x2000]);
    let vectors = prop_oneof![6 => 1u16..9, 1 => any::<u16>(), 1 => prop::sample::select(vec![0u16, 64, 65, 2048, 2049])];
    prop::option::of((vectors, place(), place()).prop_map(|(vectors, table, pending)| MsixTable { vectors, table, pending }))
}

fn function() -> impl Strategy<Value = Function> {
    let body =
        prop_oneof![Just(0usize), Just(4), Just(6), Just(10), Just(15)].prop_flat_map(|dwords| prop::collection::vec(any::<u32>(), dwords));
    let ids = (any::<[u16; 4]>(), any::<[u8; 4]>());
    (ids, prop::array::uniform6(bar()), prop::option::of(32u32..35), body, msix()).prop_map(|((ids, class), bars, irq, body, mut msix)| {
        let mut function = Function {
            vendor: ids[0],
            device: ids[1],
            revision: class[0],
            class: ClassCode { base: class[1], sub: class[2], interface: class[3] },
            subsystem_vendor: ids[2],
            subsystem: ids[3],
            interrupt: irq.map(Irq::new),
            bars,
            vendor_specific: body.into_iter().collect(),
            msix: None,
        };
        for index in 0..6 {
            let wide = function.bars[index].is_some_and(|bar| bar.width == BarWidth::Bits64);
            if wide && index < 5 {
                function.bars[index + 1] = None;
            }
        }
        // Where a table lies in no BAR the function is refused: seldom is enough.
        if msix.is_some_and(|msix| function.bars[msix.table.0.get()].is_none() && msix.vectors % 8 != 0) {
            msix = None;
        }
        function.msix = msix;
        function
    })
}

#[derive(Debug, Clone)]
enum Op {
    Write(Bdf, ConfigAccess, u32),
    Status(Bdf, bool),
    Reset(Bdf),
    Remove(Bdf),
    Insert(Box<Function>),
}

fn op() -> impl Strategy<Value = Op> {
    let bdf = || (0u8..6, 0u8..3).prop_map(|(device, function)| Bdf::new(0, device, function).unwrap());
    prop_oneof![
        12 => (bdf(), strategy::config_access(), strategy::config_value(range(WINDOW))).prop_map(|(bdf, access, value)| Op::Write(bdf, access, value)),
        6 => (bdf(), prop::sample::select(vec![0x10u16, 0x14, 0x18, 0x1c, 0x20, 0x24]), strategy::bar_address(range(WINDOW)))
            .prop_map(|(bdf, offset, value)| Op::Write(bdf, ConfigAccess { offset, width: Width::U32 }, value)),
        // The upper half of a 64-bit BAR back to zero: otherwise such a BAR is hardly ever decoded.
        3 => (bdf(), prop::sample::select(vec![0x14u16, 0x18, 0x1c, 0x20, 0x24]))
            .prop_map(|(bdf, offset)| Op::Write(bdf, ConfigAccess { offset, width: Width::U32 }, 0)),
        3 => bdf().prop_map(|bdf| Op::Write(bdf, ConfigAccess { offset: 4, width: Width::U16 }, 2)),
        2 => (bdf(), any::<bool>()).prop_map(|(bdf, pending)| Op::Status(bdf, pending)),
        1 => bdf().prop_map(Op::Reset),
        1 => bdf().prop_map(Op::Remove),
        2 => function().prop_map(|function| Op::Insert(Box::new(function))),
    ]
}

fn numbers() -> impl Iterator<Item = Bdf> {
    (0..7).flat_map(|device| (0..4).map(move |function| Bdf::new(0, device, function).unwrap()))
}

fn same_registers(bus: &Bus, model: &FakeBus, bdf: Bdf) -> Result<(), TestCaseError> {
    for offset in (0..0x100).step_by(4) {
        let access = ConfigAccess { offset, width: Width::U32 };
        prop_assert_eq!(bus.read(bdf, access), model.read(bdf, access), "{} at {:#x}", bdf, offset);
    }
    prop_assert_eq!((bus.command(bdf), bus.msix(bdf)), (model.command(bdf), model.msix(bdf)));
    Ok(())
}

fn same_places(bus: &Bus, model: &FakeBus) -> Result<(), TestCaseError> {
    for (bdf, bar) in bus.functions().flat_map(|bdf| BarIndex::ALL.map(|bar| (bdf, bar))) {
        prop_assert_eq!(bus.decoded(bdf, bar), model.decoded(bdf, bar), "{} {}", bdf, bar);
    }
    Ok(())
}

#[test]
fn a_wired_number_keeps_its_line_for_functions_of_that_line() {
    let mut bus: Bus = bus();
    let function = |irq| Function {
        vendor: 0x1af4,
        device: 0xa111,
        revision: 1,
        class: ClassCode { base: 5, sub: 0, interface: 0 },
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: Some(Irq::new(irq)),
        bars: [None; 6],
        vendor_specific: heapless::Vec::new(),
        msix: None,
    };
    bus.wire(1, Irq::new(50)).unwrap();
    bus.wire(1, Irq::new(50)).unwrap();
    for (device, irq) in [(1, 51), (0, 50), (32, 50)] {
        assert_eq!(bus.wire(device, Irq::new(irq)).map_err(|error| error.kind()), Err(crossvm_core::ErrorKind::Overlap), "{device}");
    }
    assert_eq!(bus.insert(function(33)).unwrap().device(), 2, "number 1 is promised to another line");
    let wired = bus.insert(function(50)).unwrap();
    assert_eq!(wired.device(), 1);
    bus.remove(wired).unwrap();
    // What a guest was told stays true; a line that nobody promised goes with its function.
    bus.remove(Bdf::new(0, 2, 0).unwrap()).unwrap();
    assert_eq!(bus.wires().collect::<Vec<_>>(), [(1, Irq::new(50))]);
}

/// More places change than the bus remembers one by one.
#[test]
fn a_reset_that_moves_every_bar_hides_and_uncovers_all_that_it_meets() {
    let six = || pci_common::function(32, [pci_common::bar(BarWidth::Bits32, 4 << 10); 6]);
    let mut bus: Bus = bus();
    let [mover, at_home, away] = std::array::from_fn(|_| bus.insert(six()).unwrap());
    let register = |bar: BarIndex| ConfigAccess { offset: 0x10 + 4 * u16::try_from(bar.get()).unwrap(), width: Width::U32 };
    let home = BarIndex::ALL.map(|bar| bus.decoded(mover, bar).unwrap());
    for bar in BarIndex::ALL {
        let place = |at: u64| u32::try_from(at).unwrap();
        let elsewhere = place(range(WINDOW).start().get() + 0x1000 * bar.get() as u64);
        bus.write(mover, register(bar), elsewhere);
        bus.write(at_home, register(bar), place(home[bar.get()].get()));
        bus.write(away, register(bar), elsewhere);
    }
    let decoded = |bus: &Bus, bdf| BarIndex::ALL.map(|bar| bus.decoded(bdf, bar).is_some());
    assert_eq!([mover, at_home, away].map(|bdf| decoded(&bus, bdf)), [[true; 6], [true; 6], [false; 6]]);
    bus.reset(mover);
    assert_eq!(BarIndex::ALL.map(|bar| bus.decoded(mover, bar).unwrap()), home);
    assert_eq!([at_home, away].map(|bdf| decoded(&bus, bdf)), [[false; 6], [true; 6]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// `crowded`: function 0 of every device number is taken, so that others share the numbers.
    #[test]
    fn the_bus_is_its_model(
        crowded in any::<bool>(), first in prop::collection::vec(function(), 1..4), ops in prop::collection::vec(op(), 1..80)
    ) {
        let mut bus: Bus = bus();
        let mut model = FakeBus::new(range(WINDOW)).with_window(high_window());
        if crowded {
            for _ in 1..32 {
                let plain = pci_common::function(32, [None; 6]);
                prop_assert_eq!(bus.insert(plain.clone()).ok(), model.insert(plain).ok());
            }
        }
        let ops = first.into_iter().map(|function| Op::Insert(Box::new(function))).chain(ops);
        for op in ops {
            match op {
                Op::Write(bdf, access, value) => {
                    prop_assert_eq!(bus.write(bdf, access, value), model.write(bdf, access, value), "{} {:x?} {:#x}", bdf, access, value);
                    same_registers(&bus, &model, bdf)?;
                }
                Op::Status(bdf, pending) => {
                    let status = if pending { InterruptStatus::Pending } else { InterruptStatus::Clear };
                    if bdf.device() != 0 {
                        bus.set_interrupt_status(bdf, status);
                        model.set_interrupt_status(bdf, status);
                    }
                }
                Op::Reset(bdf) => {
                    if bdf.device() != 0 {
                        bus.reset(bdf);
                        model.reset(bdf);
                    }
                }
                Op::Remove(bdf) => prop_assert_eq!(bus.remove(bdf).is_ok(), model.remove(bdf).is_ok()),
                Op::Insert(function) => {
                    let (ours, models) = (bus.insert((*function).clone()), model.insert(*function));
                    prop_assert_eq!(ours.map_err(|error| error.kind()), models.map_err(|error| error.kind()));
                }
            }
            same_places(&bus, &model)?;
        }
        for bdf in numbers() {
            same_registers(&bus, &model, bdf)?;
        }
        prop_assert_eq!(bus.functions().collect::<Vec<_>>(), model.functions().collect::<Vec<_>>());
    }

    /// Every access has a result, of the width asked for, and bytes, halves and dwords agree.
    #[test]
    fn narrow_reads_are_parts_of_the_dword(function in function(), offset in 0u16..0x1000) {
        let mut bus: Bus = bus();
        // A 64-bit BAR in the last register is refused: the test above says so.
        let inserted = bus.insert(function);
        prop_assume!(inserted.is_ok());
        let bdf = inserted.unwrap();
        let read = |offset, width| bus.read(bdf, ConfigAccess { offset, width });
        let dword = read(offset & !3, Width::U32);
        prop_assert_eq!(read(offset, Width::U8), dword >> (8 * (offset & 3)) & 0xff);
        let half = if offset & 1 == 0 { dword >> (8 * (offset & 2)) & 0xffff } else { u32::MAX };
        prop_assert_eq!(read(offset, Width::U16), half);
        prop_assert_eq!(read(offset, Width::U64), u32::MAX);
        if offset & 3 != 0 {
            prop_assert_eq!(read(offset, Width::U32), u32::MAX);
        }
    }
}
