//! Every entry point that a guest can reach, with inputs that the optimizer knows nothing of.

use core::hint::black_box;

use crossvm_arm::{Gich, Messages, PhysicalIntId, Ppi, Spi, SpiRange, VcpuId, Version, Vgic};
use crossvm_core::device::Name;
use crossvm_core::{
    Bdf, Config, ConfigAccess, ConfigEffect, Connection, CrossVm, EventId, EventSet, ExactId, GuestAccess, GuestAddr, GuestRange,
    InterruptController, Message, PciSpace, Rights, Width,
};
use crossvm_pci::{Cam, ConfigPorts, Ecam, HostBridge, PciBus};

use crate::stubs::{Bell, Frames, Irqs, Lists, Memory, Vm};

/// More connections than any sort or search handles as a special case.
type Connections = CrossVm<Vm, Frames, Bell, 64>;

unsafe extern "C" {
    /// Defined nowhere.
    fn a_guest_can_reach_a_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the program does not link where this call is left in it.
    unsafe { a_guest_can_reach_a_panic() }
}

/// Where the linker starts: it keeps what can be reached from here.
#[unsafe(no_mangle)]
extern "C" fn _start() {
    let Some(window) = GuestRange::new(GuestAddr::new(black_box(0x1000_0000)), black_box(0x1000_0000)) else { return };
    let Some(ecam) = Ecam::new(GuestAddr::new(black_box(0x3f00_0000)), black_box(16)) else { return };
    let mut vm = Vm { memory: Memory, pci: PciBus::new(HostBridge::default(), window), irqs: Irqs, gic: gic() };
    let mut connections = Connections::new(black_box(Config::default()));
    install(&mut vm, &mut connections);
    let mut ports = ConfigPorts::new();
    loop {
        connection(&mut vm, &mut connections);
        configuration(&mut vm, &mut connections, ecam);
        other_mechanisms(&mut vm, &mut connections, &mut ports);
        interrupts(&mut vm.gic);
        crate::sel4::backend(&mut vm.gic);
        crate::microkit::monitor(&mut vm.gic);
        crate::x86::vcpu();
        crate::chipset::controllers();
        crate::channel::ends();
        deliberate();
    }
}

/// Of either version, with messages or without.
fn gic() -> Vgic<2, 2> {
    let gic = Vgic::with_version(if black_box(true) { Version::V2 } else { Version::V3 });
    let range = Spi::new(black_box(64)).and_then(|first| SpiRange::new(first, black_box(8)));
    let Some(range) = range else { return gic };
    gic.with_messages(Messages::new(GuestAddr::new(black_box(0x0802_0000)), range)).unwrap_or_default()
}

fn install(vm: &mut Vm, connections: &mut Connections) {
    let (Some(name), Some(event)) = (Name::new(black_box("name")), EventId::new(black_box(3))) else { return };
    let Ok(connection) = Connection::new(name).with_dataport(Frames, Rights::ReadWrite) else { return };
    let Some(other) = Name::new(black_box("other")) else { return };
    let other = Connection::new(other).with_event(ExactId::new(black_box(4)));
    black_box(connections.install(vm, [connection.with_emit(Bell).with_event(event), other]).is_ok());
    let id = connections.connections().next();
    if let Some(id) = id.filter(|_| black_box(false)) {
        black_box(connections.remove(vm, id).is_ok());
    }
}

fn width() -> Width {
    black_box(Width::U32)
}

fn access() -> GuestAccess {
    let (at, value) = (GuestAddr::new(black_box(1)), black_box(2));
    let range = GuestRange::new(at, black_box(16));
    match (black_box(0u8), range) {
        (0, _) => GuestAccess::Read { at, width: width() },
        (1, Some(range)) => GuestAccess::UndecodedWrite(range),
        (2, Some(range)) => GuestAccess::UndecodedRead(range),
        _ => GuestAccess::Write { at, width: width(), value },
    }
}

fn connection(vm: &mut Vm, connections: &mut Connections) {
    black_box(connections.handle(vm, access()).is_ok());
    black_box(connections.consume(vm, EventSet::from_word(black_box(1))).is_ok());
    for event in [EventId::new(black_box(3)).map(Into::into), Some(ExactId::new(black_box(4)).into())].into_iter().flatten() {
        black_box(connections.consume_counted(vm, event, black_box(5)).is_ok());
    }
    black_box(connections.reset(vm).is_ok());
    black_box(connections.refresh(vm).is_ok());
}

fn configuration(vm: &mut Vm, connections: &mut Connections, ecam: Ecam) {
    black_box(ecam.read(&vm.pci, GuestAddr::new(black_box(0)), width()));
    let effect = ecam.write(&mut vm.pci, GuestAddr::new(black_box(0)), width(), black_box(0));
    apply(vm, connections, effect);
    let (bdf, access) = (Bdf::from_requester_id(black_box(8)), ConfigAccess { offset: black_box(4), width: width() });
    black_box(vm.pci.read(bdf, access));
    let effect = vm.pci.write(bdf, access, black_box(0));
    apply(vm, connections, effect);
}

fn other_mechanisms(vm: &mut Vm, connections: &mut Connections, ports: &mut ConfigPorts) {
    if let Some(cam) = Cam::new(GuestAddr::new(black_box(0x3f00_0000)), black_box(16)) {
        black_box(cam.read(&vm.pci, GuestAddr::new(black_box(0)), width()));
        let effect = cam.write(&mut vm.pci, GuestAddr::new(black_box(0)), width(), black_box(0));
        apply(vm, connections, effect);
    }
    black_box(ports.read(&vm.pci, black_box(0xcf8), width()));
    let effect = ports.write(&mut vm.pci, black_box(0xcfc), width(), black_box(0));
    apply(vm, connections, effect);
}

fn apply(vm: &mut Vm, connections: &mut Connections, effect: Option<ConfigEffect>) {
    if let Some(effect) = effect {
        black_box(connections.apply(vm, effect).is_ok());
    }
}

/// What the linker must find.
fn deliberate() {
    if cfg!(feature = "with-a-panic") && black_box(1) == 2 {
        panic!("reachable, as far as the optimizer knows");
    }
}

fn interrupts(gic: &mut Vgic<2, 2>) {
    let Some(vcpu) = VcpuId::new(black_box(0)) else { return };
    let mut lists = Lists([0; 4]);
    gic.save(vcpu, &mut lists);
    black_box(gic.distributor_read(vcpu, black_box(0), width()));
    gic.distributor_write(vcpu, black_box(0), width(), black_box(0));
    black_box(gic.redistributor_read(vcpu, black_box(0), width()));
    gic.redistributor_write(vcpu, black_box(0), width(), black_box(0));
    gic.write_sgi1r(vcpu, black_box(0));
    gic.write_sgi0r(vcpu, black_box(0));
    gic.write_asgi1r(vcpu, black_box(0));
    gic.write_dir(vcpu, black_box(0));
    black_box((gic.distributor_holders(vcpu, black_box(0), width()), gic.redistributor_holders(vcpu, black_box(0), width())));
    black_box(gic.cpu_interface_read(vcpu, black_box(0), width()));
    gic.cpu_interface_write(vcpu, black_box(0), width(), black_box(0));
    black_box(gic.message_frame_read(black_box(0), width()));
    gic.message_frame_write(black_box(0), width(), black_box(0));
    black_box(gic.reset_vcpu(vcpu).is_ok());
    if let (Some(ppi), Some(physical)) = (Ppi::new(black_box(27)), PhysicalIntId::new(black_box(27))) {
        black_box(gic.raise_hardware(vcpu, ppi, physical).is_ok());
        black_box(gic.lower_hardware(vcpu, ppi).is_ok());
    }
    let message = Message { address: black_box(1), data: black_box(2) };
    black_box(gic.deliver_msi(Bdf::from_requester_id(black_box(8)), message).is_ok());
    black_box(gic.take_deactivation(vcpu).is_some());
    black_box(gic.take_kicks());
    gic.load(vcpu, &mut lists);
    let mut gich = Gich::new(lists);
    gic.save(vcpu, &mut gich);
    gic.load(vcpu, &mut gich);
    gich.clear();
}
