//! What is on the board beside connections: serial port, power management, ports; and what all of a VM's vCPUs share in KVM.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use crossvm_core::{Bdf, ConfigAccess, GuestAddr, GuestRange, Irq, PciSpace, Width};
use crossvm_pci::ConfigPorts;
use crossvm_x86::{PciLine, PciLines, Routing, acpi};
use kvm_bindings::CpuId;
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};
use vm_superio::{Serial, Trigger, serial::NoEvents};

use super::boot::{self, Entry, Files};
use super::command_line::with_console;
use super::cpu::{self, CpuState};
use super::interrupts::Interrupts;
use super::power::{self, Power, Request};
use super::{cpuid, map};
use crate::cli::Irqchip;
use crate::exits::ExitKind;
use crate::sys;
use crate::vm::{Bus, End, ResetCause, Served, StopReason, function_at};

/// The serial port's register that says why it interrupts; reading it ends that.
const INTERRUPT_IDENTIFICATION: u8 = 2;
/// Most typed characters that wait for a guest that does not read.
const TYPED: usize = 4096;

/// The interrupt output of the serial port: that there is a new reason.
#[derive(Debug, Clone, Default)]
struct Pulse(Arc<AtomicBool>);

impl Trigger for Pulse {
    type E = std::convert::Infallible;

    fn trigger(&self) -> Result<(), Self::E> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The devices.
pub(crate) struct Board {
    serial: Serial<Pulse, NoEvents, Vec<u8>>,
    pulse: Pulse,
    typed: VecDeque<u8>,
    power: Power,
    config: ConfigPorts,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("power", &self.power).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Board {
    /// At power-on.
    pub(crate) fn new() -> Self {
        let pulse = Pulse::default();
        Self {
            serial: Serial::new(pulse.clone(), Vec::new()),
            pulse,
            typed: VecDeque::new(),
            power: Power::default(),
            config: ConfigPorts::new(),
        }
    }

    /// Back to power-on; what is typed stays.
    pub(crate) fn reset(&mut self) {
        let typed = std::mem::take(&mut self.typed);
        *self = Self { typed, ..Self::new() };
    }

    /// Somebody types.
    pub(crate) fn typed(&mut self, byte: u8) {
        if self.typed.len() < TYPED {
            self.typed.push_back(byte);
        }
    }

    /// What the devices have to say after they were used: gives what the guest has written, and interrupts it.
    pub(crate) fn take_output(&mut self, interrupts: &mut Interrupts) -> Vec<u8> {
        while self.serial.fifo_capacity() > 0
            && let Some(byte) = self.typed.pop_front()
        {
            // In loop mode nothing is taken: it is lost, as on a wire.
            let _ = self.serial.enqueue_raw_bytes(&[byte]);
        }
        if self.pulse.0.swap(false, Ordering::Relaxed) {
            interrupts.raise_anew(map::SERIAL_IRQ);
        }
        std::mem::take(self.serial.writer_mut())
    }

    /// The guest reads a port.
    pub(crate) fn port_in(&mut self, port: u16, width: Width, bus: &Bus, interrupts: &mut Interrupts) -> Served {
        if let Some(value) = self.config.read(bus, port, width) {
            return Served { function: self.function_behind(port, width), ..Served::value(ExitKind::PciConfig, value.into()) };
        }
        if let Some(value) = self.power.read(port, width) {
            return Served::value(ExitKind::Power, value);
        }
        if let Some(value) = interrupts.port_in(port, width) {
            return Served::value(ExitKind::Pic, value);
        }
        match port {
            0x70 => Served::nothing(ExitKind::Cmos),
            // A clock at 00:00 of day 0, which no kernel believes.
            0x71 => Served::value(ExitKind::Cmos, 0),
            _ => match serial_register(port) {
                Some(register) => {
                    if register == INTERRUPT_IDENTIFICATION {
                        interrupts.lower(map::SERIAL_IRQ);
                    }
                    Served::value(ExitKind::Serial, self.serial.read(register).into())
                }
                None => Served::nothing(ExitKind::OtherPort),
            },
        }
    }

    /// The guest writes a port.
    pub(crate) fn port_out(&mut self, port: u16, width: Width, value: u32, bus: &mut Bus, interrupts: &mut Interrupts) -> Served {
        if let Some(request) = self.power.write(port, width, value) {
            let end = match request {
                Request::PowerOff => End::Stop(StopReason::PowerOff),
                Request::Reset => End::Reboot(ResetCause::Register),
                Request::Exit(value) => End::Stop(StopReason::Exit(value)),
            };
            return Served { end: Some(end), ..Served::nothing(ExitKind::Power) };
        }
        if ConfigPorts::PORTS.contains(&port) {
            let effect = self.config.write(bus, port, width, value);
            return Served { function: self.function_behind(port, width), effect, ..Served::nothing(ExitKind::PciConfig) };
        }
        if self.power.read(port, width).is_some() {
            return Served::nothing(ExitKind::Power);
        }
        if interrupts.port_out(port, width, value) {
            return Served::nothing(ExitKind::Pic);
        }
        let [low, ..] = value.to_le_bytes();
        match port {
            0x70 | 0x71 => Served::nothing(ExitKind::Cmos),
            _ => match serial_register(port) {
                Some(register) => {
                    // Writing to memory does not fail.
                    let _ = self.serial.write(register, low);
                    Served::nothing(ExitKind::Serial)
                }
                None => Served::nothing(ExitKind::OtherPort),
            },
        }
    }

    /// The function that 0xcf8 names, where `port` is one of the ports behind it.
    fn function_behind(&self, port: u16, width: Width) -> Option<Bdf> {
        Some(self.config.decode(port, width)?.0)
    }

    /// The guest loads from an address that is none of a window's.
    pub(crate) fn load(&mut self, at: GuestAddr, width: Width, bus: &Bus, interrupts: &mut Interrupts) -> Served {
        if let Some(value) = map::ECAM.read(bus, at, width) {
            return Served { function: function_at(at, width), ..Served::value(ExitKind::PciConfig, value) };
        }
        match interrupts.load(at, width) {
            Some(value) => Served::value(ExitKind::Ioapic, value),
            None => Served::nothing(ExitKind::OtherMmio),
        }
    }

    /// The guest stores to an address that is none of a window's.
    pub(crate) fn store(&mut self, at: GuestAddr, width: Width, value: u64, bus: &mut Bus, interrupts: &mut Interrupts) -> Served {
        if map::ECAM.range().contains(at) {
            let effect = map::ECAM.write(bus, at, width, value);
            return Served { function: function_at(at, width), effect, ..Served::nothing(ExitKind::PciConfig) };
        }
        if interrupts.store(at, width, value) { Served::nothing(ExitKind::Ioapic) } else { Served::nothing(ExitKind::OtherMmio) }
    }
}

fn serial_register(port: u16) -> Option<u8> {
    port.checked_sub(map::SERIAL_PORT).and_then(|offset| u8::try_from(offset).ok()).filter(|offset| *offset < 8)
}

/// Writes to a function's interrupt line register where its line ends at the 8259 pair, as a PC's firmware does: kernels that do not use ACPI go by that.
/// Nothing for lines that do not end there.
pub(crate) fn set_interrupt_line(bus: &mut Bus, bdf: Bdf, irq: Irq) {
    /// PCI 3.0, §6.2.4.
    const INTERRUPT_LINE: ConfigAccess = ConfigAccess { offset: 0x3c, width: Width::U8 };
    if let Some(line) = PciLine::from_gsi(irq) {
        // It is plain storage: nothing comes of it.
        let _ = bus.write(bdf, INTERRUPT_LINE, Routing::PC.pic_irq(line).number().into());
    }
}

/// What all vCPUs of a VM share in KVM, and what a reset needs.
pub(crate) struct Hardware {
    kvm: Kvm,
    vm: Arc<VmFd>,
    regions: Vec<Arc<GuestRegionMmap>>,
    memory: GuestMemoryMmap,
    supported: CpuId,
    deadline_timer: bool,
    vcpus: u8,
    images: Images,
    tables: Option<acpi::Tables>,
    irqchip: Irqchip,
}

impl std::fmt::Debug for Hardware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hardware").field("vcpus", &self.vcpus).field("images", &self.images).finish_non_exhaustive()
    }
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

/// A vCPU, for its thread.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// The vCPU.
    pub(crate) fd: VcpuFd,
    /// Its number.
    pub(crate) id: u8,
    /// It calls [`Interrupts::before_run`] each time before it enters the guest.
    pub(crate) asks_before_entry: bool,
    power_on: CpuState,
}

impl Hardware {
    /// A VM in KVM with RAM, and neither interrupt controllers nor vCPUs yet.
    ///
    /// # Errors
    /// What KVM reports, and where there is no memory.
    pub(crate) fn new(memory: u64, vcpus: u8, images: Images) -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm does not open")?;
        let vm = kvm.create_vm().context("KVM makes no VM")?;
        vm.set_identity_map_address(map::KVM_IDENTITY_MAP).context("KVM_SET_IDENTITY_MAP_ADDR")?;
        vm.set_tss_address(map::KVM_TSS).context("KVM_SET_TSS_ADDR")?;
        let supported = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).context("KVM_GET_SUPPORTED_CPUID")?;
        let deadline_timer = vm.check_extension(Cap::TscDeadlineTimer);
        let regions = map::ram(memory).map(region).collect::<Result<Vec<_>>>()?;
        let memory = GuestMemoryMmap::from_arc_regions(regions.clone()).context("guest RAM")?;
        Ok(Self {
            kvm,
            vm: Arc::new(vm),
            regions,
            memory,
            supported,
            deadline_timer,
            vcpus,
            images,
            tables: None,
            irqchip: Irqchip::default(),
        })
    }

    /// The VM.
    pub(crate) const fn vm(&self) -> &Arc<VmFd> {
        &self.vm
    }

    /// Its interrupt controllers.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn interrupts(&mut self, place: Irqchip) -> Result<Interrupts> {
        self.irqchip = place;
        Interrupts::new(&self.vm, place)
    }

    /// Its RAM.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Arc<GuestRegionMmap>> {
        self.regions.iter()
    }

    /// Bits of a physical address of its guest.
    pub(crate) fn address_bits(&self) -> u8 {
        cpuid::address_bits(&self.supported)
    }

    /// Describes the machine in ACPI tables, for all boots to come.
    ///
    /// # Errors
    /// Where the tables cannot be made.
    pub(crate) fn describe(&mut self, bus: &Bus) -> Result<()> {
        let machine = acpi::Machine {
            vcpus: self.vcpus,
            ioapic: map::IOAPIC.start(),
            ecam: map::ECAM,
            windows: bus.windows(),
            routing: Routing::PC,
            lines: PciLines::from_wires(bus.wires()),
            power: power::PORTS,
            reset: power::RESET,
            serial: acpi::Serial::Com1,
        };
        let tables = acpi::Tables::build(&machine, map::BIOS.start()).context("the ACPI tables")?;
        if !map::BIOS.covers(tables.range()) {
            bail!("the ACPI tables have more than {} bytes", map::BIOS.size());
        }
        self.tables = Some(tables);
        Ok(())
    }

    /// Makes the vCPUs, loads the images and sets the first vCPU to their entry.
    ///
    /// # Errors
    /// What KVM reports, and where the images cannot be loaded.
    pub(crate) fn power_on(&self) -> Result<Vec<Cpu>> {
        let entry = self.load()?;
        (0..self.vcpus).map(|id| self.cpu(id, entry).with_context(|| format!("vCPU {id}"))).collect()
    }

    fn cpu(&self, id: u8, entry: Entry) -> Result<Cpu> {
        let fd = self.vm.create_vcpu(id.into())?;
        fd.set_cpuid2(&cpuid::for_vcpu(&self.supported, id, self.vcpus, self.deadline_timer)).context("KVM_SET_CPUID2")?;
        if id == 0 {
            cpu::enter(&fd, entry)?;
        }
        let power_on = CpuState::save(&self.kvm, &fd).context("its state at power-on")?;
        Ok(Cpu { fd, id, asks_before_entry: id == 0 && self.irqchip == Irqchip::Split, power_on })
    }

    /// Loads the images and tables into RAM, which is zero.
    ///
    /// # Errors
    /// Where a file cannot be read or does not fit.
    fn load(&self) -> Result<Entry> {
        let Images { kernel, initrd, command_line } = &self.images;
        let command_line = with_console(command_line);
        let mut rsdp = None;
        if let Some(tables) = &self.tables {
            let at = GuestAddress(tables.range().start().get());
            vm_memory::Bytes::write_slice(&self.memory, tables.bytes(), at).context("the ACPI tables")?;
            rsdp = Some(tables.rsdp().get());
        }
        boot::load(&self.memory, Files { kernel, initrd: initrd.as_deref(), command_line: &command_line }, rsdp)
    }

    /// Makes RAM zero and loads the images again. The vCPUs are stopped.
    ///
    /// # Errors
    /// Where a file cannot be read any more, or is another one that does not fit.
    pub(crate) fn reload(&self) -> Result<()> {
        for region in self.regions() {
            sys::clear(region).context("guest RAM")?;
        }
        self.load().map(|_| ())
    }
}

fn region(range: GuestRange) -> Result<Arc<GuestRegionMmap>> {
    let size = usize::try_from(range.size()).context("guest RAM does not fit this machine")?;
    let memory = MmapRegion::new(size).context("guest RAM")?;
    let region = GuestRegionMmap::new(memory, GuestAddress(range.start().get())).context("guest RAM ends behind the last address")?;
    Ok(Arc::new(region))
}

impl Cpu {
    /// Brings it back to power-on.
    ///
    /// # Errors
    /// What KVM reports.
    pub(crate) fn restore(&mut self) -> Result<(), kvm_ioctls::Error> {
        // An access to a device that was served is complete only once the vCPU is entered again: what it has loaded must not end in the new guest's registers.
        self.fd.set_kvm_immediate_exit(1);
        // It ends at once, with `EINTR`.
        let _ = self.fd.run();
        self.fd.set_kvm_immediate_exit(0);
        self.power_on.restore(&self.fd)
    }

    /// Its registers, as lines.
    pub(crate) fn dump(&self) -> Vec<String> {
        cpu::dump(&self.fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_core::{ClassCode, Function};
    use crossvm_pci::{HostBridge, PciBus};

    #[test]
    fn a_kernel_without_acpi_finds_the_8259_s_input_in_the_interrupt_line_register() {
        let mut bus: Bus = PciBus::new(HostBridge::default(), map::PCI_WINDOW);
        let function = |irq| Function {
            vendor: 0x1af4,
            device: 0xa111,
            revision: 1,
            class: ClassCode { base: 5, sub: 0, interface: 0 },
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt: Some(irq),
            bars: [None; 6],
            vendor_specific: Default::default(),
            msix: None,
        };
        for (gsi, input) in [(16, 5), (17, 10), (23, 15)] {
            let bdf = bus.insert(function(Irq::new(gsi))).unwrap();
            set_interrupt_line(&mut bus, bdf, Irq::new(gsi));
            assert_eq!(bus.read(bdf, ConfigAccess { offset: 0x3c, width: Width::U8 }), input);
        }
    }

    #[test]
    fn the_serial_port_has_eight_registers() {
        assert_eq!(
            (serial_register(0x3f8), serial_register(0x3ff), serial_register(0x400), serial_register(0)),
            (Some(0), Some(7), None, None)
        );
    }
}
