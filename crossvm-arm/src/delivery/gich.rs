//! List registers of a `GICv2`: the frame `GICH` in memory.

use crate::delivery::ListRegisters;
use crate::delivery::queue::MOST_REGISTERS;
use crate::spec::gicv2::{GichListRegister, VgicType, gich};
use crate::spec::{HypervisorControl, ListRegister, MachineControl};

/// How to reach the virtual interface control block of a physical CPU: `GICH_*`, 4 KiB. It is banked: each CPU finds its own.
pub trait GichFrame {
    /// Reads the 32-bit register at `offset` (bytes).
    fn read(&self, offset: u32) -> u32;

    /// Writes the 32-bit register at `offset` (bytes).
    fn write(&mut self, offset: u32, value: u32);
}

/// The [`ListRegisters`] of a `GICv2`.
///
/// They hold what a guest of version 2 needs: who sent an SGI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Gich<F> {
    frame: F,
}

impl<F: GichFrame> Gich<F> {
    /// The list registers in `frame`.
    #[must_use]
    pub const fn new(frame: F) -> Self {
        Self { frame }
    }

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> &F {
        &self.frame
    }

    /// As [`frame`](Self::frame).
    #[must_use]
    pub const fn frame_mut(&mut self) -> &mut F {
        &mut self.frame
    }

    /// Empties all list registers, forgets what the guest has active and has its CPU interface at reset: before the first vCPU is loaded on
    /// this CPU, and when a vCPU is reset.
    pub fn clear(&mut self) {
        // Those beyond the ones that are used too.
        for index in 0..=usize::from(self.vgic_type().list_registers()) {
            self.frame.write(list_register(index), 0);
        }
        for offset in [gich::HCR, gich::APR, gich::VMCR] {
            self.frame.write(offset, 0);
        }
    }

    fn vgic_type(&self) -> VgicType {
        VgicType::from_bits(self.frame.read(gich::VTR))
    }
}

impl<F: GichFrame> ListRegisters for Gich<F> {
    fn count(&self) -> usize {
        // There may be 64; more than 16 would not be used.
        usize::from(self.vgic_type().list_registers()).saturating_add(1).min(MOST_REGISTERS)
    }

    fn read(&self, index: usize) -> ListRegister {
        GichListRegister::from_bits(self.frame.read(list_register(index))).into()
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        self.frame.write(list_register(index), GichListRegister::from(value).into_bits());
    }

    fn control(&self) -> HypervisorControl {
        HypervisorControl::from_gich(self.frame.read(gich::HCR))
    }

    fn set_control(&mut self, value: HypervisorControl) {
        self.frame.write(gich::HCR, value.to_gich());
    }

    fn machine_control(&self) -> MachineControl {
        MachineControl::from_bits(self.frame.read(gich::VMCR).into())
    }
}

/// Offset of a list register in the frame.
fn list_register(index: usize) -> u32 {
    gich::LR.saturating_add(u32::try_from(index).unwrap_or(0).saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Group, State};
    use crate::testing::{FIRST, booted_v2, spi};

    /// The frame as memory, with as many list registers as `VTR` says.
    struct Memory([u32; 0x80]);

    impl GichFrame for Memory {
        fn read(&self, offset: u32) -> u32 {
            self.0[offset as usize / 4]
        }

        fn write(&mut self, offset: u32, value: u32) {
            self.0[offset as usize / 4] = value;
        }
    }

    fn with_type(value: u32) -> Gich<Memory> {
        let mut memory = Memory([0; 0x80]);
        memory.write(0x4, value);
        Gich::new(memory)
    }

    #[test]
    fn the_type_tells_how_many_list_registers_there_are_and_16_are_used_at_most() {
        assert_eq!([0x9000_0003, 0, 0x9000_000f, 0x9000_001f].map(|value| with_type(value).count()), [4, 1, 16, 16]);
    }

    #[test]
    fn an_interrupt_is_in_the_frame_while_the_guest_runs() {
        let (mut gic, mut gich) = (booted_v2(), with_type(0x9000_0003));
        gich.frame_mut().write(0x8, 1);
        gic.set_spi_level(spi(40), crossvm_core::Level::High).unwrap();
        gic.load(FIRST, &mut gich);
        assert_eq!((gich.frame().read(0x100), gich.frame().read(0x0)), (0x1a08_0028, 1));
        let expected = ListRegister::new().with_virtual_intid(40).with_priority(0xa0).with_group(Group::Zero).with_state(State::Pending);
        assert_eq!(gich.read(0), expected.with_physical_intid(ListRegister::MAINTENANCE_ON_EOI));
        gich.frame_mut().write(0x100, 0x2a08_0028);
        gic.save(FIRST, &mut gich);
        assert_eq!((gich.frame().read(0x100), gic.distributor_read(FIRST, 0x304, crossvm_core::Width::U32)), (0, 1 << 8));
        assert!(gich.machine_control().enable_group0() && !gich.machine_control().enable_group1());
    }

    #[test]
    fn clearing_leaves_nothing_in_the_frame() {
        let mut gich = with_type(0x9000_001f);
        for offset in (0..0x180).step_by(4).filter(|offset| *offset != 4) {
            gich.frame_mut().write(offset, u32::MAX);
        }
        gich.clear();
        let left = |offset: &u32| gich.frame().read(*offset) != 0;
        // 32 list registers end at 0x180.
        assert_eq!([0x0, 0x8, 0xf0, 0x100, 0x140, 0x17c].iter().filter(|offset| left(offset)).count(), 0);
        assert!(left(&0x4) && left(&0x10));
    }
}
