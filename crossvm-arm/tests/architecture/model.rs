//! The architecture, plainly: one struct for each interrupt, no list registers, no words of bits.

use crossvm_arm::spec::Group;

/// Where an SPI goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The vCPU with this index, which may not exist.
    Vcpu(usize),
    /// Any one.
    OneOfN,
}

/// One interrupt.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    pub(crate) enabled: bool,
    pub(crate) group: Group,
    pub(crate) edge: bool,
    pub(crate) line: bool,
    pub(crate) latch: bool,
    pub(crate) active: bool,
    pub(crate) priority: u8,
    pub(crate) target: Target,
    /// The physical interrupt behind it, which is active.
    pub(crate) physical: Option<u32>,
}

impl Interrupt {
    fn new(edge: bool, target: Target) -> Self {
        Self { enabled: false, group: Group::Zero, edge, line: false, latch: false, active: false, priority: 0, target, physical: None }
    }

    pub(crate) fn pending(&self) -> bool {
        self.latch || !self.edge && self.line
    }

    pub(crate) fn set_line(&mut self, high: bool) {
        if self.edge && high && !self.line {
            self.latch = true;
        }
        self.line = high;
    }

    /// The link ends with the last reason for it; the physical interrupt is inactive then.
    pub(crate) fn settle(&mut self) {
        if !self.latch && !self.active {
            self.physical = None;
        }
    }
}

/// One vCPU.
#[derive(Debug, Clone)]
pub(crate) struct Vcpu {
    /// SGIs and PPIs.
    pub(crate) private: Vec<Interrupt>,
    pub(crate) asleep: bool,
    /// Group enables of the CPU interface.
    pub(crate) groups: [bool; 2],
    /// Acknowledged and not ended, most urgent last.
    pub(crate) nested: Vec<u32>,
    /// Ended and not deactivated.
    pub(crate) dropped: Vec<u32>,
}

/// The interrupt controller of a VM.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) forwarded: [bool; 2],
    pub(crate) vcpus: Vec<Vcpu>,
    /// From INTID 32.
    pub(crate) spis: Vec<Interrupt>,
}

/// The index of a group in an array.
fn index(group: Group) -> usize {
    usize::from(group == Group::One)
}

impl Model {
    pub(crate) fn new(vcpus: usize, spis: usize) -> Self {
        let private = |vcpu| (0..32).map(|intid| Interrupt::new(intid < 16, Target::Vcpu(vcpu))).collect();
        let vcpu = |index| Vcpu { private: private(index), asleep: true, groups: [false; 2], nested: Vec::new(), dropped: Vec::new() };
        Self { forwarded: [false; 2], vcpus: (0..vcpus).map(vcpu).collect(), spis: vec![Interrupt::new(false, Target::Vcpu(0)); spis] }
    }

    pub(crate) fn interrupt(&self, vcpu: usize, intid: u32) -> &Interrupt {
        match intid.checked_sub(32) {
            None => &self.vcpus[vcpu].private[intid as usize],
            Some(spi) => &self.spis[spi as usize],
        }
    }

    pub(crate) fn interrupt_mut(&mut self, vcpu: usize, intid: u32) -> &mut Interrupt {
        match intid.checked_sub(32) {
            None => &mut self.vcpus[vcpu].private[intid as usize],
            Some(spi) => &mut self.spis[spi as usize],
        }
    }

    /// Every interrupt that `vcpu` sees, with its INTID.
    fn seen_by(&self, vcpu: usize) -> impl Iterator<Item = (u32, &Interrupt)> {
        (0..).zip(self.vcpus[vcpu].private.iter().chain(&self.spis))
    }

    /// The interrupts that `vcpu` could be given, were nothing but its own masks in the way.
    pub(crate) fn forwarded_to(&self, vcpu: usize) -> Vec<(u32, &Interrupt)> {
        let me = &self.vcpus[vcpu];
        self.seen_by(vcpu)
            .filter(|(_, interrupt)| {
                interrupt.pending() && !interrupt.active && interrupt.enabled && self.forwarded[index(interrupt.group)]
            })
            .filter(|(_, interrupt)| interrupt.target == Target::OneOfN || interrupt.target == Target::Vcpu(vcpu))
            .filter(|_| !me.asleep)
            .collect()
    }

    /// Whether acknowledging `answer` is what the architecture determines, with priorities from `below` down being masked.
    ///
    /// A 1 of N SPI may be given to another vCPU at any time: it may come, and need not.
    pub(crate) fn allows(&self, vcpu: usize, below: u8, answer: Option<u32>) -> bool {
        let me = &self.vcpus[vcpu];
        let candidates: Vec<_> = self
            .forwarded_to(vcpu)
            .into_iter()
            .filter(|(_, interrupt)| me.groups[index(interrupt.group)] && interrupt.priority < below)
            .collect();
        let must =
            candidates.iter().filter(|(_, interrupt)| interrupt.target != Target::OneOfN).map(|(_, interrupt)| interrupt.priority).min();
        match answer {
            None => must.is_none(),
            Some(intid) => candidates
                .iter()
                .any(|(candidate, interrupt)| *candidate == intid && must.is_none_or(|most_urgent| interrupt.priority <= most_urgent)),
        }
    }

    pub(crate) fn acknowledge(&mut self, vcpu: usize, intid: u32) {
        let interrupt = self.interrupt_mut(vcpu, intid);
        interrupt.latch = false;
        interrupt.active = true;
        self.vcpus[vcpu].nested.push(intid);
    }

    /// Ends the interrupt acknowledged last. With `separate` deactivation, it stays active.
    pub(crate) fn end(&mut self, vcpu: usize, separate: bool) -> Option<u32> {
        let intid = self.vcpus[vcpu].nested.pop()?;
        if separate {
            self.vcpus[vcpu].dropped.push(intid);
        } else {
            self.deactivate(vcpu, intid);
        }
        Some(intid)
    }

    pub(crate) fn deactivate(&mut self, vcpu: usize, intid: u32) {
        let interrupt = self.interrupt_mut(vcpu, intid);
        interrupt.active = false;
        interrupt.settle();
    }

    /// Whether any vCPU is handling `intid` (of `vcpu`, where it is private).
    pub(crate) fn handled(&self, vcpu: usize, intid: u32) -> bool {
        self.vcpus
            .iter()
            .enumerate()
            .any(|(index, other)| (intid >= 32 || index == vcpu) && (other.nested.contains(&intid) || other.dropped.contains(&intid)))
    }
}
