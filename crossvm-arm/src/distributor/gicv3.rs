//! The distributor of version 3: `GICD_*` (IHI 0069 §12.8, §12.9).

use crate::lanes::Lanes;
use crate::registers::Register;
use crate::spec::{DistributorControl, DistributorType, IIDR_VALUE, PIDR2_VALUE, Route, gicd, message};
use crate::{Vgic, bank};

/// `GICD_TYPER.IDbits`: INTIDs have 10 bits, for there are no LPIs.
const INTID_BITS: u8 = 10;

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    pub(super) fn word_v3(&self, offset: u32) -> u32 {
        match offset {
            gicd::CTLR => self.control_v3().into_bits(),
            gicd::TYPER => self.type_v3().into_bits(),
            gicd::IIDR => IIDR_VALUE,
            gicd::PIDR2 => PIDR2_VALUE,
            gicd::IROUTER..gicd::IROUTER_END => match router(offset) {
                Some((word, index)) => self.spi(word).map_or(0, |spi| spi.route(index).into_bits()),
                None => 0,
            },
            // The bank of SGIs and PPIs is in the redistributors, for affinity routing is always on.
            _ => match Register::at(offset) {
                Some((word, register)) => self.spi(word).map_or(0, |spi| register.read(&spi.bank)),
                None => 0,
            },
        }
    }

    pub(super) fn set_word_v3(&mut self, offset: u32, lanes: Lanes) {
        match offset {
            gicd::CTLR => {
                let control = DistributorControl::from_bits(lanes.merge(self.control_v3().into_bits()));
                self.forward(control.enable_group0(), control.enable_group1());
            }
            // With one Security state, only the registers of the Non-secure one exist.
            message::SETSPI => self.write_setspi(lanes),
            message::CLRSPI => self.write_clrspi(lanes),
            gicd::IROUTER..gicd::IROUTER_END => {
                if let Some((word, index)) = router(offset)
                    && let Some(spi) = self.spi_mut(word)
                    && spi.bank.implemented & bank::bit(index) != 0
                {
                    let route = Route::from_bits(lanes.merge(spi.route(index).into_bits()));
                    spi.set_route(index, route);
                    self.changed_shared(word, bank::bit(index), None);
                }
            }
            _ => {
                if let Some((word, register)) = Register::at(offset) {
                    self.set_spi_register(word, register, lanes);
                }
            }
        }
    }

    /// `GICD_TYPER`: SPIs, 1 of N routing, messages where there are any; all else that can be absent is.
    const fn type_v3(&self) -> DistributorType {
        #[expect(clippy::cast_possible_truncation, reason = "at most 31")]
        let lines = const { SPI_WORDS as u8 & 0x1f };
        let with_lines = const { DistributorType::new().with_intid_bits(INTID_BITS - 1) }.into_bits() | lines as u32;
        DistributorType::from_bits(with_lines).with_message_spis(self.messages.is_some())
    }

    const fn control_v3(&self) -> DistributorControl {
        DistributorControl::new()
            .with_enable_group0(self.forwarded.zero)
            .with_enable_group1(self.forwarded.one)
            .with_affinity_routing(true)
            .with_disable_security(true)
    }
}

/// The word of 32 interrupts, and the interrupt in it, of the `IROUTER` whose lower half is at `offset`; `None` for the upper half, which
/// is reserved where `GICD_TYPER.A3V` is 0.
const fn router(offset: u32) -> Option<(usize, u32)> {
    let index = offset.wrapping_sub(gicd::IROUTER) >> 3;
    if offset & 4 == 0 { Some(((index >> 5) as usize, index & 31)) } else { None }
}

#[cfg(test)]
mod tests {
    use crossvm_core::Width;

    use super::*;
    use crate::testing::FIRST;

    type Gic = Vgic<2, 2>;

    #[test]
    fn control_has_affinity_routing_and_one_security_state_and_stores_the_group_enables() {
        let mut gic = Gic::new();
        assert_eq!(gic.distributor_read(FIRST, 0, Width::U32), 0x50);
        gic.distributor_write(FIRST, 0, Width::U32, 0xffff_ffff);
        assert_eq!(gic.distributor_read(FIRST, 0, Width::U32), 0x53);
        gic.distributor_write(FIRST, 0, Width::U32, 0x12);
        assert_eq!(gic.distributor_read(FIRST, 0, Width::U32), 0x52);
    }

    #[test]
    fn type_tells_the_number_of_interrupts_and_that_there_are_no_lpis() {
        let typer = DistributorType::from_bits(u32::try_from(Gic::new().distributor_read(FIRST, gicd::TYPER, Width::U32)).unwrap());
        assert_eq!((typer.lines(), typer.intid_bits()), (2, 9));
        assert!(!typer.lpis() && !typer.message_spis() && !typer.no_one_of_n() && !typer.affinity3() && !typer.range_selector());
        let largest =
            DistributorType::from_bits(u32::try_from(Vgic::<1, 31>::new().distributor_read(FIRST, gicd::TYPER, Width::U32)).unwrap());
        assert_eq!(largest.lines(), 31);
    }

    #[test]
    fn identification_says_gicv3() {
        let gic = Gic::new();
        assert_eq!(gic.distributor_read(FIRST, gicd::PIDR2, Width::U32) & 0xf0, 0x30);
        assert_eq!(gic.distributor_read(FIRST, gicd::IIDR, Width::U32) & 0xfff, 0x43b);
    }

    #[test]
    fn enable_registers_set_and_clear() {
        let mut gic = Gic::new();
        gic.distributor_write(FIRST, 0x104, Width::U32, 0x8000_0101);
        gic.distributor_write(FIRST, 0x184, Width::U32, 0x0000_0001);
        assert_eq!(gic.distributor_read(FIRST, 0x104, Width::U32), 0x8000_0100);
        assert_eq!(gic.distributor_read(FIRST, 0x184, Width::U32), 0x8000_0100);
        // A byte write touches its 8 interrupts only; an 8-byte write both words.
        gic.distributor_write(FIRST, 0x185, Width::U8, 0xff);
        gic.distributor_write(FIRST, 0x104, Width::U64, 0x0000_0002_0000_0004);
        assert_eq!(gic.distributor_read(FIRST, 0x104, Width::U64), 0x0000_0002_8000_0004);
    }

    #[test]
    fn the_bank_of_sgis_and_ppis_and_banks_beyond_the_last_read_zero_and_ignore_writes() {
        let mut gic = Gic::new();
        for offset in [0x80, 0x100, 0x200, 0x300, 0x400, 0xc00, 0x6000, 0x8c, 0x10c, 0x20c, 0x30c, 0x460, 0xc18, 0x6300] {
            gic.distributor_write(FIRST, offset, Width::U32, 0xffff_ffff);
            assert_eq!(gic.distributor_read(FIRST, offset, Width::U32), 0, "{offset:#x}");
        }
        assert_eq!(gic, Gic::new());
    }

    #[test]
    fn reserved_registers_read_zero_and_ignore_writes() {
        let mut gic = Gic::new();
        // STATUSR, SETSPI_NSR, CLRSPI_SR, ITARGETSR, IGRPMODR, NSACR, SGIR, CPENDSGIR, SPENDSGIR, PIDR0, the gaps.
        for offset in [0x0c, 0x10, 0x40, 0x58, 0x820, 0xd04, 0xe04, 0xf00, 0xf10, 0xf20, 0xffe0, 0x7fe0, 0x8000, 0xfffc, 0x1_0000] {
            gic.distributor_write(FIRST, offset, Width::U64, u64::MAX);
            if offset != 0xffe0 {
                assert_eq!(gic.distributor_read(FIRST, offset, Width::U32), 0, "{offset:#x}");
            }
        }
        assert_eq!(gic, Gic::new());
    }

    #[test]
    fn priorities_are_bytes_of_32_levels() {
        let mut gic = Gic::new();
        gic.distributor_write(FIRST, 0x420, Width::U32, 0xa0a0_a0ff);
        gic.distributor_write(FIRST, 0x421, Width::U8, 0x57);
        assert_eq!(gic.distributor_read(FIRST, 0x420, Width::U32), 0xa0a0_50f8);
        assert_eq!(gic.distributor_read(FIRST, 0x423, Width::U8), 0xa0);
    }

    #[test]
    fn configuration_holds_the_edge_bit_only() {
        let mut gic = Gic::new();
        gic.distributor_write(FIRST, 0xc0c, Width::U32, 0xffff_fffd);
        assert_eq!(gic.distributor_read(FIRST, 0xc0c, Width::U32), 0xaaaa_aaa8);
        assert_eq!(gic.distributor_read(FIRST, 0xc08, Width::U32), 0);
    }

    #[test]
    fn routes_are_written_whole_or_in_halves_without_affinity_3() {
        let mut gic = Gic::new();
        gic.distributor_write(FIRST, 0x6108, Width::U64, u64::MAX);
        assert_eq!(gic.distributor_read(FIRST, 0x6108, Width::U64), 0x80ff_ffff);
        gic.distributor_write(FIRST, 0x6108, Width::U32, 1);
        gic.distributor_write(FIRST, 0x610c, Width::U32, 1);
        assert_eq!(gic.distributor_read(FIRST, 0x6108, Width::U64), 1);
        assert_eq!((gic.distributor_read(FIRST, 0x6108, Width::U32), gic.distributor_read(FIRST, 0x610c, Width::U32)), (1, 0));
    }

    #[test]
    fn the_special_intids_do_not_exist() {
        let mut gic = Vgic::<1, 31>::new();
        for offset in [0x0fc, 0x17c, 0x27c, 0x37c] {
            gic.distributor_write(FIRST, offset, Width::U32, 0xffff_ffff);
            assert_eq!(gic.distributor_read(FIRST, offset, Width::U32), 0x0fff_ffff, "{offset:#x}");
        }
        for (offset, expected) in [(0x7f8, 0xf8f8_f8f8), (0x7fc, 0), (0xcfc, 0x00aa_aaaa), (0x7fd8, 0x80ff_ffff), (0x7fe0, 0)] {
            gic.distributor_write(FIRST, offset, Width::U32, 0xffff_ffff);
            assert_eq!(gic.distributor_read(FIRST, offset, Width::U32), expected, "{offset:#x}");
        }
    }
}
