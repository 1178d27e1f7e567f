//! Where the GSIs of a VM lead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crossvm_core::{Bdf, Irq, Message};
use kvm_bindings::{KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry};
use kvm_ioctls::{Cap, VmFd};
use rustix::io::Errno;

use crate::error::{Call, CallError};

/// Pins of the IOAPIC in the kernel.
#[cfg(target_arch = "x86_64")]
const IOAPIC_PINS: u32 = 24;

/// One place where a GSI leads. A GSI may lead to one input of each interrupt controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// A pin of the IOAPIC in the kernel.
    #[cfg(target_arch = "x86_64")]
    IoApic {
        /// The pin's number.
        pin: u8,
    },
    /// An input of the 8259 pair in the kernel.
    #[cfg(target_arch = "x86_64")]
    Pic {
        /// 0–7: the first chip's, 8–15: the second's.
        input: u8,
    },
    /// An SPI of the vGIC.
    #[cfg(target_arch = "aarch64")]
    Spi {
        /// Its INTID, from 32 on.
        intid: u32,
    },
    /// A message, as the function `requester` sends it.
    Message {
        /// The function.
        requester: Bdf,
        /// What it sends.
        message: Message,
    },
}

impl Route {
    fn entry(self, gsi: u32, with_device: bool) -> kvm_irq_routing_entry {
        let mut entry = kvm_irq_routing_entry { gsi, ..Default::default() };
        let mut to_chip = |irqchip, pin| {
            entry.type_ = KVM_IRQ_ROUTING_IRQCHIP;
            entry.u.irqchip = kvm_bindings::kvm_irq_routing_irqchip { irqchip, pin };
        };
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::IoApic { pin } => to_chip(kvm_bindings::KVM_IRQCHIP_IOAPIC, pin.into()),
            #[cfg(target_arch = "x86_64")]
            Self::Pic { input: input @ 0..=7 } => to_chip(kvm_bindings::KVM_IRQCHIP_PIC_MASTER, input.into()),
            #[cfg(target_arch = "x86_64")]
            Self::Pic { input } => to_chip(kvm_bindings::KVM_IRQCHIP_PIC_SLAVE, u32::from(input).saturating_sub(8)),
            #[cfg(target_arch = "aarch64")]
            Self::Spi { intid } => to_chip(0, intid.saturating_sub(32)),
            Self::Message { requester, message } => {
                entry.type_ = KVM_IRQ_ROUTING_MSI;
                entry.u.msi = super::msi_route(requester, message, with_device);
                entry.flags = if with_device { kvm_bindings::KVM_MSI_VALID_DEVID } else { 0 };
            }
        }
        entry
    }
}

/// All routes of a VM. KVM takes them as a whole, so there is one such table for each VM; each change goes to KVM at once.
pub struct GsiRoutes {
    vm: Arc<VmFd>,
    routes: BTreeMap<Irq, Vec<Route>>,
    limit: u32,
    with_device: bool,
}

impl fmt::Debug for GsiRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GsiRoutes").field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl GsiRoutes {
    /// No routes. KVM keeps those that it starts with until the first change.
    #[must_use]
    pub fn new(vm: Arc<VmFd>) -> Self {
        let limit = u32::try_from(vm.check_extension_int(Cap::IrqRouting)).unwrap_or(0);
        let with_device = vm.check_extension(Cap::MsiDevid);
        Self { vm, routes: BTreeMap::new(), limit, with_device }
    }

    /// The routes of a PC whose interrupt controllers are in the kernel: where `routing` says.
    ///
    /// KVM keeps one level for each input of the 8259 pair, not one for each GSI: an input that two GSIs led to would follow the one that was set last.
    /// So an input where a PCI line ends is that line's alone here: the GSI below 16 of the same number leads to the IOAPIC only.
    ///
    /// # Errors
    /// `EINVAL` where two PCI lines end at one input; what the kernel reports.
    #[cfg(target_arch = "x86_64")]
    pub fn pc(vm: Arc<VmFd>, routing: &crossvm_x86::Routing) -> Result<Self, CallError> {
        use crossvm_x86::PciLine;

        let of_pci: std::collections::BTreeSet<_> = PciLine::ALL.into_iter().map(|line| routing.pic_irq(line)).collect();
        if of_pci.len() != PciLine::ALL.len() {
            return Err(CallError::new(Call::SetGsiRouting, Errno::INVAL));
        }
        let mut routes = Self::new(vm);
        for gsi in (0..IOAPIC_PINS).map(Irq::new) {
            let Some(inputs) = routing.inputs(gsi, IOAPIC_PINS as usize) else { continue };
            let pic = inputs.pic.filter(|input| PciLine::from_gsi(gsi).is_some() || !of_pci.contains(input));
            let ioapic = inputs.ioapic.map(|pin| Route::IoApic { pin: pin.number() });
            let pic = pic.map(|input| Route::Pic { input: input.number() });
            routes.routes.insert(gsi, ioapic.into_iter().chain(pic).collect());
        }
        routes.commit()?;
        Ok(routes)
    }

    /// Where `gsi` leads.
    #[must_use]
    pub fn get(&self, gsi: Irq) -> &[Route] {
        self.routes.get(&gsi).map_or(&[], Vec::as_slice)
    }

    /// Lets `gsi` lead to `to`, and nowhere else. Does not call KVM where it does already.
    ///
    /// # Errors
    /// What the kernel reports; nothing has changed then.
    pub fn set(&mut self, gsi: Irq, to: &[Route]) -> Result<(), CallError> {
        if self.get(gsi) == to {
            return Ok(());
        }
        let before = if to.is_empty() { self.routes.remove(&gsi) } else { self.routes.insert(gsi, to.to_vec()) };
        let result = self.commit();
        if result.is_err() {
            match before {
                Some(before) => self.routes.insert(gsi, before),
                None => self.routes.remove(&gsi),
            };
        }
        result
    }

    /// Lets a GSI that leads nowhere yet, from `from` on, lead to `to`: one for an [`IrqFd`](crate::IrqFd) that sends a message.
    ///
    /// # Errors
    /// `ENOSPC` where none is left; what the kernel reports. Nothing has changed then.
    pub fn add(&mut self, from: Irq, to: Route) -> Result<Irq, CallError> {
        let free = (from.number()..self.limit).map(Irq::new).find(|gsi| !self.routes.contains_key(gsi));
        let gsi = free.ok_or(CallError::new(Call::SetGsiRouting, Errno::NOSPC))?;
        self.set(gsi, &[to])?;
        Ok(gsi)
    }

    /// Gives KVM the table again, where something else has changed KVM's.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn commit(&self) -> Result<(), CallError> {
        let entries: Vec<_> =
            self.routes.iter().flat_map(|(gsi, routes)| routes.iter().map(|route| route.entry(gsi.number(), self.with_device))).collect();
        let table = KvmIrqRouting::from_entries(&entries).map_err(|_| CallError::new(Call::SetGsiRouting, Errno::TOOBIG))?;
        self.vm.set_gsi_routing(&table).map_err(CallError::of_ioctl(Call::SetGsiRouting))
    }
}
