//! The guest's firmware: PSCI 1.1 (Arm DEN 0022) over HVC or SMC, and what the calling convention asks for (DEN 0028).

use smccc::arch::{SMCCC_ARCH_FEATURES, SMCCC_VERSION};
use smccc::psci::{
    PSCI_AFFINITY_INFO_32, PSCI_AFFINITY_INFO_64, PSCI_CPU_OFF, PSCI_CPU_ON_32, PSCI_CPU_ON_64, PSCI_CPU_SUSPEND_32, PSCI_CPU_SUSPEND_64,
    PSCI_FEATURES, PSCI_MIGRATE_INFO_TYPE, PSCI_SYSTEM_OFF, PSCI_SYSTEM_RESET, PSCI_VERSION,
};

/// Version that the guest is told: 1.1, for PSCI and for the calling convention.
const VERSION_1_1: u32 = 0x0001_0001;
/// Answer of MIGRATE_INFO_TYPE: there is no trusted OS that would have to migrate.
const NO_TRUSTED_OS: i32 = 2;

const FUNCTIONS: [u32; 13] = [
    PSCI_VERSION,
    PSCI_FEATURES,
    PSCI_CPU_SUSPEND_32,
    PSCI_CPU_SUSPEND_64,
    PSCI_CPU_OFF,
    PSCI_CPU_ON_32,
    PSCI_CPU_ON_64,
    PSCI_AFFINITY_INFO_32,
    PSCI_AFFINITY_INFO_64,
    PSCI_MIGRATE_INFO_TYPE,
    PSCI_SYSTEM_OFF,
    PSCI_SYSTEM_RESET,
    SMCCC_VERSION,
];

/// Affinity fields of a guest's MPIDR_EL1: which vCPU is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(pub u64);

/// What a call to the firmware asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The answer is known: this is x0 for the guest.
    Answered(PsciReturn),
    /// Start a vCPU.
    CpuOn {
        /// Which.
        target: Affinity,
        /// Where it starts, guest-physical.
        entry: u64,
        /// Its x0.
        context: u64,
    },
    /// Is a vCPU on?
    AffinityInfo {
        /// Which.
        target: Affinity,
        /// Affinity levels below this one do not count.
        lowest_level: u64,
    },
    /// Stop the calling vCPU.
    CpuOff,
    /// Stop the VM.
    SystemOff,
    /// Restart the VM.
    SystemReset,
}

/// What the firmware answers, in x0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PsciReturn {
    /// A value.
    Value(u32),
    /// Done.
    Success,
    /// There is no such function.
    NotSupported,
    /// An argument names nothing.
    InvalidParameters,
    /// The vCPU is on.
    AlreadyOn,
    /// The vCPU has been asked to start, and has not yet.
    OnPending,
    /// An address where no vCPU can start.
    InvalidAddress,
}

impl PsciReturn {
    /// The value of x0: error codes are sign-extended.
    #[must_use]
    pub const fn x0(self) -> u64 {
        use smccc::psci::error::{ALREADY_ON, INVALID_ADDRESS, INVALID_PARAMETERS, NOT_SUPPORTED, ON_PENDING, SUCCESS};
        let code = match self {
            Self::Value(value) => return value as u64,
            Self::Success => SUCCESS,
            Self::NotSupported => NOT_SUPPORTED,
            Self::InvalidParameters => INVALID_PARAMETERS,
            Self::AlreadyOn => ALREADY_ON,
            Self::OnPending => ON_PENDING,
            Self::InvalidAddress => INVALID_ADDRESS,
        };
        (code as i64).cast_unsigned()
    }
}

/// Decodes a call by its function id in x0 and the arguments in x1 to x3.
#[must_use]
pub fn answer(x: [u64; 4]) -> Call {
    let [function, x1, x2, x3] = x;
    // The function id is 32 bits wide (DEN 0028, §2.5), as are the arguments of the 32-bit convention.
    let low = |value: u64| value & u64::from(u32::MAX);
    let Ok(function) = u32::try_from(low(function)) else { return Call::Answered(PsciReturn::NotSupported) };
    match function {
        PSCI_VERSION | SMCCC_VERSION => Call::Answered(PsciReturn::Value(VERSION_1_1)),
        PSCI_FEATURES => Call::Answered(features(low(x1))),
        // Waking up at once is allowed, and a guest that does nothing is left alone anyway: WFI does not trap.
        PSCI_CPU_SUSPEND_32 | PSCI_CPU_SUSPEND_64 => Call::Answered(PsciReturn::Success),
        PSCI_CPU_OFF => Call::CpuOff,
        PSCI_CPU_ON_32 => Call::CpuOn { target: Affinity(low(x1)), entry: low(x2), context: low(x3) },
        PSCI_CPU_ON_64 => Call::CpuOn { target: Affinity(x1), entry: x2, context: x3 },
        PSCI_AFFINITY_INFO_32 => Call::AffinityInfo { target: Affinity(low(x1)), lowest_level: low(x2) },
        PSCI_AFFINITY_INFO_64 => Call::AffinityInfo { target: Affinity(x1), lowest_level: x2 },
        PSCI_MIGRATE_INFO_TYPE => Call::Answered(PsciReturn::Value(NO_TRUSTED_OS.cast_unsigned())),
        PSCI_SYSTEM_OFF => Call::SystemOff,
        PSCI_SYSTEM_RESET => Call::SystemReset,
        SMCCC_ARCH_FEATURES => Call::Answered(arch_features(low(x1))),
        _ => Call::Answered(PsciReturn::NotSupported),
    }
}

fn features(function: u64) -> PsciReturn {
    if FUNCTIONS.iter().any(|known| u64::from(*known) == function) { PsciReturn::Success } else { PsciReturn::NotSupported }
}

fn arch_features(function: u64) -> PsciReturn {
    if [SMCCC_VERSION, SMCCC_ARCH_FEATURES].iter().any(|known| u64::from(*known) == function) {
        PsciReturn::Success
    } else {
        PsciReturn::NotSupported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x0(function: u64, x1: u64) -> u64 {
        match answer([function, x1, 0, 0]) {
            Call::Answered(value) => value.x0(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tells_its_versions() {
        assert_eq!(x0(0x8400_0000, 0), 0x1_0001);
        assert_eq!(x0(0x8000_0000, 0), 0x1_0001);
        assert_eq!(x0(0x8400_0006, 0), 2);
    }

    #[test]
    fn tells_its_features_and_denies_the_rest() {
        for known in [0x8400_0000, 0xc400_0003, 0x8400_0008, 0x8400_0009, 0x8400_000a, 0x8000_0000] {
            assert_eq!(x0(0x8400_000a, known), 0, "{known:#x}");
        }
        for unknown in [0x8400_0012, 0xc400_000e, 0x1234] {
            assert_eq!(x0(0x8400_000a, unknown), u64::MAX, "{unknown:#x}");
        }
        assert_eq!(x0(0x8000_0001, 0x8000_8000), u64::MAX);
        assert_eq!(x0(0x8000_0001, 0x8000_0000), 0);
        assert_eq!(x0(0xc600_0000, 0), u64::MAX);
    }

    #[test]
    fn arguments_of_the_32_bit_convention_are_cut() {
        let wide = 0xffff_ffff_8400_0003;
        let expected = Call::CpuOn { target: Affinity(1), entry: 0x4000_0000, context: 7 };
        assert_eq!(answer([wide, 0xf_0000_0001, 0xf_4000_0000, 0xf_0000_0007]), expected);
        let expected = Call::CpuOn { target: Affinity(0xf_0000_0001), entry: 1, context: 2 };
        assert_eq!(answer([0xc400_0003, 0xf_0000_0001, 1, 2]), expected);
    }

    #[test]
    fn error_codes_are_sign_extended() {
        assert_eq!(PsciReturn::InvalidParameters.x0(), 0xffff_ffff_ffff_fffe);
        assert_eq!(PsciReturn::AlreadyOn.x0(), 0xffff_ffff_ffff_fffc);
        assert_eq!(PsciReturn::OnPending.x0(), 0xffff_ffff_ffff_fffb);
        assert_eq!(PsciReturn::InvalidAddress.x0(), 0xffff_ffff_ffff_fff7);
    }
}
