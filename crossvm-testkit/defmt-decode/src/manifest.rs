//! The values of `crossvm-manifest`.

use crossvm_manifest::{
    Component, ComponentKind, Connection, Dataport, Device, End, Error, EventBar, FixedConnection, FixedDataport, FixedPeer, FixedVm,
    Image, Interrupt, NameRule, Peer, Problem, Profile, Reboot, Rights, Topology, TwoViews, Vm, Width, text,
};

use crate::values::show;

/// Logs all of them.
pub(crate) fn log() {
    let image = Image { address: 0x4220_0000, size: 4096 };
    let device = Device { profile: Profile::Reference, event_bar: EventBar::Kib16 };
    let vm = Vm {
        name: text("camera").expect("short"),
        memory: 2 << 20,
        vcpus: 2,
        device,
        on_reboot: Reboot::Stop,
        kernel: image,
        initrd: None,
        command_line: text("quiet").expect("short"),
    };
    let component = Component { name: text("mirror").expect("short"), kind: ComponentKind::Reverse };
    let dataport = Dataport { size: 4096, rights: [Rights::ReadWrite, Rights::Read], width: Width::Bits64 };
    let end = End { peer: Peer::Vm(0), interrupt: Interrupt::Shared };
    let other = End { peer: Peer::Component(0), interrupt: Interrupt::Own };
    let connection = Connection { name: text("wire").expect("short"), dataports: [dataport].into_iter().collect(), ends: [end, other] };
    show(&image);
    show(&device);
    show(&Profile::Extended);
    show(&EventBar::Kib64);
    show(&Reboot::Restart);
    show(&vm);
    show(&component);
    show(&ComponentKind::Digest);
    show(&dataport);
    show(&Rights::Read);
    show(&Width::Bits32);
    show(&Peer::Component(3));
    show(&end);
    show(&Interrupt::Own);
    show(&connection);
    show(&Topology { vms: [vm].into_iter().collect(), ..Topology::default() });
    show(&NameRule::Peer);
    show(&Problem::NobodyWrites { connection: 3, dataport: 1 });
    show(&Error::Version { found: 7 });
    fixed(device);
}

/// What a program of a static system finds.
fn fixed(device: Device) {
    let dataport = FixedDataport { address: 0x8000_0000, size: 4096, rights: Rights::Read, width: Width::Bits64 };
    let connection = FixedConnection {
        name: text("wire").expect("short"),
        channel: 3,
        interrupt: Interrupt::Shared,
        dataports: [dataport].into_iter().collect(),
    };
    let views = TwoViews { guest: 0x4000_0000, program: 0x2000_0000, size: 2 << 20 };
    let vm = FixedVm {
        vcpus: 1,
        device,
        on_reboot: Reboot::Restart,
        ram: views,
        events: views,
        low_window: (0x1000_0000, 0x3eff_ffff),
        high_window: (0x80_0000_0000, 0xff_ffff_ffff),
        console: Some(1),
        command_line: text("quiet").expect("short"),
    };
    show(&dataport);
    show(&connection);
    show(&views);
    show(&vm);
    let peer = FixedPeer { name: text("camera").expect("short"), connections: [connection].into_iter().collect(), vm: None };
    show(&peer);
}
