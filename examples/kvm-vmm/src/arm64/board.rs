//! What is on the board beside connections: the serial port; and what all of a VM's vCPUs share in KVM.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use crossvm_core::{GuestAccess, GuestAddr, GuestRange, InterruptController, Level, Width};
use crossvm_kvm::Vgic;
use kvm_bindings::{KVM_CAP_ARM_NISV_TO_USER, kvm_enable_cap};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};
use vmm_common::uart::Pl011;
use vmm_common::vcpu::Start;

use super::boot::{self, Tree};
use super::cpu::{self, Model};
use super::interrupts::{self, Interrupts};
use super::map;
use crate::cli::Irqchip;
use crate::exits::ExitKind;
use crate::sys;
use crate::vm::{Bus, Served, function_at};

/// Most typed characters that wait for a guest that does not read.
const TYPED: usize = 4096;
/// Bits of a guest's addresses where KVM does not tell.
const ADDRESS_BITS: u8 = 40;

/// The devices.
#[derive(Debug)]
pub(crate) struct Board {
    uart: Pl011,
    /// What the serial port's line is at.
    level: Level,
    typed: VecDeque<u8>,
    written: Vec<u8>,
}

impl Board {
    /// At power-on.
    pub(crate) fn new() -> Self {
        Self { uart: Pl011::new(), level: Level::Low, typed: VecDeque::new(), written: Vec::new() }
    }

    /// Back to power-on; what is typed stays.
    pub(crate) fn reset(&mut self) {
        self.uart = Pl011::new();
    }

    /// Somebody types.
    pub(crate) fn typed(&mut self, byte: u8) {
        if self.typed.len() < TYPED {
            self.typed.push_back(byte);
        }
    }

    /// What the devices have to say after they were used: gives what the guest has written, and brings their lines to their levels.
    pub(crate) fn take_output(&mut self, interrupts: &mut Interrupts) -> Vec<u8> {
        while self.uart.can_receive()
            && let Some(byte) = self.typed.pop_front()
        {
            self.uart.receive(byte);
        }
        let level = self.uart.interrupt();
        // A line that exists is refused for want of memory at most: the next access tries again.
        if level != self.level && interrupts.set_level(map::UART_IRQ, level).is_ok() {
            self.level = level;
        }
        std::mem::take(&mut self.written)
    }

    /// The guest loads from an address that is none of a window's.
    pub(crate) fn load(&mut self, at: GuestAddr, width: Width, bus: &Bus, interrupts: &mut Interrupts) -> Served {
        if let Some(value) = map::ECAM.read(bus, at, width) {
            return Served { function: function_at(at, width), ..Served::value(ExitKind::PciConfig, value) };
        }
        if let Some(offset) = uart_offset(at) {
            return Served::value(ExitKind::Serial, self.uart.read(offset, width));
        }
        match interrupts.load(at, width) {
            Some(value) => Served::value(ExitKind::MessageFrame, value),
            None => Served::nothing(ExitKind::OtherMmio),
        }
    }

    /// The guest stores to an address that is none of a window's.
    pub(crate) fn store(&mut self, at: GuestAddr, width: Width, value: u64, bus: &mut Bus, interrupts: &mut Interrupts) -> Served {
        if map::ECAM.range().contains(at) {
            let effect = map::ECAM.write(bus, at, width, value);
            return Served { function: function_at(at, width), effect, ..Served::nothing(ExitKind::PciConfig) };
        }
        if let Some(offset) = uart_offset(at) {
            self.written.extend(self.uart.write(offset, width, value).map(|sent| sent.0));
            return Served::nothing(ExitKind::Serial);
        }
        if interrupts.store(at, width, value) { Served::nothing(ExitKind::MessageFrame) } else { Served::nothing(ExitKind::OtherMmio) }
    }
}

fn uart_offset(at: GuestAddr) -> Option<u64> {
    if map::UART.contains(at) { at.offset_from(map::UART.start()) } else { None }
}

/// What a VM boots from.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    /// The kernel.
    pub(crate) kernel: std::path::PathBuf,
    /// The initial RAM disk.
    pub(crate) initrd: Option<std::path::PathBuf>,
    /// The command line of the manifest.
    pub(crate) command_line: String,
}

/// What all vCPUs of a VM share in KVM, and what a reset needs.
pub(crate) struct Hardware {
    vm: Arc<VmFd>,
    vgic: Arc<Vgic>,
    range: GuestRange,
    region: Arc<GuestRegionMmap>,
    memory: GuestMemoryMmap,
    address_bits: u8,
    model: Model,
    vcpus: u8,
    /// Those that were made and have no thread yet.
    made: Mutex<Vec<VcpuFd>>,
    images: Images,
    tree: Option<Tree>,
    start: Arc<Mutex<Option<Start>>>,
}

impl fmt::Debug for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hardware").field("vcpus", &self.vcpus).field("images", &self.images).finish_non_exhaustive()
    }
}

/// A vCPU, for its thread.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// The vCPU.
    pub(crate) fd: VcpuFd,
    /// Its number.
    pub(crate) id: u8,
    model: Model,
    /// Where the first one starts, as the images were loaded last.
    start: Arc<Mutex<Option<Start>>>,
}

impl Hardware {
    /// A VM in KVM with RAM, vCPUs at power-on and an interrupt controller, which KVM makes ready when all vCPUs are there.
    ///
    /// # Errors
    /// What KVM reports, and where there is no memory.
    pub(crate) fn new(memory: u64, vcpus: u8, images: Images) -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm does not open")?;
        let vm = Arc::new(kvm.create_vm().context("KVM makes no VM")?);
        // An access that the hardware does not describe must not end the VM.
        vm.enable_cap(&kvm_enable_cap { cap: KVM_CAP_ARM_NISV_TO_USER, ..Default::default() })
            .context("KVM_ENABLE_CAP of KVM_CAP_ARM_NISV_TO_USER, which Linux has since 5.5")?;
        let address_bits = u8::try_from(kvm.get_host_ipa_limit()).ok().filter(|bits| *bits != 0).unwrap_or(ADDRESS_BITS);
        let Some(range) = map::ram(memory) else { bail!("{memory} bytes of RAM do not fit into the guest's machine") };
        let region = region(range)?;
        let memory = GuestMemoryMmap::from_arc_regions(vec![Arc::clone(&region)]).context("guest RAM")?;
        let model = Model::preferred(&vm).context("KVM_ARM_PREFERRED_TARGET")?;
        let made = (0..vcpus).map(|id| {
            let vcpu = vm.create_vcpu(id.into()).with_context(|| format!("KVM_CREATE_VCPU of vCPU {id}"))?;
            model.reset(&vcpu, id).with_context(|| format!("KVM_ARM_VCPU_INIT of vCPU {id}"))?;
            Ok(vcpu)
        });
        let made = Mutex::new(made.collect::<Result<_>>()?);
        let vgic = Arc::new(interrupts::create(&vm)?);
        Ok(Self { vm, vgic, range, region, memory, address_bits, model, vcpus, made, images, tree: None, start: Arc::default() })
    }

    /// The VM.
    pub(crate) const fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    /// Its interrupts.
    ///
    /// # Errors
    /// Where `place` is not [`Irqchip::Kernel`].
    pub(crate) fn interrupts(&self, place: Irqchip) -> Result<Interrupts> {
        Interrupts::new(&self.vm, Arc::clone(&self.vgic), self.vcpus, place)
    }

    /// Its RAM.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Arc<GuestRegionMmap>> {
        std::iter::once(&self.region)
    }

    /// Bits of a physical address of its guest.
    pub(crate) const fn address_bits(&self) -> u8 {
        self.address_bits
    }

    /// Describes the machine in a device tree, for all boots to come.
    ///
    /// # Errors
    /// None on this architecture: the tree is made at each boot.
    pub(crate) fn describe(&mut self, bus: &Bus) -> Result<()> {
        self.tree = Some(Tree { controller: interrupts::controller(&self.vgic), bus: Box::new(bus.clone()) });
        Ok(())
    }

    /// Loads the images, sets the first vCPU to their entry and gives all vCPUs, once.
    ///
    /// # Errors
    /// What KVM reports, and where the images cannot be loaded.
    pub(crate) fn power_on(&self) -> Result<Vec<Cpu>> {
        self.load()?;
        let made = std::mem::take(&mut *lock(&self.made));
        let cpus: Vec<Cpu> = (0..).zip(made).map(|(id, fd)| Cpu { fd, id, model: self.model, start: Arc::clone(&self.start) }).collect();
        cpus.iter().try_for_each(Cpu::reset).context("the vCPUs cannot be reset")?;
        Ok(cpus)
    }

    fn load(&self) -> Result<()> {
        let tree = self.tree.as_ref().context("the machine was not described")?;
        *lock(&self.start) = Some(boot::load(&self.memory, self.range, self.vcpus, &self.images, tree)?);
        Ok(())
    }

    /// Makes RAM zero and loads the images again. The vCPUs are stopped.
    ///
    /// # Errors
    /// Where a file cannot be read any more, or is another one that does not fit.
    pub(crate) fn reload(&self) -> Result<()> {
        sys::clear(&self.region).context("guest RAM")?;
        self.load()
    }
}

/// What is behind the lock is set in one step: a thread that has panicked has left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn region(range: GuestRange) -> Result<Arc<GuestRegionMmap>> {
    let size = usize::try_from(range.size()).context("guest RAM does not fit this machine")?;
    let memory = MmapRegion::new(size).context("guest RAM")?;
    let region = GuestRegionMmap::new(memory, GuestAddress(range.start().get())).context("guest RAM ends behind the last address")?;
    Ok(Arc::new(region))
}

impl Cpu {
    /// Brings it back to power-on. The first one starts where the images say.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn restore(&mut self) -> Result<(), kvm_ioctls::Error> {
        // An access to a device that was served is complete only once the vCPU is entered again: the new guest must not go on behind the old one's instruction.
        self.fd.set_kvm_immediate_exit(1);
        // It ends at once, with `EINTR`.
        let _ = self.fd.run();
        self.fd.set_kvm_immediate_exit(0);
        self.reset()
    }

    fn reset(&self) -> Result<(), kvm_ioctls::Error> {
        self.model.reset(&self.fd, self.id)?;
        match *lock(&self.start) {
            Some(start) if self.id == 0 => cpu::start(&self.fd, start),
            _ => Ok(()),
        }
    }

    /// The access of its last exit, where that is one that the hardware does not describe.
    pub(crate) fn undecoded(&mut self) -> Option<GuestAccess> {
        cpu::undecoded(&mut self.fd)
    }

    /// Goes on behind the instruction of its last exit.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn skip(&self) -> Result<(), kvm_ioctls::Error> {
        cpu::skip(&self.fd)
    }

    /// Its registers, as lines.
    pub(crate) fn dump(&self) -> Vec<String> {
        cpu::dump(&self.fd)
    }
}
