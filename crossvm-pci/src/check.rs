//! Refuses functions that cannot be.

use crossvm_core::{BarIndex, BarWidth, Function, MsixTable};

use crate::PciError;

/// PCI 3.0, §6.8.2.3.
const MAX_VECTORS: u16 = 2048;
/// Bytes of a vector's table entry, §6.8.2.
const TABLE_ENTRY: u64 = 16;
/// Vectors whose pending bits share 8 bytes, §6.8.2.10.
const PENDING_GROUP: u16 = 64;

pub(crate) fn check(function: &Function) -> Result<(), PciError> {
    let mut behind_wide = false;
    for (index, bar) in BarIndex::ALL.into_iter().zip(&function.bars) {
        let wide = matches!(bar, Some(bar) if bar.width == BarWidth::Bits64);
        let too_large = matches!(bar, Some(bar) if bar.width == BarWidth::Bits32 && bar.size.bytes() > 1 << 31);
        let last = index == BarIndex::ALL[5];
        if too_large || (behind_wide && bar.is_some()) || (wide && last) {
            return Err(PciError::BadBar(index));
        }
        behind_wide = wide;
    }
    match &function.msix {
        Some(msix) if !fits(function, msix) => Err(PciError::BadMsix),
        _ => Ok(()),
    }
}

fn fits(function: &Function, msix: &MsixTable) -> bool {
    let inside = |(bar, offset): (BarIndex, u32), bytes: u64| {
        let bar = function.bars.get(bar.get()).copied().flatten();
        bar.is_some_and(|bar| offset.is_multiple_of(8) && u64::from(offset).saturating_add(bytes) <= bar.size.bytes())
    };
    let table = TABLE_ENTRY.saturating_mul(msix.vectors.into());
    let pending = u64::from(msix.vectors.div_ceil(PENDING_GROUP)).saturating_mul(8);
    (1..=MAX_VECTORS).contains(&msix.vectors) && inside(msix.table, table) && inside(msix.pending, pending)
}
