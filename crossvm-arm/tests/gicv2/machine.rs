//! A VM's interrupt controller, its physical CPUs and the model of the architecture, driven side by side.

use std::collections::BTreeSet;

use crossvm_arm::{Gich, Messages, PhysicalIntId, Ppi, Spi, SpiRange, VcpuId, Version, Vgic};
use crossvm_core::{GuestAddr, Level, Message, Width};

use crate::cpu::{Cpu, Physical, physical_key};
use crate::model::{Answer, Model};

/// 32-interrupt words of SPIs in the tests.
pub(crate) const WORDS: usize = 3;

/// SPIs that are for messages.
pub(crate) const MESSAGES: std::ops::Range<u32> = 96..128;

/// Where the guest has its `GICv2m` frame.
const FRAME: u64 = 0x0802_0000;

/// What can happen to an interrupt by a register write of the guest.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Enable,
    Disable,
    Pend,
    Unpend,
    Activate,
    Deactivate,
    Group(usize),
    Priority(u8),
    Edge(bool),
    Targets(BTreeSet<usize>),
    SetSenders(BTreeSet<usize>),
    ClearSenders(BTreeSet<usize>),
}

/// `TargetListFilter` of `GICD_SGIR`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Filter {
    List(u8),
    Others,
    Myself,
    Reserved,
}

/// All of it. What happens takes effect on the vCPUs when [`Machine::synchronize`] is called.
#[derive(Debug)]
pub(crate) struct Machine<const VCPUS: usize> {
    pub(crate) gic: Vgic<VCPUS, WORDS>,
    pub(crate) cpus: Vec<Gich<Cpu>>,
    pub(crate) model: Model,
    physical: Physical,
    separate_deactivation: bool,
}

pub(crate) fn vcpu_id(index: usize) -> VcpuId {
    VcpuId::new(u8::try_from(index).unwrap()).unwrap()
}

fn byte(vcpus: &BTreeSet<usize>) -> u64 {
    vcpus.iter().fold(0, |byte, vcpu| byte | 1 << vcpu)
}

pub(crate) fn version_2<const VCPUS: usize>() -> Vgic<VCPUS, WORDS> {
    let spis = SpiRange::new(Spi::new(MESSAGES.start).unwrap(), 32).unwrap();
    Vgic::with_version(Version::V2).with_messages(Messages::new(GuestAddr::new(FRAME), spis)).unwrap()
}

impl<const VCPUS: usize> Machine<VCPUS> {
    /// At power-on, with `registers` list registers on each CPU.
    pub(crate) fn new(registers: usize, separate_deactivation: bool) -> Self {
        let physical = Physical::default();
        let cpus = (0..VCPUS).map(|index| Gich::new(Cpu::new(index, registers, physical.clone()))).collect();
        let model = Model::new(VCPUS, WORDS * 32);
        let mut machine = Self { gic: version_2(), cpus, model, physical, separate_deactivation };
        for vcpu in 0..VCPUS {
            machine.cpu(vcpu).reset(separate_deactivation);
            machine.load(vcpu);
        }
        machine
    }

    pub(crate) fn cpu(&mut self, vcpu: usize) -> &mut Cpu {
        self.cpus[vcpu].frame_mut()
    }

    /// What a guest's driver does at boot: everything forwarded, enabled and of middle priority.
    pub(crate) fn boot(&mut self, intids: &[u32]) {
        self.set_forwarded(0, [true, true]);
        for vcpu in 0..VCPUS {
            self.set_groups(vcpu, [true, true], false);
            for intid in intids.iter().filter(|intid| vcpu == 0 || **intid < 32) {
                self.change(vcpu, *intid, &Change::Priority(0xa0));
                self.change(vcpu, *intid, &Change::Enable);
            }
        }
    }

    pub(crate) fn save(&mut self, vcpu: usize) {
        self.gic.save(vcpu_id(vcpu), &mut self.cpus[vcpu]);
    }

    pub(crate) fn load(&mut self, vcpu: usize) {
        self.gic.load(vcpu_id(vcpu), &mut self.cpus[vcpu]);
    }

    /// Kicks and maintenance interrupts, until there are none.
    pub(crate) fn synchronize(&mut self) {
        for _ in 0..16 {
            let kicks = self.gic.take_kicks();
            let is_due = |vcpu: &usize| kicks.contains(vcpu_id(*vcpu)) || self.cpus[*vcpu].frame().maintenance();
            let due: Vec<_> = (0..VCPUS).filter(is_due).collect();
            for vcpu in &due {
                self.save(*vcpu);
                self.load(*vcpu);
            }
            self.take_deactivations();
            if due.is_empty() {
                return;
            }
        }
        panic!("kicks or maintenance interrupts without an end: {:?}", self.cpus);
    }

    fn take_deactivations(&mut self) {
        for vcpu in 0..VCPUS {
            while let Some(intid) = self.gic.take_deactivation(vcpu_id(vcpu)) {
                let key = physical_key(vcpu, intid.number());
                assert!(self.physical.borrow_mut().remove(&key), "{key:?} was given back twice");
            }
        }
    }

    /// What holds at any time when synchronized.
    pub(crate) fn check(&self) {
        let mut shared = BTreeSet::new();
        for cpu in self.cpus.iter().map(Gich::frame) {
            cpu.check();
            assert!(cpu.holds().into_iter().filter(|intid| *intid >= 32).all(|intid| shared.insert(intid)), "an SPI is on two vCPUs");
        }
        // Where there are registers for all, an SPI with several targets is with one that takes it.
        if self.cpus[0].frame().registers() == 16 {
            for (intid, takers) in self.model.offered() {
                assert!(takers.iter().any(|vcpu| self.cpus[*vcpu].frame().holds().contains(&intid)), "{intid} is kept from {takers:?}");
            }
        }
        let private = self.model.vcpus.iter().enumerate().flat_map(|(index, vcpu)| vcpu.private.iter().map(move |own| (index, own)));
        let linked: BTreeSet<_> = private
            .chain(self.model.spis.iter().map(|interrupt| (0, interrupt)))
            .filter_map(|(vcpu, interrupt)| Some(physical_key(vcpu, interrupt.physical?)))
            .collect();
        assert_eq!(*self.physical.borrow(), linked, "physical interrupts active, and linked ones");
    }

    /// Compares what each vCPU can read with the model, and whether it would wake.
    pub(crate) fn inspect(&mut self, intids: &[u32]) {
        (0..VCPUS).for_each(|vcpu| self.save(vcpu));
        self.take_deactivations();
        for vcpu in 0..VCPUS {
            for intid in intids {
                let interrupt = self.model.interrupt(vcpu, *intid);
                let read = |offset, width| self.gic.distributor_read(vcpu_id(vcpu), offset, width);
                let bit = |base| read(base + intid / 32 * 4, Width::U32) >> (intid % 32) & 1 != 0;
                let at = format!("of {intid} at {vcpu}");
                assert_eq!([bit(0x100), bit(0x180)], [interrupt.enabled; 2], "I[SC]ENABLER {at}");
                assert_eq!([bit(0x200), bit(0x280)], [interrupt.pending(); 2], "I[SC]PENDR {at}");
                assert_eq!([bit(0x300), bit(0x380)], [interrupt.active; 2], "I[SC]ACTIVER {at}");
                assert_eq!(bit(0x080), interrupt.group == 1, "IGROUPR {at}");
                assert_eq!(read(0x400 + intid, Width::U8), u64::from(interrupt.priority), "IPRIORITYR {at}");
                let targets = if VCPUS == 1 { 0 } else { byte(&interrupt.targets) };
                assert_eq!(read(0x800 + intid, Width::U8), targets, "ITARGETSR {at}");
                let config = read(0xc00 + intid / 4, Width::U8) >> (intid % 4 * 2) & 3;
                assert_eq!(config, if interrupt.edge { 2 } else { 0 }, "ICFGR {at}");
                if *intid < 16 {
                    let senders = byte(&interrupt.senders);
                    assert_eq!([0xf10, 0xf20].map(|base| read(base + intid, Width::U8)), [senders; 2], "[CS]PENDSGIR {at}");
                }
            }
            let waiting = self.model.forwarded_to(vcpu);
            if waiting.iter().all(|(_, interrupt)| interrupt.targets.len() == 1) {
                assert_eq!(self.gic.has_pending(vcpu_id(vcpu)), !waiting.is_empty(), "{waiting:?}");
            }
        }
        (0..VCPUS).for_each(|vcpu| self.load(vcpu));
        self.synchronize();
    }

    fn write(&mut self, by: usize, offset: u32, width: Width, value: u64) {
        self.save(by);
        self.gic.distributor_write(vcpu_id(by), offset, width, value);
        self.load(by);
    }

    /// vCPU `by` changes `intid`, its own where that is private. One that leaves the guest and the architecture apart (an interrupt
    /// deactivated under its handler) is not done.
    pub(crate) fn change(&mut self, by: usize, intid: u32, change: &Change) {
        let handled = self.model.handled(by, intid);
        let (word, bit) = (intid / 32 * 4, 1_u64 << (intid % 32));
        let read = |offset, width| self.gic.distributor_read(vcpu_id(by), offset, width);
        let interrupt = self.model.interrupt_mut(by, intid);
        let (sgi, idle) = (intid < 16, !interrupt.active);
        let (offset, width, value) = match change {
            Change::Enable => {
                interrupt.enabled = true;
                (0x100 + word, Width::U32, bit)
            }
            Change::Disable => {
                interrupt.enabled = sgi;
                (0x180 + word, Width::U32, bit)
            }
            Change::Pend => {
                interrupt.latch |= !sgi;
                (0x200 + word, Width::U32, bit)
            }
            Change::Unpend => {
                interrupt.latch = false;
                interrupt.settle();
                (0x280 + word, Width::U32, bit)
            }
            Change::Activate if !handled => {
                interrupt.active = true;
                (0x300 + word, Width::U32, bit)
            }
            Change::Deactivate if !handled => {
                interrupt.active = false;
                interrupt.settle();
                (0x380 + word, Width::U32, bit)
            }
            Change::Group(group) if idle => {
                interrupt.group = *group;
                let others = read(0x80 + word, Width::U32) & !bit;
                (0x80 + word, Width::U32, others | if *group == 1 { bit } else { 0 })
            }
            Change::Priority(priority) if idle => {
                interrupt.priority = priority & 0xf8;
                (0x400 + intid, Width::U8, u64::from(*priority))
            }
            Change::Edge(edge) => {
                if intid >= 32 {
                    interrupt.edge = *edge;
                }
                let field = 0b11 << (intid % 4 * 2);
                let others = read(0xc00 + intid / 4, Width::U8) & !field;
                (0xc00 + intid / 4, Width::U8, if *edge { others | field } else { others })
            }
            Change::Targets(targets) => {
                if intid >= 32 && VCPUS > 1 {
                    interrupt.targets = targets.iter().copied().filter(|vcpu| *vcpu < VCPUS).collect();
                }
                (0x800 + intid, Width::U8, byte(targets))
            }
            Change::SetSenders(senders) if sgi => {
                interrupt.senders.extend(senders.iter().filter(|sender| **sender < VCPUS));
                (0xf20 + intid, Width::U8, byte(senders))
            }
            Change::ClearSenders(senders) if sgi => {
                interrupt.senders = &interrupt.senders - senders;
                (0xf10 + intid, Width::U8, byte(senders))
            }
            _ => return,
        };
        self.write(by, offset, width, value);
    }

    pub(crate) fn set_forwarded(&mut self, by: usize, groups: [bool; 2]) {
        self.model.forwarded = groups;
        self.write(by, 0, Width::U32, u64::from(groups[0]) | u64::from(groups[1]) << 1);
    }

    /// The guest's CPU interface, which does not exit.
    pub(crate) fn set_groups(&mut self, vcpu: usize, groups: [bool; 2], common_acknowledge: bool) {
        self.model.vcpus[vcpu].groups = groups;
        self.cpu(vcpu).set_control(groups, common_acknowledge);
    }

    pub(crate) fn set_line(&mut self, vcpu: usize, intid: u32, high: bool) {
        self.model.interrupt_mut(vcpu, intid).set_line(high);
        let level = Level::from_asserted(high);
        match Spi::new(intid) {
            Some(spi) => self.gic.set_spi_level(spi, level).unwrap(),
            None => self.gic.set_ppi_level(vcpu_id(vcpu), Ppi::new(intid).unwrap(), level).unwrap(),
        }
    }

    /// An edge: of a line, or by a message that a device or the guest itself sends.
    pub(crate) fn pulse(&mut self, by: usize, intid: u32) {
        let interrupt = self.model.interrupt_mut(0, intid);
        interrupt.latch |= interrupt.edge;
        if !MESSAGES.contains(&intid) {
            self.gic.pulse_spi(Spi::new(intid).unwrap()).unwrap();
        } else if by == 0 {
            self.gic.deliver_message(Message { address: FRAME + 0x40, data: intid });
        } else {
            self.save(by);
            self.gic.message_frame_write(0x40, Width::U32, u64::from(intid));
            self.load(by);
        }
    }

    /// `from` writes `GICD_SGIR`.
    pub(crate) fn send(&mut self, from: usize, intid: u32, filter: Filter) {
        let (code, list) = match filter {
            Filter::List(list) => (0, list),
            Filter::Others => (1, 0xff),
            Filter::Myself => (2, 0),
            Filter::Reserved => (3, 0xff),
        };
        for vcpu in 0..VCPUS {
            let is_target = match filter {
                Filter::List(list) => list >> vcpu & 1 != 0,
                Filter::Others => vcpu != from,
                Filter::Myself => vcpu == from,
                Filter::Reserved => false,
            };
            if is_target {
                self.model.interrupt_mut(vcpu, intid).senders.insert(from);
            }
        }
        self.write(from, 0xf00, Width::U32, code << 24 | u64::from(list) << 16 | u64::from(intid));
    }

    /// The physical interrupt behind `intid` comes on CPU `cpu`, unless it is active still.
    pub(crate) fn raise_hardware(&mut self, cpu: usize, intid: u32) {
        let physical = if intid < 32 { intid } else { intid + 100 };
        if !self.physical.borrow_mut().insert(physical_key(cpu, physical)) {
            return;
        }
        let interrupt = self.model.interrupt_mut(cpu, intid);
        interrupt.latch = true;
        interrupt.physical = Some(physical);
        self.save(cpu);
        let (id, physical) = (vcpu_id(cpu), PhysicalIntId::new(physical).unwrap());
        match Spi::new(intid) {
            Some(spi) => self.gic.raise_hardware(id, spi, physical).unwrap(),
            None => self.gic.raise_hardware(id, Ppi::new(intid).unwrap(), physical).unwrap(),
        }
        self.load(cpu);
    }

    /// The device behind `intid` takes its request back.
    pub(crate) fn lower_hardware(&mut self, cpu: usize, intid: u32) {
        let interrupt = self.model.interrupt_mut(cpu, intid);
        if interrupt.physical.is_some() && !interrupt.edge && !interrupt.active {
            interrupt.latch = false;
            interrupt.settle();
        }
        // An SPI may be in the list registers of any vCPU.
        (0..VCPUS).for_each(|vcpu| self.save(vcpu));
        match Spi::new(intid) {
            Some(spi) => self.gic.lower_hardware(vcpu_id(cpu), spi).unwrap(),
            None => self.gic.lower_hardware(vcpu_id(cpu), Ppi::new(intid).unwrap()).unwrap(),
        }
        (0..VCPUS).for_each(|vcpu| self.load(vcpu));
    }

    /// The guest acknowledges, and gets what the architecture determines.
    pub(crate) fn acknowledge(&mut self, vcpu: usize) -> Option<Answer> {
        let cpu = self.cpus[vcpu].frame();
        let takes: Vec<_> = (0..=255).map(|priority| cpu.takes(priority)).collect();
        let answer = self.cpu(vcpu).acknowledge();
        assert!(
            self.model.allows(vcpu, |priority| takes[usize::from(priority)], answer),
            "vCPU {vcpu} got {answer:?}; forwarded: {:?}; {:x?}",
            self.model.forwarded_to(vcpu),
            self.cpus[vcpu]
        );
        if let Some(answer) = answer {
            self.model.acknowledge(vcpu, answer);
        }
        answer
    }

    /// The guest ends what it acknowledged last.
    pub(crate) fn end(&mut self, vcpu: usize) -> Option<Answer> {
        let separate = self.cpus[vcpu].frame().separate_deactivation();
        let answer = self.model.end(vcpu, separate)?;
        self.cpu(vcpu).end(answer.0);
        Some(answer)
    }

    /// vCPU `by` deactivates one of those that `vcpu` ended: it writes `GICC_DIR`, which traps.
    pub(crate) fn deactivate(&mut self, by: usize, vcpu: usize, which: usize) -> bool {
        let dropped = &mut self.model.vcpus[vcpu].dropped;
        if dropped.is_empty() {
            return false;
        }
        let (intid, sender) = dropped.remove(which % dropped.len());
        let by = if intid < 32 { vcpu } else { by };
        self.model.deactivate(vcpu, intid);
        self.save(by);
        self.gic.cpu_interface_write(vcpu_id(by), 0x1000, Width::U32, u64::from(intid) | (sender as u64) << 10);
        self.load(by);
        true
    }

    /// vCPU `vcpu` is switched off, and on again. What it had dropped and not deactivated stays active.
    pub(crate) fn power_cycle(&mut self, vcpu: usize) {
        self.save(vcpu);
        self.gic.reset_vcpu(vcpu_id(vcpu)).unwrap();
        self.model.vcpus[vcpu].reset(vcpu);
        let separate = self.separate_deactivation;
        self.cpu(vcpu).reset(separate);
        self.load(vcpu);
    }

    /// The VM is reset.
    pub(crate) fn reset(&mut self) {
        (0..VCPUS).for_each(|vcpu| self.save(vcpu));
        self.gic.reset();
        let lines: Vec<_> = self.model.spis.iter().map(|interrupt| interrupt.line).collect();
        let vcpus = std::mem::take(&mut self.model.vcpus);
        self.model = Model::new(VCPUS, WORDS * 32);
        self.model.spis.iter_mut().zip(lines).for_each(|(interrupt, line)| interrupt.line = line);
        self.model.vcpus = vcpus;
        for vcpu in 0..VCPUS {
            self.model.vcpus[vcpu].reset(vcpu);
            let separate = self.separate_deactivation;
            self.cpu(vcpu).reset(separate);
            self.load(vcpu);
        }
    }

    /// Everything is opened, and the guests handle all there is: each handler quiets its device. Nothing that is enabled may remain.
    pub(crate) fn drain(&mut self) {
        self.set_forwarded(0, [true, true]);
        for vcpu in 0..VCPUS {
            self.set_groups(vcpu, [true, true], true);
            self.cpu(vcpu).set_priority_mask(0xff);
        }
        self.synchronize();
        for vcpu in 0..VCPUS {
            while self.end(vcpu).is_some() || self.deactivate(vcpu, vcpu, 0) {
                self.synchronize();
            }
        }
        let (mut handled, mut idle) = (0, 0);
        while idle < VCPUS {
            let vcpu = (handled + idle) % VCPUS;
            let Some((intid, _)) = self.acknowledge(vcpu) else {
                idle += 1;
                continue;
            };
            (handled, idle) = (handled + 1, 0);
            assert!(handled < 1000, "the same interrupts come again and again");
            if intid >= 16 && !MESSAGES.contains(&intid) {
                self.set_line(vcpu, intid, false);
            }
            self.synchronize();
            self.end(vcpu);
            self.synchronize();
            self.deactivate(vcpu, vcpu, 0);
            self.synchronize();
            self.check();
        }
        for vcpu in 0..VCPUS {
            // The lowest of 32 priorities is masked always: `GICV_PMR` has 5 bits, too.
            let left: Vec<_> = self.model.forwarded_to(vcpu).into_iter().filter(|(_, interrupt)| interrupt.priority != 0xf8).collect();
            assert!(left.is_empty(), "vCPU {vcpu} was never given {left:?}");
        }
    }
}
