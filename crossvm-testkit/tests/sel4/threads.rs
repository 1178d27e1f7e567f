//! Threads, messages, vCPUs.

use crossvm_sel4::kernel::{
    ArmVcpus, Badge, CPtr, CapRights, Code, Entered, Kernel, Label, Message, Object, ThreadSpaces, Threads, VirtualInterrupt, X86Vcpus,
};
use crossvm_testkit::sel4::{Arch, ListRegister, SimKernel};

use super::{code, machine, make};

/// A thread whose faults come with badge 9, and the endpoint.
fn thread(kernel: &SimKernel, mut slot: impl FnMut() -> CPtr) -> (CPtr, CPtr) {
    let (endpoint, tcb, faults) = (make(kernel, Object::Endpoint, slot()), make(kernel, Object::Tcb, slot()), slot());
    kernel.mint(endpoint, faults, CapRights::ALL, Badge::new(9)).unwrap();
    let spaces =
        ThreadSpaces { cspace: SimKernel::CSPACE, guard_bits: 52, vspace: SimKernel::VSPACE, fault_endpoint: faults, ipc_buffer: None };
    kernel.configure(tcb, spaces).unwrap();
    kernel.resume(tcb).unwrap();
    (tcb, endpoint)
}

#[test]
fn a_thread_that_faults_goes_on_when_it_is_answered() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let (tcb, endpoint) = thread(&kernel, &mut slot);
    assert!(kernel.try_receive(endpoint).is_none());
    assert!(kernel.fault(tcb, Label::VmFault, &[1, 2, 0, 6]));
    assert!(!kernel.runs(tcb));
    let received = kernel.receive(endpoint);
    assert_eq!(
        (received.badge, received.message.label, received.message.word(Label::VM_FAULT_ADDRESS)),
        (Badge::new(9), Label::VmFault, 2)
    );
    kernel.reply(&Message::empty());
    kernel.reply(&Message::empty());
    assert!(kernel.runs(tcb));
    assert_eq!(kernel.take_answers().into_iter().map(|answer| answer.awaited).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_bound_notification_comes_before_messages() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let (tcb, endpoint) = thread(&kernel, &mut slot);
    let (bell, badged) = (make(&kernel, Object::Notification, slot()), slot());
    kernel.mint(bell, badged, CapRights::WRITE, Badge::new(4)).unwrap();
    kernel.bind_notification(SimKernel::THREAD, bell).unwrap();
    assert_eq!(code(kernel.bind_notification(tcb, bell)), Some(Code::IllegalOperation));
    kernel.fault(tcb, Label::CapFault, &[]);
    kernel.signal(badged);
    assert_eq!([kernel.receive(endpoint).badge, kernel.receive(endpoint).badge], [Badge::new(4), Badge::new(9)]);
}

#[test]
fn a_thread_keeps_its_address_space_alive() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let before = kernel.account();
    let (root, tcb) = (make(&kernel, Object::VSpace, slot()), make(&kernel, Object::Tcb, slot()));
    kernel.assign_asid(SimKernel::ASID_POOL, root).unwrap();
    let spaces = ThreadSpaces { cspace: SimKernel::CSPACE, guard_bits: 52, vspace: root, fault_endpoint: CPtr::NULL, ipc_buffer: None };
    kernel.configure(tcb, spaces).unwrap();
    kernel.delete(root).unwrap();
    assert!(!kernel.fault(tcb, Label::CapFault, &[]), "it has no endpoint");
    kernel.delete(tcb).unwrap();
    assert_eq!(kernel.account(), before);
}

fn interrupt(intid: u16, priority: u8, index: u8) -> VirtualInterrupt {
    VirtualInterrupt { intid, priority, group: 0, index }
}

#[test]
fn list_registers_refuse_what_is_active_and_lose_what_is_pending() {
    let (kernel, mut slot) = machine(Arch::Aarch64);
    let (tcb, endpoint) = thread(&kernel, &mut slot);
    let vcpu = make(&kernel, Object::Vcpu, slot());
    ArmVcpus::set_tcb(&kernel, vcpu, tcb).unwrap();
    assert_eq!(code(kernel.inject(vcpu, interrupt(40, 0, 4))), Some(Code::RangeError));
    kernel.inject(vcpu, interrupt(40, 0x80, 0)).unwrap();
    kernel.inject(vcpu, interrupt(41, 0x80, 0)).unwrap();
    kernel.inject(vcpu, interrupt(42, 0x40, 3)).unwrap();
    assert_eq!(
        [kernel.guest_acknowledge(vcpu), kernel.guest_acknowledge(vcpu), kernel.guest_acknowledge(vcpu)],
        [Some(42), Some(41), None]
    );
    assert_eq!(code(kernel.inject(vcpu, interrupt(43, 0, 3))), Some(Code::DeleteFirst));
    assert!(kernel.guest_end(vcpu, 42) && !kernel.guest_end(vcpu, 42));
    assert_eq!(kernel.list(vcpu)[3], ListRegister::Empty);
    let message = kernel.receive(endpoint).message;
    assert_eq!((message.label, message.word(0)), (Label::VgicMaintenance, 3));
}

#[test]
fn a_private_interrupt_waits_for_its_acknowledgement() {
    let (kernel, mut slot) = machine(Arch::Aarch64);
    let (tcb, endpoint) = thread(&kernel, &mut slot);
    let vcpu = make(&kernel, Object::Vcpu, slot());
    ArmVcpus::set_tcb(&kernel, vcpu, tcb).unwrap();
    assert!(kernel.private_interrupt(vcpu, 27) && !kernel.private_interrupt(vcpu, 27));
    assert_eq!(kernel.receive(endpoint).message.label, Label::VppiEvent);
    kernel.acknowledge_private(vcpu, 27).unwrap();
    assert!(kernel.private_interrupt(vcpu, 27));
}

#[test]
fn a_guest_of_x86_is_left_for_what_was_said_and_for_signals_first() {
    let (kernel, mut slot) = machine(Arch::X86_64);
    let (bell, badged) = (make(&kernel, Object::Notification, slot()), slot());
    kernel.mint(bell, badged, CapRights::WRITE, Badge::new(4)).unwrap();
    kernel.bind_notification(SimKernel::THREAD, bell).unwrap();
    let exit = Entered::Exit([12, 0].into_iter().collect());
    kernel.push_exit(exit.clone());
    kernel.signal(badged);
    assert!(matches!(kernel.enter(1, 2, 3), Entered::Signal(badge, _) if badge == Badge::new(4)));
    assert_eq!(kernel.enter(4, 5, 6), exit);
    assert_eq!(kernel.take_entries().len(), 2);
}
