//! Copies, rights, deletion and revocation.

use crossvm_sel4::kernel::{Badge, CPtr, CapRights, KernelError, Object, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 26] {
    [
        Case { name: "copy to used slot", run: copy_to_used_slot },
        Case { name: "copy from empty slot", run: copy_from_empty_slot },
        Case { name: "copy from empty to used slot", run: copy_from_empty_to_used_slot },
        Case { name: "copy outside of cspace", run: copy_outside_of_cspace },
        Case { name: "mint badged again", run: mint_badged_again },
        Case { name: "mint without badge", run: mint_without_badge },
        Case { name: "mint what has no badge", run: mint_what_has_no_badge },
        Case { name: "copy keeps badge", run: copy_keeps_badge },
        Case { name: "rights do not grow", run: rights_do_not_grow },
        Case { name: "copy new tables", run: copy_new_tables },
        Case { name: "copy untyped", run: copy_untyped },
        Case { name: "copy untyped in use", run: copy_untyped_in_use },
        Case { name: "delete empty slot", run: delete_empty_slot },
        Case { name: "revoke empty slot", run: revoke_empty_slot },
        Case { name: "delete outside of cspace", run: delete_outside_of_cspace },
        Case { name: "copy outlives original", run: copy_outlives_original },
        Case { name: "revoke original", run: revoke_original },
        Case { name: "revoke copy", run: revoke_copy },
        Case { name: "revoke badged", run: revoke_badged },
        Case { name: "revoke copy of badged", run: revoke_copy_of_badged },
        Case { name: "revoke first of equal badges", run: revoke_first_of_equal_badges },
        Case { name: "revoke after first of badge has gone", run: revoke_after_first_of_badge_has_gone },
        Case { name: "revoke after original has gone", run: revoke_after_original_has_gone },
        Case { name: "delete original of badged copies", run: delete_original_of_badged_copies },
        Case { name: "revoke untyped", run: revoke_untyped },
        Case { name: "revoke leaves others", run: revoke_leaves_others },
    ]
}

type Done = Result<(), KernelError>;

/// Whether a slot is in use, seen by copying it.
fn there<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, slot: CPtr) {
    let to = b.empty();
    let copied = b.kernel.copy(slot, to, CapRights::ALL);
    b.flag(what, copied.is_ok());
    // Copies are children of what is asked about next.
    let _ = b.kernel.delete(to);
}

fn copy_to_used_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (from, to) = (b.make(Object::Notification)?, b.make(Object::Notification)?);
    let copied = b.kernel.copy(from, to, CapRights::ALL);
    b.done("copy", copied);
    let minted = b.kernel.mint(from, to, CapRights::ALL, Badge::new(1));
    b.done("mint", minted);
    let own = b.kernel.copy(from, from, CapRights::ALL);
    b.done("onto-itself", own);
    Ok(())
}

fn copy_from_empty_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (from, to) = (b.empty(), b.empty());
    let copied = b.kernel.copy(from, to, CapRights::ALL);
    b.done("copy", copied);
    let minted = b.kernel.mint(from, to, CapRights::ALL, Badge::new(1));
    b.done("mint", minted);
    Ok(())
}

fn copy_from_empty_to_used_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (from, to) = (b.empty(), b.make(Object::Notification)?);
    let copied = b.kernel.copy(from, to, CapRights::ALL);
    b.done("copy", copied);
    Ok(())
}

fn copy_outside_of_cspace<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (from, to, outside) = (b.make(Object::Notification)?, b.empty(), b.outside());
    let copied = b.kernel.copy(from, outside, CapRights::ALL);
    b.done("to", copied);
    let copied = b.kernel.copy(outside, to, CapRights::ALL);
    b.done("from", copied);
    Ok(())
}

fn mint_badged_again<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 1)?;
    for (what, badge) in [("other", 2), ("same", 1), ("none", 0)] {
        let to = b.empty();
        let minted = b.kernel.mint(one, to, CapRights::ALL, Badge::new(badge));
        b.done(what, minted);
    }
    Ok(())
}

fn mint_without_badge<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let none = b.badged(all, 0)?;
    let one = b.badged(none, 1)?;
    b.kernel.signal(one);
    b.poll("poll", none);
    Ok(())
}

fn mint_what_has_no_badge<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for (what, object) in
        [("frame", Object::SmallFrame), ("thread", Object::Tcb), ("untyped", Object::Untyped(12)), ("endpoint", Object::Endpoint)]
    {
        let from = b.make(object)?;
        let to = b.empty();
        let minted = b.kernel.mint(from, to, CapRights::ALL, Badge::new(1));
        b.done(what, minted);
    }
    Ok(())
}

fn copy_keeps_badge<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x40)?;
    let copy = b.copy(one, CapRights::WRITE)?;
    b.kernel.signal(copy);
    b.poll("poll", all);
    Ok(())
}

fn rights_do_not_grow<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 1)?;
    let reader = b.copy(one, CapRights::READ)?;
    let again = b.copy(reader, CapRights::ALL)?;
    b.kernel.signal(again);
    b.poll("poll", all);
    Ok(())
}

fn copy_new_tables<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for (what, object) in
        [("root", Object::VSpace), ("table", Object::Table(21)), ("directory", Object::Table(30)), ("frame", Object::SmallFrame)]
    {
        let from = b.make(object)?;
        let to = b.empty();
        let copied = b.kernel.copy(from, to, CapRights::ALL);
        b.done(what, copied);
    }
    let space = b.space()?;
    let to = b.empty();
    let copied = b.kernel.copy(space.root(), to, CapRights::ALL);
    b.done("assigned", copied);
    Ok(())
}

fn copy_untyped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let copy = b.copy(memory, CapRights::ALL)?;
    let to = b.empty();
    let made = b.kernel.retype(memory, Object::Endpoint, to);
    b.done("original", made);
    let made = b.kernel.retype(copy, Object::Endpoint, to);
    b.done("copy", made);
    b.kernel.delete(to)?;
    b.kernel.delete(copy)?;
    let made = b.kernel.retype(memory, Object::Untyped(12), to);
    b.done("again", made);
    Ok(())
}

fn copy_untyped_in_use<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(12))?;
    let object = b.make_of(memory, Object::Endpoint)?;
    let to = b.empty();
    let copied = b.kernel.copy(memory, to, CapRights::ALL);
    b.done("in-use", copied);
    b.kernel.delete(object)?;
    let copied = b.kernel.copy(memory, to, CapRights::ALL);
    b.done("free", copied);
    Ok(())
}

fn delete_empty_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let slot = b.empty();
    let deleted = b.kernel.delete(slot);
    b.done("delete", deleted);
    Ok(())
}

fn revoke_empty_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let slot = b.empty();
    let revoked = b.kernel.revoke(slot);
    b.done("revoke", revoked);
    Ok(())
}

fn delete_outside_of_cspace<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let outside = b.outside();
    let deleted = b.kernel.delete(outside);
    b.done("delete", deleted);
    let revoked = b.kernel.revoke(outside);
    b.done("revoke", revoked);
    Ok(())
}

fn copy_outlives_original<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let (copy, one) = (b.copy(all, CapRights::ALL)?, b.badged(all, 1)?);
    b.kernel.delete(all)?;
    b.kernel.signal(one);
    b.poll("poll", copy);
    Ok(())
}

fn revoke_original<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let copy = b.copy(all, CapRights::ALL)?;
    let one = b.badged(copy, 1)?;
    b.kernel.revoke(all)?;
    there(b, "original", all);
    there(b, "copy", copy);
    there(b, "badged", one);
    Ok(())
}

fn revoke_copy<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let copy = b.copy(all, CapRights::ALL)?;
    let copy_of_copy = b.copy(copy, CapRights::ALL)?;
    let one = b.badged(copy, 1)?;
    b.kernel.revoke(copy)?;
    there(b, "original", all);
    there(b, "copy-of-copy", copy_of_copy);
    there(b, "badged", one);
    Ok(())
}

fn revoke_badged<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let (one, two) = (b.badged(all, 1)?, b.badged(all, 2)?);
    let (copy_of_one, copy_of_two) = (b.copy(one, CapRights::ALL)?, b.copy(two, CapRights::ALL)?);
    b.kernel.revoke(one)?;
    there(b, "original", all);
    there(b, "one", one);
    there(b, "copy-of-one", copy_of_one);
    there(b, "two", two);
    there(b, "copy-of-two", copy_of_two);
    Ok(())
}

fn revoke_copy_of_badged<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 1)?;
    let copy = b.copy(one, CapRights::ALL)?;
    let copy_of_copy = b.copy(copy, CapRights::ALL)?;
    b.kernel.revoke(copy)?;
    there(b, "copy-of-copy", copy_of_copy);
    there(b, "badged", one);
    Ok(())
}

fn revoke_first_of_equal_badges<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let (first, second) = (b.badged(all, 1)?, b.badged(all, 1)?);
    b.kernel.revoke(first)?;
    there(b, "second", second);
    b.kernel.revoke(second)?;
    there(b, "first", first);
    Ok(())
}

fn revoke_after_first_of_badge_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let first = b.badged(all, 1)?;
    let copy = b.copy(first, CapRights::ALL)?;
    b.kernel.delete(first)?;
    // It stands in front of the copy now, with the same badge, and is not what the copy was made from.
    let second = b.badged(all, 1)?;
    b.kernel.revoke(second)?;
    there(b, "copy", copy);
    Ok(())
}

fn delete_original_of_badged_copies<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let first = b.badged(all, 1)?;
    let (copy, another) = (b.copy(first, CapRights::ALL)?, b.copy(first, CapRights::ALL)?);
    b.kernel.delete(first)?;
    b.kernel.revoke(copy)?;
    there(b, "another", another);
    b.kernel.revoke(another)?;
    there(b, "copy", copy);
    b.kernel.revoke(all)?;
    there(b, "after-all", copy);
    Ok(())
}

fn revoke_after_original_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let (copy, one) = (b.copy(all, CapRights::ALL)?, b.badged(all, 1)?);
    b.kernel.delete(all)?;
    b.kernel.revoke(copy)?;
    there(b, "badged", one);
    there(b, "copy", copy);
    Ok(())
}

fn revoke_untyped<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(16))?;
    let (all, inner) = (b.make_of(memory, Object::Notification)?, b.make_of(memory, Object::Untyped(12))?);
    let (one, frame) = (b.badged(all, 1)?, b.make_of(inner, Object::SmallFrame)?);
    b.kernel.revoke(memory)?;
    there(b, "notification", all);
    there(b, "badged", one);
    there(b, "frame", frame);
    there(b, "inner", inner);
    let to = b.empty();
    let made = b.kernel.retype(memory, Object::Untyped(16), to);
    b.done("retype", made);
    Ok(())
}

fn revoke_leaves_others<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (memory, other) = (b.make(Object::Untyped(12))?, b.make(Object::Untyped(12))?);
    let (gone, stays) = (b.make_of(memory, Object::Endpoint)?, b.make_of(other, Object::Endpoint)?);
    b.kernel.revoke(memory)?;
    there(b, "gone", gone);
    there(b, "stays", stays);
    Ok(())
}
