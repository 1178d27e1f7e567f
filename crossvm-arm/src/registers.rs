//! The registers that have a field for each interrupt, alike in the distributor and in a redistributor's SGI frame.

use crate::bank::Bank;
use crate::lanes::Lanes;
use crate::spec::PRIORITY_MASK;
use crate::spec::banked::{
    ICACTIVER, ICENABLER, ICFGR, ICFGR_END, ICPENDR, IGROUPR, IPRIORITYR, IPRIORITYR_END, ISACTIVER, ISENABLER, ISPENDR,
};

/// A register of one bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Register {
    /// `IGROUPR`.
    Group,
    /// `ISENABLER`.
    SetEnable,
    /// `ICENABLER`.
    ClearEnable,
    /// `ISPENDR`.
    SetPending,
    /// `ICPENDR`.
    ClearPending,
    /// `ISACTIVER`.
    SetActive,
    /// `ICACTIVER`.
    ClearActive,
    /// `IPRIORITYR` of 4 interrupts: 0 to 7.
    Priority(u32),
    /// `ICFGR` of 16 interrupts: 0 or 1.
    Config(u32),
}

impl Register {
    /// The register at `offset`, a multiple of 4, and the index of its bank; `None` for what is not here.
    pub(crate) const fn at(offset: u32) -> Option<(usize, Self)> {
        // Each block begins at a multiple of its size.
        Some(match offset {
            IPRIORITYR..IPRIORITYR_END => ((offset >> 5 & 31) as usize, Self::Priority(offset >> 2 & 7)),
            ICFGR..ICFGR_END => ((offset >> 3 & 31) as usize, Self::Config(offset >> 2 & 1)),
            IGROUPR..IPRIORITYR => {
                let register = match offset & !0x7f {
                    IGROUPR => Self::Group,
                    ISENABLER => Self::SetEnable,
                    ICENABLER => Self::ClearEnable,
                    ISPENDR => Self::SetPending,
                    ICPENDR => Self::ClearPending,
                    ISACTIVER => Self::SetActive,
                    ICACTIVER => Self::ClearActive,
                    _ => return None,
                };
                ((offset >> 2 & 31) as usize, register)
            }
            _ => return None,
        })
    }

    /// Whether it tells what list registers know better while a vCPU runs.
    pub(crate) const fn is_pending_or_active(self) -> bool {
        matches!(self, Self::SetPending | Self::ClearPending | Self::SetActive | Self::ClearActive)
    }

    /// Reads the register.
    pub(crate) fn read(self, bank: &Bank) -> u32 {
        match self {
            Self::Group => bank.group,
            Self::SetEnable | Self::ClearEnable => bank.enabled,
            Self::SetPending | Self::ClearPending => bank.pending(),
            Self::SetActive | Self::ClearActive => bank.active,
            Self::Priority(quad) => priorities(bank, quad),
            Self::Config(half) => config(bank, half),
        }
    }

    /// Writes the register: gives the bits of the interrupts that may have changed.
    pub(crate) fn write(self, bank: &mut Bank, lanes: Lanes) -> u32 {
        let ones = lanes.ones() & bank.implemented;
        match self {
            Self::Group => {
                let old = bank.group;
                bank.group = lanes.merge(old) & bank.implemented;
                old ^ bank.group
            }
            Self::SetEnable => {
                let new = ones & !bank.enabled;
                bank.enabled |= new;
                new
            }
            Self::ClearEnable => {
                let old = ones & bank.enabled;
                bank.enabled &= !old;
                old
            }
            Self::SetPending => bank.pend(ones),
            Self::ClearPending => bank.unpend(ones),
            Self::SetActive => bank.activate(ones),
            Self::ClearActive => bank.deactivate(ones),
            Self::Priority(quad) => set_priorities(bank, quad, lanes),
            Self::Config(half) => set_config(bank, half, lanes),
        }
    }
}

/// The bits of the 4 interrupts of a priority register.
const fn quad_bits(quad: u32) -> u32 {
    0xf_u32.wrapping_shl(quad.wrapping_mul(4))
}

fn priorities(bank: &Bank, quad: u32) -> u32 {
    usize::try_from(quad).ok().and_then(|quad| bank.priority.get(quad)).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn set_priorities(bank: &mut Bank, quad: u32, lanes: Lanes) -> u32 {
    // The interrupts that do not exist, 1020 to 1023, are a quad of their own.
    let bits = quad_bits(quad) & bank.implemented;
    match usize::try_from(quad).ok().and_then(|quad| bank.priority.get_mut(quad)) {
        Some(bytes) if bits != 0 => {
            *bytes = lanes.merge(u32::from_le_bytes(*bytes)).to_le_bytes().map(|priority| priority & PRIORITY_MASK);
            bits
        }
        _ => 0,
    }
}

/// The upper bit of a field of `ICFGR`: 1 for an edge. The lower is reserved.
const EDGE: u32 = 0b10;

fn config(bank: &Bank, half: u32) -> u32 {
    let edges = bank.edge.wrapping_shr(half.wrapping_mul(16));
    (0..16_u32)
        .filter(|index| edges.wrapping_shr(*index) & 1 != 0)
        .fold(0, |config, index| config | EDGE.wrapping_shl(index.wrapping_mul(2)))
}

fn set_config(bank: &mut Bank, half: u32, lanes: Lanes) -> u32 {
    let written = lanes.merge(config(bank, half));
    let edges = (0..16_u32)
        .filter(|index| written.wrapping_shr(index.wrapping_mul(2)) & EDGE != 0)
        .fold(0, |edges, index| edges | 1_u32.wrapping_shl(index));
    let shift = half.wrapping_mul(16);
    let edge = (bank.edge & !0xffff_u32.wrapping_shl(shift) | edges.wrapping_shl(shift)) & bank.implemented;
    let changed = bank.edge ^ edge;
    bank.edge = edge;
    changed
}
