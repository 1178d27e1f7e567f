//! What several vCPUs do to each other's interrupts.

use std::vec;

use crossvm_core::{Level, Width};

use crate::spec::{ListRegister, MachineControl, State};
use crate::testing::{FIRST, Gic, Registers, SECOND, THIRD, TIMER, bit, booted, booted_v2, set_bit, set_edge, spi};
use crate::{VcpuSet, Vgic};

const PEND: u32 = 0x200;
const UNPEND: u32 = 0x280;
const ACTIVE: u32 = 0x300;
const DEACTIVATE: u32 = 0x380;

fn raise(gic: &mut Gic, intid: u32) {
    gic.set_spi_level(spi(intid), Level::High).unwrap();
}

fn exit<const N: usize>(gic: &mut Gic, registers: &mut Registers<N>) {
    gic.save(FIRST, registers);
    gic.load(FIRST, registers);
}

/// Two edges are in the list registers of the first vCPU, and no kick is due.
fn two_resident() -> (Gic, Registers<4>) {
    let (mut gic, mut registers) = (booted(), Registers::new());
    for intid in [40, 41] {
        set_edge(&mut gic, intid);
        gic.pulse_spi(spi(intid)).unwrap();
    }
    gic.load(FIRST, &mut registers);
    let _ = gic.take_kicks();
    (gic, registers)
}

#[test]
fn an_spi_goes_to_the_vcpu_that_it_is_routed_to() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U64, 1);
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    assert_eq!((first.contents(), second.contents()), (vec![], vec![(40, State::Pending)]));
    // It is routed elsewhere: whoever has it is kicked, gives it back, and then the new target is kicked.
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 2);
    assert!(gic.take_kicks().contains(SECOND));
    gic.save(SECOND, &mut second);
    gic.load(SECOND, &mut second);
    assert_eq!(second.contents(), []);
    assert!(gic.take_kicks().contains(THIRD) && gic.has_pending(THIRD) && !gic.has_pending(SECOND));
}

#[test]
fn an_spi_that_is_active_on_one_vcpu_does_not_come_to_another() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut first);
    first.set(40, State::Active);
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U64, 1);
    gic.save(FIRST, &mut first);
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    assert_eq!((first.contents(), second.contents()), (vec![(40, State::Active)], vec![]));
    // Its end is reported to the VMM, and the other vCPU gets it.
    assert_eq!(first.of(40).physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
    first.set(40, State::Inactive);
    let _ = gic.take_kicks();
    gic.save(FIRST, &mut first);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
}

#[test]
fn a_1_of_n_spi_goes_to_one_vcpu_that_takes_part() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1 << 31);
    first.machine = MachineControl::new();
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    raise(&mut gic, 40);
    // The first has its group disabled, the third has not been seen yet.
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
    exit(&mut gic, &mut first);
    assert_eq!(first.contents(), []);
    assert!(first.control.group1_enabled(), "the first must be asked again once it takes part");
    assert!(!first.control.group0_enabled(), "nothing of group 0 waits");
    gic.save(SECOND, &mut second);
    gic.load(SECOND, &mut second);
    assert_eq!(second.contents(), [(40, State::Pending)]);
    // The second ceases to take part before it acknowledges. That exits, and the first two get their chance.
    assert!(second.control.group1_disabled());
    second.machine = MachineControl::new();
    first.machine.set_enable_group1(true);
    gic.save(FIRST, &mut first);
    gic.save(SECOND, &mut second);
    gic.load(SECOND, &mut second);
    assert_eq!(second.contents(), []);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    gic.load(FIRST, &mut first);
    assert_eq!(first.contents(), [(40, State::Pending)]);
}

#[test]
fn where_nobody_is_known_to_take_part_all_who_are_awake_are_asked() {
    let mut gic = booted();
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1 << 31);
    gic.redistributor_write(THIRD, 0x14, Width::U32, 2);
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST).with(SECOND));
}

#[test]
fn another_vcpu_deactivates_what_is_in_a_list_register() {
    let (mut gic, mut registers) = two_resident();
    registers.set(40, State::Active);
    registers.set(41, State::Active);
    // Once before the VMM knows that it is active, once after.
    set_bit(&mut gic, DEACTIVATE, 41);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Active)]);
    set_bit(&mut gic, DEACTIVATE, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers);
    assert_eq!(registers.contents(), []);
}

#[test]
fn another_vcpu_activates_what_is_in_a_list_register() {
    let (mut gic, mut registers) = two_resident();
    set_bit(&mut gic, ACTIVE, 41);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers);
    assert_eq!(registers.contents(), [(41, State::PendingActive), (40, State::Pending)]);
    // It is active already.
    set_bit(&mut gic, ACTIVE, 41);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY);
}

#[test]
fn of_two_changes_to_what_is_in_a_list_register_the_last_counts() {
    let (mut gic, mut registers) = two_resident();
    registers.set(40, State::Active);
    set_bit(&mut gic, DEACTIVATE, 40);
    set_bit(&mut gic, ACTIVE, 40);
    gic.save(FIRST, &mut registers);
    assert!(bit(&gic, ACTIVE, 40));
    let (mut gic, mut registers) = two_resident();
    set_bit(&mut gic, ACTIVE, 41);
    set_bit(&mut gic, DEACTIVATE, 41);
    gic.save(FIRST, &mut registers);
    assert!(!bit(&gic, ACTIVE, 41));
}

#[test]
fn another_vcpu_takes_back_an_edge_that_is_not_acknowledged() {
    let (mut gic, mut registers) = two_resident();
    set_bit(&mut gic, UNPEND, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    // One more edge: what is taken back is both.
    gic.pulse_spi(spi(41)).unwrap();
    let _ = gic.take_kicks();
    set_bit(&mut gic, UNPEND, 41);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    assert!(!bit(&gic, PEND, 40) && !bit(&gic, PEND, 41));
    exit(&mut gic, &mut registers);
    assert_eq!(registers.contents(), []);
}

#[test]
fn what_changes_nothing_kicks_nobody() {
    let (mut gic, mut registers) = two_resident();
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers);
    let _ = gic.take_kicks();
    // Nothing is pending; the fall of a line is no edge; these levels are what they were.
    set_bit(&mut gic, UNPEND, 40);
    set_bit(&mut gic, UNPEND, 50);
    set_bit(&mut gic, DEACTIVATE, 50);
    gic.set_spi_level(spi(40), Level::Low).unwrap();
    gic.set_spi_level(spi(50), Level::Low).unwrap();
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY);
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    raise(&mut gic, 40);
    gic.set_spi_level(spi(40), Level::Low).unwrap();
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY);
}

#[test]
fn what_software_makes_active_is_active_where_it_is_routed_or_where_it_is_already() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    // 40 to the second, 41 to any that is awake, 42 to nobody; 43 is in a list register of the first when its route changes.
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1);
    gic.distributor_write(FIRST, 0x6000 + 41 * 8, Width::U32, 1 << 31);
    gic.distributor_write(FIRST, 0x6000 + 42 * 8, Width::U32, 7);
    gic.redistributor_write(FIRST, 0x14, Width::U32, 2);
    (40..43).for_each(|intid| set_bit(&mut gic, ACTIVE, intid));
    gic.redistributor_write(FIRST, 0x14, Width::U32, 0);
    raise(&mut gic, 43);
    gic.load(FIRST, &mut first);
    gic.distributor_write(FIRST, 0x6000 + 43 * 8, Width::U32, 1);
    set_bit(&mut gic, ACTIVE, 43);
    exit(&mut gic, &mut first);
    gic.load(SECOND, &mut second);
    assert_eq!(first.contents(), [(43, State::Active)]);
    assert_eq!(second.contents(), [(40, State::Active), (41, State::Active)]);
}

#[test]
fn changes_to_a_vcpus_own_interrupts_kick_it_while_they_are_in_its_list_registers() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    gic.set_ppi_level(FIRST, TIMER, Level::High).unwrap();
    gic.load(FIRST, &mut registers);
    let _ = gic.take_kicks();
    // Pending in a register: another priority, and disabled.
    for (offset, value) in [(0x1_0400 + 27, 0x20), (0x1_0180 + 3, 1 << 3)] {
        gic.redistributor_write(FIRST, offset, Width::U8, value);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST), "{offset:#x}");
    }
    gic.redistributor_write(FIRST, 0x1_0100, Width::U32, 1 << 27);
    exit(&mut gic, &mut registers);
    // Active in a register: the line falls, and rises.
    registers.set(27, State::Active);
    exit(&mut gic, &mut registers);
    let _ = gic.take_kicks();
    for level in [Level::Low, Level::High] {
        gic.set_ppi_level(FIRST, TIMER, level).unwrap();
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST), "{level:?}");
    }
    assert!(!gic.has_pending(SECOND));
}

#[test]
fn whoever_ceases_to_take_part_before_a_1_of_n_spi_reaches_it_passes_it_on() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1 << 31);
    first.machine = MachineControl::new();
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    assert!(!first.control.group1_enabled(), "nothing waits yet");
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
    second.machine = MachineControl::new();
    gic.save(SECOND, &mut second);
    gic.load(SECOND, &mut second);
    assert_eq!(second.contents(), []);
    // Nobody takes part, as far as is known: the others are asked.
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST).with(THIRD));
}

#[test]
fn a_vcpu_alone_need_not_tell_that_it_takes_a_1_of_n_spi_no_more() {
    let (mut gic, mut registers) = (Vgic::<1, 1>::new(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0, Width::U32, 1);
    gic.redistributor_write(FIRST, 0x14, Width::U32, 0);
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U32, 1 << 31);
    gic.distributor_write(FIRST, 0x104, Width::U32, 1 << 8);
    gic.load(FIRST, &mut registers);
    gic.set_spi_level(spi(40), Level::High).unwrap();
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Pending)]);
    assert!(!registers.control.group0_disabled());
    // Nor does anybody else deactivate for it.
    registers.machine.set_separate_deactivation(true);
    gic.load(FIRST, &mut registers);
    assert!(!registers.control.trap_deactivate());
}

#[test]
fn an_edge_on_an_active_interrupt_goes_to_the_new_target_after_the_end() {
    let (mut gic, mut registers) = two_resident();
    registers.set(40, State::Active);
    gic.save(FIRST, &mut registers);
    gic.distributor_write(FIRST, 0x6000 + 40 * 8, Width::U64, 1);
    gic.pulse_spi(spi(40)).unwrap();
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.of(40).state(), State::Active);
    assert_eq!(registers.of(40).physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
    let _ = gic.take_kicks();
    registers.set(40, State::Inactive);
    gic.save(FIRST, &mut registers);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
}

#[test]
fn any_vcpu_may_deactivate_what_another_handles() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    // Whether it does is not asked: it may choose to without an exit.
    assert!(second.control.trap_deactivate() && first.control.trap_deactivate());
    first.set(40, State::Active);
    gic.set_spi_level(spi(40), Level::Low).unwrap();
    let _ = gic.take_kicks();
    gic.save(SECOND, &mut second);
    gic.write_dir(SECOND, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut first);
    assert_eq!(first.contents(), []);
}

#[test]
fn a_deactivation_of_what_waits_in_the_list_register_of_another_has_no_effect() {
    let (mut gic, mut first, mut second) = (booted(), Registers::<4>::new(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut first);
    gic.load(SECOND, &mut second);
    let _ = gic.take_kicks();
    gic.save(SECOND, &mut second);
    gic.write_dir(SECOND, 40);
    // The kick tells that the first has not acknowledged.
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut first);
    assert_eq!(first.contents(), [(40, State::Pending)]);
    // It does now, and nothing is left of the deactivation.
    first.set(40, State::Active);
    exit(&mut gic, &mut first);
    assert_eq!(first.contents(), [(40, State::Active)]);
    gic.load(SECOND, &mut second);
    assert_eq!(second.contents(), []);
}

#[test]
fn a_vcpu_that_is_reset_loses_its_own_interrupts_and_no_spi() {
    for mut gic in [booted(), booted_v2()] {
        let (mut second, mut third) = (Registers::<4>::new(), Registers::<4>::new());
        // 40 and 41 to the second: one is handled when it goes off, one waits. 42 to any, or to the last two; 43 to the third.
        for (intid, route, targets) in [(40, 1, 2), (41, 1, 2), (42, 1 << 31, 6), (43, 2, 4)] {
            gic.distributor_write(FIRST, 0x6000 + intid * 8, Width::U64, route);
            gic.distributor_write(FIRST, 0x800 + intid, Width::U8, targets);
        }
        gic.load(THIRD, &mut third);
        gic.load(SECOND, &mut second);
        raise(&mut gic, 40);
        gic.load(SECOND, &mut second);
        second.set(40, State::Active);
        gic.save(SECOND, &mut second);
        [41, 42].into_iter().for_each(|intid| raise(&mut gic, intid));
        gic.load(SECOND, &mut second);
        assert_eq!(second.contents(), [(40, State::Active), (41, State::Pending), (42, State::Pending)]);
        gic.set_ppi_level(SECOND, TIMER, Level::High).unwrap();
        gic.save(SECOND, &mut second);
        let _ = gic.take_kicks();

        gic.reset_vcpu(SECOND).unwrap();
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(THIRD), "42 has to go to another vCPU");
        raise(&mut gic, 43);
        gic.load(THIRD, &mut third);
        assert_eq!(third.contents(), [(42, State::Pending), (43, State::Pending)]);
        // It comes back as it was at power-on, but for the line, and the SPIs are there still.
        let own = |gic: &Gic, offset| match gic.version() {
            crate::Version::V2 => gic.distributor_read(SECOND, offset, Width::U32),
            crate::Version::V3 => gic.redistributor_read(SECOND, 0x1_0000 + offset, Width::U32),
        };
        let fresh = Gic::with_version(gic.version());
        for offset in [0x80, 0x100, 0x300, 0x400, 0x418] {
            assert_eq!(own(&gic, offset), own(&fresh, offset), "{offset:#x}");
        }
        assert_eq!(own(&gic, 0x200), 1 << 27);
        gic.redistributor_write(SECOND, 0x14, Width::U32, 0);
        gic.load(SECOND, &mut second);
        assert_eq!(second.contents(), [(41, State::Pending)]);
        assert!(bit(&gic, ACTIVE, 40), "its handler is gone, and nobody has deactivated it");
        set_bit(&mut gic, DEACTIVATE, 40);
        gic.load(SECOND, &mut second);
        assert_eq!(second.contents(), [(40, State::Pending), (41, State::Pending)]);
    }
}

#[test]
fn a_vcpu_that_is_reset_without_a_save_loses_no_spi() {
    let (mut gic, mut registers) = two_resident();
    registers.set(40, State::Active);
    gic.reset_vcpu(FIRST).unwrap();
    // What the registers hold is history: the edges come again, and the guest may see one that it had acknowledged.
    gic.redistributor_write(FIRST, 0x14, Width::U32, 0);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Pending), (41, State::Pending)]);
}

#[test]
fn a_vcpu_that_is_reset_gives_its_physical_interrupts_back() {
    let mut gic = booted();
    let physical = crate::PhysicalIntId::new(27).unwrap();
    gic.raise_hardware(SECOND, TIMER, physical).unwrap();
    gic.reset_vcpu(SECOND).unwrap();
    assert_eq!((gic.take_deactivation(SECOND), gic.take_deactivation(SECOND)), (Some(physical), None));
    let absent = crate::VcpuId::new(3).unwrap();
    assert_eq!(gic.reset_vcpu(absent), Err(crate::Error::NoSuchVcpu { index: 3, count: 3 }));
}

#[test]
fn it_is_told_whose_list_registers_know_better_what_is_read() {
    let holders = |gic: &Gic, by, offset| gic.distributor_holders(by, offset, Width::U32);
    for mut gic in [booted(), booted_v2()] {
        let mut registers = Registers::<4>::new();
        raise(&mut gic, 40);
        assert_eq!(holders(&gic, SECOND, 0x304), VcpuSet::EMPTY, "nothing is loaded");
        gic.load(FIRST, &mut registers);
        for offset in [0x204, 0x284, 0x304, 0x384] {
            assert_eq!(holders(&gic, SECOND, offset), VcpuSet::EMPTY.with(FIRST), "{offset:#x}");
            assert_eq!(holders(&gic, FIRST, offset), VcpuSet::EMPTY, "who asks is saved");
        }
        assert_eq!(gic.distributor_holders(SECOND, 0x301, Width::U64), VcpuSet::EMPTY.with(FIRST), "one word of three");
        // Other registers, other interrupts, other widths.
        for offset in [0x104, 0x208, 0x300, 0x308, 0x428, 0xc08, 0x1304] {
            assert_eq!(holders(&gic, SECOND, offset), VcpuSet::EMPTY, "{offset:#x}");
        }
        gic.save(FIRST, &mut registers);
        assert_eq!(holders(&gic, SECOND, 0x304), VcpuSet::EMPTY);
    }
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    gic.set_ppi_level(SECOND, TIMER, Level::High).unwrap();
    gic.load(SECOND, &mut registers);
    assert_eq!(gic.redistributor_holders(SECOND, 0x1_0300, Width::U32), VcpuSet::EMPTY.with(SECOND));
    for (vcpu, offset) in [(FIRST, 0x1_0300), (SECOND, 0x300), (SECOND, 0x1_0100), (SECOND, 0x1_0304)] {
        assert_eq!(gic.redistributor_holders(vcpu, offset, Width::U32), VcpuSet::EMPTY, "{offset:#x}");
    }
}
