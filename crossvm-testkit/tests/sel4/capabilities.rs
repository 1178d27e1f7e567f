//! Slots, copies, untyped memory, notifications.

use crossvm_sel4::kernel::{Badge, CapRights, Code, Kernel, Object};
use crossvm_testkit::sel4::{Arch, SimKernel};

use super::{ALL, code, machine, make};

#[test]
fn badges_of_signals_are_ored_and_taken_once() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let all = make(&kernel, Object::Notification, slot());
    let (one, two) = (slot(), slot());
    kernel.mint(all, one, CapRights::WRITE, Badge::new(1)).unwrap();
    kernel.mint(all, two, CapRights::WRITE, Badge::new(2)).unwrap();
    for signal in [one, two, one] {
        kernel.signal(signal);
    }
    assert_eq!((kernel.wait(all), kernel.poll(all)), (Badge::new(3), Badge::NONE));
}

#[test]
fn a_signal_without_the_right_has_no_effect() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let all = make(&kernel, Object::Notification, slot());
    let reader = slot();
    kernel.mint(all, reader, CapRights::READ, Badge::new(1)).unwrap();
    kernel.signal(reader);
    assert_eq!(kernel.poll(all), Badge::NONE);
}

#[test]
#[should_panic(expected = "waits for ever")]
fn a_wait_that_nobody_ends_is_a_mistake_of_the_test() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    kernel.wait(make(&kernel, Object::Notification, slot()));
}

#[test]
fn only_unbadged_capabilities_get_a_badge() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let all = make(&kernel, Object::Notification, slot());
    let (badged, again) = (slot(), slot());
    kernel.mint(all, badged, CapRights::ALL, Badge::new(4)).unwrap();
    assert_eq!(code(kernel.mint(badged, again, CapRights::ALL, Badge::new(8))), Some(Code::IllegalOperation));
    kernel.copy(badged, again, CapRights::ALL).unwrap();
    kernel.signal(again);
    assert_eq!(kernel.poll(all), Badge::new(4));
}

#[test]
fn the_last_capability_takes_its_object_along_and_the_memory_is_whole_again() {
    for arch in ALL {
        let (kernel, mut slot) = machine(arch);
        let before = kernel.account();
        let all = make(&kernel, Object::Notification, slot());
        let copy = slot();
        kernel.copy(all, copy, CapRights::ALL).unwrap();
        kernel.delete(all).unwrap();
        kernel.signal(copy);
        assert_eq!(kernel.poll(copy), Badge::NONE, "{arch:?}: a signal without badge is none");
        assert!(kernel.account().free_bytes() < before.free_bytes());
        kernel.delete(copy).unwrap();
        assert_eq!(kernel.account(), before, "{arch:?}");
    }
}

#[test]
fn untyped_memory_gives_no_byte_back_before_all_is_gone() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let (small, full) = (slot(), slot());
    kernel.retype(SimKernel::UNTYPED, Object::Untyped(12), small).unwrap();
    let (first, second) = (slot(), slot());
    kernel.retype(small, Object::Untyped(11), first).unwrap();
    kernel.retype(small, Object::Untyped(11), second).unwrap();
    assert_eq!(code(kernel.retype(small, Object::Endpoint, full)), Some(Code::NotEnoughMemory));
    kernel.delete(first).unwrap();
    assert_eq!(code(kernel.retype(small, Object::Endpoint, full)), Some(Code::NotEnoughMemory));
    kernel.revoke(small).unwrap();
    assert!(kernel.is_empty(second));
    kernel.retype(small, Object::SmallFrame, full).unwrap();
}

#[test]
fn revoking_takes_what_was_made_and_leaves_what_was_not() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let all = make(&kernel, Object::Notification, slot());
    let (badged, copy, other) = (slot(), slot(), slot());
    kernel.mint(all, badged, CapRights::ALL, Badge::new(1)).unwrap();
    kernel.copy(badged, copy, CapRights::ALL).unwrap();
    kernel.mint(all, other, CapRights::ALL, Badge::new(2)).unwrap();
    kernel.revoke(copy).unwrap();
    assert!(!kernel.is_empty(badged), "what was copied is no child");
    kernel.revoke(badged).unwrap();
    assert_eq!([badged, copy, other].map(|slot| kernel.is_empty(slot)), [false, true, false]);
    kernel.revoke(all).unwrap();
    assert_eq!([all, badged, other].map(|slot| kernel.is_empty(slot)), [false, true, true]);
}

#[test]
fn a_call_that_fails_by_plan_changes_nothing() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let to = slot();
    kernel.faults().fail_at(Some(0));
    let before = kernel.account();
    assert_eq!(kernel.retype(SimKernel::UNTYPED, Object::Endpoint, to), Err(SimKernel::INJECTED));
    assert_eq!((kernel.account(), kernel.faults().calls()), (before, 1));
    kernel.retype(SimKernel::UNTYPED, Object::Endpoint, to).unwrap();
}
