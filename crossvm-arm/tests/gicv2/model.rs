//! The architecture, plainly: one struct for each interrupt, senders and targets as sets, no list registers, no words of bits.

use std::collections::BTreeSet;

/// One interrupt: an SPI, or an SGI or PPI of one vCPU.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    pub(crate) enabled: bool,
    pub(crate) group: usize,
    pub(crate) edge: bool,
    pub(crate) line: bool,
    /// Pending by an edge or by software.
    pub(crate) latch: bool,
    /// SGIs: by whom it is pending.
    pub(crate) senders: BTreeSet<usize>,
    pub(crate) active: bool,
    pub(crate) priority: u8,
    pub(crate) targets: BTreeSet<usize>,
    /// The physical interrupt behind it, which is active.
    pub(crate) physical: Option<u32>,
}

impl Interrupt {
    fn new(intid: u32, targets: BTreeSet<usize>) -> Self {
        Self {
            enabled: intid < 16,
            group: 0,
            edge: intid < 16,
            line: false,
            latch: false,
            senders: BTreeSet::new(),
            active: false,
            priority: 0,
            targets,
            physical: None,
        }
    }

    pub(crate) fn pending(&self) -> bool {
        self.latch || !self.senders.is_empty() || !self.edge && self.line
    }

    pub(crate) fn set_line(&mut self, high: bool) {
        self.latch |= self.edge && high && !self.line;
        self.line = high;
    }

    /// The link ends with the last reason for it; the physical interrupt is inactive then.
    pub(crate) fn settle(&mut self) {
        if !self.latch && !self.active {
            self.physical = None;
        }
    }
}

/// What an acknowledge gives: the interrupt, and who sent it.
pub(crate) type Answer = (u32, usize);

/// One vCPU.
#[derive(Debug, Clone)]
pub(crate) struct Vcpu {
    /// SGIs and PPIs.
    pub(crate) private: Vec<Interrupt>,
    /// Group enables of the CPU interface.
    pub(crate) groups: [bool; 2],
    /// Acknowledged and not ended, most urgent last.
    pub(crate) nested: Vec<Answer>,
    /// Ended and not deactivated.
    pub(crate) dropped: Vec<Answer>,
}

impl Vcpu {
    fn new(index: usize) -> Self {
        let private = (0..32).map(|intid| Interrupt::new(intid, [index].into())).collect();
        Self { private, groups: [false; 2], nested: Vec::new(), dropped: Vec::new() }
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
    /// `GICD_CTLR`.
    pub(crate) forwarded: [bool; 2],
    pub(crate) vcpus: Vec<Vcpu>,
    /// From INTID 32.
    pub(crate) spis: Vec<Interrupt>,
}

impl Model {
    pub(crate) fn new(vcpus: usize, spis: usize) -> Self {
        Self {
            forwarded: [false; 2],
            vcpus: (0..vcpus).map(Vcpu::new).collect(),
            spis: (32..).take(spis).map(|intid| Interrupt::new(intid, [0].into())).collect(),
        }
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

    /// The interrupts that the distributor forwards to `vcpu`.
    pub(crate) fn forwarded_to(&self, vcpu: usize) -> Vec<(u32, &Interrupt)> {
        (0..)
            .zip(self.vcpus[vcpu].private.iter().chain(&self.spis))
            .filter(|(_, interrupt)| interrupt.pending() && !interrupt.active && interrupt.enabled && self.forwarded[interrupt.group])
            .filter(|(_, interrupt)| interrupt.targets.contains(&vcpu))
            .collect()
    }

    /// The SPIs with several targets that at least one of them takes now, and the vCPUs that take each.
    pub(crate) fn offered(&self) -> Vec<(u32, BTreeSet<usize>)> {
        let mut offered = std::collections::BTreeMap::<_, BTreeSet<_>>::new();
        for vcpu in 0..self.vcpus.len() {
            for (intid, interrupt) in self.forwarded_to(vcpu) {
                if interrupt.targets.len() > 1 && self.vcpus[vcpu].groups[interrupt.group] {
                    offered.entry(intid).or_default().insert(vcpu);
                }
            }
        }
        offered.into_iter().collect()
    }

    /// Whether acknowledging `answer` is what the architecture determines, where an interrupt is taken if `taken` says so of its priority.
    ///
    /// An SPI with several targets may be taken by another of them at any time (the 1-N model, §1.4.3): it may come, and need not.
    pub(crate) fn allows(&self, vcpu: usize, taken: impl Fn(u8) -> bool, answer: Option<Answer>) -> bool {
        let candidates: Vec<_> = self
            .forwarded_to(vcpu)
            .into_iter()
            .filter(|(_, interrupt)| self.vcpus[vcpu].groups[interrupt.group] && taken(interrupt.priority))
            .collect();
        let must = candidates.iter().filter(|(_, interrupt)| interrupt.targets.len() == 1).map(|(_, interrupt)| interrupt.priority).min();
        let Some((intid, sender)) = answer else { return must.is_none() };
        candidates.iter().any(|(candidate, interrupt)| {
            *candidate == intid
                && must.is_none_or(|most_urgent| interrupt.priority <= most_urgent)
                && if intid < 16 { interrupt.senders.contains(&sender) } else { sender == 0 }
        })
    }

    pub(crate) fn acknowledge(&mut self, vcpu: usize, (intid, sender): Answer) {
        let interrupt = self.interrupt_mut(vcpu, intid);
        interrupt.latch = false;
        interrupt.senders.remove(&sender);
        interrupt.active = true;
        self.vcpus[vcpu].nested.push((intid, sender));
    }

    /// Ends the interrupt acknowledged last. With `separate` deactivation, it stays active.
    pub(crate) fn end(&mut self, vcpu: usize, separate: bool) -> Option<Answer> {
        let answer = self.vcpus[vcpu].nested.pop()?;
        if separate {
            self.vcpus[vcpu].dropped.push(answer);
        } else {
            self.deactivate(vcpu, answer.0);
        }
        Some(answer)
    }

    pub(crate) fn deactivate(&mut self, vcpu: usize, intid: u32) {
        let interrupt = self.interrupt_mut(vcpu, intid);
        interrupt.active = false;
        interrupt.settle();
    }

    /// Whether any vCPU is handling `intid` (of `vcpu`, where it is private).
    pub(crate) fn handled(&self, vcpu: usize, intid: u32) -> bool {
        let handles = |other: &Vcpu| other.nested.iter().chain(&other.dropped).any(|answer| answer.0 == intid);
        self.vcpus.iter().enumerate().any(|(index, other)| (intid >= 32 || index == vcpu) && handles(other))
    }
}
