//! What a guest starts from: its images in its memory, and the device tree that describes its machine.

mod fdt;
mod loader;
mod program;
mod seed;

pub use self::fdt::{Controller, Description, device_tree};
pub use loader::{ImageError, LoadError, Loaded, Placement, load, load_with, place};
pub use seed::{SEED_BYTES, derive_seed};
