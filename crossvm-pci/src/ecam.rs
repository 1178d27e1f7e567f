//! The enhanced configuration access mechanism (PCI Express 3.0, §7.2.2): configuration space as memory, 4 KiB a function.

use crossvm_core::{Bdf, ConfigAccess, ConfigEffect, GuestAddr, GuestRange, PciSpace, Width};

use crate::region::{Region, region_methods};

/// An ECAM region of the guest's address space: 1 MiB a bus.
///
/// Bus in bits 27:20 of an offset, device in 19:15, function in 14:12, register in 11:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ecam(Region<12>);

region_methods!(Ecam);
