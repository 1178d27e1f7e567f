//! The whole interrupt controller of a VM: its lines, who is kicked, power-on.

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message};

use crate::bank::Bank;
use crate::message::Messages;
use crate::sources::{SGIS, Sources};
use crate::spec::{Group, MachineControl};
use crate::spi::SpiBank;
use crate::{Error, IntId, Ppi, Spi, VcpuId, VcpuSet, Version};

/// SGIs are edge-triggered, PPIs level-sensitive, and neither can be changed: no PPI of a VM is an edge.
const PRIVATE_EDGE: u32 = 0xffff;

/// The interrupts that exist in the last word: 1020 to 1023 are special.
const LAST_WORD: u32 = 0x0fff_ffff;

/// A virtual `GICv2` or `GICv3` for `VCPUS` vCPUs (1 to 8) and 32 × `SPI_WORDS` SPIs (1 to 31 words).
///
/// It is plain data: it locks nothing and calls nobody. Where several physical CPUs run vCPUs of one VM, the VMM puts a lock around
/// it, and after each call interrupts the vCPUs that [`take_kicks`](Self::take_kicks) names.
///
/// All interrupts and redistributors are in one affinity cluster: vCPU n is 0.0.0.n. In version 2 it is CPU interface n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vgic<const VCPUS: usize, const SPI_WORDS: usize> {
    pub(crate) version: Version,
    pub(crate) messages: Option<Messages>,
    /// The groups that the distributor forwards.
    pub(crate) forwarded: Groups,
    pub(crate) vcpus: [Redistributor; VCPUS],
    pub(crate) spis: [SpiBank<VCPUS>; SPI_WORDS],
    kicks: VcpuSet,
}

/// What one vCPU has for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redistributor {
    /// SGIs and PPIs.
    pub(crate) bank: Bank,
    /// Version 2: who sent the SGIs.
    pub(crate) sources: Sources,
    /// `GICR_WAKER.ProcessorSleep`. Version 2 has no such thing.
    pub(crate) asleep: bool,
    /// The groups that the guest has enabled in its CPU interface, when last seen.
    pub(crate) groups: Groups,
    /// How many list registers hold something.
    pub(crate) loaded: usize,
}

/// Interrupt groups that are enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) zero: bool,
    pub(crate) one: bool,
}

impl Groups {
    pub(crate) const NONE: Self = Self { zero: false, one: false };

    pub(crate) const fn contains(self, group: Group) -> bool {
        match group {
            Group::Zero => self.zero,
            Group::One => self.one,
        }
    }

    pub(crate) const fn insert(&mut self, group: Group) {
        match group {
            Group::Zero => self.zero = true,
            Group::One => self.one = true,
        }
    }

    /// The interrupts of `bank` that are in one of the groups.
    pub(crate) const fn select(self, bank: &Bank) -> u32 {
        let zero = if self.zero { bank.members(Group::Zero) } else { 0 };
        let one = if self.one { bank.members(Group::One) } else { 0 };
        zero | one
    }
}

impl From<MachineControl> for Groups {
    fn from(control: MachineControl) -> Self {
        Self { zero: control.enable_group0(), one: control.enable_group1() }
    }
}

impl Redistributor {
    const fn new(version: Version) -> Self {
        let mut bank = Bank::new(u32::MAX, PRIVATE_EDGE);
        bank.enabled = enabled_at_reset(version);
        Self { bank, sources: Sources::new(), asleep: matches!(version, Version::V3), groups: Groups::NONE, loaded: 0 }
    }

    /// Back to power-on. What is still in list registers is thrown away at the next `save` or `load`, so how many these are is kept.
    fn reset(&mut self, version: Version) {
        let loaded = self.loaded;
        let mut bank = self.bank.clone();
        bank.reset(PRIVATE_EDGE);
        bank.enabled = enabled_at_reset(version);
        *self = Self { bank, loaded, ..Self::new(version) };
    }
}

/// In version 2, SGIs are enabled always, as implementations may have it (IHI 0048 §4.3.5): there are guests that count on it.
const fn enabled_at_reset(version: Version) -> u32 {
    match version {
        Version::V2 => SGIS,
        Version::V3 => 0,
    }
}

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// A `GICv3` at power-on, with all lines low. A number of vCPUs or words out of range does not compile.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_version(Version::V3)
    }

    /// At power-on, with all lines low. A number of vCPUs or words out of range does not compile.
    #[must_use]
    pub const fn with_version(version: Version) -> Self {
        const {
            assert!(VCPUS >= 1 && VCPUS <= VcpuId::MAX, "a Vgic has 1 to 8 vCPUs");
            assert!(SPI_WORDS >= 1 && SPI_WORDS <= 31, "a Vgic has 1 to 31 words of SPIs");
        }
        let mut spis = [const { SpiBank::new(u32::MAX) }; SPI_WORDS];
        if let (31, Some(last)) = (SPI_WORDS, spis.last_mut()) {
            *last = SpiBank::new(LAST_WORD);
        }
        let vcpus = match version {
            Version::V2 => [const { Redistributor::new(Version::V2) }; VCPUS],
            Version::V3 => [const { Redistributor::new(Version::V3) }; VCPUS],
        };
        Self { version, messages: None, forwarded: Groups::NONE, vcpus, spis, kicks: VcpuSet::EMPTY }
    }

    /// Which architecture the guest finds.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Back to power-on, for a reset of the VM. Call it while no vCPU runs, each of them saved.
    ///
    /// The redistributors sleep then: see [`wake_vcpu`](Self::wake_vcpu). Two things outlive it. The lines keep their levels: they belong to the devices. And physical interrupts that were linked are
    /// released: ask [`take_deactivation`](Self::take_deactivation) for each vCPU, or they stay active, and so masked, for ever.
    pub fn reset(&mut self) {
        self.forwarded = Groups::NONE;
        for vcpu in &mut self.vcpus {
            vcpu.reset(self.version);
        }
        for (word, spi) in (1..=SPI_WORDS).zip(&mut self.spis) {
            spi.reset();
            // Messages have no device that holds a line.
            spi.bank.line &= !self.messages.map_or(0, |messages| messages.members(word));
        }
        self.kicks = VcpuSet::EMPTY;
    }

    /// What belongs to one vCPU goes back to power-on: its SGIs and PPIs, and what is known of its CPU interface. For a vCPU that is
    /// switched off or on (PSCI `CPU_OFF`, `CPU_ON`) while others run. Save it first; its CPU interface, `ICH_*` or `GICH_*`, is the
    /// VMM's to reset.
    ///
    /// SPIs stay as they are. Those routed to this vCPU alone wait for it, those that any of several may take go to another, and one that
    /// it was handling stays active until software deactivates it. Lines and linked physical interrupts are as after
    /// [`reset`](Self::reset): ask [`take_deactivation`](Self::take_deactivation). Its redistributor sleeps: see
    /// [`wake_vcpu`](Self::wake_vcpu).
    ///
    /// # Errors
    /// [`Error::NoSuchVcpu`] for a vCPU beyond `VCPUS`.
    pub fn reset_vcpu(&mut self, vcpu: VcpuId) -> Result<(), Error> {
        let version = self.version;
        self.redistributor_of(vcpu)?.reset(version);
        self.spis.iter_mut().for_each(|spi| spi.abandon(vcpu));
        self.kicks = self.kicks.without(vcpu);
        self.changed_participation(Some(vcpu));
        Ok(())
    }

    /// Sets the level of an SPI's line. Setting it to what it is has no effect.
    ///
    /// Where the guest has the SPI edge-triggered, the step from low to high is the edge.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`] for an SPI beyond `SPI_WORDS`, [`Error::ForMessages`] for one that has no line.
    pub fn set_spi_level(&mut self, spi: Spi, level: Level) -> Result<(), Error> {
        let id = IntId::from(spi);
        let bank = self.bank_of_line(id)?;
        let changed = if level.is_high() { bank.raise(id.bit()) } else { bank.lower(id.bit()) };
        self.changed_shared(id.word(), changed, None);
        Ok(())
    }

    /// One edge on an SPI: its line goes high and low again. An SPI that the guest has level-sensitive does not see it, as in hardware.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`] for an SPI beyond `SPI_WORDS`, [`Error::ForMessages`] for one that has no line.
    pub fn pulse_spi(&mut self, spi: Spi) -> Result<(), Error> {
        let id = IntId::from(spi);
        let bank = self.bank_of_line(id)?;
        let changed = bank.pend(id.bit() & bank.edge);
        self.changed_shared(id.word(), changed, None);
        Ok(())
    }

    /// Sets the level of a PPI's line of one vCPU. Setting it to what it is has no effect.
    ///
    /// # Errors
    /// [`Error::NoSuchVcpu`] for a vCPU beyond `VCPUS`.
    pub fn set_ppi_level(&mut self, vcpu: VcpuId, ppi: Ppi, level: Level) -> Result<(), Error> {
        let id = IntId::from(ppi);
        let bank = self.bank_of_vcpu(vcpu)?;
        let changed = if level.is_high() { bank.raise(id.bit()) } else { bank.lower(id.bit()) };
        self.changed_private(vcpu, changed);
        Ok(())
    }

    /// The vCPUs whose interrupts have changed since this was last asked: those that run must leave the guest to be saved and loaded
    /// again, those that wait for an interrupt must look at [`has_pending`](Self::has_pending).
    ///
    /// The vCPU that is being served is among them when it is concerned; it is loaded on its way back anyhow.
    #[must_use = "a vCPU that is not kicked may miss its interrupt"]
    pub const fn take_kicks(&mut self) -> VcpuSet {
        let kicks = self.kicks;
        self.kicks = VcpuSet::EMPTY;
        kicks
    }

    /// Whether an interrupt waits for `vcpu` that would wake it from `WFI` or from a sleep with `GICR_WAKER`: pending, enabled, its
    /// group forwarded, and not in a list register of another vCPU. Priorities and the guest's own masks are not looked at.
    #[must_use]
    pub fn has_pending(&self, vcpu: VcpuId) -> bool {
        (0..=SPI_WORDS).any(|word| self.ready(vcpu, word) != 0)
    }

    /// The interrupts of `bank` that the distributor lets through, pending or not.
    pub(crate) const fn passing(&self, bank: &Bank) -> u32 {
        bank.enabled & self.forwarded.select(bank)
    }

    /// The interrupts of `word` (0: those of the vCPU itself) that wait for being acknowledged by `vcpu`.
    pub(crate) fn ready(&self, vcpu: VcpuId, word: usize) -> u32 {
        let Some(bank) = self.bank(vcpu, word) else { return 0 };
        bank.pending() & !bank.active & self.passing(bank) & self.reaching(vcpu, word)
    }

    /// The interrupts of `word` that may go to `vcpu` by their routing, and that no other vCPU holds.
    pub(crate) fn reaching(&self, vcpu: VcpuId, word: usize) -> u32 {
        let Some(spi) = self.spi(word) else { return u32::MAX };
        let any = self.vcpus.get(vcpu.index()).filter(|vcpu| !vcpu.asleep).map_or(0, |vcpu| spi.one_of_n & vcpu.groups.select(&spi.bank));
        spi.targets(vcpu) & (!spi.one_of_n | any) & (!spi.held() | spi.held_by(vcpu))
    }

    /// The interrupts of `word` that are active on `vcpu`, in a list register or not.
    pub(crate) fn active(&self, vcpu: VcpuId, word: usize) -> u32 {
        let held = self.spi(word).map_or(u32::MAX, |spi| spi.held_by(vcpu));
        self.bank(vcpu, word).map_or(0, |bank| bank.active & held)
    }

    /// The bank of `word` as `vcpu` sees it: 0 is its own.
    pub(crate) fn bank(&self, vcpu: VcpuId, word: usize) -> Option<&Bank> {
        match word.checked_sub(1) {
            None => self.vcpus.get(vcpu.index()).map(|vcpu| &vcpu.bank),
            Some(index) => self.spis.get(index).map(|spi| &spi.bank),
        }
    }

    /// As [`bank`](Self::bank).
    pub(crate) fn bank_mut(&mut self, vcpu: VcpuId, word: usize) -> Option<&mut Bank> {
        match word.checked_sub(1) {
            None => self.vcpus.get_mut(vcpu.index()).map(|vcpu| &mut vcpu.bank),
            Some(index) => self.spis.get_mut(index).map(|spi| &mut spi.bank),
        }
    }

    /// The SPIs of `word`: `None` for word 0 and beyond the last.
    pub(crate) fn spi(&self, word: usize) -> Option<&SpiBank<VCPUS>> {
        word.checked_sub(1).and_then(|index| self.spis.get(index))
    }

    /// As [`spi`](Self::spi).
    pub(crate) fn spi_mut(&mut self, word: usize) -> Option<&mut SpiBank<VCPUS>> {
        word.checked_sub(1).and_then(|index| self.spis.get_mut(index))
    }

    /// The first INTID that does not exist.
    #[expect(clippy::cast_possible_truncation, reason = "at most 31 words")]
    pub(crate) const END: u32 = if SPI_WORDS < 31 { (SPI_WORDS as u32).wrapping_add(1).wrapping_mul(32) } else { 1020 };

    /// The error for an SPI that the distributor does not have.
    const fn no_such_spi(intid: u32) -> Error {
        Error::NoSuchInterrupt { intid, end: Self::END }
    }

    /// The bank of an SPI.
    pub(crate) fn bank_of_spi(&mut self, id: IntId) -> Result<&mut Bank, Error> {
        match self.spi_mut(id.word()) {
            Some(spi) => Ok(&mut spi.bank),
            None => Err(Self::no_such_spi(id.number())),
        }
    }

    /// The bank of an SPI that has a line or a physical interrupt.
    pub(crate) fn bank_of_line(&mut self, id: IntId) -> Result<&mut Bank, Error> {
        if self.messages.is_some_and(|messages| messages.has(id)) {
            return Err(Error::ForMessages { intid: id.number() });
        }
        self.bank_of_spi(id)
    }

    /// What a vCPU has for itself.
    fn redistributor_of(&mut self, vcpu: VcpuId) -> Result<&mut Redistributor, Error> {
        self.vcpus.get_mut(vcpu.index()).ok_or(Error::NoSuchVcpu { index: vcpu.index(), count: VCPUS })
    }

    /// The bank of a vCPU's own interrupts.
    pub(crate) fn bank_of_vcpu(&mut self, vcpu: VcpuId) -> Result<&mut Bank, Error> {
        self.redistributor_of(vcpu).map(|redistributor| &mut redistributor.bank)
    }

    /// Interrupts of a vCPU's own have changed.
    pub(crate) fn changed_private(&mut self, vcpu: VcpuId, changed: u32) {
        let Some(bank) = self.bank(vcpu, 0) else { return };
        if changed & (bank.resident | bank.active | self.ready(vcpu, 0)) != 0 {
            self.kicks = self.kicks.with(vcpu);
        }
    }

    /// SPIs have changed. Kicks the vCPU that holds them, and those that may take them; `except` is about to look by itself.
    pub(crate) fn changed_shared(&mut self, word: usize, changed: u32, except: Option<VcpuId>) {
        let Some(spi) = self.spi(word) else { return };
        if changed == 0 {
            return;
        }
        let mut kicks = VcpuSet::EMPTY;
        for vcpu in VcpuId::first(VCPUS) {
            if changed & (spi.held_by(vcpu) | self.ready(vcpu, word) & !spi.one_of_n) != 0 {
                kicks = kicks.with(vcpu);
            }
        }
        // One vCPU is enough for a 1 of N SPI. Where none takes part, as far as was seen, one may have begun to without an exit.
        let mut waiting = changed & self.unclaimed(word);
        let awake = || VcpuId::first(VCPUS).zip(&self.vcpus).filter(|(_, vcpu)| !vcpu.asleep);
        for (vcpu, redistributor) in awake() {
            let taken = waiting & spi.targets(vcpu) & redistributor.groups.select(&spi.bank);
            if taken != 0 {
                kicks = kicks.with(vcpu);
                waiting &= !taken;
            }
        }
        for (vcpu, _) in awake().filter(|(vcpu, _)| waiting & spi.targets(*vcpu) != 0) {
            kicks = kicks.with(vcpu);
        }
        if let Some(vcpu) = except {
            kicks = kicks.without(vcpu);
        }
        self.kicks = self.kicks.union(kicks);
    }

    /// The 1 of N SPIs of `word` that wait, and that no vCPU has taken.
    pub(crate) fn unclaimed(&self, word: usize) -> u32 {
        self.spi(word).map_or(0, |spi| spi.one_of_n & spi.bank.pending() & !spi.bank.active & self.passing(&spi.bank) & !spi.held())
    }

    /// The vCPUs that are awake.
    pub(crate) fn awake(&self) -> VcpuSet {
        VcpuId::first(VCPUS).zip(&self.vcpus).filter(|(_, vcpu)| !vcpu.asleep).fold(VcpuSet::EMPTY, |set, (vcpu, _)| set.with(vcpu))
    }

    /// Everything may have changed.
    pub(crate) fn changed_all(&mut self) {
        for vcpu in VcpuId::first(VCPUS) {
            self.changed_private(vcpu, u32::MAX);
        }
        for word in 1..=SPI_WORDS {
            self.changed_shared(word, u32::MAX, None);
        }
    }

    /// A vCPU has begun or ceased to take part in the distribution of 1 of N SPIs.
    pub(crate) fn changed_participation(&mut self, except: Option<VcpuId>) {
        for word in 1..=SPI_WORDS {
            self.changed_shared(word, self.unclaimed(word), except);
        }
    }
}

impl<const VCPUS: usize, const SPI_WORDS: usize> Default for Vgic<VCPUS, SPI_WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// Not the whole state: which model it is.
#[cfg(feature = "defmt")]
impl<const VCPUS: usize, const SPI_WORDS: usize> defmt::Format for Vgic<VCPUS, SPI_WORDS> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Vgic({}, {} vCPUs, INTIDs below {})", self.version, VCPUS, Self::END);
    }
}

impl<const VCPUS: usize, const SPI_WORDS: usize> ErrorType for Vgic<VCPUS, SPI_WORDS> {
    type Error = Error;
}

/// An [`Irq`] is the INTID of an SPI. With vCPUs on other physical CPUs, clauses 2 and 4 hold once the vCPUs of
/// [`take_kicks`](Vgic::take_kicks) have left the guest.
impl<const VCPUS: usize, const SPI_WORDS: usize> InterruptController for Vgic<VCPUS, SPI_WORDS> {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Error> {
        let spi = Spi::new(irq.number()).ok_or_else(|| Self::no_such_spi(irq.number()))?;
        self.set_spi_level(spi, level)
    }

    /// See [`deliver_message`](Vgic::deliver_message). Any function may send any message: there is no ITS that would tell them apart.
    fn deliver_msi(&mut self, _requester: Bdf, message: Message) -> Result<(), Error> {
        self.deliver_message(message);
        Ok(())
    }
}
