//! Kernels and how they are entered: bzImage by the 64-bit boot protocol, ELF by PVH where it offers that, else by the 64-bit boot protocol.

use std::fmt;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use linux_loader::cmdline::Cmdline;
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::map;

/// What the loader leaves in low memory.
const GDT: GuestAddress = GuestAddress(0x500);
/// PVH: start information, then modules, then the memory map.
const START_INFO: GuestAddress = GuestAddress(0x6000);
const MODULES: GuestAddress = GuestAddress(0x6040);
const MEMORY_MAP: GuestAddress = GuestAddress(0x6800);
/// 64-bit boot protocol: the "zero page".
const BOOT_PARAMS: GuestAddress = GuestAddress(0x7000);
/// Page tables: one page of each level, then the page directories.
const PAGE_TABLES: GuestAddress = GuestAddress(0x9000);
const STACK: u64 = 0x8ff0;
const COMMAND_LINE: GuestAddress = GuestAddress(0x2_0000);

/// Magic numbers and addresses of the boot protocol (Documentation/arch/x86/boot.rst).
const HEADER_MAGIC: u32 = 0x5372_6448;
const BOOT_FLAG: u16 = 0xaa55;
const LOADER_UNDEFINED: u8 = 0xff;
const ENTRY_64: u64 = 0x200;
const XLF_KERNEL_64: u16 = 1;
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const PVH_MAGIC: u32 = 0x336e_c578;

/// What kind of file a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bzImage with a 64-bit entry.
    BzImage,
    /// An ELF file for x86-64.
    Elf,
}

/// Why a file is no kernel for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKernel {
    /// A kernel for arm64.
    Arm64,
    /// A bzImage without 64-bit entry.
    Only32,
    /// Something else.
    Unknown,
}

impl fmt::Display for NoKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arm64 => "this is a kernel for arm64",
            Self::Only32 => "this is a kernel for 32-bit processors",
            Self::Unknown => "this is neither a bzImage nor an ELF file for x86-64",
        })
    }
}

/// What a file is, by its first bytes: 0x1000 of them are enough.
///
/// # Errors
/// [`NoKernel`].
pub(crate) fn kind(start: &[u8]) -> Result<Kind, NoKernel> {
    let bytes = |at: usize, length: usize| start.get(at..at.saturating_add(length)).unwrap_or_default();
    // Class 64, little endian, machine 62 (AMD64).
    if bytes(0, 6) == b"\x7fELF\x02\x01" {
        return if bytes(18, 2) == [62, 0] { Ok(Kind::Elf) } else { Err(NoKernel::Unknown) };
    }
    if bytes(0x202, 4) == b"HdrS" {
        let [low, high] = bytes(0x236, 2) else { return Err(NoKernel::Only32) };
        return if u16::from_le_bytes([*low, *high]) & XLF_KERNEL_64 != 0 { Ok(Kind::BzImage) } else { Err(NoKernel::Only32) };
    }
    Err(if bytes(0x38, 4) == b"ARM\x64" { NoKernel::Arm64 } else { NoKernel::Unknown })
}

/// What to give instead.
pub(crate) const WANTED: &str = "give a bzImage for x86-64 (Debian's /boot/vmlinuz-*-amd64 is one), or an ELF file";

/// How the first vCPU starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// In long mode, with the address of the boot parameters in RSI.
    Long {
        /// First instruction.
        rip: u64,
        /// First of the page tables.
        page_tables: u64,
        /// Boot parameters.
        parameters: u64,
        /// Top of a stack.
        stack: u64,
    },
    /// In 32-bit protected mode without paging, with the address of the start information in EBX.
    Pvh {
        /// First instruction.
        eip: u64,
        /// Start information.
        start_info: u64,
    },
}

/// The files of a VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// The initial RAM disk.
    pub(crate) initrd: Option<&'a Path>,
    /// The command line, as it is to be.
    pub(crate) command_line: &'a str,
}

/// Loads the files into RAM, which is zero, and says how to start. `rsdp` is where the ACPI tables' root is.
///
/// # Errors
/// Where a file cannot be read or does not fit.
pub(crate) fn load(memory: &GuestMemoryMmap, files: Files<'_>, rsdp: Option<u64>) -> Result<Entry> {
    let Files { kernel, initrd, command_line } = files;
    let (loaded, kind) = load_kernel(memory, kernel).with_context(|| format!("kernel {}", kernel.display()))?;
    let initrd = initrd.map(|path| load_initrd(memory, path, &loaded).with_context(|| format!("initial RAM disk {}", path.display())));
    let initrd = initrd.transpose()?;
    write_command_line(memory, command_line)?;
    write_tables(memory)?;
    if let (Kind::Elf, PvhBootCapability::PvhEntryPresent(entry)) = (kind, loaded.pvh_boot_cap) {
        write_start_info(memory, initrd, rsdp)?;
        return Ok(Entry::Pvh { eip: entry.raw_value(), start_info: START_INFO.raw_value() });
    }
    write_boot_params(memory, &loaded, initrd, command_line, rsdp)?;
    let entry = if kind == Kind::BzImage { ENTRY_64 } else { 0 };
    let rip = loaded.kernel_load.checked_add(entry).context("the kernel's entry is nowhere")?.raw_value();
    Ok(Entry::Long { rip, page_tables: PAGE_TABLES.raw_value(), parameters: BOOT_PARAMS.raw_value(), stack: STACK })
}

fn load_kernel(memory: &GuestMemoryMmap, path: &Path) -> Result<(KernelLoaderResult, Kind)> {
    let mut file = File::open(path)?;
    let mut start = vec![0; 0x1000];
    let length = std::io::Read::read(&mut file, &mut start)?;
    let kind = match kind(start.get(..length).unwrap_or_default()) {
        Ok(kind) => kind,
        Err(error) => bail!("{error}"),
    };
    let high = Some(GuestAddress(map::HIGH_MEMORY));
    let loaded = match kind {
        Kind::BzImage => BzImage::load(memory, None, &mut file, high)?,
        Kind::Elf => Elf::load(memory, None, &mut file, high)?,
    };
    // Where a compressed kernel unpacks itself to: it must be there before it starts to write.
    let header = loaded.setup_header.unwrap_or_default();
    let end = loaded.kernel_end.max(header.pref_address.saturating_add(header.init_size.into()));
    let room = low_end(memory);
    if end > room {
        bail!("it needs {} MiB below 3 GiB, and the VM has {} there", end.div_ceil(1 << 20), room >> 20);
    }
    Ok((KernelLoaderResult { kernel_end: end, ..loaded }, kind))
}

/// End of the RAM that starts at 0.
fn low_end(memory: &GuestMemoryMmap) -> u64 {
    memory.find_region(GuestAddress(0)).map_or(0, vm_memory::GuestMemoryRegion::len)
}

/// As high as the kernel allows: what it unpacks is out of the way then. Gives the address and size.
fn load_initrd(memory: &GuestMemoryMmap, path: &Path, kernel: &KernelLoaderResult) -> Result<(u64, u64)> {
    const PAGE: u64 = 4096;
    /// What kernels allow that do not say.
    const MOST: u64 = 0x37ff_ffff;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let most = kernel.setup_header.map(|header| u64::from(header.initrd_addr_max)).filter(|most| *most != 0).unwrap_or(MOST);
    let end = low_end(memory).min(most.saturating_add(1));
    let at = end.saturating_sub(size) & !(PAGE - 1);
    if at < kernel.kernel_end {
        bail!("its {} bytes do not fit behind the kernel, which needs {} MiB", size, kernel.kernel_end.div_ceil(1 << 20));
    }
    let length = usize::try_from(size).context("it does not fit this machine")?;
    memory.read_exact_volatile_from(GuestAddress(at), &mut file, length)?;
    Ok((at, size))
}

fn write_command_line(memory: &GuestMemoryMmap, line: &str) -> Result<()> {
    let mut command_line = Cmdline::new(line.len().saturating_add(1))?;
    if !line.is_empty() {
        command_line.insert_str(line).context("the kernel command line")?;
    }
    linux_loader::loader::load_cmdline(memory, COMMAND_LINE, &command_line).context("the kernel command line")
}

/// Segments and identity page tables of the first 4 GiB, in pages of 2 MiB.
fn write_tables(memory: &GuestMemoryMmap) -> Result<()> {
    for (index, descriptor) in super::cpu::GDT.iter().enumerate() {
        memory.write_obj(*descriptor, GDT.unchecked_add(8 * index as u64))?;
    }
    const TABLE: u64 = 0x1000;
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 0x80;
    let directories = PAGE_TABLES.unchecked_add(2 * TABLE);
    memory.write_obj(PAGE_TABLES.unchecked_add(TABLE).raw_value() | PRESENT_WRITABLE, PAGE_TABLES)?;
    for gigabyte in 0..4u64 {
        let directory = directories.unchecked_add(gigabyte * TABLE);
        memory.write_obj(directory.raw_value() | PRESENT_WRITABLE, PAGE_TABLES.unchecked_add(TABLE + 8 * gigabyte))?;
        for entry in 0..512u64 {
            let page = (gigabyte << 30) | (entry << 21);
            memory.write_obj(page | PRESENT_WRITABLE | LARGE, directory.unchecked_add(8 * entry))?;
        }
    }
    Ok(())
}

/// What is where: address, size and whether it is RAM.
fn layout(memory: &GuestMemoryMmap) -> impl Iterator<Item = (u64, u64, bool)> {
    let high: Vec<_> = vm_memory::GuestMemoryBackend::iter(memory)
        .map(|region| (vm_memory::GuestMemoryRegion::start_addr(region).raw_value(), vm_memory::GuestMemoryRegion::len(region)))
        .filter(|(start, _)| *start != 0)
        .map(|(start, size)| (start, size, true))
        .collect();
    let ebda = map::EBDA.start().get();
    let low_end = low_end(memory);
    let reserved = [map::EBDA, map::BIOS].map(|range| (range.start().get(), range.size(), false));
    let ecam = map::ECAM.range();
    [(0, ebda, true)]
        .into_iter()
        .chain(reserved)
        .chain([(map::HIGH_MEMORY, low_end.saturating_sub(map::HIGH_MEMORY), true), (ecam.start().get(), ecam.size(), false)])
        .chain(high)
}

fn write_boot_params(
    memory: &GuestMemoryMmap,
    kernel: &KernelLoaderResult,
    initrd: Option<(u64, u64)>,
    command_line: &str,
    rsdp: Option<u64>,
) -> Result<()> {
    let mut params = boot_params { hdr: kernel.setup_header.unwrap_or_default(), ..Default::default() };
    if kernel.setup_header.is_none() {
        params.hdr = setup_header { boot_flag: BOOT_FLAG, header: HEADER_MAGIC, kernel_alignment: 0x100_0000, ..params.hdr };
    }
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = u32::try_from(COMMAND_LINE.raw_value())?;
    params.hdr.cmdline_size = u32::try_from(command_line.len())?;
    if let Some((at, size)) = initrd {
        params.hdr.ramdisk_image = u32::try_from(at)?;
        params.hdr.ramdisk_size = u32::try_from(size).context("the initial RAM disk is too large")?;
    }
    params.acpi_rsdp_addr = rsdp.unwrap_or(0);
    let mut entries = 0u8;
    for ((addr, size, ram), entry) in layout(memory).zip(&mut params.e820_table) {
        *entry = boot_e820_entry { addr, size, r#type: if ram { E820_RAM } else { E820_RESERVED } };
        entries = entries.saturating_add(1);
    }
    params.e820_entries = entries;
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&params, BOOT_PARAMS), memory).context("the boot parameters")
}

fn write_start_info(memory: &GuestMemoryMmap, initrd: Option<(u64, u64)>, rsdp: Option<u64>) -> Result<()> {
    let entries: Vec<_> = layout(memory)
        .map(|(addr, size, ram)| hvm_memmap_table_entry { addr, size, type_: if ram { E820_RAM } else { E820_RESERVED }, reserved: 0 })
        .collect();
    let modules: Vec<_> = initrd.map(|(paddr, size)| hvm_modlist_entry { paddr, size, ..Default::default() }).into_iter().collect();
    let start = hvm_start_info {
        magic: PVH_MAGIC,
        version: 1,
        nr_modules: u32::try_from(modules.len())?,
        modlist_paddr: if modules.is_empty() { 0 } else { MODULES.raw_value() },
        cmdline_paddr: COMMAND_LINE.raw_value(),
        rsdp_paddr: rsdp.unwrap_or(0),
        memmap_paddr: MEMORY_MAP.raw_value(),
        memmap_entries: u32::try_from(entries.len())?,
        ..Default::default()
    };
    let mut params = BootParams::new(&start, START_INFO);
    params.set_sections(&entries, MEMORY_MAP);
    if !modules.is_empty() {
        params.set_modules(&modules, MODULES);
    }
    PvhBootConfigurator::write_bootparams(&params, memory).context("the start information")
}
