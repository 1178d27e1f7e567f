//! Translation tables, and roots of address spaces.

use crossvm_sel4::kernel::{CPtr, CapRights, KernelError, Object, Space, Threads};

use crate::{Bench, Case, Probe, Resources};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 16] {
    [
        Case { name: "tables in wrong order", run: tables_in_wrong_order },
        Case { name: "table twice", run: table_twice },
        Case { name: "table over table", run: table_over_table },
        Case { name: "table of other size", run: table_of_other_size },
        Case { name: "table at any address inside", run: table_at_any_address_inside },
        Case { name: "table into what is no root", run: table_into_what_is_no_root },
        Case { name: "table unmapped again and again", run: table_unmapped_again_and_again },
        Case { name: "table unmapped while copied", run: table_unmapped_while_copied },
        Case { name: "table unmapped under frame", run: table_unmapped_under_frame },
        Case { name: "table deleted under frame", run: table_deleted_under_frame },
        Case { name: "directory unmapped under table", run: directory_unmapped_under_table },
        Case { name: "table after space has gone", run: table_after_space_has_gone },
        Case { name: "assign twice", run: assign_twice },
        Case { name: "assign what is no root", run: assign_what_is_no_root },
        Case { name: "assign from what is no pool", run: assign_from_what_is_no_pool },
        Case { name: "assign again and again", run: assign_again_and_again },
    ]
}

type Done = Result<(), KernelError>;

const AT: u64 = (1 << 39) + (1 << 30) + (1 << 21) + (1 << 12);

/// Tries to map a table, and says what came of it.
fn try_map<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, table: CPtr, bits: u8, space: Space, at: u64) {
    let mapped = b.kernel.map_table(table, bits, space, at);
    b.done(what, mapped);
}

fn tables_in_wrong_order<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    let (low, middle, high) = (b.make(Object::Table(21))?, b.make(Object::Table(30))?, b.make(Object::Table(39))?);
    try_map(b, "2^21", low, 21, space, AT);
    try_map(b, "2^30", middle, 30, space, AT);
    try_map(b, "2^39", high, 39, space, AT);
    try_map(b, "2^21", low, 21, space, AT);
    try_map(b, "2^30", middle, 30, space, AT);
    try_map(b, "2^21", low, 21, space, AT);
    Ok(())
}

fn table_twice<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    for bits in [39, 30, 21] {
        let table = b.make(Object::Table(bits))?;
        b.kernel.map_table(table, bits, space, AT)?;
        try_map(b, "again", table, bits, space, AT + (1 << bits));
    }
    Ok(())
}

fn table_over_table<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    b.tables(space, AT, 21)?;
    for (what, bits) in [("2^39", 39), ("2^30", 30), ("2^21", 21)] {
        let table = b.make(Object::Table(bits))?;
        try_map(b, what, table, bits, space, AT);
    }
    Ok(())
}

fn table_of_other_size<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, table) = (b.space()?, b.make(Object::Table(21))?);
    try_map(b, "map-2^30", table, 30, space, AT);
    try_map(b, "map-2^39", table, 39, space, AT);
    let unmapped = b.kernel.unmap_table(table, 30, space);
    b.done("unmap-2^30", unmapped);
    Ok(())
}

fn table_at_any_address_inside<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, frame) = (b.space()?, b.make(Object::SmallFrame)?);
    b.tables(space, AT + 0x123, 21)?;
    let mapped = b.map_all(frame, space, AT);
    b.done("map", mapped);
    Ok(())
}

fn table_into_what_is_no_root<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (table, empty, frame, root) = (b.make(Object::Table(39))?, b.empty(), b.make(Object::SmallFrame)?, b.make(Object::VSpace)?);
    for (what, other) in [("empty", empty), ("frame", frame), ("unassigned", root)] {
        try_map(b, what, table, 39, Space::Virtual(other), AT);
    }
    Ok(())
}

fn table_unmapped_again_and_again<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (space, table) = (b.space()?, b.make(Object::Table(39))?);
    let unmapped = b.kernel.unmap_table(table, 39, space);
    b.done("never-mapped", unmapped);
    b.kernel.map_table(table, 39, space, AT)?;
    for what in ["unmap", "again"] {
        let unmapped = b.kernel.unmap_table(table, 39, space);
        b.done(what, unmapped);
    }
    try_map(b, "elsewhere", table, 39, space, AT + (1 << 39));
    Ok(())
}

fn table_unmapped_while_copied<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    let table = b.tables(space, AT, 21)?;
    // None of 2^39: seL4 5.0.0 stops for good when one is copied.
    let copy = b.copy(table, CapRights::ALL)?;
    let unmapped = b.kernel.unmap_table(table, 21, space);
    b.done("with-copy", unmapped);
    b.kernel.delete(copy)?;
    let unmapped = b.kernel.unmap_table(table, 21, space);
    b.done("without", unmapped);
    Ok(())
}

fn table_unmapped_under_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (at, frame) = (b.resources.window, b.make(Object::SmallFrame)?);
    let table = b.tables(b.own(), at, 21)?;
    b.map_all(frame, b.own(), at)?;
    b.store("store", at, 5);
    b.kernel.unmap_table(table, 21, b.own())?;
    b.load("without-table", at);
    b.kernel.map_table(table, 21, b.own(), at)?;
    b.load("table-again", at);
    let mapped = b.map_all(frame, b.own(), at);
    b.done("map", mapped);
    b.kernel.unmap_frame(frame)?;
    b.map_all(frame, b.own(), at)?;
    b.load("mapped-again", at);
    Ok(())
}

fn table_deleted_under_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (at, frame) = (b.resources.window, b.make(Object::SmallFrame)?);
    let table = b.tables(b.own(), at, 21)?;
    b.map_all(frame, b.own(), at)?;
    b.kernel.delete(table)?;
    b.load("without-table", at);
    let unmapped = b.kernel.unmap_frame(frame);
    b.done("unmap", unmapped);
    let mapped = b.map_all(frame, b.own(), at);
    b.done("map", mapped);
    Ok(())
}

fn directory_unmapped_under_table<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    let directory = b.tables(space, AT, 30)?;
    let table = b.make(Object::Table(21))?;
    b.kernel.map_table(table, 21, space, AT)?;
    b.kernel.unmap_table(directory, 30, space)?;
    b.kernel.map_table(directory, 30, space, AT)?;
    try_map(b, "still-mapped", table, 21, space, AT);
    let unmapped = b.kernel.unmap_table(table, 21, space);
    b.done("unmap", unmapped);
    try_map(b, "map", table, 21, space, AT);
    Ok(())
}

fn table_after_space_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let space = b.space()?;
    let table = b.tables(space, AT, 39)?;
    b.kernel.delete(space.root())?;
    let other = b.space()?;
    try_map(b, "map", table, 39, other, AT);
    let unmapped = b.kernel.unmap_table(table, 39, other);
    b.done("unmap", unmapped);
    try_map(b, "again", table, 39, other, AT);
    Ok(())
}

fn assign_twice<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let root = b.make(Object::VSpace)?;
    for what in ["first", "second"] {
        let assigned = b.kernel.assign_asid(b.resources.asid_pool, root);
        b.done(what, assigned);
    }
    Ok(())
}

fn assign_what_is_no_root<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, table, empty) = (b.make(Object::SmallFrame)?, b.make(Object::Table(39))?, b.empty());
    for (what, other) in [("frame", frame), ("table", table), ("empty", empty)] {
        let assigned = b.kernel.assign_asid(b.resources.asid_pool, other);
        b.done(what, assigned);
    }
    Ok(())
}

fn assign_from_what_is_no_pool<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (root, frame, empty) = (b.make(Object::VSpace)?, b.make(Object::SmallFrame)?, b.empty());
    for (what, other) in [("frame", frame), ("empty", empty)] {
        let assigned = b.kernel.assign_asid(other, root);
        b.done(what, assigned);
    }
    Ok(())
}

fn assign_again_and_again<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    // More often than a pool has identifiers: they come back.
    let mut assigned = Ok(());
    for _ in 0..2000 {
        let slot = b.resources.slots.offset(Resources::SLOTS - 1);
        assigned = b.kernel.retype(memory, Object::VSpace, slot).and_then(|()| b.kernel.assign_asid(b.resources.asid_pool, slot));
        let deleted = b.kernel.delete(slot);
        if assigned.is_err() || deleted.is_err() {
            break;
        }
    }
    b.done("last", assigned);
    Ok(())
}
