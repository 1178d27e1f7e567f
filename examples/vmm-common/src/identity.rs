//! What the processor says that it has, as far as the VMM must know before it touches a register (Arm DDI 0487, ID registers).

use bitfield_struct::bitfield;

/// ID_AA64DFR0_EL1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DebugFeatures {
    #[bits(8)]
    _low: u8,
    /// PMUVer.
    #[bits(4)]
    pub pmu_version: u8,
    /// BRPs: breakpoints, less one.
    #[bits(4)]
    pub breakpoints: u8,
    #[bits(4)]
    _middle: u8,
    /// WRPs: watchpoints, less one.
    #[bits(4)]
    pub watchpoints: u8,
    #[bits(40)]
    _high: u64,
}

impl DebugFeatures {
    /// Whether there are the registers of the performance monitors (PMUv3). A virtual machine of QEMU's may have none.
    #[must_use]
    pub const fn has_pmu(self) -> bool {
        // 15: monitors of the implementation's own.
        !matches!(self.pmu_version(), 0 | 0xf)
    }
}

/// ID_AA64ISAR1_EL1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InstructionFeatures1 {
    #[bits(4)]
    _low: u8,
    /// APA: address authentication by the architecture's algorithm.
    #[bits(4)]
    pub address_architected: u8,
    /// API: address authentication by an algorithm of the implementation's own.
    #[bits(4)]
    pub address_own: u8,
    #[bits(12)]
    _middle: u16,
    /// GPA: generic authentication by the architecture's algorithm.
    #[bits(4)]
    pub generic_architected: u8,
    /// GPI: generic authentication by an algorithm of the implementation's own.
    #[bits(4)]
    pub generic_own: u8,
    #[bits(32)]
    _high: u32,
}

/// ID_AA64ISAR2_EL1.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InstructionFeatures2 {
    _low: u8,
    /// GPA3: generic authentication by QARMA3.
    #[bits(4)]
    pub generic_qarma3: u8,
    /// APA3: address authentication by QARMA3.
    #[bits(4)]
    pub address_qarma3: u8,
    #[bits(48)]
    _high: u64,
}

/// Whether there are the keys of pointer authentication, by its three algorithms: those of addresses, and that of data.
#[must_use]
pub const fn authentication_keys(first: InstructionFeatures1, second: InstructionFeatures2) -> (bool, bool) {
    let address = first.address_architected() | first.address_own() | second.address_qarma3();
    let generic = first.generic_architected() | first.generic_own() | second.generic_qarma3();
    (address != 0, generic != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_performance_monitors_are_there_unless_the_processor_says_otherwise() {
        // Cortex-A72: PMUv3, 6 breakpoints, 4 watchpoints.
        let a72 = DebugFeatures::from_bits(0x1030_5106);
        assert_eq!((a72.has_pmu(), a72.breakpoints(), a72.watchpoints()), (true, 5, 3));
        for (version, there) in [(0, false), (1, true), (4, true), (9, true), (0xf, false)] {
            assert_eq!(DebugFeatures::from_bits(0x1030_5006 | version << 8).has_pmu(), there, "{version}");
        }
    }

    #[test]
    fn each_algorithm_of_pointer_authentication_has_keys() {
        let keys = |first, second| authentication_keys(InstructionFeatures1::from_bits(first), InstructionFeatures2::from_bits(second));
        // All other fields set.
        let (others1, others2) = (!0xff00_0ff0, !0xff00);
        assert_eq!(keys(others1, others2), (false, false));
        for (first, second) in [(1 << 4, 0), (5 << 8, 0), (0, 5 << 12)] {
            assert_eq!(keys(others1 | first, others2 | second), (true, false));
        }
        for (first, second) in [(1 << 24, 0), (1 << 28, 0), (0, 1 << 8)] {
            assert_eq!(keys(others1 | first, others2 | second), (false, true));
        }
    }
}
