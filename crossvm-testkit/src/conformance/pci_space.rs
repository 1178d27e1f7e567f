//! The clauses of [`PciSpace`].

use crossvm_core::{
    Bar, BarIndex, BarWidth, Bdf, ClassCode, ConfigAccess, ConfigEffect, Error, ErrorKind, FrameSize, Function, GuestAddr, GuestRange,
    InterruptStatus, Irq, MsixControl, MsixTable, PciSpace, Width,
};

/// Every clause. The first window of the space must have room for 16 MiB below 4 GiB.
pub fn all<P: PciSpace>(make: impl Fn() -> P) {
    clause_1_insert_places_bars_and_decodes_them(&mut make());
    clause_1_a_failed_insert_changes_nothing(&mut make());
    clause_2_decoding_does_not_depend_on_history(&mut make());
    clause_2_only_whole_bars_inside_a_window_are_decoded(&mut make());
    clause_1_what_cannot_be_is_refused(&mut make());
    clause_1_a_fixed_address_is_given_or_refused(&mut make());
    clause_2_a_fixed_bar_is_decoded_in_its_place_only(&mut make());
    clause_3_effects_are_exact(&mut make());
    clause_3_message_control_has_an_effect(&mut make());
    clause_4_absent_functions_read_all_ones(&mut make());
    clause_5_status_reads_as_set(&mut make());
    clause_6_reset_is_power_on(&mut make());
    clause_6_reset_switches_messages_off(&mut make());
    clause_7_remove_frees(&mut make());
    clause_8_one_line_per_device_number(&mut make());
}

const COMMAND: u16 = 0x04;
const STATUS: u16 = 0x06;
const BAR0: u16 = 0x10;
const CAPABILITIES: u16 = 0x34;
/// Capability id of MSI-X.
const MSIX: u32 = 0x11;

fn dword(offset: u16) -> ConfigAccess {
    ConfigAccess { offset, width: Width::U32 }
}

fn half(offset: u16) -> ConfigAccess {
    ConfigAccess { offset, width: Width::U16 }
}

/// A function with BARs of 4 KiB and 1 MiB.
fn function(irq: u32) -> Function {
    let bar = |size| Some(Bar { size, width: BarWidth::Bits32, prefetchable: true, fixed: None });
    let mib = FrameSize::from_bytes(1 << 20).expect("a power of two");
    Function {
        vendor: 0x1af4,
        device: 0xa111,
        revision: 1,
        class: ClassCode { base: 5, sub: 0, interface: 0 },
        subsystem_vendor: 0,
        subsystem: 0,
        interrupt: Some(Irq::new(irq)),
        bars: [bar(FrameSize::KIB_4), bar(mib), None, None, None, None],
        vendor_specific: heapless::Vec::new(),
        msix: None,
    }
}

/// The same with MSI-X: two vectors, in the first BAR.
fn function_with_messages(irq: u32) -> Function {
    let bar0 = BarIndex::ALL[0];
    Function { msix: Some(MsixTable { vectors: 2, table: (bar0, 0x400), pending: (bar0, 0x800) }), ..function(irq) }
}

/// The capability of this id, by the list that a guest walks.
fn capability<P: PciSpace>(space: &P, bdf: Bdf, id: u32) -> Option<u16> {
    if space.read(bdf, half(STATUS)) & 0x10 == 0 {
        return None;
    }
    let byte = |offset| u16::try_from(space.read(bdf, ConfigAccess { offset, width: Width::U8 })).expect("a byte");
    let next = |offset: &u16| Some(byte(offset + 1)).filter(|next| *next != 0);
    let list = std::iter::successors(Some(byte(CAPABILITIES)), next);
    list.take(48).find(|offset| space.read(bdf, ConfigAccess { offset: *offset, width: Width::U8 }) == id)
}

fn decoded<P: PciSpace>(space: &P, bdf: Bdf) -> Vec<GuestRange> {
    let sizes = [4096, 1 << 20];
    BarIndex::ALL.iter().zip(sizes).filter_map(|(bar, size)| GuestRange::new(space.decoded(bdf, *bar)?, size)).collect()
}

fn address<P: PciSpace>(space: &P, bdf: Bdf, bar: u16) -> u32 {
    space.read(bdf, dword(BAR0 + 4 * bar)) & !0xf
}

/// Clause 1.
pub fn clause_1_insert_places_bars_and_decodes_them<P: PciSpace>(space: &mut P) {
    let mut placed: Vec<GuestRange> = Vec::new();
    for irq in 32..36 {
        let bdf = space.insert(function(irq)).expect("room for four functions");
        let ranges = decoded(space, bdf);
        assert_eq!(ranges.len(), 2, "clause 1: both BARs are decoded at power-on");
        for range in ranges {
            assert!(range.start().is_aligned(range.size()), "clause 1: {range} is not aligned to its size");
            assert!(space.windows().iter().any(|window| window.covers(range)), "clause 1: {range} is outside of the windows");
            assert!(!placed.iter().any(|other| other.overlaps(range)), "clause 1: {range} overlaps another BAR");
            placed.push(range);
        }
    }
}

/// Clause 1.
pub fn clause_1_a_failed_insert_changes_nothing<P: PciSpace>(space: &mut P) {
    let first = space.insert(function(32)).expect("room for a function");
    let before = decoded(space, first);
    let mut huge = function(33);
    huge.bars[1] = Some(Bar {
        size: FrameSize::from_bytes(1 << 40).expect("a power of two"),
        width: BarWidth::Bits32,
        prefetchable: true,
        fixed: None,
    });
    assert_eq!(
        space.insert(huge).map_err(|error| error.kind()),
        Err(ErrorKind::OutOfRange),
        "clause 1: a BAR of 32 bits holds 2 GiB at most"
    );
    assert_eq!(decoded(space, first), before, "clause 1");
    let absent = Bdf::new(0, first.device() + 1, 0).expect("a small number");
    assert_eq!(space.read(absent, dword(0)), u32::MAX, "clause 1: nothing was inserted");
}

/// Clause 1.
pub fn clause_1_what_cannot_be_is_refused<P: PciSpace>(space: &mut P) {
    let bar = |width| Some(Bar { size: FrameSize::KIB_4, width, prefetchable: true, fixed: None });
    let (bar0, bar2) = (BarIndex::ALL[0], BarIndex::ALL[2]);
    let with_bars = |bars| Function { bars, ..function(32) };
    let with_table = |vectors, table, pending| Function { msix: Some(MsixTable { vectors, table, pending }), ..function(32) };
    let refused = [
        ("a BAR in another's upper half", with_bars([bar(BarWidth::Bits64), bar(BarWidth::Bits32), None, None, None, None])),
        ("no register for the upper half", with_bars([None, None, None, None, None, bar(BarWidth::Bits64)])),
        ("no vectors", with_table(0, (bar0, 0), (bar0, 0x800))),
        ("too many vectors", with_table(2049, (BarIndex::ALL[1], 0), (BarIndex::ALL[1], 0x8_0000))),
        ("a table outside of its BAR", with_table(2, (bar0, 0xff0), (bar0, 0))),
        ("a table that is not aligned", with_table(1, (bar0, 4), (bar0, 0x800))),
        ("pending bits without a BAR", with_table(1, (bar0, 0), (bar2, 0))),
    ];
    for (what, function) in refused {
        assert_eq!(space.insert(function).map_err(|error| error.kind()), Err(ErrorKind::OutOfRange), "clause 1: {what}");
    }
}

/// Clause 2.
pub fn clause_2_decoding_does_not_depend_on_history<P: PciSpace>(space: &mut P) {
    let (low, high) = (space.insert(function(32)).expect("room"), space.insert(function(33)).expect("room"));
    let (low, high) = (low.min(high), low.max(high));
    let target = address(space, low, 1);
    let home = address(space, high, 1);
    // The higher function moves onto the lower: hidden. The lower moves away: uncovered. It comes back: hidden again.
    space.write(high, dword(BAR0 + 4), target);
    assert_eq!(space.decoded(high, BarIndex::ALL[1]), None, "clause 2: the lower number wins");
    assert!(space.decoded(low, BarIndex::ALL[1]).is_some(), "clause 2");
    space.write(low, dword(BAR0 + 4), home);
    assert_eq!(space.decoded(high, BarIndex::ALL[1]).map(|at| at.get()), Some(u64::from(target)), "clause 2: uncovered");
    space.write(low, dword(BAR0 + 4), target);
    assert_eq!(space.decoded(high, BarIndex::ALL[1]), None, "clause 2: hidden by a BAR that came later");
    space.write(low, half(COMMAND), 0);
    assert!(space.decoded(high, BarIndex::ALL[1]).is_some(), "clause 2: what is not decoded hides nothing");
}

/// Clause 2.
pub fn clause_2_only_whole_bars_inside_a_window_are_decoded<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    let window = space.windows()[0];
    let mib = 1u64 << 20;
    let last = window.last().get() & !(mib - 1);
    for (at, inside) in [(window.start().get(), true), (window.start().get() - mib, false), (last + mib, false), (0, false)] {
        let Ok(value) = u32::try_from(at) else { continue };
        let expected = GuestRange::new(crossvm_core::GuestAddr::new(at & !(mib - 1)), mib).is_some_and(|range| window.covers(range));
        space.write(bdf, dword(BAR0 + 4), value);
        assert_eq!(space.decoded(bdf, BarIndex::ALL[1]).is_some(), expected, "clause 2: at {at:#x}");
        assert!(inside || !expected);
    }
    space.write(bdf, dword(BAR0 + 4), u32::MAX);
    assert_eq!(space.read(bdf, dword(BAR0 + 4)) & !0xf, 0xfff0_0000, "clause 2: sizing");
    assert_eq!(space.decoded(bdf, BarIndex::ALL[1]), None, "clause 2: not decoded while it is sized");
}

/// The first function's second BAR, fixed.
fn with_fixed(irq: u32, at: GuestAddr) -> Function {
    let mut function = function(irq);
    function.bars[1].as_mut().expect("it has two").fixed = Some(at);
    function
}

/// Clause 1.
pub fn clause_1_a_fixed_address_is_given_or_refused<P: PciSpace>(space: &mut P) {
    let window = space.windows()[0];
    let mib = 1u64 << 20;
    // In the middle, and at the top, where the next address would be given.
    let top = GuestAddr::new((window.last().get() - (mib - 1)) & !(mib - 1));
    let middle = GuestAddr::new(window.start().get().next_multiple_of(mib) + 3 * mib);
    for (irq, at) in [(32, top), (33, middle)] {
        let bdf = space.insert(with_fixed(irq, at)).expect("a free place");
        assert_eq!(space.decoded(bdf, BarIndex::ALL[1]), Some(at), "clause 1: its fixed address");
        assert!(space.decoded(bdf, BarIndex::ALL[0]).is_some(), "clause 1: the other BAR keeps clear of it");
    }
    let beyond = GuestAddr::new((window.last().get() + 1).next_multiple_of(mib));
    let askew = GuestAddr::new(middle.get() + 2 * mib + 4096);
    for (at, kind) in
        [(top, ErrorKind::Overlap), (middle, ErrorKind::Overlap), (beyond, ErrorKind::OutOfRange), (askew, ErrorKind::OutOfRange)]
    {
        let before = space.read(Bdf::new(0, 3, 0).expect("a number"), dword(0));
        assert_eq!(space.insert(with_fixed(34, at)).map_err(|error| error.kind()), Err(kind), "clause 1: at {at}");
        assert_eq!(space.read(Bdf::new(0, 3, 0).expect("a number"), dword(0)), before, "clause 1: a failed insert changes nothing");
    }
}

/// Clause 2.
pub fn clause_2_a_fixed_bar_is_decoded_in_its_place_only<P: PciSpace>(space: &mut P) {
    let window = space.windows()[0];
    let mib = 1u64 << 20;
    let at = GuestAddr::new(window.start().get().next_multiple_of(mib) + mib);
    let bdf = space.insert(with_fixed(32, at)).expect("a free place");
    let bar = BarIndex::ALL[1];
    space.write(bdf, dword(BAR0 + 4), u32::MAX);
    assert_eq!(address(space, bdf, 1), 0xfff0_0000, "clause 2: a guest learns the size");
    let place = u32::try_from(at.get()).expect("a window below 4 GiB");
    space.write(bdf, dword(BAR0 + 4), place + (1 << 20));
    assert_eq!(address(space, bdf, 1), place + (1 << 20), "clause 2: the register takes what is written");
    assert_eq!(space.decoded(bdf, bar), None, "clause 2: and nothing is decoded there");
    // Its place stays its own while it is away.
    let other = space.insert(function(33)).expect("room");
    assert!(decoded(space, other).iter().all(|range| !range.contains(at)), "clause 1: the place of a fixed BAR is not given away");
    space.write(bdf, dword(BAR0 + 4), place);
    assert_eq!(space.decoded(bdf, bar), Some(at), "clause 2: back in its place");
    space.write(bdf, dword(BAR0 + 4), u32::MAX);
    space.reset(bdf);
    assert_eq!(space.decoded(bdf, bar), Some(at), "clause 6");
}

/// Clause 3.
pub fn clause_3_effects_are_exact<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    let at = address(space, bdf, 0);
    assert_eq!(space.write(bdf, dword(BAR0), at), None, "clause 3: the same address");
    assert_eq!(space.write(bdf, dword(0), 0x1234_5678), None, "clause 3: a read-only register");
    assert_eq!(space.write(bdf, dword(0x3c), 7), None, "clause 3: plain storage");
    assert_eq!(space.write(bdf, half(COMMAND), 0x0002), None, "clause 3: the same command");
    match space.write(bdf, dword(BAR0), u32::MAX) {
        Some(ConfigEffect::BarMoved { bdf: moved, bar, from, to }) => {
            assert_eq!((moved, bar, from.get(), to.get()), (bdf, BarIndex::ALL[0], u64::from(at), 0xffff_f000), "clause 3");
        }
        other => panic!("clause 3: {other:?} for a moved BAR"),
    }
    match space.write(bdf, half(COMMAND), 0x0404) {
        Some(ConfigEffect::Command { bdf: changed, before, after }) => {
            assert_eq!(changed, bdf, "clause 3");
            assert!(before.memory_decode && !before.bus_master && !before.intx_disable, "clause 3");
            assert!(!after.memory_decode && after.bus_master && after.intx_disable, "clause 3");
        }
        other => panic!("clause 3: {other:?} for a changed command register"),
    }
    assert!(space.command(bdf).intx_disable, "clause 3");
}

/// Clause 3.
pub fn clause_3_message_control_has_an_effect<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function_with_messages(32)).expect("room");
    let at = capability(space, bdf, MSIX).expect("clause 3: a guest finds MSI-X in the list of capabilities");
    assert_eq!(space.read(bdf, half(at + 2)), 1, "clause 3: two vectors, neither enabled nor masked");
    let control = |enabled, masked| MsixControl { enabled, masked };
    let mut before = control(false, false);
    for (value, after) in [(0x8000, control(true, false)), (0xc000, control(true, true)), (0x4000, control(false, true))] {
        let effect = space.write(bdf, half(at + 2), value);
        assert_eq!(effect, Some(ConfigEffect::Msix { bdf, before, after }), "clause 3: {value:#x}");
        assert_eq!(space.msix(bdf), after, "clause 3");
        assert_eq!(space.read(bdf, half(at + 2)), value | 1, "clause 3");
        assert_eq!(space.write(bdf, half(at + 2), value | 0x3fff), None, "clause 3: the rest is read-only");
        before = after;
    }
    let without = space.insert(function(33)).expect("room");
    assert_eq!((capability(space, without, MSIX), space.msix(without)), (None, control(false, false)), "clause 3: no capability");
}

/// Clause 4.
pub fn clause_4_absent_functions_read_all_ones<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    let window = decoded(space, bdf);
    for id in (0..=u16::MAX).step_by(7) {
        let absent = Bdf::from_requester_id(id);
        if absent == bdf || id == 0 {
            continue;
        }
        for (width, ones) in [(Width::U8, 0xff), (Width::U16, 0xffff), (Width::U32, u32::MAX)] {
            let value = space.read(absent, ConfigAccess { offset: 0, width });
            assert_eq!(value & ones, ones, "clause 4: {absent}");
        }
        assert_eq!(space.write(absent, dword(BAR0), 0), None, "clause 4: {absent}");
    }
    assert_eq!(decoded(space, bdf), window, "clause 4");
}

/// Clause 5.
pub fn clause_5_status_reads_as_set<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    assert_eq!(space.read(bdf, half(STATUS)) & 8, 0, "clause 5: clear at first");
    space.set_interrupt_status(bdf, InterruptStatus::Pending);
    assert_eq!(space.read(bdf, half(STATUS)) & 8, 8, "clause 5");
    space.write(bdf, half(STATUS), 8);
    assert_eq!(space.read(bdf, half(STATUS)) & 8, 8, "clause 5: a guest cannot clear it");
    space.set_interrupt_status(bdf, InterruptStatus::Clear);
    assert_eq!(space.read(bdf, half(STATUS)) & 8, 0, "clause 5");
}

/// Clause 6.
pub fn clause_6_reset_is_power_on<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    let registers = |space: &P| (0..64).map(|index| space.read(bdf, dword(4 * index))).collect::<Vec<_>>();
    let (before, places) = (registers(space), decoded(space, bdf));
    space.write(bdf, dword(BAR0), 0);
    space.write(bdf, half(COMMAND), 0x0400);
    space.write(bdf, dword(0x3c), 0x55);
    space.set_interrupt_status(bdf, InterruptStatus::Pending);
    assert_ne!(registers(space), before);
    space.reset(bdf);
    assert_eq!(registers(space), before, "clause 6");
    assert_eq!(decoded(space, bdf), places, "clause 6");
    assert!(!space.command(bdf).intx_disable, "clause 6");
}

/// Clause 6.
pub fn clause_6_reset_switches_messages_off<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function_with_messages(32)).expect("room");
    let at = capability(space, bdf, MSIX).expect("it has MSI-X");
    space.write(bdf, half(at + 2), 0xc000);
    assert_eq!(space.msix(bdf), MsixControl { enabled: true, masked: true });
    space.reset(bdf);
    assert_eq!((space.msix(bdf), space.read(bdf, half(at + 2))), (MsixControl::default(), 1), "clause 6");
}

/// Clause 7.
pub fn clause_7_remove_frees<P: PciSpace>(space: &mut P) {
    let bdf = space.insert(function(32)).expect("room");
    space.remove(bdf).expect("it is there");
    assert_eq!(space.read(bdf, dword(0)), u32::MAX, "clause 7");
    assert_eq!(space.remove(bdf).map_err(|error| error.kind()), Err(ErrorKind::NotFound), "clause 7");
    // More often than there are numbers: what is not freed runs out.
    for irq in 40..340 {
        let again = space.insert(function(irq)).expect("clause 7: room again");
        assert_eq!(decoded(space, again).len(), 2, "clause 7");
        space.remove(again).expect("it is there");
    }
}

/// Clause 8.
pub fn clause_8_one_line_per_device_number<P: PciSpace>(space: &mut P) {
    let mut lines = std::collections::BTreeMap::new();
    for irq in [32, 33, 32, 34, 33, 32] {
        let bdf = space.insert(function(irq)).expect("room");
        assert_eq!(*lines.entry(bdf.device()).or_insert(irq), irq, "clause 8: device {} has two lines", bdf.device());
    }
}
