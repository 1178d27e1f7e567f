//! A monitor of Microkit, with calls whose answers nobody knows.

use core::hint::black_box;

use crossvm_arm::{VcpuId, Vgic};
use crossvm_core::{Dataport, EventPage, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Notifier, Rights};
use crossvm_sel4::VcpuInjector;
use crossvm_sel4::kernel::{KernelError, VcpuRegister, VirtualInterrupt};
use crossvm_sel4::microkit::{Channel, ChannelNotifier, FixedMemory, MicrokitCalls, MicrokitVcpus, RegionDataport, VcpuNumber};

use crate::sel4::{Opaque, Window, opaque};

impl MicrokitCalls for Opaque {
    fn notify(&self, channel: Channel) {
        black_box(channel);
    }
    fn list_registers(&self) -> usize {
        black_box(4)
    }
    fn inject(&self, vcpu: VcpuNumber, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        opaque((vcpu, interrupt))
    }
    fn acknowledge_private(&self, vcpu: VcpuNumber, intid: u64) -> Result<(), KernelError> {
        opaque((vcpu, intid))
    }
    fn read_register(&self, vcpu: VcpuNumber, register: VcpuRegister) -> Result<u64, KernelError> {
        opaque((vcpu, register)).map(|()| black_box(1))
    }
    fn write_register(&self, vcpu: VcpuNumber, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        opaque((vcpu, register, value))
    }
}

/// What a guest causes when it moves its BARs, emits and is interrupted.
pub(crate) fn monitor(gic: &mut Vgic<2, 2>) {
    let (Some(range), Some(vcpu)) = (GuestRange::new(GuestAddr::new(black_box(0x1000)), black_box(0x3000)), VcpuId::new(black_box(0)))
    else {
        return;
    };
    let size = FrameSize::from_bytes(black_box(4096)).unwrap_or(FrameSize::KIB_4);
    let memory = FixedMemory::<_, 8>::new(Window, GuestAddr::new(black_box(0x1_0000)), size);
    let Ok(memory) = memory.with_taken(black_box(range)) else { return };
    let Ok(mut memory) = memory.with_region(black_box(range), black_box(Rights::Read)) else { return };
    black_box(memory.reserve(black_box(range)).is_ok());
    let mapping = Mapping { size, rights: black_box(Rights::Read), memory_type: MemoryType::WriteBack };
    if let Some(dataport) = RegionDataport::new(black_box(range)) {
        black_box(dataport.fixed_at());
        black_box(memory.map(GuestAddr::new(black_box(0x1000)), dataport.frames(), mapping).is_ok());
    }
    if let Ok(page) = memory.create_event_page(size) {
        page.published(black_box(1));
        black_box(memory.map(GuestAddr::new(black_box(0x1_0000)), core::slice::from_ref(page.frame()), mapping).is_ok());
        memory.unmap(black_box(range));
        memory.destroy_event_page(page);
    }
    memory.unmap(black_box(range));
    memory.release(black_box(range));
    if let Some(channel) = Channel::new(black_box(3)) {
        black_box(channel.event());
        black_box(ChannelNotifier::new(Opaque, channel).notify().is_ok());
    }
    let Some(number) = VcpuNumber::new(black_box(0)) else { return };
    let mut injector = VcpuInjector::new(MicrokitVcpus(Opaque), number.pointer());
    gic.load(vcpu, &mut injector);
    black_box(injector.take_failure());
}
