//! Exits, decoded.

use crossvm_core::{GuestAccess, GuestAddr, GuestRange, Width};

use super::machine::{ENTRY, Machine, Ram, START, Step, VCPU};
use crate::x86::spec::{AccessQualification, Field, PortQualification, Segment};
use crate::x86::{Exit, Identity, Lines, Start, Stop, Vcpu, Vector};

fn lines() -> Lines {
    Lines::new(1, Vector::FIRST)
}

/// Runs a guest with known registers into this exit: the machine, the exit, and by how much the guest has moved.
fn run(step: Step, code: &[u8]) -> (Machine, Exit, u32) {
    let machine = Machine::with([step]);
    let (exit, moved) = run_on(&machine, code);
    (machine, exit, moved)
}

fn run_on(machine: &Machine, code: &[u8]) -> (Exit, u32) {
    let (mut vcpu, mut lines, ram) = (machine.vcpu(), lines(), Ram::with_code(code));
    vcpu.identify(Identity { eax: 0x8182_8384, ebx: 0x3030_3030, ecx: 0x1010_1010, edx: 0x2020_2020 }).unwrap();
    let exit = vcpu.run(&mut lines, &ram).unwrap();
    let moved = vcpu.instruction_pointer() - ENTRY;
    if let Exit::PortRead { into, .. } | Exit::Memory { into: Some(into), .. } = exit {
        vcpu.answer(into, 0xf1f2_f3f4).unwrap();
        machine.0.borrow_mut().steps.push_back(Step::Signal { entered: false, badge: 0 });
        let _ = vcpu.run(&mut lines, &ram).unwrap();
    }
    (exit, moved)
}

fn eax(machine: &Machine) -> u64 {
    machine.0.borrow().registers[0]
}

fn port(qualification: PortQualification) -> Step {
    Step::Exit { reason: 30, qualification: u64::from(qualification.into_bits()), length: 2, physical: 0 }
}

#[test]
fn port_accesses_have_port_width_and_value() {
    for (size, width, written, read) in
        [(0, Width::U8, 0x84, 0x8182_83f4), (1, Width::U16, 0x8384, 0x8182_f3f4), (3, Width::U32, 0x8182_8384, 0xf1f2_f3f4)]
    {
        let access = PortQualification::from_bits(0xcf8 << 16 | size);
        let (_, exit, moved) = run(port(access), &[]);
        assert_eq!((exit, moved), (Exit::PortWrite { port: 0xcf8, width, value: written }, 2));
        let (machine, exit, moved) = run(port(access.with_is_in(true)), &[]);
        assert!(matches!(exit, Exit::PortRead { port: 0xcf8, width: found, .. } if found == width));
        assert_eq!((eax(&machine), moved), (read, 2));
    }
    let (_, exit, moved) = run(port(PortQualification::new().with_string(true).with_rep(true)), &[]);
    assert_eq!((exit, moved), (Exit::Nothing, 2), "string accesses are skipped");
}

fn violation(access: AccessQualification) -> Step {
    let qualification = u64::from(access.with_linear(true).with_translated(true).into_bits());
    Step::Exit { reason: 48, qualification, length: 9, physical: 0xe000_0000 }
}

const READ: AccessQualification = AccessQualification::new().with_read(true);
const WRITE: AccessQualification = AccessQualification::new().with_write(true);
const AT: GuestAddr = GuestAddr::new(0xe000_0000);

#[test]
fn loads_and_stores_are_decoded_from_the_guests_code() {
    let store = |width, value| Exit::Memory { access: GuestAccess::Write { at: AT, width, value }, into: None };
    for (code, length, exit) in [
        (&[0x89, 0x02][..], 2, store(Width::U32, 0x8182_8384)),
        (&[0x66, 0x89, 0x02], 3, store(Width::U16, 0x8384)),
        (&[0x88, 0x22], 2, store(Width::U8, 0x83)),
        (&[0xc6, 0x02, 0x01], 3, store(Width::U8, 1)),
        (&[0xc7, 0x42, 0x04, 9, 0, 0, 0], 7, store(Width::U32, 9)),
        (&[0x89, 0x22], 2, store(Width::U32, u64::from(START.stack))),
    ] {
        let (_, found, moved) = run(violation(WRITE), code);
        assert_eq!((found, moved), (exit, length), "{code:x?}");
    }
    for (code, width, eax_after) in [
        (&[0x8b, 0x02][..], Width::U32, 0xf1f2_f3f4),
        (&[0x8a, 0x22], Width::U8, 0x8182_f484),
        (&[0x0f, 0xb6, 0x02], Width::U8, 0xf4),
        (&[0x0f, 0xbe, 0x02], Width::U8, 0xffff_fff4),
        (&[0x0f, 0xbf, 0x02], Width::U16, 0xffff_f3f4),
        (&[0x66, 0x0f, 0xbe, 0x02], Width::U8, 0x8182_fff4),
    ] {
        let (machine, exit, _) = run(violation(READ), code);
        assert!(matches!(exit, Exit::Memory { access: GuestAccess::Read { at: AT, width: found }, into: Some(_) } if found == width));
        assert_eq!(eax(&machine), eax_after, "{code:x?}");
    }
}

#[test]
fn a_load_into_esp_reaches_the_vmcs() {
    let (machine, _, _) = run(violation(READ), &[0x8b, 0x22]);
    assert_eq!(machine.0.borrow().vmcs[&Field::GuestStackPointer.encoding()], 0xf1f2_f3f4);
}

#[test]
fn what_cannot_be_decoded_is_skipped_and_told() {
    let range = GuestRange::new(AT, 64).unwrap();
    let write = Exit::Memory { access: GuestAccess::UndecodedWrite(range), into: None };
    let read = Exit::Memory { access: GuestAccess::UndecodedRead(range), into: None };
    for (code, access, exit, length) in [
        // rep stosb; inc dword [edx]; xchg [edx], eax; movups [edx], xmm0: all write.
        (&[0xf3, 0xaa][..], WRITE, write, 2),
        (&[0xff, 0x02], READ.with_write(true), write, 2),
        (&[0x87, 0x02], WRITE, write, 2),
        (&[0x0f, 0x11, 0x02], WRITE, write, 3),
        // add eax, [edx]
        (&[0x03, 0x02], READ, read, 2),
        // A store, says the code, but a load, says the hardware: the guest has changed its code.
        (&[0x89, 0x02], READ, read, 2),
        // Nothing that is an instruction: the hardware's length.
        (&[0x66; 15], WRITE, write, 9),
    ] {
        let (_, found, moved) = run(violation(access), code);
        assert_eq!((found, moved), (exit, length), "{code:x?}");
    }
}

#[test]
fn a_16_bit_segment_is_not_decoded() {
    let machine = Machine::with([violation(WRITE)]);
    let mut vcpu = machine.vcpu();
    machine.0.borrow_mut().vmcs.insert(Segment::Cs.access_rights(), 0x9b);
    let exit = vcpu.run(&mut lines(), &Ram::with_code(&[0x89, 0x02])).unwrap();
    assert!(matches!(exit, Exit::Memory { access: GuestAccess::UndecodedWrite(_), into: None }));
}

#[test]
fn the_base_of_the_code_segment_counts() {
    let machine = Machine::with([violation(WRITE)]);
    let mut vcpu = machine.vcpu();
    let ram = Ram::with_code(&[0x90, 0x89, 0x02]);
    machine.0.borrow_mut().vmcs.insert(Segment::Cs.base(), 1);
    let exit = vcpu.run(&mut lines(), &ram).unwrap();
    assert!(matches!(exit, Exit::Memory { access: GuestAccess::Write { width: Width::U32, .. }, .. }));
}

#[test]
fn a_guest_that_cannot_go_on_stops_with_the_reason() {
    let stop = |step| match run(step, &[]).1 {
        Exit::Stopped(stop) => Some(stop),
        _ => None,
    };
    let exit = |reason| Step::Exit { reason, qualification: 0, length: 0, physical: 0 };
    assert_eq!(stop(exit(2)), Some(Stop::TripleFault));
    assert_eq!(stop(violation(AccessQualification::new().with_fetch(true))), Some(Stop::Fetch(AT)));
    let tables = Step::Exit { reason: 48, qualification: 0x81, length: 0, physical: 0xe000_0000 };
    assert_eq!(stop(tables), Some(Stop::Tables(AT)));
    assert_eq!(stop(exit(u64::from(u32::MAX))), Some(Stop::Refused(0)));
    assert_eq!(stop(exit(33)), Some(Stop::Refused(0)));
    assert!(matches!(stop(exit(3)), Some(Stop::Unexpected(_))));
}

#[test]
fn instructions_that_a_guest_cannot_have_do_nothing() {
    for reason in [18, 32, 13, 54, 55] {
        let (_, exit, moved) = run(Step::Exit { reason, qualification: 0, length: 3, physical: 0 }, &[]);
        assert_eq!((exit, moved), (Exit::Nothing, 3), "{reason}");
    }
    let machine =
        Machine::with([Step::Exit { reason: 31, qualification: 0, length: 2, physical: 0 }, Step::Signal { entered: false, badge: 0 }]);
    let mut vcpu = machine.vcpu();
    vcpu.identify(Identity { eax: 5, edx: 6, ..Identity::default() }).unwrap();
    for _ in 0..2 {
        let _ = vcpu.run(&mut lines(), &Ram::with_code(&[])).unwrap();
    }
    assert_eq!(machine.0.borrow().registers[0..4], [0, 0, 0, 0], "MSRs read as zero");
}

#[test]
fn a_guest_that_sets_vmxe_keeps_what_else_it_sets() {
    // mov cr4, eax with VMXE and PSE.
    let machine = Machine::with([Step::Exit { reason: 28, qualification: 0x4, length: 3, physical: 0 }]);
    let mut vcpu = machine.vcpu();
    vcpu.identify(Identity { eax: 0x2010, ..Identity::default() }).unwrap();
    assert_eq!(vcpu.run(&mut lines(), &Ram::with_code(&[])), Ok(Exit::Nothing));
    let state = machine.0.borrow();
    assert_eq!((state.vmcs[&Field::GuestCr4.encoding()], state.vmcs[&Field::Cr4Shadow.encoding()]), (0x2010, 0x10));
}

#[test]
fn an_access_can_be_made_again() {
    let machine = Machine::with([violation(WRITE)]);
    let mut vcpu = machine.vcpu();
    let _ = vcpu.run(&mut lines(), &Ram::with_code(&[0x89, 0x02])).unwrap();
    assert_eq!(vcpu.instruction_pointer(), ENTRY + 2);
    vcpu.again();
    assert_eq!(vcpu.instruction_pointer(), ENTRY);
}

#[test]
fn the_timer_keeps_what_is_left() {
    let machine = Machine::with([Step::Exit { reason: 52, qualification: 0, length: 0, physical: 0 }]);
    let mut vcpu = Vcpu::new(&machine, VCPU, &Start { timer: Some(1000), ..START }).unwrap();
    {
        let state = machine.0.borrow();
        let fields = [Field::PinControls, Field::ExitControls, Field::PreemptionTimer].map(|field| state.vmcs[&field.encoding()]);
        assert_eq!(fields, [1 << 6, 1 << 22, 1000]);
    }
    assert_eq!(vcpu.run(&mut lines(), &Ram::with_code(&[])), Ok(Exit::Timer));
    vcpu.set_timer(5).unwrap();
    assert_eq!(machine.0.borrow().vmcs[&Field::PreemptionTimer.encoding()], 5);
}

#[test]
fn segments_are_flat_and_the_task_busy() {
    let machine = Machine::with([]);
    let _ = machine.vcpu();
    let state = machine.0.borrow();
    let rights = Segment::ALL.map(|segment| state.vmcs[&segment.access_rights()]);
    assert_eq!(rights, [0xc093, 0xc09b, 0xc093, 0xc093, 0xc093, 0xc093, 0x1_0000, 0x8b]);
    assert_eq!(Segment::ALL.map(Segment::access_rights), [0x4814, 0x4816, 0x4818, 0x481a, 0x481c, 0x481e, 0x4820, 0x4822]);
    assert_eq!(Segment::ALL.map(Segment::base), [0x6806, 0x6808, 0x680a, 0x680c, 0x680e, 0x6810, 0x6812, 0x6814]);
    assert_eq!(state.vmcs[&Field::GuestCr0.encoding()], 0x8000_0031);
}
