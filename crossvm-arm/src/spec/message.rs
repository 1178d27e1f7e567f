//! Where messages arrive: register offsets and layouts of a `GICv2m` frame (Arm Server Base System Architecture, appendix on `GICv2m`) and of
//! message-based SPIs in a version 3 distributor (IHI 0069 §12.9).
//!
//! Both have the register that devices write to at the same offset.

use bitfield_struct::bitfield;

/// Size of a `GICv2m` frame in bytes.
pub const FRAME_SIZE: u32 = 0x1000;

/// `MSI_TYPER` of a `GICv2m` frame. Offset in bytes.
pub const TYPER: u32 = 0x0008;
/// `MSI_SETSPI_NS` of a `GICv2m` frame, `GICD_SETSPI_NSR` of a version 3 distributor: makes an SPI pending. Offset in bytes.
pub const SETSPI: u32 = 0x0040;
/// `GICD_CLRSPI_NSR`, version 3 only: takes that back. Offset in bytes.
pub const CLRSPI: u32 = 0x0048;
/// `MSI_IIDR` of a `GICv2m` frame. Offset in bytes.
pub const IIDR: u32 = 0x0fcc;

/// `MSI_IIDR`: product 0x58, architecture version 0, revision 1, JEP106 code of Arm as the model's designer.
pub const IIDR_VALUE: u32 = 0x0580_143b;

/// `MSI_TYPER` of a `GICv2m` frame.
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct FrameType {
    /// `NumSPIs`: how many SPIs belong to the frame.
    #[bits(10)]
    pub count: u16,
    #[bits(6)]
    __: u8,
    /// `BaseSPI`: INTID of the first.
    #[bits(10)]
    pub first: u16,
    #[bits(6)]
    __: u8,
}

/// What is written to [`SETSPI`] and [`CLRSPI`].
#[bitfield(u32, defmt = cfg(feature = "defmt"))]
#[derive(PartialEq, Eq)]
pub struct MessageData {
    /// `INTID`.
    #[bits(13)]
    pub intid: u16,
    #[bits(19)]
    __: u32,
}
