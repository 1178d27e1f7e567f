//! The list of capabilities (PCI 3.0, §6.7) behind the header: the vendor-specific one, then MSI-X.

use crossvm_core::{BarIndex, Function, MsixControl};

use crate::spec::{self, MsixHeader, MsixPlace, VendorHeader};

/// Bytes of a vendor-specific capability's header.
const VENDOR_HEADER: u16 = 4;

/// Where a function has its capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Length of the vendor-specific capability in bytes; zero: there is none.
    vendor_bytes: u16,
    has_msix: bool,
}

impl Capabilities {
    pub(crate) fn of(function: &Function) -> Self {
        // At most 15 dwords.
        let body = u16::try_from(function.vendor_specific.len()).unwrap_or(0).saturating_mul(4);
        Self { vendor_bytes: if body == 0 { 0 } else { body.saturating_add(VENDOR_HEADER) }, has_msix: function.msix.is_some() }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.vendor_bytes == 0 && !self.has_msix
    }

    /// The register that points at the first capability.
    pub(crate) const fn pointer(self) -> u32 {
        if self.is_empty() { 0 } else { spec::FIRST_CAPABILITY as u32 }
    }

    /// Offset of the MSI-X capability.
    pub(crate) fn msix(self) -> Option<u16> {
        self.has_msix.then_some(spec::FIRST_CAPABILITY.saturating_add(self.vendor_bytes))
    }

    /// A dword of the list; zero behind it.
    pub(crate) fn dword(self, function: &Function, control: MsixControl, register: u16) -> u32 {
        let Some(offset) = register.checked_sub(spec::FIRST_CAPABILITY) else { return 0 };
        match offset.checked_sub(self.vendor_bytes) {
            None => self.vendor(function, offset),
            Some(offset) => function.msix.as_ref().map_or(0, |msix| match offset {
                spec::MSIX_HEADER => MsixHeader::new()
                    .with_id(spec::MSIX_CAPABILITY_ID)
                    .with_last_vector(msix.vectors.wrapping_sub(1) & spec::LAST_VECTOR_MASK)
                    .with_function_mask(control.masked)
                    .with_enable(control.enabled)
                    .into_bits(),
                spec::MSIX_TABLE => place(msix.table),
                spec::MSIX_PENDING => place(msix.pending),
                _ => 0,
            }),
        }
    }

    fn vendor(self, function: &Function, offset: u16) -> u32 {
        match offset.checked_sub(VENDOR_HEADER) {
            None => {
                // Offsets in the list have 8 bits: it ends long before.
                let byte = |offset: u16| u8::try_from(offset).unwrap_or(0);
                VendorHeader::new()
                    .with_id(spec::VENDOR_CAPABILITY_ID)
                    .with_next(self.msix().map_or(0, byte))
                    .with_length(byte(self.vendor_bytes))
                    .into_bits()
            }
            Some(body) => function.vendor_specific.get(usize::from(body / 4)).copied().unwrap_or(0),
        }
    }
}

fn place((bar, offset): (BarIndex, u32)) -> u32 {
    // One of six: the mask is for the optimizer.
    MsixPlace::new().with_bar(u8::try_from(bar.get() & spec::BAR_NUMBER_MASK).unwrap_or(0)).with_offset_in_8_bytes(offset / 8).into_bits()
}
