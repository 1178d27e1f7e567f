//! vCPUs that run while others, devices and software change things: a kick takes its time, and what happens before it arrives may go
//! either way. What must hold all the same: no interrupt is lost, none comes without a reason or from another sender, none is handled on two
//! vCPUs at once.

use std::collections::BTreeMap;

use crossvm_arm::{Gich, Spi, VcpuSet, Vgic};
use crossvm_core::{Level, Width};
use proptest::prelude::*;

use crate::cpu::{Cpu, Physical};
use crate::machine::{MESSAGES, WORDS, vcpu_id, version_2};

const VCPUS: usize = 3;
const EDGES: [u32; 4] = [33, 40, 63, 97];
const LEVELS: [u32; 4] = [32, 50, 51, 64];
const SGIS: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Pulse { intid: u32 },
    Line { intid: u32, high: bool },
    Send { from: usize, intid: u32, targets: u8 },
    Enable { by: usize, intid: u32, on: bool },
    Targets { by: usize, intid: u32, targets: u8 },
    Priority { by: usize, intid: u32, priority: u8 },
    Group { vcpu: usize, on: bool },
    Acknowledge { vcpu: usize },
    End { vcpu: usize },
    Arrive { vcpu: usize },
    PowerCycle { vcpu: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let vcpu = 0..VCPUS;
    let edge = prop::sample::select(EDGES.to_vec());
    let level = prop::sample::select(LEVELS.to_vec());
    let spi = prop::sample::select([EDGES, LEVELS].concat());
    let priority = prop::sample::select(vec![0x20, 0x80, 0xa0]);
    prop_oneof![
        6 => edge.prop_map(|intid| Step::Pulse { intid }),
        5 => (level, prop::bool::weighted(0.6)).prop_map(|(intid, high)| Step::Line { intid, high }),
        6 => (vcpu.clone(), 0..SGIS, 0..8_u8).prop_map(|(from, intid, targets)| Step::Send { from, intid, targets }),
        2 => (vcpu.clone(), spi.clone(), any::<bool>()).prop_map(|(by, intid, on)| Step::Enable { by, intid, on }),
        3 => (vcpu.clone(), spi.clone(), 1..8_u8).prop_map(|(by, intid, targets)| Step::Targets { by, intid, targets }),
        1 => (vcpu.clone(), spi, priority).prop_map(|(by, intid, priority)| Step::Priority { by, intid, priority }),
        1 => (vcpu.clone(), any::<bool>()).prop_map(|(vcpu, on)| Step::Group { vcpu, on }),
        10 => vcpu.clone().prop_map(|vcpu| Step::Acknowledge { vcpu }),
        8 => vcpu.clone().prop_map(|vcpu| Step::End { vcpu }),
        6 => vcpu.clone().prop_map(|vcpu| Step::Arrive { vcpu }),
        1 => vcpu.prop_map(|vcpu| Step::PowerCycle { vcpu }),
    ]
}

/// An interrupt: of an SGI, for which vCPU and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Sgi { vcpu: usize, intid: u32, sender: usize },
    Spi(u32),
}

/// What is known of an interrupt.
#[derive(Debug, Clone, Default)]
struct Record {
    /// How often it was signalled.
    signals: usize,
    /// How often it was acknowledged.
    acknowledged: usize,
    /// Signalled, and not acknowledged since.
    owed: bool,
    high: bool,
    /// For each vCPU: whether the line was high at any time since the vCPU was last loaded.
    justified: [bool; VCPUS],
    handler: Option<usize>,
}

struct Race {
    gic: Vgic<VCPUS, WORDS>,
    cpus: Vec<Gich<Cpu>>,
    nested: [Vec<(u32, Key)>; VCPUS],
    /// Kicks on their way.
    kicks: VcpuSet,
    records: BTreeMap<Key, Record>,
}

impl Race {
    fn new(registers: usize) -> Self {
        let physical = Physical::default();
        let mut gic = version_2();
        gic.distributor_write(vcpu_id(0), 0, Width::U32, 1);
        for word in 1..=3 {
            gic.distributor_write(vcpu_id(0), 0x100 + word * 4, Width::U32, 0xffff_ffff);
        }
        for intid in EDGES {
            let config = 0xc00 + intid / 4;
            let old = gic.distributor_read(vcpu_id(0), config, Width::U8);
            gic.distributor_write(vcpu_id(0), config, Width::U8, old | 0b10 << (intid % 4 * 2));
        }
        let cpus = (0..VCPUS).map(|index| Gich::new(Cpu::new(index, registers, physical.clone()))).collect();
        let mut race = Self { gic, cpus, nested: Default::default(), kicks: VcpuSet::EMPTY, records: BTreeMap::new() };
        (0..VCPUS).for_each(|vcpu| race.start(vcpu));
        race
    }

    /// The guest's boot on one vCPU.
    fn start(&mut self, vcpu: usize) {
        self.cpus[vcpu].frame_mut().reset(false);
        self.set_group(vcpu, true);
        self.exit(vcpu, |_| {});
    }

    fn record(&mut self, key: Key) -> &mut Record {
        self.records.entry(key).or_default()
    }

    fn set_group(&mut self, vcpu: usize, on: bool) {
        self.cpus[vcpu].frame_mut().set_control([on, false], false);
    }

    /// `vcpu` leaves the guest for an access or whatever else, and enters it again.
    fn exit(&mut self, vcpu: usize, access: impl FnOnce(&mut Vgic<VCPUS, WORDS>)) {
        self.gic.save(vcpu_id(vcpu), &mut self.cpus[vcpu]);
        access(&mut self.gic);
        self.gic.load(vcpu_id(vcpu), &mut self.cpus[vcpu]);
        self.kicks = self.kicks.union(self.gic.take_kicks()).without(vcpu_id(vcpu));
        self.records.values_mut().for_each(|record| record.justified[vcpu] = record.high);
    }

    /// A maintenance interrupt comes on the vCPU's own CPU: nothing happens in the guest before it.
    fn maintain(&mut self, vcpu: usize) {
        for _ in 0..16 {
            if !self.cpus[vcpu].frame().maintenance() {
                return;
            }
            self.exit(vcpu, |_| {});
        }
        panic!("maintenance without an end: {:x?}", self.cpus[vcpu]);
    }

    fn acknowledge(&mut self, vcpu: usize) -> Option<u32> {
        self.maintain(vcpu);
        let (intid, sender) = self.cpus[vcpu].frame_mut().acknowledge()?;
        let key = if intid < 16 { Key::Sgi { vcpu, intid, sender } } else { Key::Spi(intid) };
        let record = self.record(key);
        record.acknowledged += 1;
        record.owed = false;
        assert_eq!(record.handler.replace(vcpu), None, "{key:?} is handled on two vCPUs");
        if LEVELS.contains(&intid) {
            assert!(record.justified[vcpu], "the line of {intid} was low since vCPU {vcpu} was loaded");
        } else {
            assert!(record.acknowledged <= record.signals, "{key:?} came more often than it was signalled");
        }
        self.nested[vcpu].push((intid, key));
        self.maintain(vcpu);
        Some(intid)
    }

    fn end(&mut self, vcpu: usize) -> bool {
        let Some((intid, key)) = self.nested[vcpu].pop() else { return false };
        self.record(key).handler = None;
        self.cpus[vcpu].frame_mut().end(intid);
        self.maintain(vcpu);
        true
    }

    fn set_line(&mut self, intid: u32, high: bool) {
        let record = self.record(Key::Spi(intid));
        record.high = high;
        if high {
            record.justified = [true; VCPUS];
        }
        self.gic.set_spi_level(Spi::new(intid).unwrap(), Level::from_asserted(high)).unwrap();
    }

    fn signal(&mut self, key: Key) {
        let record = self.record(key);
        record.signals += 1;
        record.owed = true;
    }

    fn write(&mut self, by: usize, offset: u32, width: Width, value: u64) {
        self.exit(by, |gic| gic.distributor_write(vcpu_id(by), offset, width, value));
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Pulse { intid } => {
                self.signal(Key::Spi(intid));
                if MESSAGES.contains(&intid) {
                    self.gic.message_frame_write(0x40, Width::U32, u64::from(intid));
                } else {
                    self.gic.pulse_spi(Spi::new(intid).unwrap()).unwrap();
                }
            }
            Step::Line { intid, high } => self.set_line(intid, high),
            Step::Send { from, intid, targets } => {
                (0..VCPUS).filter(|vcpu| targets >> vcpu & 1 != 0).for_each(|vcpu| self.signal(Key::Sgi { vcpu, intid, sender: from }));
                self.write(from, 0xf00, Width::U32, u64::from(intid) | u64::from(targets) << 16);
            }
            Step::Enable { by, intid, on } => {
                self.write(by, if on { 0x100 } else { 0x180 } + intid / 32 * 4, Width::U32, 1 << (intid % 32));
            }
            Step::Targets { by, intid, targets } => self.write(by, 0x800 + intid, Width::U8, targets.into()),
            // The order of those that are being handled is their priority: a guest leaves that alone.
            Step::Priority { by, intid, priority } => {
                if self.record(Key::Spi(intid)).handler.is_none() {
                    self.write(by, 0x400 + intid, Width::U8, priority.into());
                }
            }
            Step::Group { vcpu, on } => {
                self.set_group(vcpu, on);
                self.maintain(vcpu);
            }
            Step::Acknowledge { vcpu } => {
                self.acknowledge(vcpu);
            }
            Step::End { vcpu } => {
                self.end(vcpu);
            }
            Step::Arrive { vcpu } => {
                if self.kicks.contains(vcpu_id(vcpu)) {
                    self.exit(vcpu, |_| {});
                }
            }
            Step::PowerCycle { vcpu } => self.power_cycle(vcpu),
        }
        self.kicks = self.kicks.union(self.gic.take_kicks());
    }

    /// A vCPU that handles nothing goes off and on. Its SGIs are gone, the SPIs are not.
    fn power_cycle(&mut self, vcpu: usize) {
        if !self.nested[vcpu].is_empty() {
            return;
        }
        self.gic.save(vcpu_id(vcpu), &mut self.cpus[vcpu]);
        self.gic.reset_vcpu(vcpu_id(vcpu)).unwrap();
        for (key, record) in &mut self.records {
            if matches!(key, Key::Sgi { vcpu: target, .. } if *target == vcpu) {
                *record = Record::default();
            }
        }
        self.start(vcpu);
    }

    /// All kicks arrive, guests handle what they get, handlers quiet their devices.
    fn drain(&mut self) {
        for word in 1..=3 {
            self.write(0, 0x100 + word * 4, Width::U32, 0xffff_ffff);
        }
        (0..VCPUS).for_each(|vcpu| self.set_group(vcpu, true));
        let mut rounds = 0;
        loop {
            let mut busy = false;
            for vcpu in 0..VCPUS {
                if self.kicks.contains(vcpu_id(vcpu)) {
                    self.exit(vcpu, |_| {});
                    busy = true;
                }
                while self.end(vcpu) {
                    busy = true;
                }
                if let Some(intid) = self.acknowledge(vcpu) {
                    if LEVELS.contains(&intid) {
                        self.set_line(intid, false);
                    }
                    busy = true;
                }
                self.kicks = self.kicks.union(self.gic.take_kicks());
            }
            if !busy {
                break;
            }
            rounds += 1;
            assert!(rounds < 1000, "it never ends");
        }
        for (key, record) in &self.records {
            assert!(!record.owed && !record.high, "{key:?} was lost: {record:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_invented_while_kicks_are_on_their_way(
        registers in prop::sample::select(vec![1, 2, 4, 16]), steps in prop::collection::vec(step(), 0..200)
    ) {
        let mut race = Race::new(registers);
        for step in &steps {
            race.apply(step);
        }
        race.drain();
    }
}
