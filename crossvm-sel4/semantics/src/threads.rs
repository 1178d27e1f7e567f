//! Threads.

use crossvm_sel4::kernel::{Badge, CPtr, CapRights, KernelError, Object, Space, ThreadSpaces, Threads};

use crate::{Bench, Case, Probe};

pub(crate) fn cases<K: Threads, P: Probe>() -> [Case<K, P>; 18] {
    [
        Case { name: "bind twice", run: bind_twice },
        Case { name: "bind to two threads", run: bind_to_two_threads },
        Case { name: "bind without right", run: bind_without_right },
        Case { name: "bind what is no notification", run: bind_what_is_no_notification },
        Case { name: "bind after notification has gone", run: bind_after_notification_has_gone },
        Case { name: "bind after thread has gone", run: bind_after_thread_has_gone },
        Case { name: "bound signal at endpoint", run: bound_signal_at_endpoint },
        Case { name: "bound signal is taken once", run: bound_signal_is_taken_once },
        Case { name: "configure", run: configure },
        Case { name: "configure without spaces", run: configure_without_spaces },
        Case { name: "configure ipc buffer", run: configure_ipc_buffer },
        Case { name: "thread keeps its space", run: thread_keeps_its_space },
        Case { name: "registers are kept", run: registers_are_kept },
        Case { name: "registers out of range", run: registers_out_of_range },
        Case { name: "own registers", run: own_registers },
        Case { name: "priority", run: priority },
        Case { name: "suspend", run: suspend },
        Case { name: "calls on what is no thread", run: calls_on_what_is_no_thread },
    ]
}

type Done = Result<(), KernelError>;

/// Tries to bind, and says what came of it.
fn try_bind<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, tcb: CPtr, notification: CPtr) {
    let bound = b.kernel.bind_notification(tcb, notification);
    b.done(what, bound);
}

/// The caller's own spaces.
fn spaces<K: Threads, P: Probe>(b: &Bench<'_, K, P>) -> ThreadSpaces {
    ThreadSpaces {
        cspace: b.resources.cspace,
        guard_bits: b.resources.guard_bits,
        vspace: b.resources.vspace,
        fault_endpoint: CPtr::NULL,
        ipc_buffer: None,
    }
}

/// Tries to configure, and says what came of it.
fn try_configure<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>, what: &str, tcb: CPtr, spaces: ThreadSpaces) {
    let configured = b.kernel.configure(tcb, spaces);
    b.done(what, configured);
}

fn bind_twice<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, first, second) = (b.make(Object::Tcb)?, b.make(Object::Notification)?, b.make(Object::Notification)?);
    try_bind(b, "first", tcb, first);
    try_bind(b, "same", tcb, first);
    try_bind(b, "second", tcb, second);
    Ok(())
}

fn bind_to_two_threads<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (one, two, notification) = (b.make(Object::Tcb)?, b.make(Object::Tcb)?, b.make(Object::Notification)?);
    try_bind(b, "one", one, notification);
    try_bind(b, "two", two, notification);
    Ok(())
}

fn bind_without_right<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, notification) = (b.make(Object::Tcb)?, b.make(Object::Notification)?);
    let (writer, reader) = (b.copy(notification, CapRights::WRITE)?, b.copy(notification, CapRights::READ)?);
    try_bind(b, "write", tcb, writer);
    try_bind(b, "read", tcb, reader);
    Ok(())
}

fn bind_what_is_no_notification<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, endpoint, empty) = (b.make(Object::Tcb)?, b.make(Object::Endpoint)?, b.empty());
    try_bind(b, "endpoint", tcb, endpoint);
    try_bind(b, "empty", tcb, empty);
    Ok(())
}

fn bind_after_notification_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, first, second) = (b.make(Object::Tcb)?, b.make(Object::Notification)?, b.make(Object::Notification)?);
    try_bind(b, "first", tcb, first);
    b.kernel.delete(first)?;
    try_bind(b, "second", tcb, second);
    Ok(())
}

fn bind_after_thread_has_gone<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (one, two, notification) = (b.make(Object::Tcb)?, b.make(Object::Tcb)?, b.make(Object::Notification)?);
    try_bind(b, "one", one, notification);
    b.kernel.delete(one)?;
    try_bind(b, "two", two, notification);
    Ok(())
}

fn bound_signal_at_endpoint<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (endpoint, notification) = (b.make(Object::Endpoint)?, b.make(Object::Notification)?);
    let (one, two) = (b.badged(notification, 1)?, b.badged(notification, 2)?);
    b.kernel.bind_notification(b.resources.thread, notification)?;
    b.kernel.signal(one);
    b.kernel.signal(two);
    let received = b.kernel.try_receive(endpoint);
    b.badge("received", received.map_or(Badge::NONE, |received| received.badge));
    let again = b.kernel.try_receive(endpoint);
    b.flag("again", again.is_some());
    Ok(())
}

fn bound_signal_is_taken_once<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (endpoint, notification) = (b.make(Object::Endpoint)?, b.make(Object::Notification)?);
    let one = b.badged(notification, 1)?;
    b.kernel.bind_notification(b.resources.thread, notification)?;
    b.kernel.signal(one);
    b.poll("poll", notification);
    let received = b.kernel.try_receive(endpoint);
    b.flag("received", received.is_some());
    Ok(())
}

fn configure<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let tcb = b.make(Object::Tcb)?;
    let own = spaces(b);
    try_configure(b, "own", tcb, own);
    try_configure(b, "again", tcb, own);
    let Space::Virtual(vspace) = b.space()? else { return Ok(()) };
    try_configure(b, "other", tcb, ThreadSpaces { vspace, ..own });
    let endpoint = b.make(Object::Endpoint)?;
    try_configure(b, "faults", tcb, ThreadSpaces { fault_endpoint: endpoint, ..own });
    Ok(())
}

fn configure_without_spaces<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, own) = (b.make(Object::Tcb)?, spaces(b));
    let (empty, root, frame) = (b.empty(), b.make(Object::VSpace)?, b.make(Object::SmallFrame)?);
    try_configure(b, "no-cspace", tcb, ThreadSpaces { cspace: empty, ..own });
    try_configure(b, "frame-as-cspace", tcb, ThreadSpaces { cspace: frame, ..own });
    try_configure(b, "no-vspace", tcb, ThreadSpaces { vspace: empty, ..own });
    try_configure(b, "unassigned", tcb, ThreadSpaces { vspace: root, ..own });
    try_configure(b, "frame-as-vspace", tcb, ThreadSpaces { vspace: frame, ..own });
    Ok(())
}

fn configure_ipc_buffer<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, frame, thread, own) = (b.make(Object::Tcb)?, b.make(Object::SmallFrame)?, b.make(Object::Tcb)?, spaces(b));
    for (what, at, buffer) in [("aligned", 0x1000, frame), ("512", 0x1200, frame), ("8", 0x1008, frame), ("thread", 0x1000, thread)] {
        try_configure(b, what, tcb, ThreadSpaces { ipc_buffer: Some((at, buffer)), ..own });
    }
    Ok(())
}

fn thread_keeps_its_space<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (tcb, memory) = (b.make(Object::Tcb)?, b.make(Object::Untyped(12))?);
    let root = b.make_of(memory, Object::VSpace)?;
    b.kernel.assign_asid(b.resources.asid_pool, root)?;
    let own = spaces(b);
    b.kernel.configure(tcb, ThreadSpaces { vspace: root, ..own })?;
    b.kernel.delete(root)?;
    let made = b.kernel.retype(memory, Object::SmallFrame, root);
    b.done("with-thread", made);
    b.kernel.delete(tcb)?;
    let made = b.kernel.retype(memory, Object::SmallFrame, root);
    b.done("without", made);
    Ok(())
}

fn registers_are_kept<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let tcb = b.make(Object::Tcb)?;
    let mut registers = [0; 2];
    b.kernel.write_registers(tcb, &[0x1000, 0x2000])?;
    b.kernel.read_registers(tcb, &mut registers)?;
    b.number("first", registers[0]);
    b.number("second", registers[1]);
    let mut one = [0];
    b.kernel.read_registers(tcb, &mut one)?;
    b.number("alone", one[0]);
    Ok(())
}

fn registers_out_of_range<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let tcb = b.make(Object::Tcb)?;
    let read = b.kernel.read_registers(tcb, &mut []);
    b.done("none", read);
    Ok(())
}

fn own_registers<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let read = b.kernel.read_registers(b.resources.thread, &mut [0]);
    b.done("read", read);
    let written = b.kernel.write_registers(b.resources.thread, &[0]);
    b.done("write", written);
    Ok(())
}

fn priority<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let tcb = b.make(Object::Tcb)?;
    for (what, priority) in [("lowest", 0), ("highest", 255)] {
        let set = b.kernel.set_priority(tcb, b.resources.thread, priority);
        b.done(what, set);
    }
    Ok(())
}

fn suspend<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let tcb = b.make(Object::Tcb)?;
    for what in ["first", "again"] {
        let suspended = b.kernel.suspend(tcb);
        b.done(what, suspended);
    }
    Ok(())
}

fn calls_on_what_is_no_thread<K: Threads, P: Probe>(b: &mut Bench<'_, K, P>) -> Done {
    let (frame, empty, bell) = (b.make(Object::SmallFrame)?, b.empty(), b.make(Object::Notification)?);
    for (what, other) in [("frame", frame), ("empty", empty)] {
        let suspended = b.kernel.suspend(other);
        b.done(what, suspended);
        let own = spaces(b);
        try_configure(b, what, other, own);
        try_bind(b, what, other, bell);
    }
    Ok(())
}
