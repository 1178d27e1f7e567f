//! What a VM is composed of: dataports of all kinds, many connections, either interrupt controller.

use crossvm_core::device::{EventBarSize, Profile};

use super::*;
use crate::host::{HostAddr, HostRange};

/// Where the test's GICV would be.
const VIRTUAL_INTERFACE: u64 = 0x0804_0000;

fn v2() -> Rig {
    let virtual_interface = HostRange::new(HostAddr::new(VIRTUAL_INTERFACE), 0x1_0000).unwrap();
    Rig::with_gic(GuestGic::V2 { virtual_interface })
}

/// A VM with connections of these dataports, out of `memory(size)` each.
fn vm(device: Config, dataports: &[&[(u64, Width)]]) -> (Rig, Vec<Dataports>) {
    let mut rig = Rig::new();
    let mut topology = Topology::default();
    for (index, dataports) in dataports.iter().enumerate() {
        let rights = [crossvm_manifest::Rights::ReadWrite; 2];
        let connection = Connection {
            name: text(&std::format!("c{index}")).unwrap(),
            dataports: dataports.iter().map(|(size, width)| Dataport { size: *size, rights, width: *width }).collect(),
            ends: [Peer::Vm(0), Peer::Vm(1)].map(|peer| crossvm_manifest::End { peer, interrupt: Interrupt::Own }),
        };
        topology.connections.push(connection).unwrap();
    }
    // SAFETY: fresh memory of this test.
    let shared = |size| unsafe { SharedMemory::new(memory(size).range()) }.unwrap();
    let memories: Vec<Dataports> = dataports.iter().map(|dataports| dataports.iter().map(|(size, _)| shared(*size)).collect()).collect();
    let pages = PagePool::size_for(device.event_bar.size(), dataports.len());
    let resources = Resources {
        name: text("vm0").unwrap(),
        cpus: [CpuId::new(0)].into_iter().collect(),
        mailbox: rig.own,
        on_reboot: Reboot::Restart,
        device,
        gic: GuestGic::V3,
        memory: Stage2::new(PagePool::new(memory(pages)), rig.platform).unwrap(),
        platform: rig.platform,
    };
    rig.vm = Vm::new(resources).unwrap();
    let ends = crate::config::ends(&topology, Peer::Vm(0));
    rig.vm.connect(ends.zip(&memories).map(|(end, memory)| (end, memory.clone(), Notify::new(rig.peer, EVENT, rig.platform)))).unwrap();
    rig.vm.add_ram(rig.ram.range()).unwrap();
    rig.boot();
    (rig, memories)
}

fn start(memory: &SharedMemory) -> u64 {
    memory.memory().range().start().get()
}

#[test]
fn each_dataport_is_behind_a_bar_of_its_own_and_wide_ones_are_above_4_gib() {
    let (mut rig, memories) = vm(Config::default(), &[&[(12 << 10, Width::Bits32), (4 << 20, Width::Bits64)], &[]]);
    let small = rig.bar(1, 1);
    assert_eq!(rig.direct(small).map(|(target, _)| target), Some(start(memories[0][0])));
    assert_eq!(rig.direct(small + 0x3000), None, "behind the true size");
    let high = rig.load(Rig::config(1, 0x1c), 2) << 32 | rig.bar(1, 2);
    assert!(map::PCI_HIGH_WINDOW.contains(GuestAddr::new(high)), "{high:#x}");
    assert_eq!(rig.direct(high + 0x3f_ffff).map(|(target, _)| target), Some(start(memories[0][1]) + 0x3f_ffff));
    // It moves by halves.
    rig.store(Rig::config(1, 0x1c), 2, 0x55);
    assert_eq!(rig.direct(high), None);
    let moved = 0x55_0000_0000 | high & 0xffff_ffff;
    assert_eq!(rig.direct(moved).map(|(target, _)| target), Some(start(memories[0][1])));
    // Without dataports, a connection carries events.
    let events = rig.bar(2, 0);
    assert_eq!((rig.store(events, 2, 1), rig.peer.take().count()), (Flow::Resume, 1));
}

#[test]
fn event_registers_are_as_large_as_the_topology_says_and_of_its_profile() {
    let device = Config { profile: Profile::Reference, event_bar: EventBarSize::Kib64, ..Config::default() };
    let connections = [&[(4096u64, Width::Bits32)][..]; 40];
    let (mut rig, _) = vm(device, &connections);
    let events = rig.bar(1, 0);
    assert!(events.is_multiple_of(64 << 10));
    let (page, _) = rig.direct(events).unwrap();
    assert_eq!(rig.direct(events + 0xffff).map(|(target, _)| target), Some(page + 0xffff), "one piece");
    let signature = rig.vm.backend.memory.words_at(HostAddr::new(page))[0x40 / 4].load(Ordering::Relaxed);
    assert_eq!(signature, 0, "the reference profile has none");
    assert_eq!(rig.load(Rig::config(1, 4), 2) >> 20 & 1, 0, "nor capabilities");
    // All 40 are there, some of them as functions of one device.
    let found = rig.vm.connections.connections().filter_map(|id| rig.vm.connections.status(id)).filter(|status| status.irq.is_some());
    assert_eq!(found.count(), 40);
}

#[test]
fn a_burst_of_events_is_counted_exactly() {
    let mut rig = Rig::new();
    let events = rig.bar(1, 0);
    let notify = Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform);
    (0..1000).for_each(|_| crossvm_core::Notifier::notify(&notify).unwrap());
    assert_eq!(rig.next(), Next::Enter);
    let (page, _) = rig.direct(events).unwrap();
    assert_eq!(rig.vm.backend.memory.words_at(HostAddr::new(page))[1].load(Ordering::Relaxed), 1000);
    assert_eq!(rig.platform.kicks().len(), 1, "one kick for all of them");
}

#[test]
fn messages_interrupt_through_either_controller() {
    let vcpu = VcpuId::new(0).unwrap();
    for (mut rig, doorbell) in [(Rig::new(), 0x0800_0040u64), (v2(), 0x0802_0040)] {
        let v3 = rig.vm.interrupts().version() == crossvm_arm::Version::V3;
        let (table, notify) = (rig.bar(1, 5), Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform));
        // SPI 64, an edge: enabled, in group 1, and for this vCPU.
        if v3 {
            rig.store(0x080a_0014, 2, 0);
        }
        rig.store(0x0800_0000, 2, 0b11);
        for (register, value) in [(0x8c, 1), (0x10c, 1), (0xc18, 0b10), (0x860, 1)] {
            rig.store(0x0800_0000 + register, 2, value);
        }
        // The vector, unmasked; bus master; MSI-X enabled, at the capability of that id.
        for (offset, value) in [(0, doorbell), (4, 0), (8, 96), (12, 0)] {
            rig.store(table + offset, 2, value);
        }
        rig.store(Rig::config(1, 4), 1, 0b110);
        let mut capability = rig.load(Rig::config(1, 0x34), 0);
        while rig.load(Rig::config(1, capability), 0) != 0x11 {
            capability = rig.load(Rig::config(1, capability + 1), 0);
            assert_ne!(capability, 0, "an MSI-X capability");
        }
        rig.store(Rig::config(1, capability + 2), 1, 0x8000);
        assert!(!rig.vm.interrupts().has_pending(vcpu));
        crossvm_core::Notifier::notify(&notify).unwrap();
        assert_eq!(rig.next(), Next::Enter);
        assert!(rig.vm.interrupts().has_pending(vcpu), "{}", rig.vm.interrupts().version());
        assert_eq!(rig.load(0x0800_020c, 2), 1, "the message's interrupt and none else");
    }
}

#[test]
fn a_guest_of_a_gicv2_has_the_hardware_s_interface_and_traps_for_the_rest() {
    let mut rig = v2();
    assert_eq!(rig.direct(0x0801_0000), Some((VIRTUAL_INTERFACE, Stage2Attributes::Device.into())));
    for trapped in [0x0800_0000, 0x0801_1000, 0x0802_0000, 0x0804_0000] {
        assert_eq!(rig.direct(trapped), None, "{trapped:#x}");
    }
    assert_eq!(rig.load(0x0800_0fe8, 2), 0x2b, "GICD_ICPIDR2: version 2");
    assert_eq!(rig.load(0x0802_0008, 2), 96 << 16 | 64, "MSI_TYPER");
    // There are no redistributors.
    rig.load(0x080a_0000, 2);
    assert_eq!(rig.el1.syndrome, Some(0x9600_0010));
    // An SGI to the second vCPU, by GICD_SGIR.
    rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]);
    assert!(matches!(rig.second_next(), Next::Start(_)));
    rig.platform.forget();
    rig.store(0x0800_0000, 2, 0b11);
    rig.store(0x0800_0f00, 2, 0b10 << 16 | 3);
    assert_eq!(rig.next(), Next::Enter);
    assert_eq!(rig.platform.kicks(), [CpuId::new(2)]);
    assert!(rig.vm.interrupts().has_pending(rig.second.id));
}

#[test]
fn the_timers_of_a_gicv2_are_lines() {
    for timer in GuestTimer::ALL {
        let mut rig = v2();
        let vcpu = rig.vcpu.id;
        rig.store(0x0800_0100, 2, 1 << timer.intid());
        rig.store(0x0800_0000, 2, 0b11);
        rig.vm.timer_fired(&rig.vcpu, timer);
        assert!(rig.vm.interrupts().has_pending(vcpu));
        rig.vm.timer_quiet(&rig.vcpu, timer);
        assert!(!rig.vm.interrupts().has_pending(vcpu));
        assert_eq!(rig.vm.interrupts().take_deactivation(vcpu), None, "nothing is linked");
    }
}
