//! Numbers of Microkit 2.3 on AArch64, and where things are in the systems that we describe.

use std::ops::Range;

/// The smaller page. Manual, "Page sizes by architecture".
pub(super) const SMALL_PAGE: u64 = 0x1000;
/// The larger one.
pub(super) const LARGE_PAGE: u64 = 0x20_0000;
/// Channels and interrupts of a protection domain have ids below this. Manual, "channel".
pub(super) const CHANNELS: usize = 62;
/// The name that no protection domain can have: Microkit's own. Manual, "Monitor".
pub(super) const RESERVED_NAME: &str = "monitor";

/// A monitor is interrupted by nothing of its guest's, components by monitors alone. Higher numbers go first, 254 is the most.
pub(super) const MONITOR_PRIORITY: u8 = 30;
/// Priority of components.
pub(super) const COMPONENT_PRIORITY: u8 = 20;
/// Priority of guests.
pub(super) const GUEST_PRIORITY: u8 = 10;
/// Bytes of a program's stack: a topology is decoded on it.
pub(super) const STACK: u64 = 0x2_0000;

/// Guest-physical: the GICv2's CPU interface.
pub(super) const GUEST_CPU_INTERFACE: u64 = 0x0801_0000;
/// Guest-physical: BARs of 32 bits.
pub(super) const LOW_WINDOW: Range<u64> = 0x1000_0000..0x3eff_0000;
/// Guest-physical: RAM.
pub(super) const GUEST_RAM: u64 = 0x4000_0000;
/// Guest-physical: BARs of 64 bits. It ends where the 39 bits do that stage 2 translates on the smallest processors.
pub(super) const HIGH_WINDOW: Range<u64> = 0x40_0000_0000..0x80_0000_0000;

/// In a program: what it must know.
pub(super) const CONFIG: u64 = 0x10_0000_0000;
/// In a monitor: the console's registers.
pub(super) const CONSOLE: u64 = 0x10_1000_0000;
/// In a monitor: the event pages.
pub(super) const EVENTS: u64 = 0x10_2000_0000;
/// In a monitor: the kernel's image.
pub(super) const KERNEL: u64 = 0x11_0000_0000;
/// In a monitor: the initial RAM disk.
pub(super) const INITRD: u64 = 0x12_0000_0000;
/// In a monitor: guest RAM. In a component: dataports.
pub(super) const MEMORY: Range<u64> = 0x20_0000_0000..0x7f_0000_0000;
