//! The values of `crossvm-manifest`.

use crossvm_manifest::{
    Component, ComponentKind, Connection, Dataport, Device, End, Error, EventBar, Image, Interrupt, NameRule, Peer, Problem, Profile,
    Reboot, Rights, Topology, Vm, Width, text,
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
}
