//! A VM's interrupt controller, its physical CPUs and the model of the architecture, driven side by side.

use std::collections::BTreeSet;

use crossvm_arm::spec::{Group, MachineControl};
use crossvm_arm::{Messages, PhysicalIntId, Ppi, Spi, SpiRange, VcpuId, Vgic};
use crossvm_core::{GuestAddr, Level, Message, Width};

use crate::cpu::{Cpu, Physical, Trapped, physical_key};
use crate::model::{Model, Target};

/// 32-interrupt words of SPIs in the tests.
pub(crate) const WORDS: usize = 3;

/// What can happen to an interrupt by a register write of the guest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Enable,
    Disable,
    Pend,
    Unpend,
    Activate,
    Deactivate,
    Group(Group),
    Priority(u8),
    Edge(bool),
    Target(Target),
}

/// All of it. What happens takes effect on the vCPUs when [`Machine::synchronize`] is called.
#[derive(Debug)]
pub(crate) struct Machine<const VCPUS: usize> {
    pub(crate) gic: Vgic<VCPUS, WORDS>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) model: Model,
    physical: Physical,
}

/// SPIs that are for messages.
pub(crate) const MESSAGES: std::ops::Range<u32> = 96..112;

/// Where the guest has its distributor.
const FRAME: u64 = 0x0800_0000;

fn with_messages<const VCPUS: usize>() -> Vgic<VCPUS, WORDS> {
    let spis = SpiRange::new(Spi::new(MESSAGES.start).unwrap(), 16).unwrap();
    Vgic::new().with_messages(Messages::new(GuestAddr::new(FRAME), spis)).unwrap()
}

pub(crate) fn vcpu_id(index: usize) -> VcpuId {
    VcpuId::new(u8::try_from(index).unwrap()).unwrap()
}

impl<const VCPUS: usize> Machine<VCPUS> {
    /// At power-on, with `registers` list registers on each CPU.
    pub(crate) fn new(registers: usize, separate_deactivation: bool) -> Self {
        let physical = Physical::default();
        let mut machine = Self {
            gic: with_messages(),
            cpus: (0..VCPUS).map(|index| Cpu::new(index, registers, separate_deactivation, physical.clone())).collect(),
            model: Model::new(VCPUS, WORDS * 32),
            physical,
        };
        (0..VCPUS).for_each(|vcpu| machine.load(vcpu));
        machine
    }

    /// What a guest's driver does at boot: everything awake, forwarded, enabled, in group 1.
    pub(crate) fn boot(&mut self, intids: &[u32]) {
        self.set_forwarded(0, [true, true]);
        for vcpu in 0..VCPUS {
            self.set_asleep(vcpu, vcpu, false);
            self.set_groups(vcpu, [true, true]);
        }
        for vcpu in 0..VCPUS {
            for intid in intids.iter().filter(|intid| vcpu == 0 || **intid < 32) {
                self.change(vcpu, vcpu, *intid, Change::Group(Group::One));
                self.change(vcpu, vcpu, *intid, Change::Priority(0xa0));
                self.change(vcpu, vcpu, *intid, Change::Enable);
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
            let due: Vec<_> = (0..VCPUS).filter(|vcpu| kicks.contains(vcpu_id(*vcpu)) || self.cpus[*vcpu].maintenance()).collect();
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
        for cpu in &self.cpus {
            cpu.check();
            assert!(cpu.holds().into_iter().filter(|intid| *intid >= 32).all(|intid| shared.insert(intid)), "an SPI is on two vCPUs");
        }
        // Where there are registers for all, a 1 of N SPI is with a vCPU that takes it.
        if self.cpus[0].registers() == 16 {
            for (intid, takers) in self.model.offered() {
                assert!(takers.iter().any(|vcpu| self.cpus[*vcpu].holds().contains(&intid)), "{intid} is kept from {takers:?}");
            }
        }
        assert_eq!(*self.physical.borrow(), self.links(), "physical interrupts active, and linked ones");
    }

    /// The physical interrupts that the model says are active.
    fn links(&self) -> BTreeSet<(Option<usize>, u32)> {
        let private =
            self.model.vcpus.iter().enumerate().flat_map(|(index, vcpu)| vcpu.private.iter().map(move |interrupt| (index, interrupt)));
        let shared = self.model.spis.iter().map(|interrupt| (0, interrupt));
        private.chain(shared).filter_map(|(vcpu, interrupt)| Some(physical_key(vcpu, interrupt.physical?))).collect()
    }

    /// Compares what the guest can read with the model, and whether vCPUs would wake.
    pub(crate) fn inspect(&mut self, intids: &[u32]) {
        (0..VCPUS).for_each(|vcpu| self.save(vcpu));
        self.take_deactivations();
        for vcpu in 0..VCPUS {
            for intid in intids {
                let interrupt = self.model.interrupt(vcpu, *intid);
                let read = |offset| self.read_bit(vcpu, *intid, offset);
                assert_eq!(read(0x100), interrupt.enabled, "ISENABLER of {intid} at {vcpu}");
                assert_eq!(read(0x280), interrupt.pending(), "ICPENDR of {intid} at {vcpu}");
                assert_eq!(read(0x300), interrupt.active, "ISACTIVER of {intid} at {vcpu}");
            }
            let mut awake = self.model.clone();
            awake.vcpus[vcpu].asleep = false;
            let waiting = awake.forwarded_to(vcpu);
            if waiting.iter().all(|(_, interrupt)| interrupt.target != Target::OneOfN) {
                assert_eq!(self.gic.has_pending(vcpu_id(vcpu)), !waiting.is_empty(), "{waiting:?}");
            }
        }
        (0..VCPUS).for_each(|vcpu| self.load(vcpu));
        self.synchronize();
    }

    fn read_bit(&self, vcpu: usize, intid: u32, offset: u32) -> bool {
        let value = if intid < 32 {
            self.gic.redistributor_read(vcpu_id(vcpu), 0x1_0000 + offset, Width::U32)
        } else {
            self.gic.distributor_read(vcpu_id(0), offset + intid / 32 * 4, Width::U32)
        };
        value >> (intid % 32) & 1 != 0
    }

    fn write(&mut self, by: usize, vcpu: usize, intid: u32, offset: u32, width: Width, value: u64) {
        self.save(by);
        if intid < 32 {
            self.gic.redistributor_write(vcpu_id(vcpu), 0x1_0000 + offset, width, value);
        } else {
            self.gic.distributor_write(vcpu_id(0), offset, width, value);
        }
        self.load(by);
    }

    /// vCPU `by` changes `intid`, of `vcpu` where it is private. Gives whether the change makes sense: one that leaves the guest and the
    /// architecture apart (an interrupt deactivated under its handler) is not done.
    pub(crate) fn change(&mut self, by: usize, vcpu: usize, intid: u32, change: Change) -> bool {
        let handled = self.model.handled(vcpu, intid);
        let (word, bit) = (intid / 32 * 4, 1_u64 << (intid % 32));
        let old = self.model.interrupt(vcpu, intid).clone();
        let interrupt = self.model.interrupt_mut(vcpu, intid);
        let (offset, width, value) = match change {
            Change::Enable => {
                interrupt.enabled = true;
                (0x100 + word, Width::U32, bit)
            }
            Change::Disable => {
                interrupt.enabled = false;
                (0x180 + word, Width::U32, bit)
            }
            Change::Pend => {
                interrupt.latch = true;
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
            Change::Group(group) if !old.active => {
                interrupt.group = group;
                let others = if intid < 32 {
                    self.gic.redistributor_read(vcpu_id(vcpu), 0x1_0080, Width::U32)
                } else {
                    self.gic.distributor_read(vcpu_id(0), 0x80 + word, Width::U32)
                };
                (0x80 + word, Width::U32, if group == Group::One { others | bit } else { others & !bit })
            }
            Change::Priority(priority) if !old.active => {
                interrupt.priority = priority & 0xf8;
                (0x400 + intid, Width::U8, u64::from(priority))
            }
            Change::Edge(edge) if intid >= 32 => {
                interrupt.edge = edge;
                let config = 0xc00 + intid / 4;
                let field = 0b11 << (intid % 4 * 2);
                let others = self.gic.distributor_read(vcpu_id(0), config, Width::U8) & !field;
                (config, Width::U8, if edge { others | field } else { others })
            }
            Change::Target(target) if intid >= 32 => {
                interrupt.target = target;
                let route = match target {
                    Target::Vcpu(index) => index as u64,
                    Target::OneOfN => 1 << 31,
                };
                (0x6000 + intid * 8, Width::U64, route)
            }
            _ => return false,
        };
        self.write(by, vcpu, intid, offset, width, value);
        true
    }

    pub(crate) fn set_forwarded(&mut self, by: usize, groups: [bool; 2]) {
        self.model.forwarded = groups;
        self.write(by, by, 32, 0, Width::U32, u64::from(groups[0]) | u64::from(groups[1]) << 1);
    }

    pub(crate) fn set_asleep(&mut self, by: usize, vcpu: usize, asleep: bool) {
        self.model.vcpus[vcpu].asleep = asleep;
        self.save(by);
        self.gic.redistributor_write(vcpu_id(vcpu), 0x14, Width::U32, if asleep { 2 } else { 0 });
        self.load(by);
    }

    /// The guest's CPU interface, which does not exit.
    pub(crate) fn set_groups(&mut self, vcpu: usize, groups: [bool; 2]) {
        self.model.vcpus[vcpu].groups = groups;
        let cpu = &mut self.cpus[vcpu];
        let machine = MachineControl::new().with_separate_deactivation(cpu.separate_deactivation);
        cpu.machine = machine.with_enable_group0(groups[0]).with_enable_group1(groups[1]);
    }

    pub(crate) fn set_line(&mut self, vcpu: usize, intid: u32, high: bool) {
        self.model.interrupt_mut(vcpu, intid).set_line(high);
        let level = Level::from_asserted(high);
        match Spi::new(intid) {
            Some(spi) => self.gic.set_spi_level(spi, level).unwrap(),
            None => self.gic.set_ppi_level(vcpu_id(vcpu), Ppi::new(intid).unwrap(), level).unwrap(),
        }
    }

    pub(crate) fn pulse(&mut self, intid: u32) {
        let interrupt = self.model.interrupt_mut(0, intid);
        interrupt.latch |= interrupt.edge;
        self.gic.pulse_spi(Spi::new(intid).unwrap()).unwrap();
    }

    /// A message to `intid`, which sets it or takes it back: a device sends it, or vCPU `by` stores it.
    pub(crate) fn message(&mut self, by: Option<usize>, intid: u32, set: bool) {
        let interrupt = self.model.interrupt_mut(0, intid);
        let offset = if set { 0x40 } else { 0x48 };
        if set {
            interrupt.set_message();
        } else {
            interrupt.clear_message();
        }
        match by {
            None => self.gic.deliver_message(Message { address: FRAME + u64::from(offset), data: intid }),
            Some(by) => {
                self.save(by);
                self.gic.distributor_write(vcpu_id(by), offset, Width::U32, u64::from(intid));
                self.load(by);
            }
        }
    }

    /// vCPU `vcpu` is switched off, and on again: its redistributor sleeps. What it was handling stays active.
    pub(crate) fn power_cycle(&mut self, vcpu: usize) {
        self.save(vcpu);
        self.gic.reset_vcpu(vcpu_id(vcpu)).unwrap();
        self.model.vcpus[vcpu].reset(vcpu);
        self.cpus[vcpu].reset();
        self.load(vcpu);
    }

    /// `from` sends SGI `intid` to the vCPUs in `targets`, or to all others.
    pub(crate) fn send(&mut self, from: usize, intid: u32, targets: u16, all_but_self: bool) {
        for vcpu in 0..VCPUS {
            if if all_but_self { vcpu != from } else { targets >> vcpu & 1 != 0 } {
                self.model.interrupt_mut(vcpu, intid).latch = true;
            }
        }
        self.save(from);
        self.gic.write_sgi1r(vcpu_id(from), u64::from(intid) << 24 | u64::from(targets) | u64::from(all_but_self) << 40);
        self.load(from);
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
    pub(crate) fn acknowledge(&mut self, vcpu: usize) -> Option<u32> {
        let takes: Vec<_> = (0..=255).map(|priority| self.cpus[vcpu].takes(priority)).collect();
        let answer = self.cpus[vcpu].acknowledge();
        assert!(
            self.model.allows(vcpu, |priority| takes[usize::from(priority)], answer),
            "vCPU {vcpu} got {answer:?}; forwarded: {:?}; {:#?}",
            self.model.forwarded_to(vcpu),
            self.cpus[vcpu]
        );
        if let Some(intid) = answer {
            self.model.acknowledge(vcpu, intid);
        }
        answer
    }

    /// The guest ends what it acknowledged last.
    pub(crate) fn end(&mut self, vcpu: usize) -> Option<u32> {
        let intid = self.model.end(vcpu, self.cpus[vcpu].separate_deactivation)?;
        self.cpus[vcpu].end(intid);
        Some(intid)
    }

    /// vCPU `by` deactivates one of those that `vcpu` ended.
    pub(crate) fn deactivate(&mut self, by: usize, vcpu: usize, which: usize) -> bool {
        let dropped = &mut self.model.vcpus[vcpu].dropped;
        if dropped.is_empty() {
            return false;
        }
        let intid = dropped.remove(which % dropped.len());
        let by = if intid < 32 { vcpu } else { by };
        self.model.deactivate(vcpu, intid);
        match self.cpus[by].deactivate(intid) {
            Ok(()) => assert_eq!(by, vcpu, "a deactivation on another vCPU got lost"),
            Err(Trapped) => {
                self.save(by);
                self.gic.write_dir(vcpu_id(by), u64::from(intid));
                self.load(by);
            }
        }
        true
    }

    /// The VM is reset.
    pub(crate) fn reset(&mut self) {
        (0..VCPUS).for_each(|vcpu| self.save(vcpu));
        self.gic.reset();
        let old = std::mem::replace(&mut self.model, Model::new(VCPUS, WORDS * 32));
        for (index, mut vcpu) in old.vcpus.into_iter().enumerate() {
            vcpu.reset(index);
            self.model.vcpus[index] = vcpu;
        }
        // A level that a message has set is in the distributor itself.
        for (intid, (interrupt, old)) in (32..).zip(self.model.spis.iter_mut().zip(old.spis)) {
            interrupt.line = old.line && !MESSAGES.contains(&intid);
        }
        self.cpus.iter_mut().for_each(Cpu::reset);
        (0..VCPUS).for_each(|vcpu| self.load(vcpu));
    }

    /// Everything is opened, and the guests handle all there is: each handler quiets its device. Nothing that is enabled may remain.
    pub(crate) fn drain(&mut self) -> Vec<u32> {
        self.set_forwarded(0, [true, true]);
        for vcpu in 0..VCPUS {
            self.set_asleep(vcpu, vcpu, false);
            self.set_groups(vcpu, [true, true]);
            self.cpus[vcpu].priority_mask = 0xff;
        }
        self.synchronize();
        for vcpu in 0..VCPUS {
            while self.end(vcpu).is_some() || self.deactivate(vcpu, vcpu, 0) {
                self.synchronize();
            }
        }
        let mut handled = Vec::new();
        let mut idle = 0;
        while idle < VCPUS {
            let vcpu = handled.len().wrapping_add(idle) % VCPUS;
            let Some(intid) = self.acknowledge(vcpu) else {
                idle += 1;
                continue;
            };
            idle = 0;
            handled.push(intid);
            assert!(handled.len() < 1000, "the same interrupts come again and again: {handled:?}");
            if MESSAGES.contains(&intid) {
                self.message(Some(vcpu), intid, false);
            } else if intid >= 16 {
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
            let left = self.model.forwarded_to(vcpu);
            assert!(left.is_empty(), "vCPU {vcpu} was never given {left:?}");
        }
        handled
    }
}
