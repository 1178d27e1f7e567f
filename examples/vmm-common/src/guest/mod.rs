//! What a guest starts from: its images in its memory, and the device tree that describes its machine.

mod fdt;
mod loader;
mod program;
mod seed;

pub use self::fdt::{Description, device_tree};
pub use loader::{ImageError, LoadError, Loaded, Placement, load, place};
pub use seed::{SEED_BYTES, derive_seed};
