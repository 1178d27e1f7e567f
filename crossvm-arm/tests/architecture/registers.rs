//! Every offset and every width, in every state.

use crossvm_arm::spec::{DISTRIBUTOR_SIZE, REDISTRIBUTOR_SIZE};
use crossvm_arm::{VcpuId, Vgic};
use crossvm_core::Width;
use proptest::prelude::*;

type Gic = Vgic<2, 31>;

const VCPU: VcpuId = VcpuId::new(1).unwrap();

/// Ranges of the distributor in which a write may change something: all else ignores writes.
const WRITABLE: [core::ops::Range<u32>; 5] = [0x0..0x4, 0x84..0x400, 0x420..0x7fc, 0xc08..0xd00, 0x6100..0x7fe0];

/// The same for a redistributor.
const WRITABLE_PRIVATE: [core::ops::Range<u32>; 9] = [
    0x14..0x18,
    0x1_0080..0x1_0084,
    0x1_0100..0x1_0104,
    0x1_0180..0x1_0184,
    0x1_0200..0x1_0204,
    0x1_0280..0x1_0284,
    0x1_0300..0x1_0304,
    0x1_0380..0x1_0384,
    0x1_0400..0x1_0420,
];

#[test]
fn what_is_not_implemented_ignores_writes_and_reads_zero() {
    let mut gic = Gic::new();
    for offset in (0..DISTRIBUTOR_SIZE).step_by(4).filter(|offset| !WRITABLE.iter().any(|range| range.contains(offset))) {
        gic.distributor_write(VCPU, offset, Width::U32, 0xffff_ffff);
        let known = [0x4, 0x8, 0xffe8].contains(&offset);
        assert_eq!(gic.distributor_read(VCPU, offset, Width::U32) != 0, known, "{offset:#x}");
    }
    for offset in (0..REDISTRIBUTOR_SIZE).step_by(4).filter(|offset| !WRITABLE_PRIVATE.iter().any(|range| range.contains(offset))) {
        gic.redistributor_write(VCPU, offset, Width::U32, 0xffff_ffff);
        let known = [0x4, 0x8, 0xc, 0xffe8, 0x1_0c00].contains(&offset);
        assert_eq!(gic.redistributor_read(VCPU, offset, Width::U32) != 0, known, "{offset:#x}");
    }
    assert_eq!(gic, Gic::new());
}

/// An offset in a frame or near its ends, most of them at registers that exist.
fn offset(size: u32) -> impl Strategy<Value = u32> {
    let base = if size == REDISTRIBUTOR_SIZE { 0x1_0000_u32 } else { 0 };
    prop_oneof![6 => base..base + 0xd10, 2 => 0x60f0..0x8000_u32, 1 => 0..size, 1 => size - 8..size + 8, 1 => any::<u32>()]
}

fn width() -> impl Strategy<Value = Width> {
    prop::sample::select(Width::ALL.to_vec())
}

/// Writes to the distributor where the first field says so, else to the redistributor.
fn writes() -> impl Strategy<Value = Vec<(bool, u32, u32, Width, u64)>> {
    prop::collection::vec((any::<bool>(), offset(DISTRIBUTOR_SIZE), offset(REDISTRIBUTOR_SIZE), width(), any::<u64>()), 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_read_of_any_width_is_the_bytes_it_covers(
        writes in writes(),
        reads in prop::collection::vec((offset(DISTRIBUTOR_SIZE), offset(REDISTRIBUTOR_SIZE), width()), 100)
    ) {
        let mut gic = Gic::new();
        for (shared, distributor, redistributor, width, value) in writes {
            if shared {
                gic.distributor_write(VCPU, distributor, width, value);
            } else {
                gic.redistributor_write(VCPU, redistributor, width, value);
            }
        }
        for (distributor, redistributor, width) in reads {
            let bytes = |base: u32, read: &dyn Fn(u32) -> u64| {
                (0..u32::try_from(width.bytes()).unwrap()).filter_map(|byte| Some(read(base.checked_add(byte)?) << (8 * byte))).sum::<u64>()
            };
            let expected = bytes(distributor, &|offset| gic.distributor_read(VCPU, offset, Width::U8));
            prop_assert_eq!(gic.distributor_read(VCPU, distributor, width), expected);
            let expected = bytes(redistributor, &|offset| gic.redistributor_read(VCPU, offset, Width::U8));
            prop_assert_eq!(gic.redistributor_read(VCPU, redistributor, width), expected);
        }
    }

    #[test]
    fn a_write_of_any_width_is_the_writes_of_its_bytes(writes in writes()) {
        let (mut whole, mut split) = (Gic::new(), Gic::new());
        for (shared, distributor, redistributor, width, value) in writes {
            if shared {
                whole.distributor_write(VCPU, distributor, width, value);
            } else {
                whole.redistributor_write(VCPU, redistributor, width, value);
            }
            for byte in 0..u32::try_from(width.bytes()).unwrap() {
                if let (true, Some(offset)) = (shared, distributor.checked_add(byte)) {
                    split.distributor_write(VCPU, offset, Width::U8, value >> (8 * byte));
                } else if let (false, Some(offset)) = (shared, redistributor.checked_add(byte)) {
                    split.redistributor_write(VCPU, offset, Width::U8, value >> (8 * byte));
                }
            }
        }
        // Whom they kicked may differ: nothing that cancels out within one write is seen.
        let (_, _) = (whole.take_kicks(), split.take_kicks());
        prop_assert_eq!(whole, split);
    }
}
