//! The clauses of delivery, one by one. The architecture test beside this crate drives them against each other.

use crossvm_core::{InterruptController, Irq, Level, Width};

use crate::spec::{Group, HypervisorControl, ListRegister, MachineControl, State};
use crate::testing::{FIRST, Gic, Registers, bit, booted, set_bit, set_edge, set_priority, spi};
use crate::{ListRegisters, VcpuSet, Vgic};

const ENABLE: u32 = 0x100;
const DISABLE: u32 = 0x180;
const PEND: u32 = 0x200;
const UNPEND: u32 = 0x280;
const ACTIVE: u32 = 0x300;

/// Nothing is asked for, but that other vCPUs may deactivate what this one handles.
const QUIET: HypervisorControl = HypervisorControl::new().with_enable(true).with_trap_deactivate(true);

fn raise(gic: &mut Gic, intid: u32) {
    gic.set_spi_level(spi(intid), Level::High).unwrap();
}

fn lower(gic: &mut Gic, intid: u32) {
    gic.set_spi_level(spi(intid), Level::Low).unwrap();
}

/// An exit during which the VMM does `something`.
fn exit<const N: usize>(gic: &mut Gic, registers: &mut Registers<N>, something: impl FnOnce(&mut Gic)) {
    gic.save(FIRST, registers);
    something(gic);
    gic.load(FIRST, registers);
}

#[test]
fn an_interrupt_that_comes_while_disabled_stays_pending() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 40);
    set_bit(&mut gic, DISABLE, 40);
    gic.pulse_spi(spi(40)).unwrap();
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), []);
    assert!(bit(&gic, PEND, 40) && !gic.has_pending(FIRST));
    exit(&mut gic, &mut registers, |gic| set_bit(gic, ENABLE, 40));
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn a_group_that_the_distributor_does_not_forward_stays_pending() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0, Width::U32, 1);
    raise(&mut gic, 40);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), []);
    assert!(!gic.has_pending(FIRST));
    exit(&mut gic, &mut registers, |gic| gic.distributor_write(FIRST, 0, Width::U32, 2));
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn a_list_register_carries_intid_group_and_priority() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0x84, Width::U32, 0xffff_feff);
    set_priority(&mut gic, 40, 0x28);
    set_edge(&mut gic, 40);
    gic.pulse_spi(spi(40)).unwrap();
    raise(&mut gic, 41);
    gic.load(FIRST, &mut registers);
    let expected = ListRegister::new().with_state(State::Pending).with_virtual_intid(40).with_priority(0x28).with_group(Group::Zero);
    assert_eq!(registers.of(40), expected);
    assert_eq!(registers.of(40).into_bits(), 0x4028_0000_0000_0028);
    // Bit 41: maintenance at the end of interrupt, for the line is high.
    assert_eq!(registers.of(41).into_bits(), 0x50a0_0200_0000_0029);
}

#[test]
fn a_level_comes_again_after_its_end_while_the_line_is_high() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers, |_| {});
    // While it is handled, it is not pending as well; its end is to be reported.
    assert_eq!(registers.contents(), [(40, State::Active)]);
    assert_eq!(registers.of(40).physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
    registers.set(40, State::Inactive);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn a_level_that_drops_in_its_handler_ends_without_maintenance() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers, |gic| lower(gic, 40));
    assert_eq!((registers.of(40).state(), registers.of(40).physical_intid()), (State::Active, 0));
    // It rises once more before the end: the vCPU is kicked, and the end is to be reported.
    let _ = gic.take_kicks();
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.of(40).physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
}

#[test]
fn a_line_that_drops_before_the_acknowledge_withdraws_the_interrupt() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    raise(&mut gic, 40);
    gic.load(FIRST, &mut registers);
    let _ = gic.take_kicks();
    lower(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), []);
}

#[test]
fn a_level_made_pending_by_software_comes_once_and_its_acknowledge_clears_it() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_bit(&mut gic, PEND, 40);
    gic.load(FIRST, &mut registers);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(40, State::Pending)]);
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers, |gic| assert!(!bit(gic, PEND, 40) && bit(gic, ACTIVE, 40)));
    registers.set(40, State::Inactive);
    exit(&mut gic, &mut registers, |gic| assert!(!bit(gic, PEND, 40) && !bit(gic, ACTIVE, 40)));
    assert_eq!(registers.contents(), []);
}

#[test]
fn clearing_the_pending_state_leaves_a_line_that_is_high() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    raise(&mut gic, 40);
    set_bit(&mut gic, UNPEND, 40);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn an_edge_while_the_interrupt_is_active_makes_it_pending_and_active() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 40);
    gic.pulse_spi(spi(40)).unwrap();
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    let _ = gic.take_kicks();
    // The VMM does not know yet that the guest has acknowledged: it must kick.
    gic.pulse_spi(spi(40)).unwrap();
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(40, State::PendingActive)]);
    assert_eq!(registers.of(40).physical_intid(), 0);
    registers.set(40, State::Pending);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn an_edge_on_an_active_interrupt_that_is_disabled_waits() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 40);
    gic.pulse_spi(spi(40)).unwrap();
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers, |gic| {
        set_bit(gic, DISABLE, 40);
        gic.pulse_spi(spi(40)).unwrap();
    });
    assert_eq!(registers.contents(), [(40, State::Active)]);
    exit(&mut gic, &mut registers, |gic| set_bit(gic, ENABLE, 40));
    assert_eq!(registers.contents(), [(40, State::PendingActive)]);
}

#[test]
fn where_registers_are_scarce_an_edge_on_an_active_interrupt_waits_in_line() {
    let (mut gic, mut registers) = (booted(), Registers::<2>::new());
    set_edge(&mut gic, 40);
    gic.pulse_spi(spi(40)).unwrap();
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    exit(&mut gic, &mut registers, |gic| {
        gic.pulse_spi(spi(40)).unwrap();
        for intid in [41, 42] {
            set_priority(gic, intid, 0x20);
            raise(gic, intid);
        }
    });
    assert_eq!(registers.contents(), [(40, State::Active), (41, State::Pending)]);
    // Were it pending after its end, nobody would notice that 42 has to come before it.
    assert_eq!(registers.of(40).physical_intid(), ListRegister::MAINTENANCE_ON_EOI);
    registers.set(40, State::Inactive);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(41, State::Pending), (42, State::Pending)]);
}

#[test]
fn an_edge_comes_from_a_line_that_rises_and_not_from_one_that_is_high() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 40);
    raise(&mut gic, 40);
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Inactive);
    exit(&mut gic, &mut registers, |gic| raise(gic, 40));
    assert_eq!(registers.contents(), []);
    exit(&mut gic, &mut registers, |gic| {
        lower(gic, 40);
        raise(gic, 40);
        lower(gic, 40);
    });
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn what_waits_in_a_list_register_reads_as_pending() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 40);
    for _ in 0..2 {
        gic.pulse_spi(spi(40)).unwrap();
        gic.load(FIRST, &mut registers);
        assert!(bit(&gic, PEND, 40));
        // Another edge comes before the acknowledge.
        gic.pulse_spi(spi(40)).unwrap();
        assert!(bit(&gic, PEND, 40));
    }
}

#[test]
fn a_level_sensitive_spi_does_not_see_a_pulse() {
    let mut gic = booted();
    gic.pulse_spi(spi(40)).unwrap();
    assert!(!bit(&gic, PEND, 40));
}

#[test]
fn the_most_urgent_are_loaded_and_the_rest_when_none_is_pending() {
    let (mut gic, mut registers) = (booted(), Registers::<2>::new());
    for (intid, priority) in [(40, 0x80), (41, 0x20), (42, 0x80), (43, 0x40)] {
        set_priority(&mut gic, intid, priority);
        raise(&mut gic, intid);
    }
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(41, State::Pending), (43, State::Pending)]);
    assert_eq!(registers.control, QUIET.with_no_pending(true));
    registers.set(41, State::Active);
    registers.set(43, State::Active);
    exit(&mut gic, &mut registers, |_| {});
    // One register for the most urgent that is active, one for the most urgent that is pending; of equals, the lowest INTID.
    assert_eq!(registers.contents(), [(41, State::Active), (40, State::Pending)]);
    assert!(registers.control.no_pending() && registers.control.entry_not_present() && registers.control.trap_deactivate());
}

#[test]
fn with_room_for_all_nothing_is_asked_for() {
    let (mut gic, mut registers) = (booted(), Registers::<2>::new());
    raise(&mut gic, 40);
    raise(&mut gic, 41);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.control, QUIET);
}

#[test]
fn an_end_of_interrupt_without_a_register_ends_the_most_urgent_that_had_none() {
    let (mut gic, mut registers) = (booted(), Registers::<1>::new());
    for (intid, priority) in [(40, 0xa0), (41, 0x80), (42, 0x40)] {
        set_edge(&mut gic, intid);
        set_priority(&mut gic, intid, priority);
        gic.pulse_spi(spi(intid)).unwrap();
        gic.load(FIRST, &mut registers);
        registers.set(intid, State::Active);
        gic.save(FIRST, &mut registers);
    }
    gic.pulse_spi(spi(40)).unwrap();
    set_edge(&mut gic, 50);
    gic.pulse_spi(spi(50)).unwrap();
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(50, State::Pending)]);
    assert!(registers.control.entry_not_present());
    registers.end_absent(2);
    gic.save(FIRST, &mut registers);
    assert_eq!([40, 41, 42].map(|intid| bit(&gic, ACTIVE, intid)), [true, false, false]);
    assert_eq!(registers.control.eoi_count(), 0);
    gic.load(FIRST, &mut registers);
    registers.end_absent(1);
    gic.save(FIRST, &mut registers);
    assert!(!bit(&gic, ACTIVE, 40) && bit(&gic, PEND, 40));
}

#[test]
fn active_interrupts_that_fit_are_all_in_registers_and_no_more_than_fit() {
    let (mut gic, mut registers) = (booted(), Registers::<2>::new());
    set_bit(&mut gic, ACTIVE, 40);
    set_bit(&mut gic, ACTIVE, 41);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Active), (41, State::Active)]);
    assert_eq!(registers.control, QUIET);
    exit(&mut gic, &mut registers, |gic| set_bit(gic, ACTIVE, 42));
    assert_eq!(registers.contents(), [(40, State::Active), (41, State::Active)]);
    assert_eq!(registers.control, QUIET.with_entry_not_present(true));
}

#[test]
fn a_trapped_deactivation_ends_the_interrupt_that_it_names() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    for intid in [40, 41] {
        raise(&mut gic, intid);
        gic.load(FIRST, &mut registers);
        registers.set(intid, State::Active);
        exit(&mut gic, &mut registers, |gic| lower(gic, intid));
    }
    exit(&mut gic, &mut registers, |gic| {
        gic.write_dir(FIRST, 40);
        gic.write_dir(FIRST, 1023);
    });
    assert_eq!(registers.contents(), [(41, State::Active)]);
}

#[test]
fn a_group_disabled_in_the_cpu_interface_is_not_in_the_way_of_the_other() {
    let (mut gic, mut registers) = (booted(), Registers::<1>::new());
    registers.machine = MachineControl::new().with_enable_group1(true);
    // 40 is more urgent, and in group 0.
    gic.distributor_write(FIRST, 0x84, Width::U32, 0xffff_feff);
    set_priority(&mut gic, 40, 0);
    raise(&mut gic, 40);
    raise(&mut gic, 41);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(41, State::Pending)]);
    assert!(registers.control.group0_enabled() && !registers.control.group0_disabled());
    assert!(!registers.control.group1_enabled() && !registers.control.group1_disabled());
    // The guest enables it.
    registers.machine.set_enable_group0(true);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(40, State::Pending)]);
    assert!(registers.control.group0_disabled() && !registers.control.group0_enabled());
    // And disables it again.
    registers.machine.set_enable_group0(false);
    exit(&mut gic, &mut registers, |_| {});
    assert_eq!(registers.contents(), [(41, State::Pending)]);
}

#[test]
fn a_sleeping_redistributor_forwards_nothing_but_wakes() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    gic.redistributor_write(FIRST, 0x14, Width::U32, 2);
    raise(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
    assert!(gic.has_pending(FIRST));
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), []);
    exit(&mut gic, &mut registers, |gic| gic.redistributor_write(FIRST, 0x14, Width::U32, 0));
    assert_eq!(registers.contents(), [(40, State::Pending)]);
}

#[test]
fn software_can_make_an_interrupt_active_as_for_a_restored_vm() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_bit(&mut gic, ACTIVE, 40);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Active)]);
    registers.set(40, State::Inactive);
    gic.save(FIRST, &mut registers);
    assert!(!bit(&gic, ACTIVE, 40));
}

#[test]
fn saving_empties_the_registers_and_keeps_what_the_vmm_has_in_the_control() {
    let (mut gic, mut registers) = (booted(), Registers::<1>::new());
    registers.control = HypervisorControl::new().with_trap_common(true);
    (40..44).for_each(|intid| raise(&mut gic, intid));
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Inactive);
    gic.save(FIRST, &mut registers);
    assert_eq!(registers.list, [ListRegister::EMPTY]);
    assert_eq!(registers.control, HypervisorControl::new().with_trap_common(true).with_enable(true));
    let saved = gic.clone();
    gic.save(FIRST, &mut registers);
    assert_eq!(gic, saved);
}

#[test]
fn loading_without_a_save_loses_nothing() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    raise(&mut gic, 40);
    raise(&mut gic, 41);
    gic.load(FIRST, &mut registers);
    registers.set(40, State::Active);
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), [(40, State::Active), (41, State::Pending)]);
}

#[test]
fn a_reset_forgets_all_but_the_lines() {
    let (mut gic, mut registers) = (booted(), Registers::<4>::new());
    set_edge(&mut gic, 41);
    raise(&mut gic, 40);
    gic.pulse_spi(spi(41)).unwrap();
    gic.write_sgi1r(FIRST, 1);
    gic.load(FIRST, &mut registers);
    registers.set(41, State::Active);
    registers.set(0, State::Active);
    gic.reset();
    // Not saved before: what the registers hold is thrown away all the same.
    gic.load(FIRST, &mut registers);
    assert_eq!(registers.contents(), []);
    gic.save(FIRST, &mut registers);
    lower(&mut gic, 40);
    assert_eq!(gic.take_kicks(), VcpuSet::EMPTY);
    let mut fresh = Gic::new();
    fresh.load(FIRST, &mut registers);
    fresh.save(FIRST, &mut registers);
    assert_eq!(gic, fresh);
}

#[test]
fn an_irq_of_core_is_an_spi_and_others_are_refused() {
    let mut gic = booted();
    gic.set_level(Irq::new(40), Level::High).unwrap();
    assert!(bit(&gic, PEND, 40));
    for number in [0, 31, 96, 1020, u32::MAX] {
        let error = gic.set_level(Irq::new(number), Level::High).unwrap_err();
        assert_eq!(crossvm_core::Error::kind(&error), crossvm_core::ErrorKind::OutOfRange, "{number}");
    }
    assert!(gic.set_spi_level(spi(96), Level::High).is_err() && gic.pulse_spi(spi(96)).is_err());
}

#[test]
fn it_is_made_in_a_static_and_the_trait_works_through_references() {
    static GIC: Vgic<1, 1> = Vgic::new();
    let (mut gic, mut registers) = (GIC.clone(), Registers::<4>::new());
    gic.distributor_write(FIRST, 0, Width::U32, 1);
    gic.redistributor_write(FIRST, 0x14, Width::U32, 0);
    gic.redistributor_write(FIRST, 0x1_0100, Width::U32, 1);
    gic.write_sgi1r(FIRST, 1);
    gic.load(FIRST, &mut &mut registers);
    assert_eq!(registers.contents(), [(0, State::Pending)]);
    registers.set(0, State::Active);
    gic.save(FIRST, &mut &mut registers);
    assert_eq!(gic.redistributor_read(FIRST, 0x1_0300, Width::U32), 1);
    assert_eq!(ListRegisters::count(&&mut registers), 4);
}
