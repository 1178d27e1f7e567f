//! Signals and badges.

use crossvm_sel4::kernel::{CapRights, KernelError, Object, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 19] {
    [
        Case { name: "poll new", run: poll_new },
        Case { name: "signal and poll", run: signal_and_poll },
        Case { name: "signal and wait", run: signal_and_wait },
        Case { name: "badges are ored", run: badges_are_ored },
        Case { name: "signals coalesce", run: signals_coalesce },
        Case { name: "signal without badge", run: signal_without_badge },
        Case { name: "signal without badge among others", run: signal_without_badge_among_others },
        Case { name: "wait through badged", run: wait_through_badged },
        Case { name: "signal without right", run: signal_without_right },
        Case { name: "signal empty slot", run: signal_empty_slot },
        Case { name: "signal what is none", run: signal_what_is_none },
        Case { name: "badge of 28 bits", run: badge_of_28_bits },
        Case { name: "badge beyond 28 bits", run: badge_beyond_28_bits },
        Case { name: "two notifications", run: two_notifications },
        Case { name: "signal outlives signaller", run: signal_outlives_signaller },
        Case { name: "signal ends with notification", run: signal_ends_with_notification },
        Case { name: "any invocation signals", run: any_invocation_signals },
        Case { name: "any invocation without right", run: any_invocation_without_right },
        Case { name: "try to receive", run: try_to_receive },
    ]
}

type Done = Result<(), KernelError>;

fn poll_new<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    b.poll("poll", all);
    Ok(())
}

fn signal_and_poll<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 1)?;
    b.kernel.signal(one);
    b.poll("first", all);
    b.poll("second", all);
    Ok(())
}

fn signal_and_wait<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x10)?;
    b.kernel.signal(one);
    let badge = b.kernel.wait(all);
    b.badge("wait", badge);
    b.poll("poll", all);
    Ok(())
}

fn badges_are_ored<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    for badge in [1, 6, 0x100] {
        let one = b.badged(all, badge)?;
        b.kernel.signal(one);
    }
    b.poll("first", all);
    b.poll("second", all);
    Ok(())
}

fn signals_coalesce<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 4)?;
    for _ in 0..1000 {
        b.kernel.signal(one);
    }
    b.poll("first", all);
    b.poll("second", all);
    Ok(())
}

fn signal_without_badge<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    b.kernel.signal(all);
    // It does not block: the notification is signalled, with no bit to show for it.
    let badge = b.kernel.wait(all);
    b.badge("wait", badge);
    Ok(())
}

fn signal_without_badge_among_others<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 2)?;
    b.kernel.signal(one);
    b.kernel.signal(all);
    b.poll("first", all);
    b.poll("second", all);
    Ok(())
}

fn wait_through_badged<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let (one, two) = (b.badged(all, 1)?, b.badged(all, 2)?);
    b.kernel.signal(one);
    b.kernel.signal(two);
    b.poll("two", two);
    b.poll("all", all);
    Ok(())
}

fn signal_without_right<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 1)?;
    let (reader, nothing) = (b.copy(one, CapRights::READ)?, b.copy(one, CapRights::NONE)?);
    b.kernel.signal(reader);
    b.kernel.signal(nothing);
    b.poll("poll", all);
    let writer = b.copy(one, CapRights::WRITE)?;
    b.kernel.signal(writer);
    b.poll("with", all);
    Ok(())
}

fn signal_empty_slot<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let empty = b.empty();
    b.kernel.signal(empty);
    b.flag("lives", true);
    Ok(())
}

fn signal_what_is_none<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    for object in [Object::SmallFrame, Object::Untyped(12), Object::CNode(4), Object::Tcb, Object::VSpace] {
        let other = b.make(object)?;
        b.kernel.signal(other);
    }
    b.flag("lives", true);
    Ok(())
}

fn badge_of_28_bits<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x0fff_ffff)?;
    b.kernel.signal(one);
    b.poll("poll", all);
    Ok(())
}

fn badge_beyond_28_bits<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x1000_0001)?;
    b.kernel.signal(one);
    b.poll("poll", all);
    let two = b.badged(all, u64::MAX)?;
    b.kernel.signal(two);
    b.poll("ones", all);
    Ok(())
}

fn two_notifications<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (first, second) = (b.make(Object::Notification)?, b.make(Object::Notification)?);
    let one = b.badged(first, 1)?;
    b.kernel.signal(one);
    b.poll("second", second);
    b.poll("first", first);
    Ok(())
}

fn signal_outlives_signaller<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 8)?;
    b.kernel.signal(one);
    b.kernel.delete(one)?;
    b.kernel.signal(one);
    b.poll("poll", all);
    Ok(())
}

fn signal_ends_with_notification<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let memory = b.make(Object::Untyped(5))?;
    let all = b.make_of(memory, Object::Notification)?;
    let one = b.badged(all, 8)?;
    b.kernel.signal(one);
    b.kernel.revoke(memory)?;
    let again = b.make_of(memory, Object::Notification)?;
    b.poll("poll", again);
    Ok(())
}

fn any_invocation_signals<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x20)?;
    let unmapped = b.kernel.unmap_frame(one);
    b.done("unmap", unmapped);
    let to = b.empty();
    let made = b.kernel.retype(one, Object::Endpoint, to);
    b.done("retype", made);
    let suspended = b.kernel.suspend(one);
    b.done("suspend", suspended);
    b.poll("poll", all);
    Ok(())
}

fn any_invocation_without_right<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let all = b.make(Object::Notification)?;
    let one = b.badged(all, 0x20)?;
    let reader = b.copy(one, CapRights::READ)?;
    let unmapped = b.kernel.unmap_frame(reader);
    b.done("unmap", unmapped);
    b.poll("poll", all);
    Ok(())
}

fn try_to_receive<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let endpoint = b.make(Object::Endpoint)?;
    let received = b.kernel.try_receive(endpoint);
    b.flag("message", received.is_some());
    Ok(())
}
