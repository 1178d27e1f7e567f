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

    /// A write of `GICD_SETSPI_NSR` (IHI 0069 §12.9): an edge, or a level that stays.
    pub(crate) fn set_message(&mut self) {
        if self.edge {
            self.latch = true;
        } else {
            self.line = true;
        }
    }

    /// A write of `GICD_CLRSPI_NSR`.
    pub(crate) fn clear_message(&mut self) {
        self.line = false;
        self.latch &= !self.edge;
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

impl Vcpu {
    fn new(index: usize) -> Self {
        let private = (0..32).map(|intid| Interrupt::new(intid < 16, Target::Vcpu(index))).collect();
        Self { private, asleep: true, groups: [false; 2], nested: Vec::new(), dropped: Vec::new() }
    }

    /// At power-on, with the lines as they are.
    pub(crate) fn reset(&mut self, index: usize) {
        let old = std::mem::replace(self, Self::new(index));
        self.private.iter_mut().zip(old.private).for_each(|(interrupt, old)| interrupt.line = old.line);
    }
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
        Self { forwarded: [false; 2], vcpus: (0..vcpus).map(Vcpu::new).collect(), spis: vec![Interrupt::new(false, Target::Vcpu(0)); spis] }
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

    /// The 1 of N SPIs that at least one vCPU takes now, and the vCPUs that take each.
    pub(crate) fn offered(&self) -> Vec<(u32, Vec<usize>)> {
        let mut offered = std::collections::BTreeMap::<_, Vec<_>>::new();
        for vcpu in 0..self.vcpus.len() {
            for (intid, interrupt) in self.forwarded_to(vcpu) {
                if interrupt.target == Target::OneOfN && self.vcpus[vcpu].groups[index(interrupt.group)] {
                    offered.entry(intid).or_default().push(vcpu);
                }
            }
        }
        offered.into_iter().collect()
    }

    /// Whether acknowledging `answer` is what the architecture determines, where an interrupt is taken if `taken` says so of its priority.
    ///
    /// A 1 of N SPI may be given to another vCPU at any time: it may come, and need not.
    pub(crate) fn allows(&self, vcpu: usize, taken: impl Fn(u8) -> bool, answer: Option<u32>) -> bool {
        let me = &self.vcpus[vcpu];
        let candidates: Vec<_> = self
            .forwarded_to(vcpu)
            .into_iter()
            .filter(|(_, interrupt)| me.groups[index(interrupt.group)] && taken(interrupt.priority))
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
