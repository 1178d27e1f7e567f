//! ECAM, CAM and the ports 0xcf8 and 0xcfc: three ways to the same registers.

mod pci_common;

use crossvm_core::{Bdf, ConfigAccess, GuestAddr, PciSpace, Width};
use crossvm_pci::{Cam, ConfigPorts, Ecam, PciBus};
use pci_common::{bus, dwords, header, kinds, read};
use proptest::prelude::*;

const BASE: u64 = 0x4_4000_0000;

fn at(offset: u64) -> GuestAddr {
    GuestAddr::new(BASE + offset)
}

fn ecam() -> Ecam {
    Ecam::new(GuestAddr::new(BASE), 256).unwrap()
}

fn cam() -> Cam {
    Cam::new(GuestAddr::new(BASE), 256).unwrap()
}

fn populated() -> PciBus<8> {
    let mut bus = bus();
    for (_, function) in kinds() {
        bus.insert(function).unwrap();
    }
    bus
}

#[test]
fn a_region_has_1_to_256_buses_and_ends_where_they_end() {
    for buses in [0, 257, u16::MAX] {
        assert_eq!((Ecam::new(at(0), buses), Cam::new(at(0), buses)), (None, None), "{buses}");
    }
    assert_eq!(ecam().range().size(), 256 << 20);
    assert_eq!(cam().range().size(), 16 << 20);
    assert_eq!((Ecam::new(at(0), 3).unwrap().buses(), Ecam::new(at(0), 3).unwrap().range().size()), (3, 3 << 20));
    assert_eq!((Cam::new(at(0), 3).unwrap().buses(), Cam::new(at(0), 3).unwrap().range().size()), (3, 3 << 16));
    assert_eq!(Ecam::new(GuestAddr::new(u64::MAX - (1 << 20) + 2), 1), None, "it would pass the end of the address space");
    assert_eq!(Cam::new(GuestAddr::new(u64::MAX - (1 << 16) + 2), 1), None);
    assert!(Cam::new(GuestAddr::new(u64::MAX - (1 << 16) + 1), 1).is_some());
}

#[test]
fn every_function_has_its_place_in_each_mechanism() {
    let (mut bus, mut ports) = (populated(), ConfigPorts::new());
    for id in 0..=u16::MAX {
        let bdf = Bdf::from_requester_id(id);
        let (number, device, function) = (u64::from(bdf.bus()), u64::from(bdf.device()), u64::from(bdf.function()));
        for offset in [0u16, 4, 0x3f, 0xfc, 0xff] {
            let expected = Some((bdf, ConfigAccess { offset, width: Width::U8 }));
            let register = u64::from(offset);
            assert_eq!(ecam().decode(at(number << 20 | device << 15 | function << 12 | register), Width::U8), expected);
            assert_eq!(cam().decode(at(number << 16 | device << 11 | function << 8 | register), Width::U8), expected);
            let address = 1 << 31 | u32::from(id) << 8 | u32::from(offset & 0xfc);
            assert_eq!(ports.write(&mut bus, 0xcf8, Width::U32, address), None);
            assert_eq!(ports.decode(0xcfc + (offset & 3), Width::U8), expected);
        }
    }
}

#[test]
fn every_register_has_its_place_in_each_mechanism() {
    let (mut bus, mut ports) = (populated(), ConfigPorts::new());
    let bdf = Bdf::new(0, 2, 0).unwrap();
    for offset in 0..0x1000u16 {
        for width in Width::ALL {
            let (access, register) = (ConfigAccess { offset, width }, u64::from(offset));
            // What a configuration cycle cannot express reads all ones, however wide.
            let expected = if width == Width::U64 { u64::MAX } else { u64::from(bus.read(bdf, access)) & width.mask() };
            assert_eq!(ecam().read(&bus, at(2 << 15 | register), width), Some(expected), "{access:x?}");
            if offset < 0x100 {
                assert_eq!(cam().read(&bus, at(2 << 11 | register), width), Some(expected), "{access:x?}");
                ports.write(&mut bus, 0xcf8, Width::U32, 0x8000_1000 | u32::from(offset & 0xfc));
                let value = ports.read(&bus, 0xcfc + (offset & 3), width).map(u64::from);
                assert_eq!(value, Some(expected & 0xffff_ffff), "{access:x?}");
            }
        }
    }
    assert_eq!(read(&bus, bdf, 0, Width::U32), 0xa111_1af4, "the comparisons above are about a function that is there");
}

#[test]
fn outside_of_a_region_nothing_answers() {
    let (mut bus, before) = (populated(), populated());
    let ends = [(ecam().range(), true), (cam().range(), false)];
    for (range, is_ecam) in ends {
        let outside = [range.start().get() - 1, range.last().get() + 1, 0, u64::MAX];
        for (address, width) in outside.into_iter().flat_map(|address| Width::ALL.map(|width| (GuestAddr::new(address), width))) {
            let (read, effect) = match is_ecam {
                true => (ecam().read(&bus, address, width), ecam().write(&mut bus, address, width, u64::MAX)),
                false => (cam().read(&bus, address, width), cam().write(&mut bus, address, width, u64::MAX)),
            };
            assert_eq!((read, effect), (None, None), "{address}");
        }
    }
    let function = Bdf::new(0, 1, 0).unwrap();
    assert_eq!(dwords(&bus, function), dwords(&before, function));
}

#[test]
fn the_address_port_latches_dwords_alone_and_reserved_bits_read_zero() {
    let (mut bus, mut ports) = (populated(), ConfigPorts::new());
    assert_eq!(ports.read(&bus, 0xcf8, Width::U32), Some(0), "at power-on");
    let values = (0..32).map(|bit| 1u32 << bit).chain([0, u32::MAX, 0x8000_0810, 0x7fff_ffff]);
    for value in values {
        assert_eq!(ports.write(&mut bus, 0xcf8, Width::U32, value), None);
        assert_eq!(ports.read(&bus, 0xcf8, Width::U32), Some(value & 0x80ff_fffc), "{value:#x}");
        // Everything else at these ports is somebody else's.
        let before = ports;
        for port in 0xcf8..=0xcfbu16 {
            for width in Width::ALL.into_iter().filter(|width| (port, *width) != (0xcf8, Width::U32)) {
                assert_eq!(ports.read(&bus, port, width), None, "{port:#x} {width:?}");
                assert_eq!(ports.write(&mut bus, port, width, !value), None, "{port:#x} {width:?}");
                assert_eq!(ports, before, "{port:#x} {width:?}");
            }
        }
    }
    assert_eq!(ConfigPorts::PORTS, 0xcf8..=0xcff);
}

#[test]
fn a_disabled_address_selects_nothing() {
    let (mut bus, mut ports) = (populated(), ConfigPorts::new());
    let function = Bdf::new(0, 1, 0).unwrap();
    let before = dwords(&bus, function);
    ports.write(&mut bus, 0xcf8, Width::U32, 0x0000_0810);
    for (port, width) in (0xcfc..=0xcffu16).flat_map(|port| Width::ALL.map(|width| (port, width))) {
        let ones = u32::try_from(width.mask() & 0xffff_ffff).unwrap();
        assert_eq!(ports.read(&bus, port, width), Some(ones), "{port:#x} {width:?}");
        assert_eq!(ports.write(&mut bus, port, width, 0), None, "{port:#x} {width:?}");
    }
    assert_eq!(dwords(&bus, function), before);
}

#[test]
fn other_ports_are_not_ours() {
    let (mut bus, mut ports) = (populated(), ConfigPorts::new());
    ports.write(&mut bus, 0xcf8, Width::U32, 0x8000_0800);
    let before = ports;
    for port in (0..=u16::MAX).filter(|port| !ConfigPorts::PORTS.contains(port)) {
        for width in Width::ALL {
            assert_eq!(ports.read(&bus, port, width), None, "{port:#x}");
            assert_eq!(ports.write(&mut bus, port, width, u32::MAX), None, "{port:#x}");
        }
    }
    assert_eq!(ports, before);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// One write through each mechanism, to a bus of its own: the same effect and the same registers afterwards.
    #[test]
    fn writes_are_the_same_through_each_mechanism(
        device in 0u8..5, register in 0u16..0x100, width in crossvm_testkit::strategy::width(), value in any::<u64>()
    ) {
        let bdf = Bdf::new(0, device, 0).unwrap();
        let [mut by_ecam, mut by_cam, mut by_ports, mut direct] = std::array::from_fn(|_| populated());
        let low = u32::try_from(value & width.mask() & 0xffff_ffff).unwrap();
        let expected = direct.write(bdf, ConfigAccess { offset: register, width }, low);
        let (number, offset) = (u64::from(device), u64::from(register));
        prop_assert_eq!(ecam().write(&mut by_ecam, at(number << 15 | offset), width, value), expected);
        prop_assert_eq!(cam().write(&mut by_cam, at(number << 11 | offset), width, value), expected);
        let mut ports = ConfigPorts::new();
        let address = 1 << 31 | u32::from(device) << 11 | u32::from(register & 0xfc);
        ports.write(&mut by_ports, 0xcf8, Width::U32, address);
        let truncated = u32::try_from(value & 0xffff_ffff).unwrap();
        prop_assert_eq!(ports.write(&mut by_ports, 0xcfc + (register & 3), width, truncated), expected);
        for bus in [by_ecam, by_cam, by_ports] {
            for device in 0..5 {
                let bdf = Bdf::new(0, device, 0).unwrap();
                prop_assert_eq!(header(&bus, bdf), header(&direct, bdf));
            }
        }
    }
}
