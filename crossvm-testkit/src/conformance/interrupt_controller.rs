//! The clauses of [`InterruptController`], seen from a guest's CPU.

use crossvm_core::{Bdf, Error, ErrorKind, InterruptController, Irq, Level, Message};

/// The controller under test, with a guest's CPU to look from.
pub trait GuestCpu: InterruptController {
    /// A line of the controller that the guest can take, disabled at first.
    fn line(&self) -> Irq;
    /// A number that is no line.
    fn no_line(&self) -> Irq;
    /// A message that means an interrupt, disabled at first, and the interrupt that it means; `None` where the controller takes no messages.
    fn message(&self) -> Option<(Message, Irq)>;
    /// The guest enables or disables the line, or the message's interrupt.
    fn set_enabled(&mut self, irq: Irq, enabled: bool);
    /// The guest acknowledges what interrupts it now; `None`: nothing does.
    fn acknowledge(&mut self) -> Option<Irq>;
    /// The guest ends the interrupt.
    fn end(&mut self, irq: Irq);
}

/// Every clause.
pub fn all<C: GuestCpu>(make: impl Fn() -> C) {
    clause_1_the_level_stays(&mut make());
    clause_2_a_high_line_interrupts_again_after_each_end(&mut make());
    clause_3_a_line_raised_while_disabled_interrupts_when_enabled(&mut make());
    clause_4_a_low_line_causes_no_interrupt(&mut make());
    clause_5_a_failure_changes_nothing(&mut make());
    clause_6_a_message_interrupts_as_an_edge(&mut make());
    clause_7_any_other_message_is_dropped(&mut make());
}

fn set<C: GuestCpu>(cpu: &mut C, irq: Irq, level: Level) {
    cpu.set_level(irq, level).expect("the line exists");
}

/// Takes the one interrupt that clause 4 allows to have been on its way when the line fell.
fn settle<C: GuestCpu>(cpu: &mut C, irq: Irq) {
    if let Some(stray) = cpu.acknowledge() {
        assert_eq!(stray, irq, "clause 4: another line's interrupt");
        cpu.end(irq);
    }
}

/// Clause 1.
pub fn clause_1_the_level_stays<C: GuestCpu>(cpu: &mut C) {
    let irq = cpu.line();
    cpu.set_enabled(irq, true);
    set(cpu, irq, Level::High);
    set(cpu, irq, Level::High);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 1");
    assert_eq!(cpu.acknowledge(), None, "clause 1: setting a level to what it is has no effect");
    set(cpu, irq, Level::Low);
    cpu.end(irq);
    settle(cpu, irq);
    assert_eq!(cpu.acknowledge(), None, "clause 1: two high levels and one low are low");
}

/// Clause 2.
pub fn clause_2_a_high_line_interrupts_again_after_each_end<C: GuestCpu>(cpu: &mut C) {
    let irq = cpu.line();
    cpu.set_enabled(irq, true);
    set(cpu, irq, Level::High);
    for _ in 0..3 {
        assert_eq!(cpu.acknowledge(), Some(irq), "clause 2");
        cpu.end(irq);
    }
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 2");
    set(cpu, irq, Level::Low);
    set(cpu, irq, Level::High);
    cpu.end(irq);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 2: a level that fell and rose inside the handler interrupts again");
}

/// Clause 3.
pub fn clause_3_a_line_raised_while_disabled_interrupts_when_enabled<C: GuestCpu>(cpu: &mut C) {
    let irq = cpu.line();
    set(cpu, irq, Level::High);
    assert_eq!(cpu.acknowledge(), None, "clause 3: disabled");
    cpu.set_enabled(irq, true);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 3: still high when enabled");
    cpu.set_enabled(irq, false);
    set(cpu, irq, Level::Low);
    cpu.end(irq);
    settle(cpu, irq);
    set(cpu, irq, Level::High);
    set(cpu, irq, Level::Low);
    cpu.set_enabled(irq, true);
    assert_eq!(cpu.acknowledge(), None, "clause 3: low again before it was enabled");
}

/// Clause 4.
pub fn clause_4_a_low_line_causes_no_interrupt<C: GuestCpu>(cpu: &mut C) {
    let irq = cpu.line();
    cpu.set_enabled(irq, true);
    set(cpu, irq, Level::High);
    set(cpu, irq, Level::Low);
    settle(cpu, irq);
    assert_eq!(cpu.acknowledge(), None, "clause 4: at most one interrupt was on its way");
}

/// Clause 5.
pub fn clause_5_a_failure_changes_nothing<C: GuestCpu>(cpu: &mut C) {
    let (irq, none) = (cpu.line(), cpu.no_line());
    cpu.set_enabled(irq, true);
    let result = cpu.set_level(none, Level::High);
    assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::OutOfRange), "clause 5");
    assert_eq!(cpu.acknowledge(), None, "clause 5");
}

fn deliver<C: GuestCpu>(cpu: &mut C, message: Message) {
    assert!(cpu.deliver_msi(Bdf::from_requester_id(8), message).is_ok(), "clauses 6 and 7: no message is an error");
}

/// Clause 6. A controller that takes no messages passes.
pub fn clause_6_a_message_interrupts_as_an_edge<C: GuestCpu>(cpu: &mut C) {
    let Some((message, irq)) = cpu.message() else { return };
    deliver(cpu, message);
    assert_eq!(cpu.acknowledge(), None, "clause 6: disabled");
    cpu.set_enabled(irq, true);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 6: pending while it was disabled");
    cpu.end(irq);
    assert_eq!(cpu.acknowledge(), None, "clause 6: one message interrupts once");
    deliver(cpu, message);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 6");
    deliver(cpu, message);
    deliver(cpu, message);
    assert_eq!(cpu.acknowledge(), None, "clause 6: still active");
    cpu.end(irq);
    assert_eq!(cpu.acknowledge(), Some(irq), "clause 6: messages inside the handler interrupt again");
    cpu.end(irq);
    assert_eq!(cpu.acknowledge(), None, "clause 6: they may coalesce, not multiply");
}

/// Clause 7.
pub fn clause_7_any_other_message_is_dropped<C: GuestCpu>(cpu: &mut C) {
    let (line, message) = (cpu.line(), cpu.message());
    cpu.set_enabled(line, true);
    if let Some((message, irq)) = message {
        cpu.set_enabled(irq, true);
        for address in [message.address.wrapping_add(4), message.address ^ 1 << 63, message.address.wrapping_sub(0x1000)] {
            deliver(cpu, Message { address, ..message });
            assert_eq!(cpu.acknowledge(), None, "clause 7: {address:#x} is not where messages go");
        }
        deliver(cpu, Message { data: u32::MAX, ..message });
        assert_eq!(cpu.acknowledge(), None, "clause 7: there is no such interrupt");
        deliver(cpu, Message { data: line.number(), ..message });
        assert_eq!(cpu.acknowledge(), None, "clause 7: a line is none of the message interrupts");
    }
    for address in [0, 0x4000_0000, u64::MAX] {
        deliver(cpu, Message { address, data: line.number() });
        assert_eq!(cpu.acknowledge(), None, "clause 7: nothing takes messages at {address:#x}");
    }
}
