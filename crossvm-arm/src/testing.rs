//! What the unit tests share: list registers in memory, and a guest that has set everything up.

use crossvm_core::Width;

use crate::spec::{HypervisorControl, ListRegister, MachineControl, State};
use crate::{ListRegisters, Ppi, Spi, VcpuId, Version, Vgic};

pub(crate) const FIRST: VcpuId = VcpuId::new(0).unwrap();
pub(crate) const SECOND: VcpuId = VcpuId::new(1).unwrap();
pub(crate) const THIRD: VcpuId = VcpuId::new(2).unwrap();
pub(crate) const TIMER: Ppi = Ppi::new(27).unwrap();

/// A VM with three vCPUs and 64 SPIs.
pub(crate) type Gic = Vgic<3, 2>;

pub(crate) fn spi(intid: u32) -> Spi {
    Spi::new(intid).unwrap()
}

/// A virtual CPU interface of `N` registers. The test plays the guest.
#[derive(Debug)]
pub(crate) struct Registers<const N: usize> {
    pub(crate) list: [ListRegister; N],
    pub(crate) control: HypervisorControl,
    pub(crate) machine: MachineControl,
}

impl<const N: usize> Registers<N> {
    /// With both groups enabled.
    pub(crate) fn new() -> Self {
        let machine = MachineControl::new().with_enable_group0(true).with_enable_group1(true);
        Self { list: [ListRegister::EMPTY; N], control: HypervisorControl::new(), machine }
    }

    /// INTIDs and states, as far as registers are in use.
    pub(crate) fn contents(&self) -> std::vec::Vec<(u32, State)> {
        self.list
            .iter()
            .map(|register| (register.virtual_intid(), register.state()))
            .filter(|(_, state)| *state != State::Inactive)
            .collect()
    }

    /// The guest does something to the register of `intid`.
    pub(crate) fn set(&mut self, intid: u32, state: State) {
        let register = self.list.iter_mut().find(|register| register.virtual_intid() == intid && register.state() != State::Inactive);
        register.unwrap().set_state(state);
    }

    /// The register of `intid`.
    pub(crate) fn of(&self, intid: u32) -> ListRegister {
        *self.list.iter().find(|register| register.virtual_intid() == intid && register.state() != State::Inactive).unwrap()
    }

    /// The guest ends `count` interrupts that no register holds.
    pub(crate) fn end_absent(&mut self, count: u8) {
        self.control.set_eoi_count(count);
    }
}

impl<const N: usize> ListRegisters for Registers<N> {
    fn count(&self) -> usize {
        N
    }

    fn read(&self, index: usize) -> ListRegister {
        self.list[index]
    }

    fn write(&mut self, index: usize, value: ListRegister) {
        self.list[index] = value;
    }

    fn control(&self) -> HypervisorControl {
        self.control
    }

    fn set_control(&mut self, value: HypervisorControl) {
        self.control = value;
    }

    fn machine_control(&self) -> MachineControl {
        self.machine
    }
}

/// What a guest does at boot: everything awake, in group 1, enabled, of priority 0xa0.
pub(crate) fn booted() -> Gic {
    let mut gic = Gic::new();
    gic.distributor_write(FIRST, 0, Width::U32, 3);
    for word in [4, 8] {
        gic.distributor_write(FIRST, 0x80 + word, Width::U32, 0xffff_ffff);
        gic.distributor_write(FIRST, 0x100 + word, Width::U32, 0xffff_ffff);
    }
    (0x420..0x460).for_each(|offset| gic.distributor_write(FIRST, offset, Width::U8, 0xa0));
    for vcpu in [FIRST, SECOND, THIRD] {
        gic.redistributor_write(vcpu, 0x14, Width::U32, 0);
        gic.redistributor_write(vcpu, 0x1_0080, Width::U32, 0xffff_ffff);
        gic.redistributor_write(vcpu, 0x1_0100, Width::U32, 0xffff_ffff);
        (0x1_0400..0x1_0420).for_each(|offset| gic.redistributor_write(vcpu, offset, Width::U8, 0xa0));
    }
    assert!(gic.take_kicks().is_empty());
    gic
}

/// The same for version 2: everything enabled, of priority 0xa0, in group 0.
pub(crate) fn booted_v2() -> Gic {
    let mut gic = Gic::with_version(Version::V2);
    gic.distributor_write(FIRST, 0, Width::U32, 3);
    gic.distributor_write(FIRST, 0x104, Width::U64, u64::MAX);
    (0x420..0x460).for_each(|offset| gic.distributor_write(FIRST, offset, Width::U8, 0xa0));
    for vcpu in [FIRST, SECOND, THIRD] {
        gic.distributor_write(vcpu, 0x100, Width::U32, 0xffff_ffff);
        (0x400..0x420).for_each(|offset| gic.distributor_write(vcpu, offset, Width::U8, 0xa0));
    }
    assert!(gic.take_kicks().is_empty());
    gic
}

pub(crate) fn set_priority(gic: &mut Gic, intid: u32, priority: u8) {
    gic.distributor_write(FIRST, 0x400 + intid, Width::U8, priority.into());
}

pub(crate) fn set_edge(gic: &mut Gic, intid: u32) {
    let offset = 0xc00 + intid / 4;
    let old = gic.distributor_read(FIRST, offset, Width::U8);
    gic.distributor_write(FIRST, offset, Width::U8, old | 0b10 << (intid % 4 * 2));
}

/// The guest writes the bit of SPI `intid` in the set or clear registers at `base`.
pub(crate) fn set_bit(gic: &mut Gic, base: u32, intid: u32) {
    gic.distributor_write(FIRST, base + intid / 32 * 4, Width::U32, 1 << (intid % 32));
}

/// The bit of SPI `intid` in the registers at `base`.
pub(crate) fn bit(gic: &Gic, base: u32, intid: u32) -> bool {
    gic.distributor_read(FIRST, base + intid / 32 * 4, Width::U32) >> (intid % 32) & 1 != 0
}
