//! vCPUs that run while others, devices and software change things: a kick takes its time, and what happens before it arrives may go
//! either way. What must hold all the same: no interrupt is lost, none comes without a reason, none is handled on two vCPUs at once.

use crossvm_arm::spec::MachineControl;
use crossvm_arm::{Spi, VcpuSet, Vgic};
use crossvm_core::{Level, Width};
use proptest::prelude::*;

use crate::cpu::{Cpu, Physical};
use crate::machine::vcpu_id;

const VCPUS: usize = 3;
const EDGES: [u32; 4] = [33, 40, 41, 63];
const LEVELS: [u32; 4] = [32, 50, 51, 64];
const SGIS: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Pulse { intid: u32 },
    Line { intid: u32, high: bool },
    Send { from: usize, intid: u32, targets: u16 },
    Enable { by: usize, intid: u32, on: bool },
    Route { by: usize, intid: u32, route: u64 },
    Priority { by: usize, intid: u32, priority: u8 },
    Group { vcpu: usize, on: bool },
    Acknowledge { vcpu: usize },
    End { vcpu: usize },
    Arrive { vcpu: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let vcpu = 0..VCPUS;
    let edge = prop::sample::select(EDGES.to_vec());
    let level = prop::sample::select(LEVELS.to_vec());
    let spi = prop::sample::select([EDGES, LEVELS].concat());
    // To a vCPU, or to any.
    let route = prop_oneof![3 => 0..VCPUS as u64, 1 => Just(1 << 31)];
    let priority = prop::sample::select(vec![0x20, 0x80, 0xa0]);
    prop_oneof![
        6 => edge.prop_map(|intid| Step::Pulse { intid }),
        5 => (level, prop::bool::weighted(0.6)).prop_map(|(intid, high)| Step::Line { intid, high }),
        3 => (vcpu.clone(), 0..SGIS, any::<u16>()).prop_map(|(from, intid, targets)| Step::Send { from, intid, targets }),
        2 => (vcpu.clone(), spi.clone(), any::<bool>()).prop_map(|(by, intid, on)| Step::Enable { by, intid, on }),
        3 => (vcpu.clone(), spi.clone(), route).prop_map(|(by, intid, route)| Step::Route { by, intid, route }),
        1 => (vcpu.clone(), spi, priority).prop_map(|(by, intid, priority)| Step::Priority { by, intid, priority }),
        1 => (vcpu.clone(), any::<bool>()).prop_map(|(vcpu, on)| Step::Group { vcpu, on }),
        10 => vcpu.clone().prop_map(|vcpu| Step::Acknowledge { vcpu }),
        8 => vcpu.clone().prop_map(|vcpu| Step::End { vcpu }),
        6 => vcpu.prop_map(|vcpu| Step::Arrive { vcpu }),
    ]
}

/// What is known of an interrupt (of one vCPU, for an SGI).
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
    gic: Vgic<VCPUS, 2>,
    cpus: Vec<Cpu>,
    nested: [Vec<u32>; VCPUS],
    /// Kicks on their way.
    kicks: VcpuSet,
    /// SGIs of vCPU 0, of vCPU 1, .., then from INTID 32.
    records: Vec<Record>,
}

fn record_of(vcpu: usize, intid: u32) -> usize {
    if intid < 32 { vcpu * 32 + intid as usize } else { VCPUS * 32 + intid as usize - 32 }
}

impl Race {
    fn new(registers: usize) -> Self {
        let physical = Physical::default();
        let mut gic = Vgic::new();
        gic.distributor_write(vcpu_id(0), 0, Width::U32, 2);
        for offset in [0x84, 0x88, 0x104, 0x108] {
            gic.distributor_write(vcpu_id(0), offset, Width::U32, 0xffff_ffff);
        }
        for intid in EDGES {
            let config = 0xc00 + intid / 4;
            let old = gic.distributor_read(vcpu_id(0), config, Width::U8);
            gic.distributor_write(vcpu_id(0), config, Width::U8, old | 0b10 << (intid % 4 * 2));
        }
        for vcpu in (0..VCPUS).map(vcpu_id) {
            gic.redistributor_write(vcpu, 0x14, Width::U32, 0);
            gic.redistributor_write(vcpu, 0x1_0080, Width::U32, 0xffff_ffff);
            gic.redistributor_write(vcpu, 0x1_0100, Width::U32, 0xffff_ffff);
        }
        let cpus = (0..VCPUS).map(|index| Cpu::new(index, registers, false, physical.clone())).collect();
        let mut race =
            Self { gic, cpus, nested: Default::default(), kicks: VcpuSet::EMPTY, records: vec![Record::default(); VCPUS * 32 + 64] };
        for vcpu in 0..VCPUS {
            race.set_group(vcpu, true);
            race.serve(vcpu);
        }
        race
    }

    fn record(&mut self, vcpu: usize, intid: u32) -> &mut Record {
        &mut self.records[record_of(vcpu, intid)]
    }

    fn set_group(&mut self, vcpu: usize, on: bool) {
        self.cpus[vcpu].machine = MachineControl::new().with_enable_group1(on);
    }

    /// `vcpu` leaves the guest for whatever reason, and enters it again.
    fn serve(&mut self, vcpu: usize) {
        self.exit(vcpu, |_| {});
    }

    fn exit(&mut self, vcpu: usize, access: impl FnOnce(&mut Vgic<VCPUS, 2>)) {
        self.gic.save(vcpu_id(vcpu), &mut self.cpus[vcpu]);
        access(&mut self.gic);
        self.gic.load(vcpu_id(vcpu), &mut self.cpus[vcpu]);
        self.kicks = self.kicks.union(self.gic.take_kicks()).without(vcpu_id(vcpu));
        for record in &mut self.records {
            record.justified[vcpu] = record.high;
        }
    }

    /// A maintenance interrupt comes on the vCPU's own CPU: nothing happens in the guest before it.
    fn maintain(&mut self, vcpu: usize) {
        for _ in 0..16 {
            if !self.cpus[vcpu].maintenance() {
                return;
            }
            self.serve(vcpu);
        }
        panic!("maintenance without an end: {:#?}", self.cpus[vcpu]);
    }

    fn acknowledge(&mut self, vcpu: usize) -> bool {
        self.maintain(vcpu);
        let answer = self.cpus[vcpu].acknowledge();
        if let Some(intid) = answer {
            let level = LEVELS.contains(&intid);
            let record = self.record(vcpu, intid);
            record.acknowledged += 1;
            record.owed = false;
            assert_eq!(record.handler.replace(vcpu), None, "{intid} is handled on two vCPUs");
            if level {
                assert!(record.justified[vcpu], "the line of {intid} was low since vCPU {vcpu} was loaded");
            } else {
                assert!(record.acknowledged <= record.signals, "{intid} came more often than it was signalled");
            }
            self.nested[vcpu].push(intid);
            self.maintain(vcpu);
        }
        answer.is_some()
    }

    fn end(&mut self, vcpu: usize) -> bool {
        let Some(intid) = self.nested[vcpu].pop() else { return false };
        self.record(vcpu, intid).handler = None;
        self.cpus[vcpu].end(intid);
        self.maintain(vcpu);
        true
    }

    fn set_line(&mut self, intid: u32, high: bool) {
        let record = self.record(0, intid);
        record.high = high;
        if high {
            record.justified = [true; VCPUS];
        }
        self.gic.set_spi_level(Spi::new(intid).unwrap(), Level::from_asserted(high)).unwrap();
    }

    fn signal(&mut self, vcpu: usize, intid: u32) {
        let record = self.record(vcpu, intid);
        record.signals += 1;
        record.owed = true;
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Pulse { intid } => {
                self.signal(0, intid);
                self.gic.pulse_spi(Spi::new(intid).unwrap()).unwrap();
            }
            Step::Line { intid, high } => self.set_line(intid, high),
            Step::Send { from, intid, targets } => {
                (0..VCPUS).filter(|vcpu| targets >> vcpu & 1 != 0).for_each(|vcpu| self.signal(vcpu, intid));
                self.exit(from, |gic| gic.write_sgi1r(vcpu_id(from), u64::from(intid) << 24 | u64::from(targets)));
            }
            Step::Enable { by, intid, on } => {
                let offset = if on { 0x100 } else { 0x180 } + intid / 32 * 4;
                self.exit(by, |gic| gic.distributor_write(vcpu_id(0), offset, Width::U32, 1 << (intid % 32)));
            }
            Step::Route { by, intid, route } => {
                self.exit(by, |gic| gic.distributor_write(vcpu_id(0), 0x6000 + intid * 8, Width::U64, route))
            }
            // The order of those that are being handled is their priority: a guest leaves that alone.
            Step::Priority { by, intid, priority } => {
                if self.record(0, intid).handler.is_none() {
                    self.exit(by, |gic| gic.distributor_write(vcpu_id(0), 0x400 + intid, Width::U8, priority.into()));
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
                    self.serve(vcpu);
                }
            }
        }
        self.kicks = self.kicks.union(self.gic.take_kicks());
    }

    /// All kicks arrive, guests handle what they get, handlers quiet their devices.
    fn drain(&mut self) {
        self.exit(0, |gic| {
            gic.distributor_write(vcpu_id(0), 0x104, Width::U64, u64::MAX);
        });
        (0..VCPUS).for_each(|vcpu| self.set_group(vcpu, true));
        let mut rounds = 0;
        loop {
            let mut busy = false;
            for vcpu in 0..VCPUS {
                if self.kicks.contains(vcpu_id(vcpu)) {
                    self.serve(vcpu);
                    busy = true;
                }
                while self.end(vcpu) {
                    busy = true;
                }
                if self.acknowledge(vcpu) {
                    let intid = *self.nested[vcpu].last().unwrap();
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
        for (index, record) in self.records.iter().enumerate() {
            assert!(!record.owed && !record.high, "interrupt {index} was lost: {record:?}");
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
