//! Slots and untyped memory.

use crossvm_core::{Error, ErrorKind};
use crossvm_sel4::kernel::{CPtr, CapRights, Kernel, Object};
use crossvm_sel4::objects::ObjectError;
use crossvm_sel4::{ObjectPool, Objects};
use crossvm_testkit::sel4::{Arch, SimKernel};
use proptest::prelude::*;

/// A pool over untyped memory of these sizes.
fn pool<const PIECES: usize>(sizes: &[u8], slots: usize) -> (SimKernel, ObjectPool<SimKernel, 8, PIECES>) {
    let kernel = SimKernel::new(Arch::Aarch64, sizes.iter().copied());
    let mut pool = ObjectPool::new(kernel.clone(), kernel.first_free(), slots).unwrap();
    for (index, bits) in (0..).zip(sizes) {
        pool.add_untyped(SimKernel::UNTYPED.offset(index), *bits).unwrap();
    }
    (kernel, pool)
}

fn kind<T>(result: Result<T, ObjectError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn what_is_destroyed_can_be_made_again_for_ever() {
    let (kernel, mut pool) = pool::<64>(&[16], 100);
    let before = (pool.free_slots(), pool.free_bytes());
    assert_eq!(before, (36, 1 << 16));
    for round in 0..1000 {
        let object = [Object::SmallFrame, Object::Notification, Object::Tcb, Object::Untyped(14), Object::CNode(4)][round % 5];
        let slot = pool.allocate_slots(1).unwrap();
        pool.create(object, slot).unwrap();
        assert_eq!(pool.free_slots(), before.0 - 1);
        pool.destroy(slot);
        assert!(kernel.is_empty(slot));
        pool.release_slots(slot, 1);
        assert_eq!((pool.free_slots(), pool.free_bytes()), before);
    }
}

#[test]
fn every_byte_serves_and_the_end_is_clean() {
    let (_, mut pool) = pool::<64>(&[16], 100);
    let slots = pool.allocate_slots(16).unwrap();
    for index in 0..16 {
        pool.create(Object::SmallFrame, slots.offset(index)).unwrap();
    }
    let extra = pool.allocate_slots(1).unwrap();
    assert_eq!((pool.free_bytes(), kind(pool.create(Object::SmallFrame, extra))), (0, Some(ErrorKind::Exhausted)));
    pool.destroy(slots.offset(7));
    pool.create(Object::SmallFrame, extra).unwrap();
    assert_eq!(kind(pool.allocate_slots(100)), Some(ErrorKind::Exhausted));
}

#[test]
fn small_pieces_are_joined_where_something_large_is_asked_for() {
    let (_, mut pool) = pool::<256>(&[21], 512);
    let slots = pool.allocate_slots(100).unwrap();
    (0..100).for_each(|index| pool.create(Object::SmallFrame, slots.offset(index)).unwrap());
    assert_eq!(kind(pool.create(Object::LargeFrame, slots)), Some(ErrorKind::Exhausted));
    (0..100).for_each(|index| pool.destroy(slots.offset(index)));
    pool.create(Object::LargeFrame, slots).unwrap();
    assert_eq!(kind(pool.create(Object::SmallFrame, slots.offset(2))), Some(ErrorKind::Exhausted));
}

#[test]
fn records_that_are_full_are_no_catastrophe() {
    let (_, mut pool) = pool::<5>(&[14], 100);
    let slots = pool.allocate_slots(4).unwrap();
    pool.create(Object::SmallFrame, slots).unwrap();
    pool.create(Object::SmallFrame, slots.offset(1)).unwrap();
    assert_eq!(kind(pool.create(Object::SmallFrame, slots.offset(2))), Some(ErrorKind::Exhausted), "8 KiB are left, but no records");
    pool.create(Object::Untyped(13), slots.offset(2)).unwrap();
    assert_eq!(kind(ObjectPool::<_, 8, 64>::new(SimKernel::new(Arch::Aarch64, []), CPtr::new(20), 63)), Some(ErrorKind::Exhausted));
    assert_eq!(kind(pool.add_untyped(CPtr::new(9), 20)), Some(ErrorKind::Exhausted));
}

#[test]
fn destroying_takes_every_capability_of_the_object_away() {
    let (kernel, mut pool) = pool::<64>(&[16], 100);
    let slots = pool.allocate_slots(3).unwrap();
    pool.create(Object::SmallFrame, slots).unwrap();
    kernel.copy(slots, slots.offset(1), CapRights::READ).unwrap();
    pool.destroy(slots);
    assert!(kernel.is_empty(slots) && kernel.is_empty(slots.offset(1)));
    pool.create(Object::Untyped(13), slots).unwrap();
    kernel.retype(slots, Object::SmallFrame, slots.offset(2)).unwrap();
    pool.destroy(slots);
    assert!(kernel.is_empty(slots.offset(2)), "what was made from it as well");
    assert_eq!(pool.free_bytes(), 1 << 16);
}

#[test]
fn a_call_that_fails_changes_nothing() {
    for nth in 0..=17 {
        let (kernel, mut pool) = pool::<64>(&[20], 100);
        let slot = pool.allocate_slots(1).unwrap();
        let before = (pool.free_slots(), pool.free_bytes());
        kernel.faults().fail_at(Some(nth));
        let result = pool.create(Object::SmallFrame, slot);
        kernel.faults().fail_at(None);
        if result.is_ok() {
            assert_eq!(nth, 17, "two for each of eight splits, and one for the frame");
            return;
        }
        assert_eq!(result, Err(ObjectError::Kernel(SimKernel::INJECTED)));
        assert_eq!((pool.free_slots(), pool.free_bytes()), before);
        pool.create(Object::Untyped(19), slot).unwrap();
        pool.destroy(slot);
        assert_eq!((pool.free_slots(), pool.free_bytes()), before);
    }
    panic!("it fails without a fault");
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Destroy(prop::sample::Index),
}

proptest! {
    /// The books are those of the kernel: what is free can be had, nothing is lost, no memory serves two.
    #[test]
    fn books_and_kernel_agree(steps in prop::collection::vec(
        prop_oneof![3 => (0u8..5).prop_map(Step::Create), 2 => any::<prop::sample::Index>().prop_map(Step::Destroy)],
        1..120,
    )) {
        let (kernel, mut pool) = pool::<256>(&[14, 18], 512);
        let (slots, bytes) = (pool.free_slots(), pool.free_bytes());
        let mut made: Vec<(CPtr, Object, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Create(kind) => {
                    let object = [Object::SmallFrame, Object::Endpoint, Object::Untyped(13), Object::Untyped(16), Object::Tcb][usize::from(kind)];
                    let slot = pool.allocate_slots(1).unwrap();
                    let size = 1u64 << kernel.object_bits(object).max(12);
                    match pool.create(object, slot) {
                        Ok(()) => made.push((slot, object, size)),
                        Err(error) => {
                            prop_assert_eq!(error.kind(), ErrorKind::Exhausted);
                            prop_assert!(size > 4096 || pool.free_bytes() < 4096, "a page is there, and not given");
                            pool.release_slots(slot, 1);
                        }
                    }
                }
                Step::Destroy(index) if !made.is_empty() => {
                    let (slot, ..) = made.swap_remove(index.index(made.len()));
                    pool.destroy(slot);
                    prop_assert!(kernel.is_empty(slot));
                    pool.release_slots(slot, 1);
                }
                Step::Destroy(_) => {}
            }
            let used: u64 = made.iter().map(|(.., size)| size).sum();
            prop_assert_eq!((pool.free_slots(), pool.free_bytes()), (slots - made.len(), bytes - used));
            let mut frames: Vec<u64> =
                made.iter().filter(|(_, object, _)| *object == Object::SmallFrame).map(|(slot, ..)| kernel.frame_address(*slot).unwrap()).collect();
            frames.sort_unstable();
            frames.dedup();
            prop_assert_eq!(frames.len(), made.iter().filter(|(_, object, _)| *object == Object::SmallFrame).count());
        }
        for (slot, ..) in made {
            pool.destroy(slot);
        }
        let slot = pool.allocate_slots(1).unwrap();
        prop_assert!(pool.create(Object::Untyped(18), slot).is_ok(), "everything can be joined again");
    }
}
