//! Making objects in untyped memory.

use crossvm_sel4::kernel::{KernelError, Object, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 17] {
    [
        Case { name: "retype to used slot", run: retype_to_used_slot },
        Case { name: "retype outside of cspace", run: retype_outside_of_cspace },
        Case { name: "retype what is too large", run: retype_what_is_too_large },
        Case { name: "retype too large to used slot", run: retype_too_large_to_used_slot },
        Case { name: "retype impossible sizes", run: retype_impossible_sizes },
        Case { name: "retype from what is not untyped", run: retype_from_what_is_not_untyped },
        Case { name: "untyped is used up", run: untyped_is_used_up },
        Case { name: "untyped lost to alignment", run: untyped_lost_to_alignment },
        Case { name: "watermark stays", run: watermark_stays },
        Case { name: "watermark goes back", run: watermark_goes_back },
        Case { name: "watermark goes back in parts", run: watermark_goes_back_in_parts },
        Case { name: "copy keeps memory", run: copy_keeps_memory },
        Case { name: "smallest untyped", run: smallest_untyped },
        Case { name: "small objects in 4 KiB", run: small_objects_in_4_kib },
        Case { name: "pages in 4 KiB", run: pages_in_4_kib },
        Case { name: "large frame", run: large_frame },
        Case { name: "failed retype costs nothing", run: failed_retype_costs_nothing },
    ]
}

type Done = Result<(), KernelError>;

/// Tries to make an object, and says what came of it.
fn try_make<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, untyped: crossvm_sel4::kernel::CPtr, object: Object) {
    let to = b.empty();
    let made = b.kernel.retype(untyped, object, to);
    b.done(what, made);
}

fn retype_to_used_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let used = b.make_of(memory, Object::Endpoint)?;
    let made = b.kernel.retype(memory, Object::Endpoint, used);
    b.done("retype", made);
    Ok(())
}

fn retype_outside_of_cspace<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (memory, outside) = (b.make(Object::Untyped(12))?, b.outside());
    let made = b.kernel.retype(memory, Object::Endpoint, outside);
    b.done("retype", made);
    Ok(())
}

fn retype_what_is_too_large<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    try_make(b, "untyped", memory, Object::Untyped(13));
    try_make(b, "frame", memory, Object::LargeFrame);
    try_make(b, "cnode", memory, Object::CNode(8));
    Ok(())
}

fn retype_too_large_to_used_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (memory, used) = (b.make(Object::Untyped(12))?, b.make(Object::Endpoint)?);
    let made = b.kernel.retype(memory, Object::Untyped(13), used);
    b.done("retype", made);
    Ok(())
}

fn retype_impossible_sizes<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    try_make(b, "untyped-2^3", memory, Object::Untyped(3));
    try_make(b, "untyped-2^48", memory, Object::Untyped(48));
    try_make(b, "untyped-2^63", memory, Object::Untyped(63));
    try_make(b, "cnode-2^0", memory, Object::CNode(0));
    try_make(b, "cnode-2^48", memory, Object::CNode(48));
    Ok(())
}

fn retype_from_what_is_not_untyped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for (what, object) in [("frame", Object::SmallFrame), ("thread", Object::Tcb), ("cnode", Object::CNode(4)), ("root", Object::VSpace)] {
        let other = b.make(object)?;
        try_make(b, what, other, Object::Endpoint);
    }
    let empty = b.empty();
    try_make(b, "empty", empty, Object::Endpoint);
    Ok(())
}

fn untyped_is_used_up<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    for what in ["first", "second", "third"] {
        try_make(b, what, memory, Object::Untyped(11));
    }
    try_make(b, "smallest", memory, Object::Endpoint);
    Ok(())
}

fn untyped_lost_to_alignment<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    try_make(b, "endpoint", memory, Object::Endpoint);
    try_make(b, "half", memory, Object::Untyped(11));
    try_make(b, "between", memory, Object::Endpoint);
    Ok(())
}

fn watermark_stays<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let (_, second) = (b.make_of(memory, Object::Untyped(11))?, b.make_of(memory, Object::Untyped(11))?);
    b.kernel.delete(second)?;
    try_make(b, "half", memory, Object::Untyped(11));
    Ok(())
}

fn watermark_goes_back<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let (first, second) = (b.make_of(memory, Object::Untyped(11))?, b.make_of(memory, Object::Untyped(11))?);
    b.kernel.delete(first)?;
    b.kernel.delete(second)?;
    try_make(b, "whole", memory, Object::Untyped(12));
    Ok(())
}

fn watermark_goes_back_in_parts<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(13))?;
    let (first, second) = (b.make_of(memory, Object::Untyped(12))?, b.make_of(memory, Object::Untyped(12))?);
    for half in [first, second] {
        b.make_of(half, Object::SmallFrame)?;
    }
    b.kernel.revoke(first)?;
    try_make(b, "whole", memory, Object::Untyped(12));
    try_make(b, "first", first, Object::SmallFrame);
    try_make(b, "second", second, Object::SmallFrame);
    Ok(())
}

fn copy_keeps_memory<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let frame = b.make_of(memory, Object::SmallFrame)?;
    let copy = b.copy(frame, crossvm_sel4::kernel::CapRights::READ)?;
    b.kernel.delete(frame)?;
    try_make(b, "with-copy", memory, Object::SmallFrame);
    b.kernel.delete(copy)?;
    try_make(b, "without", memory, Object::SmallFrame);
    Ok(())
}

fn smallest_untyped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(4))?;
    try_make(b, "endpoint", memory, Object::Endpoint);
    try_make(b, "another", memory, Object::Endpoint);
    try_make(b, "notification", memory, Object::Notification);
    Ok(())
}

fn small_objects_in_4_kib<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for (what, object) in [("notifications", Object::Notification), ("cnodes", Object::CNode(4)), ("threads", Object::Tcb)] {
        let count = b.fit(object)?;
        b.number(what, count);
    }
    Ok(())
}

fn pages_in_4_kib<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let objects =
        [("frames", Object::SmallFrame), ("roots", Object::VSpace), ("tables", Object::Table(21)), ("directories", Object::Table(30))];
    for (what, object) in objects {
        let count = b.fit(object)?;
        b.number(what, count);
    }
    Ok(())
}

fn large_frame<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let small = b.make(Object::Untyped(20))?;
    try_make(b, "in-1-MiB", small, Object::LargeFrame);
    let large = b.make(Object::Untyped(21))?;
    try_make(b, "in-2-MiB", large, Object::LargeFrame);
    try_make(b, "rest", large, Object::Endpoint);
    Ok(())
}

fn failed_retype_costs_nothing<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let used = b.make(Object::Endpoint)?;
    for _ in 0..3 {
        let made = b.kernel.retype(memory, Object::Untyped(11), used);
        b.done("refused", made);
    }
    try_make(b, "first", memory, Object::Untyped(11));
    try_make(b, "second", memory, Object::Untyped(11));
    Ok(())
}
