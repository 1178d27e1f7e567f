//! The redistributors' frames of version 3: `GICR_*` (IHI 0069 §12.10, §12.11).

use crossvm_core::Width;

use crate::lanes::{self, Lanes};
use crate::registers::Register;
use crate::spec::{IIDR_VALUE, PIDR2_VALUE, REDISTRIBUTOR_SIZE, RedistributorType, SGI_FRAME, Waker, gicr};
use crate::{Error, VcpuId, VcpuSet, Version, Vgic};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// A guest reads `width` at `offset` of the 128 KiB of `vcpu`'s redistributor. Any vCPU may.
    ///
    /// Each offset and width is defined, as for [`distributor_read`](Self::distributor_read). Version 2 has none: all reads as zero.
    #[must_use]
    pub fn redistributor_read(&self, vcpu: VcpuId, offset: u32, width: Width) -> u64 {
        lanes::read(offset, width, |at| self.redistributor_word(vcpu, at))
    }

    /// A guest writes `value` of `width` at `offset` of the 128 KiB of `vcpu`'s redistributor. Any vCPU may.
    ///
    /// Each offset and width is defined, as for [`distributor_write`](Self::distributor_write). Version 2 has none: ignored.
    pub fn redistributor_write(&mut self, vcpu: VcpuId, offset: u32, width: Width, value: u64) {
        lanes::write(offset, width, value, |at, lanes| self.set_redistributor_word(vcpu, at, lanes));
    }

    /// Whether `vcpu` has interrupts in its list registers whose pending or active state is read at `offset` of its redistributor: as
    /// [`distributor_holders`](Self::distributor_holders), for another vCPU that reads there. Empty or `vcpu` alone.
    #[must_use]
    pub fn redistributor_holders(&self, vcpu: VcpuId, offset: u32, width: Width) -> VcpuSet {
        let resident = self.vcpus.get(vcpu.index()).map_or(0, |vcpu| vcpu.bank.resident);
        let mut holders = VcpuSet::EMPTY;
        lanes::read(offset, width, |at| {
            if let (Version::V3, SGI_FRAME..REDISTRIBUTOR_SIZE, Some((0, register))) = (self.version, at, Register::at(at & !SGI_FRAME))
                && resident != 0
                && register.is_pending_or_active()
            {
                holders = VcpuSet::EMPTY.with(vcpu);
            }
            0
        });
        holders
    }

    fn redistributor_word(&self, vcpu: VcpuId, offset: u32) -> u32 {
        let (Version::V3, Some(redistributor)) = (self.version, self.vcpus.get(vcpu.index())) else { return 0 };
        let typer = || redistributor_type::<VCPUS>(vcpu).into_bits();
        match offset {
            // CTLR: no LPIs, no DPG bits, and no write is ever pending.
            gicr::IIDR => IIDR_VALUE,
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            gicr::TYPER => typer() as u32,
            gicr::TYPER_HIGH => (typer() >> 32) as u32,
            gicr::WAKER => waker(redistributor.asleep).into_bits(),
            gicr::PIDR2 => PIDR2_VALUE,
            SGI_FRAME..REDISTRIBUTOR_SIZE => match Register::at(offset & !SGI_FRAME) {
                Some((0, register)) => register.read(&redistributor.bank),
                _ => 0,
            },
            _ => 0,
        }
    }

    fn set_redistributor_word(&mut self, vcpu: VcpuId, offset: u32, lanes: Lanes) {
        let (Version::V3, Some(redistributor)) = (self.version, self.vcpus.get_mut(vcpu.index())) else { return };
        match offset {
            gicr::WAKER => {
                let asleep = Waker::from_bits(lanes.merge(waker(redistributor.asleep).into_bits())).processor_sleep();
                self.set_asleep(vcpu, asleep);
            }
            SGI_FRAME..REDISTRIBUTOR_SIZE => match Register::at(offset & !SGI_FRAME) {
                // No PPI of a VM is an edge, so the trigger is fixed, as implementations may have it.
                Some((0, Register::Config(_))) | None => {}
                Some((0, register)) => {
                    let changed = register.write(&mut redistributor.bank, lanes);
                    self.changed_private(vcpu, changed);
                }
                Some(_) => {}
            },
            _ => {}
        }
    }

    /// Wakes the redistributor of a vCPU, as a write of zero to its `GICR_WAKER` does. For a VMM that is its guest's firmware: to be called
    /// when it switches a vCPU on, at power-on, after a [`reset`](Self::reset) and for `CPU_ON`.
    ///
    /// At power-on redistributors sleep, and a vCPU gets no interrupt. On a machine with two Security states, `GICR_WAKER` is out of the
    /// guest's reach and firmware has written it (IHI 0069 §12.11.42): there are guests that count on that. To others it does no harm. The
    /// guest can put the redistributor to sleep and wake it as before. Version 2 has no such thing: nothing happens.
    ///
    /// # Errors
    /// [`Error::NoSuchVcpu`] for a vCPU beyond `VCPUS`.
    pub fn wake_vcpu(&mut self, vcpu: VcpuId) -> Result<(), Error> {
        if vcpu.index() >= VCPUS {
            return Err(Error::NoSuchVcpu { index: vcpu.index(), count: VCPUS });
        }
        self.set_asleep(vcpu, false);
        Ok(())
    }

    fn set_asleep(&mut self, vcpu: VcpuId, asleep: bool) {
        let Some(redistributor) = self.vcpus.get_mut(vcpu.index()).filter(|redistributor| redistributor.asleep != asleep) else { return };
        redistributor.asleep = asleep;
        self.changed_private(vcpu, u32::MAX);
        for word in 1..=SPI_WORDS {
            self.changed_shared(word, u32::MAX, None);
        }
    }
}

/// `GICR_TYPER` of `vcpu`.
fn redistributor_type<const VCPUS: usize>(vcpu: VcpuId) -> RedistributorType {
    RedistributorType::new()
        .with_last(vcpu.index().saturating_add(1) == VCPUS)
        .with_processor_number(u16::try_from(vcpu.index()).unwrap_or(0))
        .with_affinity(vcpu.affinity())
}

const fn waker(asleep: bool) -> Waker {
    Waker::new().with_processor_sleep(asleep).with_children_asleep(asleep)
}

#[cfg(test)]
mod tests {
    use crossvm_core::Level;

    use super::*;
    use crate::Ppi;
    use crate::testing::Registers;

    const FIRST: VcpuId = VcpuId::new(0).unwrap();
    const SECOND: VcpuId = VcpuId::new(1).unwrap();
    const ABSENT: VcpuId = VcpuId::new(2).unwrap();

    type Gic = Vgic<2, 1>;

    #[test]
    fn type_has_number_and_affinity_and_marks_the_last() {
        let gic = Gic::new();
        assert_eq!(gic.redistributor_read(FIRST, 8, Width::U64), 0);
        assert_eq!(gic.redistributor_read(SECOND, 8, Width::U64), 0x0000_0001_0000_0110);
        assert_eq!(gic.redistributor_read(SECOND, 8, Width::U32), 0x110);
        assert_eq!(gic.redistributor_read(SECOND, 12, Width::U32), 1);
    }

    #[test]
    fn identification_says_gicv3_and_control_is_idle() {
        let mut gic = Gic::new();
        assert_eq!(gic.redistributor_read(FIRST, gicr::PIDR2, Width::U32) & 0xf0, 0x30);
        assert_eq!(gic.redistributor_read(FIRST, gicr::IIDR, Width::U32), u64::from(IIDR_VALUE));
        gic.redistributor_write(FIRST, gicr::CTLR, Width::U32, 0xffff_ffff);
        assert_eq!(gic.redistributor_read(FIRST, gicr::CTLR, Width::U32), 0);
    }

    #[test]
    fn children_are_asleep_exactly_while_the_processor_sleeps() {
        let mut gic = Gic::new();
        assert_eq!(gic.redistributor_read(SECOND, gicr::WAKER, Width::U32), 6);
        gic.redistributor_write(SECOND, gicr::WAKER, Width::U32, 4);
        assert_eq!(gic.redistributor_read(SECOND, gicr::WAKER, Width::U32), 0);
        gic.redistributor_write(SECOND, gicr::WAKER, Width::U8, 0xff);
        assert_eq!(gic.redistributor_read(SECOND, gicr::WAKER, Width::U32), 6);
        assert_eq!(gic.redistributor_read(FIRST, gicr::WAKER, Width::U32), 6);
    }

    #[test]
    fn a_vcpu_that_firmware_has_woken_gets_interrupts_without_more_ado() {
        let (mut gic, mut registers) = (Gic::new(), Registers::<4>::new());
        gic.distributor_write(FIRST, 0, Width::U32, 0b10);
        gic.redistributor_write(FIRST, 0x1_0080, Width::U32, 1 << 27);
        gic.redistributor_write(FIRST, 0x1_0100, Width::U32, 1 << 27);
        gic.set_ppi_level(FIRST, Ppi::new(27).unwrap(), Level::High).unwrap();
        gic.load(FIRST, &mut registers);
        assert!(registers.contents().is_empty(), "asleep");
        gic.save(FIRST, &mut registers);
        for _ in 0..2 {
            let _ = gic.take_kicks();
            gic.wake_vcpu(FIRST).unwrap();
            assert!(gic.take_kicks().contains(FIRST));
            assert_eq!(gic.redistributor_read(FIRST, gicr::WAKER, Width::U32), 0);
            assert_eq!(gic.redistributor_read(SECOND, gicr::WAKER, Width::U32), 6);
            gic.load(FIRST, &mut registers);
            assert!(!registers.contents().is_empty());
            gic.save(FIRST, &mut registers);
            gic.wake_vcpu(FIRST).unwrap();
            assert!(gic.take_kicks().is_empty(), "it is awake");
            // The guest can do as before.
            gic.redistributor_write(FIRST, gicr::WAKER, Width::U32, 2);
            assert_eq!(gic.redistributor_read(FIRST, gicr::WAKER, Width::U32), 6);
        }
        assert_eq!(gic.wake_vcpu(ABSENT), Err(Error::NoSuchVcpu { index: 2, count: 2 }));
    }

    #[test]
    fn each_vcpu_has_its_own_sgis_and_ppis() {
        let mut gic = Gic::new();
        gic.redistributor_write(SECOND, 0x1_0100, Width::U32, 0x0800_00ff);
        gic.redistributor_write(SECOND, 0x1_041b, Width::U8, 0xa7);
        assert_eq!(gic.redistributor_read(SECOND, 0x1_0180, Width::U32), 0x0800_00ff);
        assert_eq!(gic.redistributor_read(SECOND, 0x1_0418, Width::U32), 0xa000_0000);
        assert_eq!(gic.redistributor_read(FIRST, 0x1_0100, Width::U32), 0);
    }

    #[test]
    fn triggers_are_fixed() {
        let mut gic = Gic::new();
        gic.redistributor_write(FIRST, 0x1_0c00, Width::U64, 0x5555_5555_5555_5555);
        assert_eq!(gic.redistributor_read(FIRST, 0x1_0c00, Width::U64), 0xaaaa_aaaa);
    }

    #[test]
    fn other_banks_other_registers_and_other_vcpus_read_zero_and_ignore_writes() {
        let mut gic = Gic::new();
        for offset in
            [0x10, 0x40, 0x70, 0x78, 0x100, 0x1_0000, 0x1_0104, 0x1_0084, 0x1_0420, 0x1_0c08, 0x1_0d00, 0x1_0e00, 0x1_ffe8, 0x2_0080]
        {
            gic.redistributor_write(FIRST, offset, Width::U32, 0xffff_ffff);
            assert_eq!(gic.redistributor_read(FIRST, offset, Width::U32), 0, "{offset:#x}");
        }
        gic.redistributor_write(ABSENT, 0x1_0100, Width::U32, 0xffff_ffff);
        assert_eq!(gic.redistributor_read(ABSENT, gicr::PIDR2, Width::U32), 0);
        assert_eq!(gic, Gic::new());
    }
}
