//! The distributor of version 2: `GICD_*` (IHI 0048 §4.3), with the registers of SGIs and PPIs once for each vCPU, and the one register of the
//! CPU interface that traps.

use crossvm_core::Width;

use crate::lanes::{self, Lanes};
use crate::registers::Register;
use crate::sources::SGIS;
use crate::spec::gicv2::{
    Deactivation, DistributorControl, DistributorType, IIDR_VALUE, PIDR2_VALUE, SoftwareInterrupt, TargetFilter, gicc, gicd,
};
use crate::{IntId, VcpuId, VcpuSet, Version, Vgic, bank, spec};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// `vcpu` reads `width` at `offset` of its CPU interface, `GICC_*`, where the VMM has not mapped the virtual CPU interface: the second page
    /// of 4 KiB. `GICC_DIR` is write-only, so there is nothing to read but zeros.
    #[must_use]
    pub const fn cpu_interface_read(&self, _vcpu: VcpuId, _offset: u32, _width: Width) -> u64 {
        0
    }

    /// `vcpu` writes `value` of `width` at `offset` of its CPU interface, `GICC_*`, where the VMM has not mapped the virtual CPU interface:
    /// the second page of 4 KiB, whose one register is `GICC_DIR`. Call it between save and load.
    ///
    /// For why that page is not mapped, see [`write_dir`](Self::write_dir). Version 3 has no such frame: ignored.
    pub fn cpu_interface_write(&mut self, vcpu: VcpuId, offset: u32, width: Width, value: u64) {
        lanes::write(offset, width, value, |at, lanes| {
            let id = IntId::new(Deactivation::from_bits(lanes.ones()).intid().into());
            if let (Version::V2, gicc::DIR, true, Some(id)) = (self.version, at, lanes.covers(0x1fff), id) {
                self.end(vcpu, id);
            }
        });
    }

    pub(super) fn word_v2(&self, vcpu: VcpuId, offset: u32) -> u32 {
        match offset {
            spec::gicd::CTLR => self.control_v2().into_bits(),
            spec::gicd::TYPER => Self::type_v2().into_bits(),
            spec::gicd::IIDR => IIDR_VALUE,
            gicd::PIDR2 => PIDR2_VALUE,
            // All that one vCPU has goes to it: there is nothing to tell (IHI 0048 §4.3.12).
            gicd::ITARGETSR..gicd::ITARGETSR_END if VCPUS == 1 => 0,
            gicd::ITARGETSR..gicd::ITARGETSR_SPIS if vcpu.index() < VCPUS => u32::from_le_bytes([VcpuSet::EMPTY.with(vcpu).bits(); 4]),
            gicd::ITARGETSR..gicd::ITARGETSR_END => self.targets(offset),
            gicd::CPENDSGIR..gicd::SPENDSGIR_END => self.senders(vcpu, offset),
            _ => match Register::at(offset) {
                Some((word, register)) => self.bank(vcpu, word).map_or(0, |bank| register.read(bank)),
                None => 0,
            },
        }
    }

    pub(super) fn set_word_v2(&mut self, vcpu: VcpuId, offset: u32, lanes: Lanes) {
        match offset {
            spec::gicd::CTLR => {
                let control = DistributorControl::from_bits(lanes.merge(self.control_v2().into_bits()));
                self.forward(control.enable_group0(), control.enable_group1());
            }
            gicd::ITARGETSR_SPIS..gicd::ITARGETSR_END if VCPUS > 1 => self.set_targets(offset, lanes),
            gicd::SGIR if lanes.covers(u32::MAX) => self.send_sgi(vcpu, SoftwareInterrupt::from_bits(lanes.ones())),
            gicd::CPENDSGIR..gicd::SPENDSGIR_END => self.set_senders(vcpu, offset, lanes),
            _ => match Register::at(offset) {
                Some((0, register)) => self.set_private_register_v2(vcpu, register, lanes),
                Some((word, register)) => self.set_spi_register(word, register, lanes),
                None => {}
            },
        }
    }

    fn set_private_register_v2(&mut self, vcpu: VcpuId, register: Register, lanes: Lanes) {
        let lanes = match register {
            // No PPI of a VM is an edge, so the trigger is fixed, as implementations may have it.
            Register::Config(_) => return,
            // SGIs are enabled always, and made pending by their senders only (IHI 0048 §4.3.5, §4.3.7).
            Register::SetEnable | Register::ClearEnable | Register::SetPending | Register::ClearPending => lanes.without(SGIS),
            _ => lanes,
        };
        let Some(own) = self.vcpus.get_mut(vcpu.index()) else { return };
        let changed = register.write(&mut own.bank, lanes);
        self.changed_private(vcpu, changed);
    }

    /// `GICD_ITARGETSR` of SPIs.
    fn targets(&self, offset: u32) -> u32 {
        let (word, first) = targeted(offset);
        let target = |index| self.spi(word).map_or(0, |spi| spi.targets_of(first | index).bits());
        u32::from_le_bytes([0, 1, 2, 3].map(target))
    }

    fn set_targets(&mut self, offset: u32, lanes: Lanes) {
        let (word, first) = targeted(offset);
        let targets = lanes.merge(self.targets(offset)).to_le_bytes();
        let Some(spi) = self.spi_mut(word) else { return };
        let bits = 0xf_u32.wrapping_shl(first) & spi.bank.implemented;
        for (index, targets) in [0, 1, 2, 3].map(|index| first | index).into_iter().zip(targets) {
            if bits & bank::bit(index) != 0 {
                spi.set_targets_of(index, VcpuSet::from_bits(targets, VCPUS));
            }
        }
        self.changed_shared(word, bits, None);
    }

    /// Sends an SGI (IHI 0048 §4.3.15).
    fn send_sgi(&mut self, from: VcpuId, request: SoftwareInterrupt) {
        let targets = match request.filter() {
            TargetFilter::List => VcpuSet::from_bits(request.target_list(), VCPUS),
            TargetFilter::AllButSelf => VcpuSet::from_bits(u8::MAX, VCPUS).without(from),
            TargetFilter::OnlySelf => VcpuSet::EMPTY.with(from),
            TargetFilter::Reserved => VcpuSet::EMPTY,
        };
        let Some(id) = IntId::new(request.intid().into()) else { return };
        for vcpu in targets.iter() {
            let Some(target) = self.vcpus.get_mut(vcpu.index()) else { continue };
            let changed = target.sources.pend(&mut target.bank, id, VcpuSet::EMPTY.with(from));
            self.changed_private(vcpu, changed);
        }
    }

    /// `GICD_CPENDSGIR` and `GICD_SPENDSGIR`, which read alike.
    fn senders(&self, vcpu: VcpuId, offset: u32) -> u32 {
        let Some(own) = self.vcpus.get(vcpu.index()) else { return 0 };
        let senders = |index| IntId::new(sgi(offset) | index).map_or(0, |id| own.sources.pending(&own.bank, id).bits());
        u32::from_le_bytes([0, 1, 2, 3].map(senders))
    }

    fn set_senders(&mut self, vcpu: VcpuId, offset: u32, lanes: Lanes) {
        let Some(own) = self.vcpus.get_mut(vcpu.index()) else { return };
        let mut changed = 0;
        for (index, senders) in [0, 1, 2, 3].into_iter().zip(lanes.ones().to_le_bytes()) {
            let (Some(id), senders) = (IntId::new(sgi(offset) | index), VcpuSet::from_bits(senders, VCPUS)) else { continue };
            changed |= if offset >= gicd::SPENDSGIR {
                own.sources.pend(&mut own.bank, id, senders)
            } else {
                own.sources.unpend(&mut own.bank, id, senders)
            };
        }
        self.changed_private(vcpu, changed);
    }

    const fn type_v2() -> DistributorType {
        #[expect(clippy::cast_possible_truncation, reason = "31 words and 8 vCPUs at most")]
        const fn byte(number: usize) -> u8 {
            number as u8
        }
        const { DistributorType::new().with_lines(byte(SPI_WORDS)).with_cpus(byte(VCPUS - 1)) }
    }

    const fn control_v2(&self) -> DistributorControl {
        DistributorControl::new().with_enable_group0(self.forwarded.zero).with_enable_group1(self.forwarded.one)
    }
}

/// The word of 32 interrupts, and the first of the 4 in it, whose targets are at `offset`.
const fn targeted(offset: u32) -> (usize, u32) {
    let first = offset.wrapping_sub(gicd::ITARGETSR);
    ((first >> 5) as usize, first & 31)
}

/// The first of the 4 SGIs whose senders are at `offset`.
const fn sgi(offset: u32) -> u32 {
    offset & 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::State;
    use crate::testing::{FIRST, Gic, Registers, SECOND, THIRD, booted_v2, spi};

    fn read(gic: &Gic, vcpu: VcpuId, offset: u32) -> u64 {
        gic.distributor_read(vcpu, offset, Width::U32)
    }

    #[test]
    fn control_stores_the_group_enables() {
        let mut gic = Gic::with_version(Version::V2);
        gic.distributor_write(FIRST, 0, Width::U32, 0xffff_fffe);
        assert_eq!(read(&gic, FIRST, 0), 2);
        gic.distributor_write(SECOND, 0, Width::U8, 1);
        assert_eq!(read(&gic, FIRST, 0), 1);
    }

    #[test]
    fn identification_tells_the_numbers_of_interrupts_and_vcpus_and_says_gicv2() {
        let gic = Gic::with_version(Version::V2);
        assert_eq!(read(&gic, FIRST, 4), 2 | 2 << 5);
        assert_eq!(read(&gic, FIRST, 8) & 0xfff, 0x43b);
        assert_eq!(read(&gic, FIRST, 0xfe8) & 0xf0, 0x20);
        let largest = Vgic::<8, 31>::with_version(Version::V2);
        assert_eq!(largest.distributor_read(FIRST, 4, Width::U32), 31 | 7 << 5);
    }

    #[test]
    fn each_vcpu_has_its_own_sgis_and_ppis_at_the_same_place() {
        let mut gic = Gic::with_version(Version::V2);
        for (offset, written, kept) in [
            (0x080, 0xffff_ffff, 0xffff_ffff),
            (0x100, 0x0800_0000, 0x0800_ffff),
            (0x200, 0xffff_ffff, 0xffff_0000),
            (0x300, 0xffff_ffff, 0xffff_ffff),
            (0x404, 0xffff_ffff, 0xf8f8_f8f8),
            (0xc04, 0xffff_ffff, 0),
            (0xc00, 0, 0xaaaa_aaaa),
        ] {
            let before = read(&gic, FIRST, offset);
            gic.distributor_write(SECOND, offset, Width::U32, written);
            assert_eq!((read(&gic, SECOND, offset), read(&gic, FIRST, offset)), (kept, before), "{offset:#x}");
        }
    }

    #[test]
    fn sgis_are_enabled_always() {
        let mut gic = Gic::with_version(Version::V2);
        gic.distributor_write(FIRST, 0x180, Width::U32, 0xffff_ffff);
        assert_eq!(read(&gic, FIRST, 0x100), 0xffff);
        gic.reset();
        assert_eq!(read(&gic, FIRST, 0x180), 0xffff);
    }

    #[test]
    fn targets_of_sgis_and_ppis_tell_who_asks_and_those_of_spis_are_written() {
        let mut gic = Gic::with_version(Version::V2);
        for (vcpu, mask) in [(FIRST, 0x0101_0101), (SECOND, 0x0202_0202), (THIRD, 0x0404_0404)] {
            for offset in (0x800..0x820).step_by(4) {
                gic.distributor_write(vcpu, offset, Width::U32, 0);
                assert_eq!(read(&gic, vcpu, offset), mask);
            }
        }
        // At reset, all go to the first. There are three vCPUs, and words for 64 SPIs.
        assert_eq!(read(&gic, SECOND, 0x820), 0x0101_0101);
        gic.distributor_write(FIRST, 0x828, Width::U32, 0x0607_ff00);
        gic.distributor_write(FIRST, 0x829, Width::U8, 0x0a);
        assert_eq!(read(&gic, SECOND, 0x828), 0x0607_0200);
        gic.distributor_write(FIRST, 0x860, Width::U32, 0xffff_ffff);
        assert_eq!(read(&gic, FIRST, 0x860), 0);
    }

    #[test]
    fn with_one_vcpu_there_is_nothing_to_tell_about_targets() {
        let mut gic = Vgic::<1, 1>::with_version(Version::V2);
        gic.distributor_write(FIRST, 0x820, Width::U32, 0);
        assert_eq!((gic.distributor_read(FIRST, 0x800, Width::U32), gic.distributor_read(FIRST, 0x820, Width::U32)), (0, 0));
        gic.distributor_write(FIRST, 0, Width::U32, 1);
        gic.distributor_write(FIRST, 0x104, Width::U32, 1);
        gic.set_spi_level(spi(32), crossvm_core::Level::High).unwrap();
        assert!(gic.has_pending(FIRST));
    }

    #[test]
    fn what_belongs_to_version_3_is_not_there() {
        let mut gic = Gic::with_version(Version::V2);
        for offset in [0x40, 0x6100, 0xffe8, 0xd00, 0xe00, 0xffc] {
            gic.distributor_write(FIRST, offset, Width::U32, 0xffff_ffff);
            assert_eq!(read(&gic, FIRST, offset), 0, "{offset:#x}");
        }
        gic.write_sgi1r(FIRST, 7);
        gic.redistributor_write(FIRST, 0x1_0100, Width::U32, 0xffff_ffff);
        assert_eq!(gic.redistributor_read(FIRST, 0x1_0100, Width::U32), 0);
        assert_eq!(gic, Gic::with_version(Version::V2));
    }

    /// Who has SGI `intid` pending, and from whom.
    fn senders(gic: &Gic, intid: u32) -> [u64; 3] {
        [FIRST, SECOND, THIRD].map(|vcpu| gic.distributor_read(vcpu, 0xf20 + intid, Width::U8))
    }

    #[test]
    fn an_sgi_goes_to_its_targets_and_is_pending_from_each_sender() {
        let mut gic = booted_v2();
        gic.distributor_write(SECOND, 0xf00, Width::U32, 0x00fd_0005);
        assert_eq!(senders(&gic, 5), [2, 0, 2]);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST).with(THIRD));
        gic.distributor_write(THIRD, 0xf00, Width::U32, 0x0100_0005);
        assert_eq!(senders(&gic, 5), [6, 4, 2]);
        gic.distributor_write(FIRST, 0xf00, Width::U32, 0x02ff_0005);
        assert_eq!(senders(&gic, 5), [7, 4, 2]);
        gic.distributor_write(FIRST, 0xf00, Width::U32, 0x03ff_0005);
        assert_eq!(senders(&gic, 5), [7, 4, 2]);
        assert_eq!((read(&gic, FIRST, 0x200), senders(&gic, 4)), (1 << 5, [0; 3]));
        // Less than a word sends nothing.
        gic.distributor_write(FIRST, 0xf02, Width::U16, 0x00ff);
        gic.distributor_write(FIRST, 0xeff, Width::U32, 0xff00_0000);
        assert_eq!(senders(&gic, 0), [0; 3]);
    }

    #[test]
    fn senders_are_set_and_cleared_one_by_one() {
        let mut gic = booted_v2();
        gic.distributor_write(SECOND, 0xf24, Width::U32, 0xff00_0500);
        assert_eq!((senders(&gic, 5), senders(&gic, 7)), ([0, 5, 0], [0, 7, 0]));
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(SECOND));
        gic.distributor_write(SECOND, 0xf14, Width::U32, 0x0200_0100);
        assert_eq!((senders(&gic, 5), senders(&gic, 7)), ([0, 4, 0], [0, 5, 0]));
        gic.distributor_write(SECOND, 0xf17, Width::U8, 0xff);
        assert_eq!((senders(&gic, 7), read(&gic, SECOND, 0x280)), ([0, 0, 0], 1 << 5));
    }

    #[test]
    fn a_list_register_holds_an_sgi_of_one_sender_and_reports_its_end_while_others_wait() {
        let (mut gic, mut registers) = (booted_v2(), Registers::<4>::new());
        gic.distributor_write(THIRD, 0xf00, Width::U32, 0x0001_0003);
        gic.distributor_write(SECOND, 0xf00, Width::U32, 0x0001_0003);
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.contents(), registers.of(3).physical_intid()), (std::vec![(3, State::Pending)], 0x201));
        // Acknowledged: it stays the second's, and the third has to wait.
        registers.set(3, State::Active);
        gic.save(FIRST, &mut registers);
        assert_eq!((senders(&gic, 3), read(&gic, FIRST, 0x300)), ([4, 0, 0], 8));
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.contents(), registers.of(3).physical_intid()), (std::vec![(3, State::Active)], 0x201));
        registers.set(3, State::Inactive);
        gic.save(FIRST, &mut registers);
        gic.load(FIRST, &mut registers);
        assert_eq!((registers.contents(), registers.of(3).physical_intid()), (std::vec![(3, State::Pending)], 2));
    }

    #[test]
    fn an_sgi_that_is_not_acknowledged_goes_back_to_its_sender() {
        let (mut gic, mut registers) = (booted_v2(), Registers::<4>::new());
        gic.distributor_write(THIRD, 0xf00, Width::U32, 0x0001_0003);
        gic.load(FIRST, &mut registers);
        assert_eq!(senders(&gic, 3), [4, 0, 0]);
        let _ = gic.take_kicks();
        gic.distributor_write(SECOND, 0xf00, Width::U32, 0x0001_0003);
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(FIRST));
        gic.save(FIRST, &mut registers);
        assert_eq!(senders(&gic, 3), [6, 0, 0]);
        gic.load(FIRST, &mut registers);
        assert_eq!(registers.of(3).physical_intid() & 7, 1);
        // One that waits, and the one in the register, are taken back, each without the other.
        let mut other = gic.clone();
        other.distributor_write(FIRST, 0xf13, Width::U8, 4);
        assert_eq!(senders(&other, 3), [2, 0, 0]);
        gic.distributor_write(FIRST, 0xf13, Width::U8, 2);
        assert_eq!(senders(&gic, 3), [4, 0, 0]);
        gic.save(FIRST, &mut registers);
        assert_eq!(senders(&gic, 3), [4, 0, 0]);
        gic.distributor_write(FIRST, 0xf13, Width::U8, 4);
        assert!(!gic.has_pending(FIRST));
    }

    #[test]
    fn an_spi_with_several_targets_goes_to_one_that_takes_part() {
        let (mut gic, mut third) = (booted_v2(), Registers::<4>::new());
        gic.distributor_write(FIRST, 0x828, Width::U8, 0b110);
        gic.load(THIRD, &mut third);
        let _ = gic.take_kicks();
        gic.set_spi_level(spi(40), crossvm_core::Level::High).unwrap();
        // The second has not been seen with its group enabled.
        assert_eq!(gic.take_kicks(), VcpuSet::EMPTY.with(THIRD));
        // The first is no target, and need not be asked when it enables its group. The second is.
        for (vcpu, asked) in [(FIRST, false), (SECOND, true)] {
            let mut registers = Registers::<4>::new();
            registers.machine = crate::spec::MachineControl::new();
            gic.load(vcpu, &mut registers);
            assert_eq!((registers.contents(), registers.control.group0_enabled()), (std::vec![], asked));
        }
        gic.load(THIRD, &mut third);
        assert_eq!(third.contents(), [(40, State::Pending)]);
        // No target at all.
        gic.save(THIRD, &mut third);
        gic.distributor_write(FIRST, 0x828, Width::U8, 0);
        assert!(![FIRST, SECOND, THIRD].into_iter().any(|vcpu| gic.has_pending(vcpu)));
    }

    #[test]
    fn a_trapped_deactivation_ends_the_interrupt_that_it_names() {
        let (mut gic, mut registers) = (booted_v2(), Registers::<4>::new());
        registers.machine.set_separate_deactivation(true);
        gic.distributor_write(SECOND, 0xf00, Width::U32, 0x0001_0003);
        gic.load(FIRST, &mut registers);
        assert!(!registers.control.trap_deactivate(), "there is no such trap");
        registers.set(3, State::Active);
        gic.save(FIRST, &mut registers);
        for (offset, width, value) in [(0x1004, Width::U32, 0x403), (0x1000, Width::U8, 3), (0x10, Width::U32, 0x403)] {
            gic.cpu_interface_write(FIRST, offset, width, value);
            assert_eq!(read(&gic, FIRST, 0x300), 8);
        }
        gic.cpu_interface_write(FIRST, 0x1000, Width::U32, 0x403);
        assert_eq!((read(&gic, FIRST, 0x300), gic.cpu_interface_read(FIRST, 0x1000, Width::U32)), (0, 0));
        gic.cpu_interface_write(FIRST, 0x1000, Width::U32, 1023);
    }
}
