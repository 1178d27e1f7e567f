//! Translation tables with a granule of 4 KiB, starting at level 1: 512 GiB of input addresses (Arm DDI 0487, D8.2).
//!
//! The same tables serve the VMM's own addresses (stage 1 of EL2) and the guests' ([`Stage2`]); only the attributes differ.
//!
//! ```text
//!   level 1: 512 × 1 GiB ──▶ level 2: 512 × 2 MiB ──▶ level 3: 512 × 4 KiB
//!        or a block               or a block                a page
//! ```

mod descriptor;
mod stage2;
mod table;

pub use descriptor::{Descriptor, El2Attributes, LeafAttributes, Stage2Attributes};
pub use stage2::{Frame, Stage2, Stage2Error, Stage2EventPage, TranslationCaches};
pub use table::{Found, MapError, Tables};
