//! The values of `crossvm-arm`.

use crossvm_arm::spec::gicv2::{self, Deactivation, GichListRegister, SoftwareInterrupt, TargetFilter, VgicType};
use crossvm_arm::spec::message::{FrameType, MessageData};
use crossvm_arm::spec::{
    DistributorControl, DistributorType, Group, HypervisorControl, ListRegister, MachineControl, RedistributorType, Route, SgiRequest,
    State, Waker,
};
use crossvm_arm::{Error, Gich, GichFrame, IntId, Messages, PhysicalIntId, Ppi, Spi, SpiRange, VcpuId, VcpuSet, Version, Vgic};
use crossvm_core::GuestAddr;

use crate::values::show;

/// A frame with four list registers, all empty.
#[derive(defmt::Format)]
struct Frame;

impl GichFrame for Frame {
    fn read(&self, _offset: u32) -> u32 {
        3
    }

    fn write(&mut self, _offset: u32, _value: u32) {}
}

/// Logs all of them.
pub(crate) fn log() {
    names();
    models();
    version_3();
    version_2();
    errors();
}

fn spi() -> Spi {
    Spi::new(40).expect("32 to 1019")
}

fn names() {
    let vcpu = VcpuId::new(5).expect("below 8");
    show(&IntId::from(spi()));
    show(&Ppi::new(27).expect("16 to 31"));
    show(&spi());
    show(&SpiRange::new(spi(), 8).expect("they exist"));
    show(&PhysicalIntId::new(30).expect("16 to 1019"));
    show(&vcpu);
    show(&VcpuSet::EMPTY.with(vcpu));
}

fn models() {
    show(&Version::V2);
    show(&Version::V3);
    show(&Messages::new(GuestAddr::new(0x0802_0000), SpiRange::new(spi(), 8).expect("they exist")));
    show(&Vgic::<2, 3>::with_version(Version::V2));
    show(&Gich::new(Frame));
}

fn version_3() {
    show(&DistributorControl::new().with_enable_group1(true).with_affinity_routing(true));
    show(&DistributorType::new().with_lines(3).with_message_spis(true).with_intid_bits(9));
    show(&Route::new().with_affinity(2));
    show(&RedistributorType::new().with_last(true).with_processor_number(1).with_affinity(1));
    show(&Waker::new().with_processor_sleep(true));
    show(&SgiRequest::new().with_target_list(3).with_intid(9));
    show(&Group::One);
    show(&State::PendingActive);
    let register = ListRegister::new().with_virtual_intid(40).with_priority(0xa0).with_group(Group::One).with_state(State::Pending);
    show(&register);
    show(&HypervisorControl::new().with_enable(true).with_eoi_count(2));
    show(&MachineControl::new().with_enable_group0(true));
}

fn version_2() {
    show(&gicv2::DistributorControl::new().with_enable_group0(true));
    show(&gicv2::DistributorType::new().with_lines(3).with_cpus(1));
    show(&TargetFilter::AllButSelf);
    show(&SoftwareInterrupt::new().with_intid(3).with_target_list(2));
    show(&Deactivation::new().with_intid(3).with_source(1));
    show(&VgicType::new().with_list_registers(3).with_priority_bits(4));
    show(&GichListRegister::new().with_virtual_id(3).with_physical_id(1).with_priority(20).with_state(State::Active));
    show(&FrameType::new().with_first(64).with_count(32));
    show(&MessageData::new().with_intid(70));
}

fn errors() {
    show(&Error::NoSuchInterrupt { intid: 200, end: 128 });
    show(&Error::ForMessages { intid: 70 });
    show(&Error::NoSuchVcpu { index: 3, count: 2 });
}
