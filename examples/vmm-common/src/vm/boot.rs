//! Booting a VM, for the first time and again.
//!
//! ```text
//!   Vm::prepare_boot ──▶ Boot::load ──▶ Vm::start
//!   devices as at        RAM zeroed,    the first vCPU
//!   power-on, tree       images in it   is switched on
//! ```
//!
//! Only the first and the last step need the VM's lock: the second, which takes the longest, does not.

extern crate alloc;

use alloc::vec::Vec;

use crossvm_core::{GuestRange, InterruptController};

use super::{ComposeError, Vm, report};
use crate::guest::{self, Description, LoadError, Loaded, Placement, SEED_BYTES};
use crate::host::{HostRange, PhysicalMemory};
use crate::map;
use crate::platform::Platform;
use crate::space::GuestSpace;
use crate::uart::Pl011;
use crate::vcpu::Start;

/// What a guest starts from.
#[derive(Debug)]
pub struct Images<'a> {
    /// The kernel: an arm64 Image or an ELF executable.
    pub kernel: &'a [u8],
    /// The initial RAM disk; empty for none.
    pub initrd: &'a [u8],
    /// The kernel command line.
    pub command_line: &'a str,
    /// Random bytes for the kernel, different at each boot.
    pub seed: Option<[u8; SEED_BYTES]>,
}

/// A boot that has been prepared: where the images go, and the device tree.
#[derive(Debug)]
pub struct Boot {
    placement: Placement,
    tree: Vec<u8>,
}

impl Boot {
    /// Fills the guest's RAM, which nobody uses: the images and the device tree; what is not theirs is zero.
    ///
    /// # Errors
    /// [`LoadError::TooLarge`] where a piece does not fit.
    pub fn load<P: Platform>(&self, memory: &mut PhysicalMemory, images: &Images<'_>, platform: P) -> Result<Start, LoadError> {
        memory.clear();
        let loaded = guest::load(memory, &self.placement, images.kernel, images.initrd, &self.tree)?;
        // The guest starts with its MMU off and so reads past the caches.
        platform.clean(memory.range());
        let Loaded { entry, argument } = loaded;
        Ok(Start { entry, context: argument.get() })
    }
}

impl<P: Platform> Vm<P> {
    /// Gives the guest its RAM.
    ///
    /// # Errors
    /// [`ComposeError`] where it is too large or cannot be mapped.
    pub fn add_ram(&mut self, memory: HostRange) -> Result<(), ComposeError<P>> {
        let size = memory.size();
        let ram = GuestRange::new(map::RAM_BASE, size).filter(|_| size <= map::MAX_RAM);
        let ram = ram.ok_or(ComposeError::Load(LoadError::TooLarge { ram: size }))?;
        self.backend.memory.add_ram(ram, memory).map_err(ComposeError::Memory)
    }

    /// How often it has been booted.
    #[must_use]
    pub const fn boots(&self) -> u32 {
        self.boots
    }

    /// Prepares a boot of a VM with `ram` bytes of RAM: everything that the guest can have changed of its devices is as at power-on. No vCPU
    /// is in the guest.
    ///
    /// Events that have come and were not taken yet count for this boot.
    ///
    /// # Errors
    /// [`ComposeError`].
    pub fn prepare_boot(&mut self, ram: u64, images: &Images<'_>) -> Result<Boot, ComposeError<P>> {
        self.end_line();
        self.uart = Pl011::new();
        self.backend.interrupts.reset();
        // The lines keep their levels: those of the connections fall with their counters, the serial port's here.
        let low = self.backend.interrupts.set_level(map::UART_IRQ, crossvm_core::Level::Low);
        self.behind = low.is_err() | self.connections.reset(&mut self.backend).is_err();
        self.bars = report::BarTable::new();
        self.bars.update(&self.connections, |_| {});
        let initrd = u64::try_from(images.initrd.len()).unwrap_or(u64::MAX);
        let placement = guest::place(images.kernel, initrd, ram).map_err(ComposeError::Load)?;
        let description = Description {
            vcpus: self.cpus.len(),
            ram,
            command_line: images.command_line,
            initrd: placement.initrd,
            seed: images.seed.as_ref(),
            gic: self.backend.interrupts.version().into(),
            bus: &self.backend.pci,
        };
        let tree = guest::device_tree(&description).map_err(ComposeError::Tree)?;
        Ok(Boot { placement, tree })
    }

    /// Says that the VM, with `ram` bytes of RAM, starts, and switches its first vCPU on.
    pub fn start(&mut self, start: Start, ram: u64) {
        self.boots = self.boots.saturating_add(1);
        if self.boots == 1 {
            self.report_start(ram);
        } else {
            self.report_reboot();
        }
        self.power.start(start);
        if let Some(cpu) = self.cpus.first() {
            self.platform.kick(*cpu);
        }
    }
}
