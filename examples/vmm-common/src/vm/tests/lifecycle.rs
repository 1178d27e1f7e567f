//! vCPUs that come and go, VMs that end and boot again.

use super::*;
use crate::vcpu::Start;

#[test]
fn a_second_vcpu_starts_where_the_first_says_on_its_own_cpu() {
    let mut rig = Rig::new();
    assert_eq!(rig.second_next(), Next::Wait);
    for nowhere in [0, 0x4000_0002, 0x4000_0000 + RAM, 0x3f00_0000, u64::MAX - 3] {
        assert_eq!(rig.firmware(0xc400_0003, [1, nowhere, 7]), -9, "{nowhere:#x}");
    }
    assert_eq!(rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]), 0);
    assert_eq!(rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]), -5, "about to start");
    assert!(rig.platform.kicks().is_empty(), "nobody is kicked before the VM is asked what to do");
    assert_eq!(rig.next(), Next::Enter);
    assert_eq!(rig.platform.kicks(), [CpuId::new(2)]);
    rig.second.registers.x = [0x55; 31];
    assert!(matches!(rig.second_next(), Next::Start(_)));
    assert_eq!((rig.second.registers.pc, rig.second.registers.arguments()), (0x4000_1000, [7, 0, 0, 0]));
    assert_eq!(rig.second_next(), Next::Enter);
    assert_eq!(rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]), -4);
    // An SGI from the first to the second kicks the second's CPU, once the first asks again.
    let sgi = SystemRegisterIss::new().with_op0(3).with_crn(12).with_crm(11).with_op2(5).with_register(1);
    for redistributor in [0x080a_0000, 0x080c_0000] {
        rig.store(redistributor + 0x14, 2, 0);
        rig.store(redistributor + 0x1_0080, 2, 1 << 3);
        rig.store(redistributor + 0x1_0100, 2, 1 << 3);
    }
    rig.store(0x0800_0000, 2, 0b10);
    rig.vcpu.registers.write(Register::new(1), 3 << 24 | 0b10);
    rig.trap(spec::CLASS_SYSTEM_REGISTER, sgi.into_bits(), 0);
    assert_eq!(rig.next(), Next::Enter);
    assert_eq!(rig.platform.kicks(), [CpuId::new(2); 2]);
    assert!(rig.vm.interrupts().has_pending(rig.second.id) && !rig.vm.interrupts().has_pending(rig.vcpu.id));
    // The first switches itself off; the second is the VM now.
    rig.firmware(0x8400_0002, [0; 3]);
    assert_eq!(rig.next(), Next::Wait);
    assert_eq!(rig.second_next(), Next::Enter);
}

#[test]
fn a_vm_that_ends_takes_all_its_vcpus_out_of_the_guest_first() {
    for (function, end) in [(0x8400_0008, End::Stop(StopReason::PowerOff)), (0x8400_0009, End::Reboot)] {
        let mut rig = Rig::new();
        rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]);
        rig.second_next();
        rig.platform.forget();
        rig.firmware(function, [0; 3]);
        assert_eq!(rig.next(), Next::Wait);
        assert_eq!(rig.platform.kicks(), [CpuId::new(2)]);
        assert_eq!(rig.second_next(), Next::Finish(end));
    }
    let mut rig = Rig::new();
    rig.firmware(0x8400_0002, [0; 3]);
    assert_eq!(rig.next(), Next::Finish(End::Stop(StopReason::CpuOff)), "the last vCPU that is on");
    let mut rig = Rig::new();
    rig.vm.on_reboot = Reboot::Stop;
    rig.firmware(0x8400_0009, [0; 3]);
    assert_eq!(rig.next(), Next::Finish(End::Stop(StopReason::Reset)), "as the topology says");
}

#[test]
fn a_vm_that_boots_again_is_as_new_and_loses_no_event_that_comes_meanwhile() {
    let mut rig = Rig::new();
    let fresh = rig.vm.backend.interrupts.clone();
    let (events, dataport) = (rig.bar(1, 0), rig.bar(1, 1));
    let notify = Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform);
    crossvm_core::Notifier::notify(&notify).unwrap();
    // It makes use of everything.
    rig.store(Rig::config(1, 4), 1, 0);
    rig.store(Rig::config(1, 0x14), 2, 0x1234_0000);
    rig.store(Rig::config(1, 4), 1, 0x402);
    rig.store(0x0800_0000, 2, 0b10);
    rig.store(0x0800_0104, 2, 0xff);
    rig.store(0x0900_0038, 1, 0x50);
    for byte in b"half" {
        rig.store(0x0900_0000, 0, u64::from(*byte));
    }
    rig.ram.bytes()[0x10_0000].store(0x55, Ordering::Relaxed);
    assert_eq!(rig.next(), Next::Enter);
    rig.firmware(0x8400_0009, [0; 3]);
    assert_eq!(rig.next(), Next::Finish(End::Reboot));
    crossvm_core::Notifier::notify(&notify).unwrap();
    assert_eq!(rig.next(), Next::Wait, "nothing is taken for the boot that has ended");
    rig.platform.forget();
    rig.boot();
    assert_eq!(rig.platform.guest_text(), "half\n");
    assert_eq!(rig.platform.printed(), ["record=vm-reboot vm=vm0 boot=2 ms=1234"]);
    assert_eq!((rig.bar(1, 0), rig.bar(1, 1)), (events, dataport));
    assert_eq!(rig.load(Rig::config(1, 4), 1) & 0x407, 2);
    assert_eq!(rig.ram.bytes()[0x10_0000].load(Ordering::Relaxed), 0);
    assert_eq!(rig.load(0x0900_0038, 1), 0);
    assert_eq!(rig.load(0x0800_0104, 2), 0);
    let (page, _) = rig.direct(events).unwrap();
    let count = rig.vm.backend.memory.words_at(crate::host::HostAddr::new(page))[1].load(Ordering::Relaxed);
    assert_eq!(count, 1, "the event that came meanwhile, and none from before");
    // Acknowledged, nothing differs from a fresh machine.
    rig.store(events + 4, 2, 0);
    assert_eq!(rig.next(), Next::Enter);
    assert_eq!(rig.vm.backend.interrupts, fresh);
}

#[test]
fn a_guest_that_boots_for_ever_is_soon_not_heard_any_more() {
    let mut rig = Rig::new();
    let start = Start { entry: map::RAM_BASE, context: 0 };
    for _ in 0..2 * REBOOT_RECORDS {
        rig.vm.start(start, RAM);
    }
    assert_eq!(rig.platform.printed().len(), usize::try_from(REBOOT_RECORDS).unwrap());
    assert!(rig.platform.printed().last().unwrap().contains("not shown"));
}

#[test]
fn what_cannot_be_served_ends_the_vm_with_its_registers_and_its_peers_notice() {
    let mut rig = Rig::new();
    rig.vcpu.registers.write(Register::new(7), 0x77);
    assert_eq!(rig.trap(0x3f, 0, 0), Flow::Resume);
    let lines = rig.platform.printed();
    assert!(lines[0].starts_with("vm0: vCPU 0 has failed: exception class 0x3f"), "{lines:?}");
    for part in ["esr_el2=0x00000000fe000000", "pc=0x0000000040000000", "x7=0x0000000000000077", "x30=0x", "vbar_el1=0x0000000000008000"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:?}");
    }
    // Another vCPU that fails because of it tells nothing more.
    rig.trap(0x3f, 0, 0);
    assert_eq!(rig.platform.printed(), lines);
    assert_eq!(rig.next(), Next::Finish(End::Stop(StopReason::Crash)));
    rig.vm.stop(StopReason::Crash);
    let records: Vec<String> = rig.platform.printed().into_iter().filter(|line| line.starts_with("record=")).collect();
    let expected = [
        "record=vm-stop vm=vm0 reason=crash ms=1234",
        "record=exits vm=vm0 data-abort=0 instruction-abort=0 sysreg=0 hvc=0 smc=0 wfx=0 irq=0 other=2",
        "record=connection vm=vm0 name=own emitted=0 received=0 dropped=0",
        "record=connection vm=vm0 name=lookup emitted=0 received=0 dropped=0",
    ];
    assert_eq!(records, expected);
    let notify = Notify::new(rig.own, EventId::new(0).unwrap(), rig.platform);
    assert!(crossvm_core::Notifier::notify(&notify).is_err());
}

#[test]
fn a_guest_whose_exceptions_lead_nowhere_ends() {
    let mut rig = Rig::new();
    rig.vcpu.registers.pc = 0x10;
    rig.trap(spec::CLASS_INSTRUCTION_ABORT_LOWER, 0b0111, 0x10);
    assert_eq!((rig.next(), rig.vcpu.registers.pc), (Next::Enter, 0x8200));
    rig.trap(spec::CLASS_INSTRUCTION_ABORT_LOWER, 0b0111, 0x8200);
    assert_eq!((rig.next(), rig.vcpu.registers.pc), (Next::Finish(End::Stop(StopReason::Crash)), 0x8200));
    let lines = rig.platform.printed();
    assert!(lines[0].contains("handler") && lines.iter().any(|line| line.contains("was at pc=0x0000000000000010")), "{lines:?}");
}

#[test]
fn an_emit_to_a_peer_that_is_gone_counts_as_dropped() {
    let mut rig = Rig::new();
    rig.peer.close();
    let events = rig.bar(1, 0);
    let pc = rig.vcpu.registers.pc;
    assert_eq!(rig.store(events, 2, 1), Flow::Resume);
    assert!(same_pc(&rig, pc + 4));
    let (page, _) = rig.direct(events).unwrap();
    assert_eq!(rig.vm.backend.memory.words_at(crate::host::HostAddr::new(page))[0x4c / 4].load(Ordering::Relaxed), 1);
}

#[test]
fn the_firmware_answers() {
    let mut rig = Rig::new();
    assert_eq!(rig.firmware(0x8400_0000, [0; 3]), 0x1_0001);
    assert_eq!(rig.firmware(0xc400_0003, [0, 0x4000_0000, 0]), -4, "CPU_ON of a vCPU that runs");
    assert_eq!(rig.firmware(0xc400_0003, [2, 0x4000_0000, 0]), -2, "CPU_ON of none");
    assert_eq!(rig.firmware(0xc400_0004, [0; 3]), 0, "AFFINITY_INFO: on");
    assert_eq!(rig.firmware(0xc400_0004, [2, 0, 0]), -2);
    // By SMC, the guest goes on behind the instruction.
    let pc = rig.vcpu.registers.pc;
    rig.vcpu.registers.write(Register::new(0), 0x8400_0000);
    assert_eq!(rig.trap(spec::CLASS_SMC64, 0, 0), Flow::Resume);
    assert!(same_pc(&rig, pc + 4));
}

/// The VMM is the firmware: `GICR_WAKER` is none of the guest's business.
#[test]
fn a_vcpu_that_starts_finds_its_redistributor_awake() {
    let [first, second] = [0x080a_0014, 0x080c_0014];
    let mut rig = Rig::new();
    assert_eq!((rig.load(first, 2), rig.load(second, 2)), (0, 6));
    for _ in 0..2 {
        assert_eq!(rig.firmware(0xc400_0003, [1, 0x4000_1000, 7]), 0);
        assert!(matches!(rig.second_next(), Next::Start(_)));
        assert_eq!(rig.load(second, 2), 0);
        // CPU_OFF of the second.
        rig.second.registers.write(Register::new(0), 0x8400_0002);
        let syndrome = Syndrome::new().with_class(spec::CLASS_HVC64).with_long_instruction(true);
        assert_eq!(rig.vm.serve(&mut rig.second, Trap { syndrome, far: 0, hpfar: 0 }, &mut rig.el1), Flow::Resume);
        assert_eq!((rig.load(first, 2), rig.load(second, 2)), (0, 6));
    }
    // The first sleeps and asks for a reset.
    rig.store(first, 2, 2);
    rig.firmware(0x8400_0009, [0; 3]);
    assert_eq!(rig.next(), Next::Finish(End::Reboot));
    rig.boot();
    assert_eq!(rig.load(first, 2), 0);
}
