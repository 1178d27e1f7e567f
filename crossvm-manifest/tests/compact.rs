//! The compact form and the check: what goes in comes out, and nothing else does.

use crossvm_manifest::{
    Component, ComponentKind, Connection, Dataport, Device, End, Error, EventBar, Image, Interrupt, NameRule, Peer, Problem, Profile,
    Reboot, Rights, Topology, Vm, Width, text,
};
use proptest::prelude::*;

fn vm(name: &str) -> Vm {
    Vm {
        name: text(name).unwrap(),
        memory: 256 << 20,
        vcpus: 2,
        device: Device { profile: Profile::Reference, event_bar: EventBar::Kib16 },
        on_reboot: Reboot::Stop,
        kernel: Image { address: 0x4200_0000, size: 1234 },
        initrd: Some(Image { address: 0x4400_0000, size: 99 }),
        command_line: text("console=ttyAMA0").unwrap(),
    }
}

fn connection(name: &str, a: Peer, b: Peer) -> Connection {
    let dataport = Dataport { size: 1 << 20, rights: [Rights::ReadWrite; 2], width: Width::Bits32 };
    let ends = [a, b].map(|peer| End { peer, interrupt: Interrupt::Own });
    Connection { name: text(name).unwrap(), dataports: [dataport].into_iter().collect(), ends }
}

fn topology() -> Topology {
    let mut topology = Topology::default();
    topology.vms.extend([vm("vm0"), vm("vm1")]);
    topology.components.push(Component { name: text("mirror").unwrap(), kind: ComponentKind::Reverse }).unwrap();
    topology.connections.extend([
        connection("reverse", Peer::Vm(0), Peer::Component(0)),
        connection("bulk", Peer::Vm(0), Peer::Vm(1)),
        connection("ping", Peer::Vm(1), Peer::Vm(0)),
    ]);
    topology
}

#[test]
fn every_problem_is_found_before_anything_is_encoded() {
    let problem = |change: fn(&mut Topology)| {
        let mut broken = topology();
        change(&mut broken);
        match broken.encode(&mut [0; 8192]) {
            Err(Error::Problem(problem)) => problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(problem(|t| t.vms[1].name = text("vmm").unwrap()), Problem::PeerName { peer: Peer::Vm(1) });
    assert_eq!(problem(|t| t.components[0].name = text("vmm").unwrap()), Problem::PeerName { peer: Peer::Component(0) });
    assert_eq!(problem(|t| t.connections[2].name = text("a b").unwrap()), Problem::ConnectionName { connection: 2 });
    assert_eq!(problem(|t| t.vms[1].name = text("mirror").unwrap()), Problem::SameName);
    assert_eq!(problem(|t| t.vms[1].memory = 0), Problem::Memory { vm: 1 });
    assert_eq!(problem(|t| t.vms[0].memory += 4096), Problem::Memory { vm: 0 });
    assert_eq!(problem(|t| t.vms[0].vcpus = 0), Problem::Vcpus { vm: 0 });
    assert_eq!(problem(|t| t.vms[1].vcpus = 9), Problem::Vcpus { vm: 1 });
    assert_eq!(problem(|t| t.connections[2].dataports[0].size = 0), Problem::Size { connection: 2, dataport: 0 });
    assert_eq!(problem(|t| t.connections[2].dataports[0].size = 5000), Problem::Size { connection: 2, dataport: 0 });
    assert_eq!(problem(|t| t.connections[1].dataports[0].size = (2 << 30) + 4096), Problem::TooLarge { connection: 1, dataport: 0 });
    assert_eq!(problem(|t| t.connections[1].dataports[0].rights = [Rights::Read; 2]), Problem::NobodyWrites { connection: 1, dataport: 0 });
    let too_wide = |t: &mut Topology| {
        let wide = Dataport { width: Width::Bits64, ..t.connections[1].dataports[0] };
        t.connections[1].dataports = [wide, wide].into_iter().collect();
    };
    assert_eq!(problem(too_wide), Problem::Registers { connection: 1 });
    assert_eq!(problem(|t| t.connections[1].ends[0].peer = Peer::Vm(2)), Problem::UnknownPeer { connection: 1 });
    assert_eq!(problem(|t| t.connections[1].ends[1].peer = Peer::Component(1)), Problem::UnknownPeer { connection: 1 });
    assert_eq!(problem(|t| t.connections[1].ends[1].peer = Peer::Vm(0)), Problem::Loop { connection: 1 });
    let without_vm = |t: &mut Topology| {
        t.components.push(Component { name: text("other").unwrap(), kind: ComponentKind::Reverse }).unwrap();
        t.connections[0].ends[0].peer = Peer::Component(1);
    };
    assert_eq!(problem(without_vm), Problem::NoVm { connection: 0 });
    assert_eq!(problem(|t| t.connections[2].name = text("bulk").unwrap()), Problem::SameConnectionName { connection: 2 });
}

#[test]
fn a_component_finds_the_dataports_that_it_works_on() {
    use ComponentKind::{Digest, Reverse, Source};
    let check = |kind, rights: &[Rights]| {
        let mut topology = topology();
        topology.components[0].kind = kind;
        let dataport = topology.connections[0].dataports[0];
        topology.connections[0].dataports =
            rights.iter().map(|rights| Dataport { rights: [Rights::ReadWrite, *rights], ..dataport }).collect();
        topology.check()
    };
    let lacks = |dataport, kind| Err(Problem::ComponentNeeds { connection: 0, dataport, kind });
    assert_eq!(check(Reverse, &[]), lacks(0, Reverse));
    assert_eq!(check(Reverse, &[Rights::Read]), lacks(0, Reverse));
    assert_eq!(check(Source, &[Rights::Read, Rights::ReadWrite]), lacks(0, Source));
    assert_eq!(check(Source, &[Rights::ReadWrite, Rights::Read]), Ok(()));
    assert_eq!(check(Digest, &[]), lacks(0, Digest));
    assert_eq!(check(Digest, &[Rights::ReadWrite]), lacks(1, Digest));
    assert_eq!(check(Digest, &[Rights::Read, Rights::Read]), lacks(1, Digest));
    assert_eq!(check(Digest, &[Rights::Read, Rights::ReadWrite]), Ok(()));
    let told = lacks(1, Digest).map_err(|problem| problem.to_string());
    assert_eq!(told, Err("connection 0: a component of kind `digest` must have a dataport 1 that it may read and write".to_owned()));
}

#[test]
fn a_bus_holds_31_connections_with_own_lines_or_more_that_share_one() {
    let check = |own: usize, shared: usize| {
        let mut topology = topology();
        topology.connections.clear();
        for number in 0..own + shared {
            let mut connection = connection(&format!("c{number}"), Peer::Vm(0), Peer::Vm(1));
            connection.ends[1].interrupt = Interrupt::Shared;
            connection.ends[0].interrupt = if number < own { Interrupt::Own } else { Interrupt::Shared };
            topology.connections.push(connection).unwrap();
        }
        topology.check()
    };
    for (own, shared) in [(31, 0), (30, 8), (24, 40), (0, 64)] {
        assert_eq!(check(own, shared), Ok(()), "{own} own, {shared} shared");
    }
    for (own, shared) in [(32, 0), (31, 1), (30, 9), (27, 37), (64, 0)] {
        assert_eq!(check(own, shared), Err(Problem::BusFull { vm: 0 }), "{own} own, {shared} shared");
    }
}

#[test]
fn connections_that_share_a_line_leave_no_place_behind_them() {
    let check = |first: usize, then: usize| {
        let mut topology = topology();
        topology.connections.clear();
        for number in 0..first + then {
            let mut connection = connection(&format!("c{number}"), Peer::Vm(0), Peer::Vm(1));
            connection.ends[1].interrupt = Interrupt::Shared;
            connection.ends[0].interrupt = if number < first { Interrupt::Shared } else { Interrupt::Own };
            topology.connections.push(connection).unwrap();
        }
        topology.check()
    };
    // Each takes a device number while there is one: those that share do not move together for those that come later.
    assert_eq!(check(16, 15), Ok(()));
    assert_eq!(check(16, 16), Err(Problem::BusFull { vm: 0 }));
}

#[test]
fn no_dataport_means_events_only() {
    let mut topology = topology();
    topology.connections[1].dataports.clear();
    assert_eq!(topology.check(), Ok(()));
}

#[test]
fn a_name_cannot_pass_for_the_vmm_a_time_stamp_or_the_end_of_a_prefix() {
    for good in ["a", "vm0", "Z-9_", "vmm0", "VMM"] {
        assert!(NameRule::Peer.admits(good), "{good}");
    }
    for bad in ["", "vmm", "0vm", "-a", "_a", "a b", " a", "a]", "a=b", "a.b", "a\n", "\u{e4}", "a\u{e4}"] {
        assert!(!NameRule::Peer.admits(bad), "{bad:?}");
    }
}

#[test]
fn the_name_of_a_connection_is_one_word_of_a_record() {
    for good in ["a", "0", "vmm", "a=b", "!~", "in[0].left"] {
        assert!(NameRule::Connection.admits(good), "{good}");
    }
    for bad in ["", " ", "a b", "a\t", "a\n", "a\0", "a\u{7f}", "a\u{e4}"] {
        assert!(!NameRule::Connection.admits(bad), "{bad:?}");
    }
}

#[test]
fn a_problem_with_a_name_tells_whose_and_the_rule() {
    let vm = Problem::PeerName { peer: Peer::Vm(3) }.to_string();
    assert!(vm.starts_with("VM 3: the name of a VM or component starts with a letter") && vm.contains("not `vmm`"), "{vm}");
    assert!(Problem::PeerName { peer: Peer::Component(1) }.to_string().starts_with("component 1: the name"));
    assert!(Problem::ConnectionName { connection: 2 }.to_string().starts_with("connection 2: the name of a connection is one or more"));
}

#[test]
fn one_name_may_serve_connections_of_different_ends() {
    let mut topology = topology();
    topology.vms.extend([vm("vm2"), vm("vm3")]);
    topology.connections.push(connection("bulk", Peer::Vm(2), Peer::Vm(3))).unwrap();
    assert_eq!(topology.check(), Ok(()));
}

#[test]
fn a_form_that_is_cut_off_damaged_or_of_another_version_is_refused() {
    let mut buffer = [0; 8192];
    let encoded = topology().encode(&mut buffer).unwrap().to_vec();
    for length in 0..encoded.len() {
        assert!(matches!(Topology::decode(&encoded[..length]), Err(Error::NotATopology | Error::Damaged)), "{length} bytes");
    }
    let mut other = encoded.clone();
    other[8] = 77;
    assert_eq!(Topology::decode(&other), Err(Error::Version { found: 77 }));
    assert_eq!(topology().encode(&mut [0; 64]), Err(Error::NoSpace));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(memory in 1u64..1000, size in 1u64..1000, line in "[ -~]{0,1024}", junk in any::<Vec<u8>>()) {
        let mut topology = topology();
        topology.vms[0].memory = memory << 21;
        topology.connections[0].dataports[0].size = size << 12;
        topology.vms[1].command_line = text(&line).unwrap();
        let mut buffer = [0; 8192];
        let mut encoded = topology.encode(&mut buffer).unwrap().to_vec();
        encoded.extend(junk);
        prop_assert_eq!(Topology::decode(&encoded), Ok(topology));
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..256), as_form in any::<bool>()) {
        if as_form && bytes.len() >= 16 {
            bytes[..12].copy_from_slice(b"crossvm\0\x02\0\0\0");
            bytes[12..16].copy_from_slice(&200u32.to_le_bytes());
        }
        if let Ok(topology) = Topology::decode(&bytes) {
            prop_assert_eq!(topology.check(), Ok(()));
        }
    }
}
