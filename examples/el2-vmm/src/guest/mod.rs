//! What a guest starts from: its images in its memory, and the device tree that describes its machine.

mod fdt;
mod loader;

pub use self::fdt::{Description, SEED_BYTES, device_tree};
pub use loader::{ImageError, LoadError, Loaded, Placement, load, place};
