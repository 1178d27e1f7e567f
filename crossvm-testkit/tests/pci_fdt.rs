//! The bridge's device tree node, read by an independent parser.

mod pci_common;

use crossvm_core::{BarIndex, BarWidth, GuestAddr, GuestRange, Irq, PciSpace};
use crossvm_pci::fdt::{ConfigRegion, InterruptParent, MessageController, bridge_node, keep_addresses};
use crossvm_pci::{Cam, Ecam, HostBridge, PciBus};
use crossvm_testkit::{WINDOW, range};
use pci_common::{bar, bus, function, high_window};
use vm_fdt::FdtWriter;

/// As a GIC wants it: shared peripheral, level-triggered.
const PARENT: InterruptParent =
    InterruptParent { phandle: 7, address_cells: 2, specifier: |irq: Irq| [0, irq.number().saturating_sub(32), 4] };

fn tree<const F: usize>(bus: &PciBus<F>, region: impl Into<ConfigRegion>, messages: Option<MessageController>) -> Vec<u8> {
    let mut fdt = FdtWriter::new().unwrap();
    let root = fdt.begin_node("").unwrap();
    fdt.property_u32("#address-cells", 2).unwrap();
    fdt.property_u32("#size-cells", 2).unwrap();
    bridge_node(&mut fdt, bus, region, PARENT, messages).unwrap();
    fdt.end_node(root).unwrap();
    fdt.finish().unwrap()
}

/// A property's cells.
fn cells(bytes: &[u8], node: &str, property: &str) -> Option<Vec<u32>> {
    let tree = fdt::Fdt::new(bytes).unwrap();
    let value = tree.find_node(node).unwrap_or_else(|| panic!("no {node}")).property(property)?.value;
    Some(value.chunks_exact(4).map(|cell| u32::from_be_bytes(cell.try_into().unwrap())).collect())
}

fn binding(bytes: &[u8], node: &str) -> String {
    fdt::Fdt::new(bytes).unwrap().find_node(node).unwrap().compatible().unwrap().first().to_string()
}

#[test]
fn ecam_and_cam_have_their_bindings_and_their_regions() {
    let (bus, at) = (bus::<4>(), GuestAddr::new(0x40_1000_0000));
    let bytes = tree(&bus, Ecam::new(at, 16).unwrap(), None);
    assert_eq!(binding(&bytes, "/pcie@4010000000"), "pci-host-ecam-generic");
    assert_eq!(cells(&bytes, "/pcie@4010000000", "reg").unwrap(), [0x40, 0x1000_0000, 0, 16 << 20]);
    assert_eq!(cells(&bytes, "/pcie@4010000000", "bus-range").unwrap(), [0, 15]);
    let bytes = tree(&bus, Cam::new(at, 256).unwrap(), None);
    assert_eq!(binding(&bytes, "/pci@4010000000"), "pci-host-cam-generic");
    assert_eq!(cells(&bytes, "/pci@4010000000", "reg").unwrap(), [0x40, 0x1000_0000, 0, 16 << 20]);
    assert_eq!(cells(&bytes, "/pci@4010000000", "bus-range").unwrap(), [0, 255]);
}

#[test]
fn windows_are_told_with_their_kind_of_address() {
    let ecam = Ecam::new(GuestAddr::new(0x3f00_0000), 1).unwrap();
    let one = PciBus::<4>::new(HostBridge::default(), range(WINDOW));
    let low = [0x0200_0000, 0, 0x1000_0000, 0, 0x1000_0000, 0, 0x1000_0000];
    assert_eq!(cells(&tree(&one, ecam, None), "/pcie@3f000000", "ranges").unwrap(), low);
    assert_eq!((high_window().start().get(), high_window().size()), (0x80_0000_0000, 0x100_0000_0000));
    let high = [0x4300_0000, 0x80, 0, 0x80, 0, 0x100, 0];
    assert_eq!(cells(&tree(&bus::<4>(), ecam, None), "/pcie@3f000000", "ranges").unwrap(), [low, high].concat());
}

/// Its two parts are told apart: a BAR of 32 bits can go into the lower, and only there.
#[test]
fn a_window_across_4_gib_is_two() {
    let ecam = Ecam::new(GuestAddr::new(0x3f00_0000), 1).unwrap();
    let across = GuestRange::new(GuestAddr::new(0xc000_0000), 0x1_0000_0000).unwrap();
    let mut bus = PciBus::<4>::new(HostBridge::default(), across);
    let expected = [0x0200_0000, 0, 0xc000_0000, 0, 0xc000_0000, 0, 0x4000_0000, 0x4300_0000, 1, 0, 1, 0, 0, 0xc000_0000];
    assert_eq!(cells(&tree(&bus, ecam, None), "/pcie@3f000000", "ranges").unwrap(), expected);
    let bars = [bar(BarWidth::Bits32, 4 << 10), bar(BarWidth::Bits64, 4 << 10), None, None, None, None];
    let bdf = bus.insert(function(32, bars)).unwrap();
    let at = |index: usize| bus.decoded(bdf, BarIndex::ALL[index]).map(GuestAddr::get);
    assert_eq!((at(0), at(1)), (Some(0xffff_f000), Some(0x1_bfff_f000)));
}

/// Linux would move every BAR otherwise.
#[test]
fn a_guest_is_told_to_leave_fixed_addresses() {
    let mut fdt = FdtWriter::new().unwrap();
    let root = fdt.begin_node("").unwrap();
    let chosen = fdt.begin_node("chosen").unwrap();
    keep_addresses(&mut fdt).unwrap();
    fdt.end_node(chosen).unwrap();
    fdt.end_node(root).unwrap();
    assert_eq!(cells(&fdt.finish().unwrap(), "/chosen", "linux,pci-probe-only"), Some(vec![1]));
}

#[test]
fn wired_device_numbers_are_in_the_interrupt_map() {
    let mut bus = bus::<4>();
    bus.wire(3, Irq::new(60)).unwrap();
    bus.insert(function(33, [None; 6])).unwrap();
    let bytes = tree(&bus, Ecam::new(GuestAddr::new(0x3f00_0000), 1).unwrap(), None);
    let entry = |device: u32, irq: u32| [device << 11, 0, 0, 1, 7, 0, 0, 0, irq - 32, 4];
    assert_eq!(cells(&bytes, "/pcie@3f000000", "interrupt-map").unwrap(), [entry(1, 33), entry(3, 60)].concat());
    assert_eq!(cells(&bytes, "/pcie@3f000000", "interrupt-map-mask").unwrap(), [0xf800, 0, 0, 7]);
}

#[test]
fn messages_of_every_function_go_to_the_controller() {
    let (bus, ecam) = (bus::<4>(), Ecam::new(GuestAddr::new(0x3f00_0000), 1).unwrap());
    assert_eq!(cells(&tree(&bus, ecam, None), "/pcie@3f000000", "msi-map"), None, "no controller: no messages");
    let bytes = tree(&bus, ecam, Some(MessageController { phandle: 9 }));
    assert_eq!(cells(&bytes, "/pcie@3f000000", "msi-map").unwrap(), [0, 9, 0, 0x1_0000]);
}
