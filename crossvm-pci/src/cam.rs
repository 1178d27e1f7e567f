//! The configuration access mechanism of the `pci-host-cam-generic` binding: configuration space as memory, 256 bytes a function.

use crossvm_core::{Bdf, ConfigAccess, ConfigEffect, GuestAddr, GuestRange, PciSpace, Width};

use crate::region::{Region, region_methods};

/// A CAM region of the guest's address space: 64 KiB a bus.
///
/// Bus in bits 23:16 of an offset, device in 15:11, function in 10:8, register in 7:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cam(Region<8>);

region_methods!(Cam);
