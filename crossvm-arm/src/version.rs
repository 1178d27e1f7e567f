//! Which architecture the guest finds.

use core::fmt;

/// Version of the architecture that a [`Vgic`](crate::Vgic) models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Version {
    /// `GICv2` (Arm IHI 0048B): one distributor with banked registers, a CPU interface in memory.
    V2,
    /// `GICv3` (Arm IHI 0069): a distributor, a redistributor for each vCPU, a CPU interface in system registers.
    V3,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "GICv2",
            Self::V3 => "GICv3",
        })
    }
}
