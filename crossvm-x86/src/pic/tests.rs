//! Clauses of the 8259 pair, in the words of its data sheet.

use std::vec::Vec;

use crossvm_core::Level;

use super::Pic;
use crate::PicIrq;

const MASTER: u16 = 0x20;
const SLAVE: u16 = 0xa0;
/// Non-specific end of interrupt.
const EOI: u8 = 0x20;

/// Initialized as operating systems do it: vectors from 0x30 and 0x38, nothing masked, `icw4` for both.
fn initialized(icw4: u8) -> Pic {
    let mut pic = Pic::new();
    for (command, base, wiring) in [(MASTER, 0x30, 4), (SLAVE, 0x38, 2)] {
        pic.write(command, 0x11);
        [base, wiring, icw4].iter().for_each(|word| assert!(pic.write(command + 1, *word)));
    }
    pic
}

fn irq(number: u8) -> PicIrq {
    PicIrq::new(number).unwrap()
}

fn raise(pic: &mut Pic, irqs: &[u8]) {
    irqs.iter().for_each(|number| pic.set_level(irq(*number), Level::High));
}

fn lower(pic: &mut Pic, irqs: &[u8]) {
    irqs.iter().for_each(|number| pic.set_level(irq(*number), Level::Low));
}

/// What the processor takes, one after the other, without ending any.
fn take(pic: &mut Pic) -> Vec<u8> {
    core::iter::from_fn(|| pic.interrupt_pending().then(|| pic.acknowledge())).take(20).collect()
}

/// Requests and interrupts in service, of a chip.
fn registers(pic: &mut Pic, command: u16) -> (u8, u8) {
    let [requests, service] = [0x0a, 0x0b].map(|select| {
        pic.write(command, select);
        pic.read(command).unwrap()
    });
    (requests, service)
}

#[test]
fn the_highest_priority_interrupts_first_and_holds_back_the_lower() {
    let mut pic = initialized(1);
    raise(&mut pic, &[5, 3]);
    assert_eq!(take(&mut pic), [0x33], "3 holds back 5");
    raise(&mut pic, &[1]);
    assert_eq!(take(&mut pic), [0x31], "but not 1");
    assert_eq!(registers(&mut pic, MASTER), (0x20, 0x0a));
    pic.write(MASTER, EOI);
    assert_eq!(take(&mut pic), [], "3 is still in service");
    pic.write(MASTER, EOI);
    assert_eq!(take(&mut pic), [0x35]);
}

#[test]
fn the_slave_interrupts_by_input_2() {
    let mut pic = initialized(1);
    raise(&mut pic, &[3, 12, 8]);
    assert_eq!(take(&mut pic), [0x38], "before 3 of the master");
    assert_eq!((registers(&mut pic, MASTER), registers(&mut pic, SLAVE)), ((0x08, 0x04), (0x10, 0x01)));
    pic.write(SLAVE, EOI);
    assert_eq!(take(&mut pic), [], "input 2 is in service");
    pic.write(MASTER, EOI);
    assert_eq!(take(&mut pic), [0x3c]);
}

#[test]
fn an_edge_requests_once_and_a_level_while_it_is_high() {
    let mut pic = initialized(3);
    pic.write(0x4d0, 0x20);
    raise(&mut pic, &[4, 5]);
    assert_eq!(take(&mut pic)[..3], [0x34, 0x35, 0x35]);
    lower(&mut pic, &[4, 5]);
    assert_eq!(take(&mut pic), []);
    raise(&mut pic, &[4]);
    assert_eq!(take(&mut pic), [0x34]);
}

#[test]
fn an_edge_that_comes_while_masked_waits_but_not_when_it_falls() {
    let mut pic = initialized(1);
    pic.write(MASTER + 1, 0xff);
    raise(&mut pic, &[4, 5]);
    lower(&mut pic, &[5]);
    assert_eq!((take(&mut pic), registers(&mut pic, MASTER)), (std::vec![], (0x10, 0)));
    pic.write(MASTER + 1, 0);
    assert_eq!(take(&mut pic), [0x34]);
}

#[test]
fn a_pulse_waits_for_its_acknowledge_and_is_nothing_on_a_level() {
    let mut pic = initialized(3);
    pic.write(0x4d1, 0x02);
    pic.write(MASTER + 1, 0xff);
    pic.pulse(irq(4));
    pic.pulse(irq(9));
    pic.pulse(irq(4));
    pic.write(MASTER + 1, 0);
    assert_eq!(take(&mut pic), [0x34]);
}

#[test]
fn an_acknowledge_of_nothing_is_the_spurious_interrupt_7() {
    let mut pic = initialized(1);
    raise(&mut pic, &[3]);
    lower(&mut pic, &[3]);
    assert!(!pic.interrupt_pending());
    assert_eq!((pic.acknowledge(), registers(&mut pic, MASTER)), (0x37, (0, 0)), "and it is not in service");
    // The true one is.
    raise(&mut pic, &[7]);
    assert_eq!((pic.acknowledge(), registers(&mut pic, MASTER)), (0x37, (0, 0x80)));
}

#[test]
fn a_request_of_the_slave_that_vanishes_between_the_pulses_is_the_spurious_interrupt_15() {
    let mut pic = initialized(1);
    raise(&mut pic, &[10]);
    let chosen = pic.begin_acknowledge();
    lower(&mut pic, &[10]);
    assert_eq!(pic.finish_acknowledge(chosen), 0x3f);
    assert_eq!((registers(&mut pic, MASTER), registers(&mut pic, SLAVE)), ((0, 0x04), (0, 0)), "the master must be told its end");
    raise(&mut pic, &[10]);
    assert_eq!(take(&mut pic), []);
    pic.write(MASTER, EOI);
    assert_eq!(take(&mut pic), [0x3a]);
}

#[test]
fn the_slaves_request_that_vanishes_before_the_first_pulse_is_the_masters_spurious_interrupt() {
    let mut pic = initialized(1);
    raise(&mut pic, &[10]);
    lower(&mut pic, &[10]);
    assert_eq!((pic.acknowledge(), registers(&mut pic, MASTER)), (0x37, (0, 0)));
}

#[test]
fn a_specific_end_ends_the_input_that_it_names() {
    let mut pic = initialized(1);
    raise(&mut pic, &[5]);
    take(&mut pic);
    raise(&mut pic, &[3]);
    take(&mut pic);
    pic.write(MASTER, 0x65);
    assert_eq!(registers(&mut pic, MASTER).1, 0x08);
    pic.write(MASTER, 0x60);
    assert_eq!(registers(&mut pic, MASTER).1, 0x08);
}

#[test]
fn rotation_makes_the_input_that_ended_the_lowest() {
    for (command, next) in [(0xa0, 0x35), (0xe3, 0x35), (0x20, 0x33)] {
        let mut pic = initialized(1);
        pic.write(0x4d0, 0x28);
        raise(&mut pic, &[3, 5]);
        assert_eq!(take(&mut pic), [0x33]);
        pic.write(MASTER, command);
        assert_eq!(take(&mut pic), [next], "after {command:#x}");
    }
}

#[test]
fn priorities_can_be_set() {
    for lowest in 0..8_u8 {
        let mut pic = initialized(3);
        pic.write(MASTER, 0xc0 | lowest);
        raise(&mut pic, &[0, 1, 3, 4, 5, 6, 7]);
        let order = (1..=8).map(|step| (lowest + step) % 8).filter(|input| *input != 2);
        assert_eq!(take(&mut pic), order.map(|input| 0x30 + input).collect::<Vec<_>>());
    }
}

#[test]
fn automatic_end_leaves_nothing_in_service_and_may_rotate() {
    let mut pic = initialized(3);
    pic.write(0x4d0, 0x28);
    raise(&mut pic, &[3, 5]);
    assert_eq!((pic.acknowledge(), pic.acknowledge(), registers(&mut pic, MASTER).1), (0x33, 0x33, 0));
    pic.write(MASTER, 0x80);
    assert_eq!([pic.acknowledge(), pic.acknowledge(), pic.acknowledge()], [0x33, 0x35, 0x33]);
    pic.write(MASTER, 0x00);
    assert_eq!([pic.acknowledge(), pic.acknowledge()], [0x35, 0x35]);
}

#[test]
fn special_mask_mode_lets_lower_priorities_through_a_masked_one_in_service() {
    let mut pic = initialized(1);
    raise(&mut pic, &[3]);
    take(&mut pic);
    pic.write(MASTER + 1, 0x08);
    raise(&mut pic, &[5]);
    assert_eq!(take(&mut pic), [], "not yet");
    pic.write(MASTER, 0x68);
    assert_eq!(take(&mut pic), [0x35]);
    pic.write(MASTER, EOI);
    assert_eq!(registers(&mut pic, MASTER).1, 0x08, "a non-specific end is not for a masked one");
    raise(&mut pic, &[6]);
    pic.write(MASTER, 0x48);
    assert_eq!(take(&mut pic), [], "no longer");
    // ESMM clear: SMM means nothing.
    pic.write(MASTER, 0x28);
    assert_eq!(take(&mut pic), []);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_itself() {
    for (icw4, nested) in [(0x01, &[][..]), (0x11, &[0x38])] {
        let mut pic = initialized(icw4);
        raise(&mut pic, &[12]);
        assert_eq!(take(&mut pic), [0x3c]);
        raise(&mut pic, &[8, 3]);
        assert_eq!(take(&mut pic), nested, "3 of the master is held back in any case");
        raise(&mut pic, &[1]);
        assert_eq!(take(&mut pic), [0x31]);
    }
}

#[test]
fn a_poll_acknowledges_and_names_the_input() {
    let mut pic = initialized(1);
    raise(&mut pic, &[3]);
    for read in [MASTER, MASTER + 1] {
        pic.write(MASTER, 0x0c);
        assert_eq!(pic.read(read), Some(0x83));
        assert_eq!(registers(&mut pic, MASTER), (0, 0x08));
        pic.write(MASTER, 0x0c);
        assert_eq!((pic.read(read), pic.read(MASTER + 1)), (Some(0x07), Some(0)), "nothing, and the mask is read after one poll");
        pic.write(MASTER, EOI);
        lower(&mut pic, &[3]);
        raise(&mut pic, &[3]);
    }
    // The slave is polled apart from the master.
    let mut pic = initialized(1);
    raise(&mut pic, &[14]);
    pic.write(MASTER, 0x0c);
    assert_eq!(pic.read(MASTER), Some(0x82));
    pic.write(SLAVE, 0x0c);
    assert_eq!(pic.read(SLAVE), Some(0x86));
}

#[test]
fn an_initialization_forgets_masks_modes_and_edges_but_no_level() {
    let mut pic = initialized(0x13);
    pic.write(0x4d0, 0x20);
    pic.write(MASTER, 0x68);
    pic.write(MASTER, 0xc3);
    pic.write(MASTER, 0x0b);
    pic.write(MASTER + 1, 0x10);
    raise(&mut pic, &[3, 5]);
    pic.write(MASTER, 0x10);
    assert_eq!((pic.read(MASTER), pic.read(MASTER + 1), pic.read(0x4d0)), (Some(0x20), Some(0), Some(0x20)), "the edge must come again");
    // No ICW4: the next is ICW2, ICW3, then the mask.
    [0x45, 0xff, 0x0f].iter().for_each(|word| assert!(pic.write(MASTER + 1, *word)));
    assert_eq!((take(&mut pic), pic.read(MASTER + 1)), (std::vec![0x45], Some(0x0f)));
    assert_eq!(registers(&mut pic, MASTER).1, 0x20, "no automatic end without ICW4");
}

#[test]
fn a_single_chip_has_no_icw3() {
    let mut pic = Pic::new();
    pic.write(MASTER, 0x13);
    [0x40, 0x03, 0x77].iter().for_each(|word| assert!(pic.write(MASTER + 1, *word)));
    assert_eq!(pic.read(MASTER + 1), Some(0x77));
}

#[test]
fn some_inputs_are_never_levels() {
    let mut pic = initialized(1);
    for port in [0x4d0, 0x4d1] {
        pic.write(port, 0xff);
    }
    assert_eq!((pic.read(0x4d0), pic.read(0x4d1)), (Some(0xf8), Some(0xde)));
}

#[test]
fn other_ports_are_other_devices() {
    let mut pic = initialized(1);
    let before = pic.clone();
    for port in (0..=u16::MAX).filter(|port| ![0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1].contains(port)) {
        assert_eq!((pic.read(port), pic.write(port, 0x11)), (None, false));
    }
    assert_eq!(pic, before);
}

#[test]
fn a_reset_keeps_lines() {
    let mut pic = initialized(1);
    pic.write(0x4d1, 0x04);
    raise(&mut pic, &[10, 3]);
    pic.reset();
    assert_eq!((pic.read(0x4d1), pic.interrupt_pending()), (Some(0), false));
    pic.write(0x4d1, 0x04);
    assert_eq!((pic.interrupt_pending(), pic.acknowledge()), (true, 2), "vectors begin at 0");
}
