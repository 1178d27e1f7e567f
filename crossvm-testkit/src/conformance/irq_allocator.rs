//! The clauses of [`IrqAllocator`].

use std::collections::BTreeSet;

use crossvm_core::{Error, ErrorKind, IrqAllocator};

/// More lines than any allocator under test should have.
const MANY: usize = 4096;

/// Every clause.
pub fn all<A: IrqAllocator>(make: impl Fn() -> A) {
    clause_1_no_line_is_given_out_twice(&mut make());
    clause_3_a_released_line_comes_back(&mut make());
    clause_3_a_line_that_is_not_out_is_ignored(&mut make());
    clause_4_exhaustion_changes_nothing(&mut make());
}

fn drain<A: IrqAllocator>(irqs: &mut A) -> BTreeSet<u32> {
    let mut out = BTreeSet::new();
    while let Ok(irq) = irqs.allocate() {
        assert!(out.insert(irq.number()), "clause 1: line {irq} was given out twice");
        assert!(out.len() <= MANY, "clause 4: the allocator never runs out");
    }
    assert!(!out.is_empty(), "give the suite an allocator with at least one free line");
    out
}

/// Clause 1.
pub fn clause_1_no_line_is_given_out_twice<A: IrqAllocator>(irqs: &mut A) {
    drain(irqs);
}

/// Clause 3.
pub fn clause_3_a_released_line_comes_back<A: IrqAllocator>(irqs: &mut A) {
    let irq = irqs.allocate().expect("a free line");
    let rest = drain_rest(irqs);
    irqs.release(irq);
    assert_eq!(irqs.allocate().ok(), Some(irq), "clause 3: the one line that is free is the one released");
    assert!(!rest.contains(&irq.number()));
}

fn drain_rest<A: IrqAllocator>(irqs: &mut A) -> BTreeSet<u32> {
    std::iter::from_fn(|| irqs.allocate().ok()).take(MANY).map(|irq| irq.number()).collect()
}

/// Clause 3.
pub fn clause_3_a_line_that_is_not_out_is_ignored<A: IrqAllocator>(irqs: &mut A) {
    let irq = irqs.allocate().expect("a free line");
    irqs.release(irq);
    irqs.release(irq);
    irqs.release(crossvm_core::Irq::new(u32::MAX));
    let lines = drain(irqs);
    assert!(lines.contains(&irq.number()) && !lines.contains(&u32::MAX), "clause 3: releasing twice, or a foreign line, has no effect");
}

/// Clause 4.
pub fn clause_4_exhaustion_changes_nothing<A: IrqAllocator>(irqs: &mut A) {
    let lines = drain(irqs);
    for _ in 0..3 {
        assert_eq!(irqs.allocate().map_err(|error| error.kind()), Err(ErrorKind::Exhausted), "clause 4");
    }
    let one = *lines.first().expect("a line");
    irqs.release(crossvm_core::Irq::new(one));
    assert_eq!(irqs.allocate().ok().map(|irq| irq.number()), Some(one), "clause 4: after failures, lines come back as before");
}
