//! An installed seL4 for arm64 guests: what its files say about the machine that it was built for.

use std::ffi::OsStr;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use crossvm_manifest::Image;
use serde::Deserialize;

use super::Gic;
use super::layout::{Blob, Layout, Off};

/// The environment variable that names the folder.
const VARIABLE: &str = "SEL4_PREFIX";
/// Where the ELF files of kernel and root task are for the loader: behind it, before the kernel's memory.
const FILES: u64 = 0x4200_0000;
/// The kernel's configuration, in its folder.
const CONFIG: &str = "libsel4/include/kernel/gen_config.h";
/// Files start at multiples of this.
const BLOCK: u64 = 2 << 20;
/// The processors that the kernel can be built for, as QEMU names them, and as the kernel's configuration does.
const CPUS: [(&str, &str); 3] =
    [("cortex-a53", "CONFIG_ARM_CORTEX_A53"), ("cortex-a57", "CONFIG_ARM_CORTEX_A57"), ("cortex-a72", "CONFIG_ARM_CORTEX_A72")];

/// What the configuration of a kernel for arm64 guests has, and what is to be said of one that has it not.
const GUESTS: [(&str, &str); 2] = [
    ("CONFIG_ARCH_AARCH64", "is not one for arm64"),
    ("CONFIG_ARM_HYPERVISOR_SUPPORT", "has no vCPUs: build it with KernelArmHypervisorSupport on"),
];

/// A seL4 that was installed, and can run guests on QEMU's arm64 machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Its folder.
    pub(crate) prefix: PathBuf,
    pub(crate) gic: Gic,
    pub(crate) cpu: String,
    /// The memory that the kernel takes for itself and its objects, as physical addresses: the machine may have more.
    pub(crate) memory: Range<u64>,
}

/// `support/platform_gen.json`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Description {
    memory: Vec<Region>,
}

#[derive(Debug, Deserialize)]
struct Region {
    start: u64,
    end: u64,
}

impl Installed {
    /// What SEL4_PREFIX names.
    pub(crate) fn from_environment() -> Result<Self> {
        match std::env::var_os(VARIABLE).filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => Self::read(&std::path::absolute(&prefix).unwrap_or_else(|_| prefix.into())),
            None => bail!(
                "{VARIABLE} is not set. `--on sel4` needs an installed seL4 for QEMU's arm64 machine, with hypervisor support: the folder that \
                 `ninja install` of the kernel's build (KernelPlatform=qemu-arm-virt, KernelSel4Arch=aarch64, KernelArmHypervisorSupport=ON) has filled"
            ),
        }
    }

    /// Whether SEL4_PREFIX names something for this; where not, why not.
    pub(crate) fn offered() -> std::result::Result<(), String> {
        offered(std::env::var_os(VARIABLE).as_deref())
    }

    fn read(prefix: &Path) -> Result<Self> {
        let shown = prefix.display();
        let kernel = prefix.join("bin/kernel.elf");
        if !kernel.is_file() {
            bail!("{VARIABLE} is {shown}, but there is no kernel bin/kernel.elf in it: name the folder that seL4 was installed to");
        }
        let file = prefix.join(CONFIG);
        let config = fs::read_to_string(&file)
            .with_context(|| format!("{VARIABLE} is {shown}, which is no installed seL4 of today: cannot read {}", file.display()))?;
        let has = |option: &str| is_set(&config, option);
        for_guests(prefix, &config).map_err(anyhow::Error::msg)?;
        if !has("CONFIG_PLAT_QEMU_ARM_VIRT") {
            bail!("the seL4 in {shown} is for another machine than QEMU's: build it with KernelPlatform qemu-arm-virt");
        }
        if has("CONFIG_KERNEL_MCS") {
            bail!("the seL4 in {shown} schedules by budgets, which sel4-vmm does not know: build it with KernelIsMCS off");
        }
        let cpu = CPUS.iter().find(|(_, option)| has(option)).map(|(cpu, _)| (*cpu).to_owned());
        let cpu = cpu.ok_or_else(|| {
            let known = CPUS.map(|(cpu, _)| cpu).join(", ");
            anyhow!("the seL4 in {shown} is for a processor that is not known here; known are {known}")
        })?;
        let gic = if has("CONFIG_ARM_GIC_V3_SUPPORT") { Gic::V3 } else { Gic::V2 };
        Ok(Self { prefix: prefix.to_owned(), gic, cpu, memory: memory(prefix)? })
    }

    /// Adds the kernel and the root task to what is loaded, and tells the loader.
    pub(super) fn add_to(&self, mut layout: Layout, task: &Path) -> Result<Layout> {
        let mut next = FILES;
        if self.memory.start < FILES {
            bail!(
                "the seL4 in {} takes memory from {:#x} on, where the loader is; the platform's usual configuration leaves what is below \
                 0x60000000 alone",
                self.prefix.display(),
                self.memory.start
            );
        }
        for (parameter, path) in [("kernel", self.prefix.join("bin/kernel.elf")), ("root", task.to_owned())] {
            let size = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
            let image = Image { address: next, size };
            next = (next + size).next_multiple_of(BLOCK);
            if next > self.memory.start {
                bail!("{} is too large to be loaded below {:#x}, where the kernel goes", path.display(), self.memory.start);
            }
            layout.parameters.push_str(&format!(" crossvm.{parameter}={:#x},{:#x}", image.address, image.size));
            layout.blobs.push(Blob { path, image });
        }
        // One CPU serves all vCPUs, and nobody but the kernel may call the firmware.
        layout.cpus = 1;
        layout.off = Off::ByUs;
        Ok(layout)
    }
}

/// Whether a value of SEL4_PREFIX is for this. A folder in which no kernel is recognised is: whoever uses it tells what is wrong with it.
fn offered(prefix: Option<&OsStr>) -> std::result::Result<(), String> {
    let prefix = prefix.filter(|prefix| !prefix.is_empty());
    let prefix = Path::new(prefix.ok_or_else(|| format!("{VARIABLE} is not set: it would name an installed seL4 for arm64 guests"))?);
    if fs::read_to_string(prefix.join("VERSION")).is_ok_and(|version| version.starts_with('5')) {
        return Err(format!("{VARIABLE} names seL4 5.0.0, which is for x86-64"));
    }
    fs::read_to_string(prefix.join(CONFIG)).map_or(Ok(()), |config| for_guests(prefix, &config))
}

/// Whether a kernel of this configuration can run arm64 guests; where not, why not.
fn for_guests(prefix: &Path, config: &str) -> std::result::Result<(), String> {
    match GUESTS.iter().find(|(option, _)| !is_set(config, option)) {
        Some((_, what)) => Err(format!("the seL4 in {} {what}", prefix.display())),
        None => Ok(()),
    }
}

/// Whether a header has the line `#define OPTION`, with or without a 1.
fn is_set(config: &str, option: &str) -> bool {
    config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("#define") && words.next() == Some(option) && words.next().is_none_or(|value| value == "1")
    })
}

/// From the first to the last byte that the kernel takes as memory.
fn memory(prefix: &Path) -> Result<Range<u64>> {
    let file = prefix.join("support/platform_gen.json");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}: is the installation complete?", file.display()))?;
    let description: Description = serde_json::from_str(&text).with_context(|| format!("{} is not what seL4 writes", file.display()))?;
    let start = description.memory.iter().map(|region| region.start).min();
    let end = description.memory.iter().map(|region| region.end).max();
    start.zip(end).map(|(start, end)| start..end).ok_or_else(|| anyhow!("{} names no memory", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{System, VmSpec};

    const KERNEL: &str = "#define CONFIG_ARCH_AARCH64  1\n#define CONFIG_ARM_HYPERVISOR_SUPPORT  1\n#define CONFIG_PLAT_QEMU_ARM_VIRT  1\n\
                          #define CONFIG_ARM_CORTEX_A57  1\n/* disabled: CONFIG_KERNEL_MCS */\n";

    fn installed(config: &str, memory: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("bin/kernel.elf", "ELF"), (CONFIG, config), ("support/platform_gen.json", memory)] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const MEMORY: &str = r#"{"devices": [], "memory": [{"end": 2147483648, "start": 1610612736}]}"#;

    #[test]
    fn the_kernel_s_files_say_which_machine_it_wants() {
        let folder = installed(KERNEL, MEMORY);
        let kernel = Installed::read(folder.path()).unwrap();
        assert_eq!((kernel.gic, kernel.cpu.as_str(), kernel.memory), (Gic::V2, "cortex-a57", 0x6000_0000..0x8000_0000));
        let v3 = installed(&format!("{KERNEL}#define CONFIG_ARM_GIC_V3_SUPPORT  1\n"), MEMORY);
        assert_eq!(Installed::read(v3.path()).unwrap().gic, Gic::V3);
    }

    #[test]
    fn what_cannot_run_guests_is_told_with_its_reason() {
        let told = |config: &str, memory: &str| format!("{:#}", Installed::read(installed(config, memory).path()).unwrap_err());
        for (option, expected) in [
            ("CONFIG_ARCH_AARCH64", "is not one for arm64"),
            ("CONFIG_ARM_HYPERVISOR_SUPPORT", "KernelArmHypervisorSupport on"),
            ("CONFIG_PLAT_QEMU_ARM_VIRT", "KernelPlatform qemu-arm-virt"),
            ("CONFIG_ARM_CORTEX_A57", "known are cortex-a53, cortex-a57, cortex-a72"),
        ] {
            let error = told(&KERNEL.replace(&format!("#define {option}  1\n"), ""), MEMORY);
            assert!(error.contains(expected), "{error}");
        }
        assert!(told(&format!("{KERNEL}#define CONFIG_KERNEL_MCS  1\n"), MEMORY).contains("KernelIsMCS off"));
        assert!(told(KERNEL, "{}").contains("is not what seL4 writes"));
        assert!(told(KERNEL, r#"{"memory": []}"#).contains("names no memory"));
        let empty = tempfile::tempdir().unwrap();
        assert!(Installed::read(empty.path()).unwrap_err().to_string().contains("there is no kernel bin/kernel.elf"));
    }

    #[test]
    fn kernels_for_other_guests_are_left_out_and_broken_ones_are_not() {
        let without = |option: &str| {
            let folder = installed(&KERNEL.replace(&format!("#define {option}  1\n"), ""), MEMORY);
            offered(Some(folder.path().as_os_str()))
        };
        assert_eq!(without("nothing"), Ok(()));
        assert!(without("CONFIG_ARCH_AARCH64").is_err_and(|reason| reason.contains("is not one for arm64")));
        assert!(without("CONFIG_ARM_HYPERVISOR_SUPPORT").is_err_and(|reason| reason.contains("has no vCPUs")));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(offered(Some(folder.path().as_os_str())), Ok(()), "a mistake must be told, not left out");
        fs::write(folder.path().join("VERSION"), "5.0.0\n").unwrap();
        assert!(offered(Some(folder.path().as_os_str())).is_err_and(|reason| reason.contains("5.0.0")));
        for unset in [None, Some(OsStr::new(""))] {
            assert!(offered(unset).is_err_and(|reason| reason.contains("is not set")));
        }
    }

    #[test]
    fn images_lie_behind_the_kernel_s_memory_and_its_files_before() {
        let folder = installed(KERNEL, MEMORY);
        let kernel = Installed::read(folder.path()).unwrap();
        let mut image = vec![0; 128];
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        let linux = folder.path().join("Image");
        fs::write(&linux, image).unwrap();
        let system = System { vms: vec![VmSpec::new("a", linux, String::new())], ..System::default() };
        let layout = Layout::behind(kernel.memory.end, &system, &folder.path().join("topology")).unwrap();
        let layout = kernel.add_to(layout, &folder.path().join("bin/kernel.elf")).unwrap();
        let places: Vec<_> = layout.blobs.iter().map(|blob| blob.image.address).collect();
        assert_eq!(places, [0x8000_0000, 0x8020_0000, 0x4200_0000, 0x4220_0000]);
        assert!(layout.parameters.ends_with(" crossvm.kernel=0x42000000,0x3 crossvm.root=0x42200000,0x3"), "{}", layout.parameters);
        let mut low = kernel.clone();
        low.memory.start = 0x4000_0000;
        assert!(low.add_to(layout.clone(), &folder.path().join("bin/kernel.elf")).unwrap_err().to_string().contains("where the loader is"));
        // 1 GiB of the kernel's, the images, 256 MiB of the guest's, and some to spare.
        assert_eq!((layout.cpus, layout.memory_mib, layout.off), (1, 1024 + 384, Off::ByUs));
    }
}
