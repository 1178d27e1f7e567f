//! What can be loaded and stored where a frame is mapped.

use crossvm_sel4::kernel::{CPtr, CapRights, KernelError, Object, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 13] {
    [
        Case { name: "memory is 0", run: memory_is_0 },
        Case { name: "read and write", run: read_and_write },
        Case { name: "read by call", run: read_by_call },
        Case { name: "read by capability", run: read_by_capability },
        Case { name: "write without read", run: write_without_read },
        Case { name: "no right by call", run: no_right_by_call },
        Case { name: "no right by capability", run: no_right_by_capability },
        Case { name: "two views of a frame", run: two_views_of_a_frame },
        Case { name: "large frame is shared", run: large_frame_is_shared },
        Case { name: "unmapped", run: unmapped },
        Case { name: "delete last capability of mapped", run: delete_last_capability_of_mapped },
        Case { name: "delete copy that is mapped", run: delete_copy_that_is_mapped },
        Case { name: "memory is 0 again", run: memory_is_0_again },
    ]
}

type Done = Result<(), KernelError>;

/// A frame, in a window with tables.
fn frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Result<(CPtr, u64), KernelError> {
    let at = b.resources.window;
    b.tables(b.own(), at, 21)?;
    Ok((b.make(Object::SmallFrame)?, at))
}

/// Maps a copy with `mine` rights by a call with `asked` rights, and says what can be loaded and stored. The frame holds 7.
fn view<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, mine: CapRights, asked: CapRights) -> Done {
    let (frame, at) = frame(b)?;
    b.map_all(frame, b.own(), at)?;
    b.store("prepare", at, 7);
    let copy = b.copy(frame, mine)?;
    let mapped = b.map(copy, b.own(), at + 0x1000, asked);
    b.done("map", mapped);
    b.load("load", at + 0x1000);
    b.store("store", at + 0x1000, 8);
    b.load("holds", at);
    Ok(())
}

fn memory_is_0<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, at) = frame(b)?;
    b.map_all(frame, b.own(), at)?;
    b.load("first", at);
    b.load("last", at + 0xffc);
    b.load("behind", at + 0x1000);
    Ok(())
}

fn read_and_write<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::READ_WRITE, CapRights::READ_WRITE)
}

fn read_by_call<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::READ_WRITE, CapRights::READ)
}

fn read_by_capability<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::READ, CapRights::READ_WRITE)
}

fn write_without_read<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::READ_WRITE, CapRights::WRITE)
}

fn no_right_by_call<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::ALL, CapRights::NONE)
}

fn no_right_by_capability<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    view(b, CapRights::NONE, CapRights::ALL)
}

fn two_views_of_a_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, at) = frame(b)?;
    let copy = b.copy(frame, CapRights::READ_WRITE)?;
    b.map_all(frame, b.own(), at)?;
    b.map_all(copy, b.own(), at + 0x8000)?;
    b.store("store", at + 0x10, 0x1234_5678);
    b.load("other", at + 0x8010);
    b.store("back", at + 0x8010, 0x9abc_def0);
    b.load("first", at + 0x10);
    b.kernel.unmap_frame(frame)?;
    b.load("unmapped", at + 0x10);
    b.load("stays", at + 0x8010);
    Ok(())
}

fn large_frame_is_shared<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let at = b.resources.window;
    b.tables(b.own(), at, 30)?;
    let large = b.make(Object::LargeFrame)?;
    let copy = b.copy(large, CapRights::READ)?;
    b.map_all(large, b.own(), at)?;
    b.map_all(copy, b.own(), at + (2 << 21))?;
    b.store("store", at + 0x1f_fffc, 0x55);
    b.load("other", at + (2 << 21) + 0x1f_fffc);
    b.store("read-only", at + (2 << 21), 1);
    Ok(())
}

fn unmapped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, at) = frame(b)?;
    b.load("before", at);
    b.map_all(frame, b.own(), at)?;
    b.store("mapped", at, 3);
    b.kernel.unmap_frame(frame)?;
    b.load("after", at);
    b.store("after", at, 4);
    b.map(frame, b.own(), at + 0x3000, CapRights::READ)?;
    b.load("elsewhere", at + 0x3000);
    Ok(())
}

fn delete_last_capability_of_mapped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, at) = frame(b)?;
    b.map_all(frame, b.own(), at)?;
    b.load("before", at);
    b.kernel.delete(frame)?;
    b.load("after", at);
    Ok(())
}

fn delete_copy_that_is_mapped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, at) = frame(b)?;
    let copy = b.copy(frame, CapRights::ALL)?;
    b.map_all(copy, b.own(), at)?;
    b.kernel.delete(copy)?;
    b.load("after", at);
    Ok(())
}

fn memory_is_0_again<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let at = b.resources.window;
    b.tables(b.own(), at, 21)?;
    let memory = b.make(Object::Untyped(12))?;
    let frame = b.make_of(memory, Object::SmallFrame)?;
    b.map_all(frame, b.own(), at)?;
    b.store("store", at, 0xdead);
    b.load("load", at);
    b.kernel.revoke(memory)?;
    let again = b.make_of(memory, Object::SmallFrame)?;
    b.map_all(again, b.own(), at)?;
    b.load("again", at);
    Ok(())
}
