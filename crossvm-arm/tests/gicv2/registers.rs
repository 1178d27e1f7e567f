//! Every offset and every width, in every state.

use crossvm_arm::{Messages, Spi, SpiRange, VcpuId, Version, Vgic};
use crossvm_core::{GuestAddr, Width};
use proptest::prelude::*;

type Gic = Vgic<3, 31>;

const VCPU: VcpuId = VcpuId::new(1).unwrap();
const OTHER: VcpuId = VcpuId::new(2).unwrap();

/// Ranges of the distributor in which a write may change something: all else ignores writes.
const WRITABLE: [core::ops::Range<u32>; 8] =
    [0x0..0x4, 0x80..0x400, 0x400..0x7fc, 0x820..0xbfc, 0xc08..0xd00, 0xf00..0xf04, 0xf10..0xf30, 0x1000..0x1004];

/// Registers that act as a whole, where a byte alone does nothing.
const WHOLE: core::ops::Range<u32> = 0xf00..0xf04;

fn gic() -> Gic {
    let spis = SpiRange::new(Spi::new(900).unwrap(), 120).unwrap();
    Gic::with_version(Version::V2).with_messages(Messages::new(GuestAddr::new(0x0802_0000), spis)).unwrap()
}

fn touches(ranges: &[core::ops::Range<u32>], offset: u32, width: Width) -> bool {
    let bytes = u32::try_from(width.bytes()).unwrap();
    (0..bytes).filter_map(|byte| offset.checked_add(byte)).any(|at| ranges.iter().any(|range| range.contains(&at)))
}

#[test]
fn what_is_not_implemented_ignores_writes_and_reads_zero() {
    let mut changed = gic();
    for offset in (0..0x2000).step_by(4).filter(|offset| !touches(&WRITABLE, *offset, Width::U32)) {
        changed.distributor_write(VCPU, offset, Width::U32, 0xffff_ffff);
        // TYPER, IIDR, the targets of a vCPU's own interrupts, the triggers of SGIs, ICPIDR2.
        let known = [0x4, 0x8, 0xc00, 0xfe8].contains(&offset) || (0x800..0x820).contains(&offset);
        assert_eq!(changed.distributor_read(VCPU, offset, Width::U32) != 0, known, "{offset:#x}");
    }
    for offset in (0..0x1_0000).step_by(4).filter(|offset| *offset != 0x40) {
        changed.message_frame_write(offset, Width::U32, 1000);
        assert_eq!(changed.message_frame_read(offset, Width::U32) != 0, [0x8, 0xfcc].contains(&offset), "{offset:#x}");
    }
    assert_eq!(changed, gic());
    changed.message_frame_write(0x40, Width::U32, 1000);
    changed.cpu_interface_write(VCPU, 0x1000, Width::U32, 1);
    assert_eq!(changed, gic(), "a pulse on a level-sensitive SPI, and nothing is active");
}

#[test]
fn a_vcpu_that_does_not_exist_has_nothing_of_its_own() {
    let (mut gic, absent) = (gic(), VcpuId::new(3).unwrap());
    for offset in [0x80, 0x100, 0x200, 0x300, 0x400, 0x800, 0xc00, 0xf10, 0xf20] {
        gic.distributor_write(absent, offset, Width::U32, 0xffff_ffff);
        assert_eq!(gic.distributor_read(absent, offset, Width::U32), 0, "{offset:#x}");
    }
}

/// An offset in the distributor or near its ends, most of them at registers that exist.
fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => 0..0xd10_u32,
        2 => 0xef8..0xf38_u32,
        1 => 0..0x1000_u32,
        1 => 0xff8..0x1008_u32,
        1 => any::<u32>()
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(Width::ALL.to_vec())
}

fn vcpu() -> impl Strategy<Value = VcpuId> {
    prop::sample::select(vec![VCPU, OTHER])
}

fn writes() -> impl Strategy<Value = Vec<(VcpuId, u32, Width, u64)>> {
    prop::collection::vec((vcpu(), offset(), width(), any::<u64>()), 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_read_of_any_width_is_the_bytes_it_covers(writes in writes(), reads in prop::collection::vec((vcpu(), offset(), width()), 100)) {
        let mut gic = gic();
        for (vcpu, offset, width, value) in writes {
            gic.distributor_write(vcpu, offset, width, value);
        }
        for (vcpu, offset, width) in reads {
            let bytes = 0..u32::try_from(width.bytes()).unwrap();
            let expected =
                bytes.filter_map(|byte| Some(gic.distributor_read(vcpu, offset.checked_add(byte)?, Width::U8) << (8 * byte))).sum::<u64>();
            prop_assert_eq!(gic.distributor_read(vcpu, offset, width), expected);
        }
    }

    #[test]
    fn a_write_of_any_width_is_the_writes_of_its_bytes(writes in writes()) {
        let (mut whole, mut split) = (gic(), gic());
        for (vcpu, offset, width, value) in writes {
            if touches(&[WHOLE; 1], offset, width) {
                continue;
            }
            whole.distributor_write(vcpu, offset, width, value);
            for byte in 0..u32::try_from(width.bytes()).unwrap() {
                if let Some(offset) = offset.checked_add(byte) {
                    split.distributor_write(vcpu, offset, Width::U8, value >> (8 * byte));
                }
            }
        }
        // Whom they kicked may differ: nothing that cancels out within one write is seen.
        let (_, _) = (whole.take_kicks(), split.take_kicks());
        prop_assert_eq!(whole, split);
    }
}
