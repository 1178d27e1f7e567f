//! The seL4 backend on a kernel whose answers nobody knows.

use core::cell::RefCell;
use core::hint::black_box;
use core::sync::atomic::AtomicU32;

use crossvm_arm::{VcpuId, Vgic};
use crossvm_core::{EventId, EventPage, EventSet, FrameSize, GuestAddr, GuestMemory, GuestRange, Mapping, MemoryType, Notifier, Rights};
use crossvm_sel4::kernel::{
    ArmVcpus, Attributes, Badge, CPtr, CapRights, Code, Kernel, KernelError, Label, Message, Object, Received, Space, VcpuRegister,
    VirtualInterrupt,
};
use crossvm_sel4::vspace::{Place, WindowWords};
use crossvm_sel4::{BadgeSet, Frame, FrameDataport, FrameKind, NotificationNotifier, ObjectPool, VSpace, VcpuInjector, WindowSpace};

#[derive(Clone, Copy)]
pub(crate) struct Opaque;

/// Success or any failure.
pub(crate) fn opaque<T>(of: T) -> Result<(), KernelError> {
    black_box(of);
    match black_box(0) {
        0 => Ok(()),
        code => Err(KernelError { code: Code::from_raw(code), missing_table: black_box(Some(21)) }),
    }
}

fn received() -> Received {
    let label = match black_box(0) {
        0 => Label::VgicMaintenance,
        1 => Label::VppiEvent,
        other => Label::Other(other),
    };
    let mut words = heapless::Vec::new();
    let _ = words.push(black_box(1));
    Received { badge: Badge::new(black_box(1)), message: Message { label, words } }
}

impl Kernel for Opaque {
    fn signal(&self, notification: CPtr) {
        black_box(notification);
    }
    fn wait(&self, notification: CPtr) -> Badge {
        Badge::new(black_box(notification.raw()))
    }
    fn poll(&self, notification: CPtr) -> Badge {
        Badge::new(black_box(notification.raw()))
    }
    fn copy(&self, from: CPtr, to: CPtr, rights: CapRights) -> Result<(), KernelError> {
        opaque((from, to, rights))
    }
    fn mint(&self, from: CPtr, to: CPtr, rights: CapRights, badge: Badge) -> Result<(), KernelError> {
        opaque((from, to, rights, badge))
    }
    fn badge_bits(&self) -> u8 {
        black_box(28)
    }
    fn delete(&self, slot: CPtr) -> Result<(), KernelError> {
        opaque(slot)
    }
    fn revoke(&self, slot: CPtr) -> Result<(), KernelError> {
        opaque(slot)
    }
    fn retype(&self, untyped: CPtr, object: Object, to: CPtr) -> Result<(), KernelError> {
        opaque((untyped, object, to))
    }
    fn object_bits(&self, object: Object) -> u8 {
        black_box(object);
        black_box(12)
    }
    fn map_frame(&self, frame: CPtr, space: Space, at: u64, rights: CapRights, attributes: Attributes) -> Result<(), KernelError> {
        opaque((frame, space, at, rights, attributes))
    }
    fn unmap_frame(&self, frame: CPtr) -> Result<(), KernelError> {
        opaque(frame)
    }
    fn frame_address(&self, frame: CPtr) -> Result<u64, KernelError> {
        opaque(frame).map(|()| black_box(1))
    }
    fn map_table(&self, table: CPtr, bits: u8, space: Space, at: u64) -> Result<(), KernelError> {
        opaque((table, bits, space, at))
    }
    fn unmap_table(&self, table: CPtr, bits: u8, space: Space) -> Result<(), KernelError> {
        opaque((table, bits, space))
    }
    fn assign_asid(&self, pool: CPtr, root: CPtr) -> Result<(), KernelError> {
        opaque((pool, root))
    }
    fn receive(&self, endpoint: CPtr) -> Received {
        black_box(endpoint);
        received()
    }
    fn try_receive(&self, endpoint: CPtr) -> Option<Received> {
        black_box(endpoint);
        Some(received())
    }
    fn reply(&self, answer: &Message) {
        black_box(answer.words.len());
    }
}

impl ArmVcpus for Opaque {
    fn list_registers(&self) -> usize {
        black_box(4)
    }
    fn set_tcb(&self, vcpu: CPtr, tcb: CPtr) -> Result<(), KernelError> {
        opaque((vcpu, tcb))
    }
    fn inject(&self, vcpu: CPtr, interrupt: VirtualInterrupt) -> Result<(), KernelError> {
        opaque((vcpu, interrupt))
    }
    fn acknowledge_private(&self, vcpu: CPtr, intid: u64) -> Result<(), KernelError> {
        opaque((vcpu, intid))
    }
    fn read_register(&self, vcpu: CPtr, register: VcpuRegister) -> Result<u64, KernelError> {
        opaque((vcpu, register)).map(|()| black_box(1))
    }
    fn write_register(&self, vcpu: CPtr, register: VcpuRegister, value: u64) -> Result<(), KernelError> {
        opaque((vcpu, register, value))
    }
}

pub(crate) struct Window;

pub(crate) struct Words([AtomicU32; 16]);

impl WindowWords for Words {
    fn words(&self) -> &[AtomicU32] {
        black_box(&self.0)
    }
}

impl WindowSpace for Window {
    type Words = Words;

    fn root(&self) -> CPtr {
        CPtr::new(black_box(3))
    }
    fn window(&self) -> (u64, u64) {
        (black_box(0x1000), black_box(0x20_0000))
    }
    fn words(&self, place: &Place) -> Words {
        black_box(place.address());
        Words([const { AtomicU32::new(0) }; 16])
    }
}

/// What a guest causes when it moves its BARs, emits, is signalled and ends its interrupts.
pub(crate) fn backend(gic: &mut Vgic<2, 2>) {
    let Ok(mut pool) = ObjectPool::<_, 8, 64>::new(Opaque, CPtr::new(black_box(100)), black_box(500)) else { return };
    black_box(pool.add_untyped(CPtr::new(black_box(9)), black_box(24)).is_ok());
    let pool = RefCell::new(pool);
    let space = if black_box(true) { Space::Virtual(CPtr::new(1)) } else { Space::Ept(CPtr::new(1)) };
    let Ok(memory) = VSpace::<_, _, _, 16, 16>::new(Opaque, &pool, space, Window) else { return };
    let Some(range) = GuestRange::new(GuestAddr::new(black_box(0)), black_box(0x1000)) else { return };
    let Ok(mut memory) = memory.with_address_bits(black_box(40)).with_taken(black_box(range)) else { return };
    let size = FrameSize::from_bytes(black_box(4096)).unwrap_or(FrameSize::KIB_4);
    let kind = FrameKind::of_size(size).unwrap_or(FrameKind::Small);
    let frames = [Frame::new(CPtr::new(black_box(7)), kind), Frame::new(CPtr::new(black_box(8)), kind)];
    black_box(FrameDataport::checked(&Opaque, &frames[..black_box(2).min(2)]).is_ok());
    black_box(memory.reserve(range).is_ok());
    let mapping = Mapping { size, rights: black_box(Rights::Read), memory_type: MemoryType::WriteBack };
    black_box(memory.map(GuestAddr::new(black_box(0)), &frames, mapping).is_ok());
    let page = memory.create_event_page(size);
    if let Ok(page) = &page {
        page.published(black_box(1));
        black_box(memory.map(GuestAddr::new(black_box(0)), core::slice::from_ref(page.frame()), mapping).is_ok());
    }
    memory.unmap(black_box(range));
    memory.release(black_box(range));
    if let Ok(page) = page {
        memory.destroy_event_page(page);
    }
    memory.close();
    if let Some(event) = EventId::new(black_box(3)) {
        let notifier = NotificationNotifier::mint(Opaque, CPtr::new(1), CPtr::new(2), event);
        black_box(notifier.is_ok_and(|notifier| notifier.notify().is_ok()));
    }
    black_box(BadgeSet::new(EventSet::from_word(black_box(1))).events(Opaque.poll(CPtr::new(1))));
    let Some(vcpu) = VcpuId::new(black_box(0)) else { return };
    let mut injector = VcpuInjector::new(Opaque, CPtr::new(black_box(5)));
    gic.load(vcpu, &mut injector);
    black_box(injector.serve(gic, vcpu, &received().message));
    gic.save(vcpu, &mut injector);
    black_box((injector.in_flight(), injector.take_failure()));
}
