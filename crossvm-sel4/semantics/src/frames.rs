//! Mapping of frames.

use crossvm_sel4::kernel::{CPtr, CapRights, Kernel, KernelError, Object, Space, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 18] {
    [
        Case { name: "map without tables", run: map_without_tables },
        Case { name: "map large without tables", run: map_large_without_tables },
        Case { name: "map twice", run: map_twice },
        Case { name: "map twice at same place", run: map_twice_at_same_place },
        Case { name: "map over another", run: map_over_another },
        Case { name: "map copy elsewhere", run: map_copy_elsewhere },
        Case { name: "map large over table", run: map_large_over_table },
        Case { name: "map small under large", run: map_small_under_large },
        Case { name: "map misaligned", run: map_misaligned },
        Case { name: "map too high", run: map_too_high },
        Case { name: "map into what is no root", run: map_into_what_is_no_root },
        Case { name: "map what is no frame", run: map_what_is_no_frame },
        Case { name: "map in two spaces", run: map_in_two_spaces },
        Case { name: "unmap again and again", run: unmap_again_and_again },
        Case { name: "unmap what is no frame", run: unmap_what_is_no_frame },
        Case { name: "unmap after space has gone", run: unmap_after_space_has_gone },
        Case { name: "map in place of deleted", run: map_in_place_of_deleted },
        Case { name: "frame addresses", run: frame_addresses },
    ]
}

type Done = Result<(), KernelError>;

/// Where the cases map: 1 GiB, 2 MiB and 4 KiB into the second entry of the root.
const AT: u64 = (1 << 39) + (1 << 30) + (1 << 21) + (1 << 12);

/// Tries to map a frame with all rights, and says what came of it.
fn try_map<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, frame: CPtr, space: Space, at: u64) {
    let mapped = b.map_all(frame, space, at);
    b.done(what, mapped);
}

fn map_without_tables<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    try_map(b, "root", frame, space, AT);
    for (what, bits) in [("2^39", 39), ("2^30", 30), ("2^21", 21)] {
        let table = b.make(Object::Table(bits))?;
        b.kernel.map_table(table, bits, space, AT)?;
        try_map(b, what, frame, space, AT);
    }
    Ok(())
}

fn map_large_without_tables<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::LargeFrame)?);
    let at = AT & !0x1f_ffff;
    try_map(b, "root", frame, space, at);
    for (what, bits) in [("2^39", 39), ("2^30", 30)] {
        let table = b.make(Object::Table(bits))?;
        b.kernel.map_table(table, bits, space, at)?;
        try_map(b, what, frame, space, at);
    }
    Ok(())
}

fn map_twice<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    try_map(b, "first", frame, space, AT);
    try_map(b, "elsewhere", frame, space, AT + 0x1000);
    Ok(())
}

fn map_twice_at_same_place<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    try_map(b, "first", frame, space, AT);
    try_map(b, "second", frame, space, AT);
    Ok(())
}

fn map_over_another<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, first, second) = (b.space()?, b.make(Object::SmallFrame)?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    let copy = b.copy(first, CapRights::ALL)?;
    try_map(b, "first", first, space, AT);
    try_map(b, "other", second, space, AT);
    try_map(b, "copy", copy, space, AT);
    Ok(())
}

fn map_copy_elsewhere<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    try_map(b, "original", frame, space, AT);
    let copy = b.copy(frame, CapRights::ALL)?;
    try_map(b, "copy", copy, space, AT + 0x1000);
    Ok(())
}

fn map_large_over_table<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::LargeFrame)?);
    b.tables(space, AT, 21)?;
    try_map(b, "map", frame, space, AT & !0x1f_ffff);
    Ok(())
}

fn map_small_under_large<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, large, small) = (b.space()?, b.make(Object::LargeFrame)?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 30)?;
    try_map(b, "large", large, space, AT & !0x1f_ffff);
    try_map(b, "small", small, space, AT);
    let table = b.make(Object::Table(21))?;
    let mapped = b.kernel.map_table(table, 21, space, AT);
    b.done("table", mapped);
    Ok(())
}

fn map_misaligned<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, small, large) = (b.space()?, b.make(Object::SmallFrame)?, b.make(Object::LargeFrame)?);
    b.tables(space, AT, 21)?;
    try_map(b, "small", small, space, AT + 8);
    try_map(b, "large", large, space, AT);
    Ok(())
}

fn map_too_high<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    let high = 0xffff_ffff_c000_0000;
    try_map(b, "frame", frame, space, high);
    for (what, bits) in [("2^39", 39), ("2^30", 30), ("2^21", 21)] {
        let table = b.make(Object::Table(bits))?;
        let mapped = b.kernel.map_table(table, bits, space, high);
        b.done(what, mapped);
    }
    Ok(())
}

fn map_into_what_is_no_root<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let frame = b.make(Object::SmallFrame)?;
    let empty = b.empty();
    try_map(b, "empty", frame, Space::Virtual(empty), AT);
    for (what, object) in [("table", Object::Table(39)), ("notification", Object::Notification), ("unassigned", Object::VSpace)] {
        let other = b.make(object)?;
        try_map(b, what, frame, Space::Virtual(other), AT);
    }
    Ok(())
}

fn map_what_is_no_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    for (what, object) in
        [("thread", Object::Tcb), ("untyped", Object::Untyped(12)), ("table", Object::Table(21)), ("cnode", Object::CNode(4))]
    {
        let other = b.make(object)?;
        try_map(b, what, other, space, AT);
    }
    let empty = b.empty();
    try_map(b, "empty", empty, space, AT);
    Ok(())
}

fn map_in_two_spaces<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (one, two, frame) = (b.space()?, b.space()?, b.make(Object::SmallFrame)?);
    b.tables(one, AT, 21)?;
    b.tables(two, AT, 21)?;
    try_map(b, "one", frame, one, AT);
    try_map(b, "two", frame, two, AT);
    let copy = b.copy(frame, CapRights::ALL)?;
    try_map(b, "copy", copy, two, AT);
    Ok(())
}

fn unmap_again_and_again<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    let unmapped = b.kernel.unmap_frame(frame);
    b.done("never-mapped", unmapped);
    b.map_all(frame, space, AT)?;
    for what in ["unmap", "again"] {
        let unmapped = b.kernel.unmap_frame(frame);
        b.done(what, unmapped);
    }
    try_map(b, "elsewhere", frame, space, AT + 0x1000);
    Ok(())
}

fn unmap_what_is_no_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for (what, object) in
        [("thread", Object::Tcb), ("untyped", Object::Untyped(12)), ("table", Object::Table(21)), ("root", Object::VSpace)]
    {
        let other = b.make(object)?;
        let unmapped = b.kernel.unmap_frame(other);
        b.done(what, unmapped);
    }
    let empty = b.empty();
    let unmapped = b.kernel.unmap_frame(empty);
    b.done("empty", unmapped);
    Ok(())
}

fn unmap_after_space_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    b.map_all(frame, space, AT)?;
    b.kernel.delete(space.root())?;
    let unmapped = b.kernel.unmap_frame(frame);
    b.done("unmap", unmapped);
    let other = b.space()?;
    b.tables(other, AT, 21)?;
    try_map(b, "map", frame, other, AT);
    Ok(())
}

fn map_in_place_of_deleted<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, first, second) = (b.space()?, b.make(Object::SmallFrame)?, b.make(Object::SmallFrame)?);
    b.tables(space, AT, 21)?;
    b.map_all(first, space, AT)?;
    b.kernel.delete(first)?;
    try_map(b, "map", second, space, AT);
    Ok(())
}

fn frame_addresses<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (first, second, large) = (b.make(Object::SmallFrame)?, b.make(Object::SmallFrame)?, b.make(Object::LargeFrame)?);
    let copy = b.copy(first, CapRights::NONE)?;
    let address = |frame| Kernel::frame_address(b.kernel, frame);
    let (at, next, of_copy, of_large) = (address(first)?, address(second)?, address(copy)?, address(large)?);
    b.flag("copy-equal", at == of_copy);
    b.number("distance", next.wrapping_sub(at));
    b.flag("large-aligned", of_large.is_multiple_of(1 << 21));
    let (thread, empty) = (b.make(Object::Tcb)?, b.empty());
    for (what, other) in [("thread", thread), ("empty", empty)] {
        let asked = b.kernel.frame_address(other).map(|_| ());
        b.done(what, asked);
    }
    Ok(())
}
