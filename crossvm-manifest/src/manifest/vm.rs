//! `[vm.NAME]`: a virtual machine.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::Bytes;
use super::diagnostic::{Collector, Kind};
use super::table::{Located, SizeRule, Table, wrong_type};
use super::words;
use crate::{Device, EventBar, MAX_COMMAND_LINE, MAX_VCPUS, Profile, Reboot};

pub(super) const KEYS: [&str; 8] = ["kernel", "initrd", "command-line", "memory", "vcpus", "on-reboot", "profile", "event-bar"];
/// Guest RAM where nothing else is said.
const DEFAULT_MEMORY: u64 = 256 << 20;
/// RAM comes in blocks of 2 MiB; 1 TiB is more than any platform gives.
const MEMORY: SizeRule = SizeRule { unit: Bytes(2 << 20), most: Bytes(1 << 40), example: Bytes(DEFAULT_MEMORY) };
const KERNEL_HELP: &str = "give a file, `kernel = \"path/to/Image\"`, or a kernel of Debian, `kernel = { debian = \"6.1\" }`";

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its initial RAM disk.
    pub initrd: Option<Initrd>,
    /// The kernel command line.
    pub command_line: String,
    /// Guest RAM in bytes, a multiple of 2 MiB.
    pub memory: u64,
    /// Number of vCPUs.
    pub vcpus: u8,
    /// How its connections look to it.
    pub device: Device,
    /// What happens when it resets itself.
    pub on_reboot: Reboot,
    pub(super) at: VmAt,
}

/// Where a VM's parts stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VmAt {
    pub(super) name: Range<usize>,
    pub(super) kernel: Range<usize>,
    pub(super) initrd: Option<Range<usize>>,
    pub(super) memory: Range<usize>,
    pub(super) vcpus: Range<usize>,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// A file.
    File(PathBuf),
    /// A cloud kernel of Debian, unmodified.
    Debian(Debian),
}

/// A series of Debian's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Debian {
    /// Linux 6.1, of Debian 12.
    Linux6_1,
    /// Linux 6.12, of Debian 13.
    Linux6_12,
}

impl Debian {
    /// Every series.
    pub const ALL: [Self; 2] = [Self::Linux6_1, Self::Linux6_12];

    /// Its name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux6_1 => "6.1",
            Self::Linux6_12 => "6.12",
        }
    }
}

/// Where an initial RAM disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initrd {
    /// A file.
    File(PathBuf),
    /// The demonstration's own, with the modules of the VM's kernel.
    Demo,
}

/// Reads a VM; only a complete one comes back.
pub(super) fn read(found: &mut Collector<'_>, name: Located<&str>, table: &Table<'_>) -> Option<Vm> {
    table.only(found, &KEYS);
    let kernel = match table.get("kernel") {
        Some(value) => kernel(found, value),
        None => {
            table.missing(found, "kernel", KERNEL_HELP);
            None
        }
    };
    let initrd = match table.get("initrd") {
        Some(value) => initrd(found, value, kernel.as_ref()).map(Some),
        None => Some(None),
    };
    let command_line = table.text(found, "command-line", "\"console=ttyAMA0\"");
    if let Some(line) = &command_line {
        check_command_line(found, line);
    }
    let memory = match table.get("memory") {
        Some(_) => table.size(found, "memory", &MEMORY),
        None => Some(Located { value: DEFAULT_MEMORY, at: name.at.clone() }),
    };
    let vcpus = match table.get("vcpus") {
        Some(_) => table.number(found, "vcpus", (1, MAX_VCPUS), &format!("a VM has 1 to {MAX_VCPUS} vCPUs")),
        None => Some(Located { value: 1, at: name.at.clone() }),
    };
    let on_reboot = table.choice(found, "on-reboot", &[("restart", Reboot::Restart), ("stop", Reboot::Stop)]);
    let profile = table.choice(found, "profile", &[("extended", Profile::Extended), ("reference", Profile::Reference)]);
    let event_bar = event_bar(found, table);
    let (kernel, initrd, memory, vcpus) = (kernel?, initrd?, memory?, vcpus?);
    check_room(found, &memory, &kernel, initrd.as_ref());
    Some(Vm {
        name: name.value.to_owned(),
        kernel,
        initrd,
        command_line: command_line.map_or_else(String::new, |line| line.value.to_owned()),
        memory: memory.value,
        vcpus: vcpus.value,
        device: Device { profile: profile.unwrap_or_default(), event_bar: event_bar.unwrap_or_default() },
        on_reboot: on_reboot.unwrap_or_default(),
        at: VmAt {
            kernel: table.get("kernel").map_or_else(|| name.at.clone(), Spanned::span),
            initrd: table.get("initrd").map(Spanned::span),
            name: name.at,
            memory: memory.at,
            vcpus: vcpus.at,
        },
    })
}

/// One of three sizes, however it is written.
fn event_bar(found: &mut Collector<'_>, table: &Table<'_>) -> Option<EventBar> {
    const ALL: [EventBar; 3] = [EventBar::Kib4, EventBar::Kib16, EventBar::Kib64];
    let said = table.get("event-bar").and_then(|value| value.get_ref().as_str()?.parse().ok());
    if let Some(bar) = ALL.into_iter().find(|bar| said == Some(Bytes(bar.bytes()))) {
        return Some(bar);
    }
    let names = ALL.map(|bar| (Bytes(bar.bytes()).to_string(), bar));
    table.choice(found, "event-bar", &names.each_ref().map(|(name, bar)| (name.as_str(), *bar)))
}

fn kernel(found: &mut Collector<'_>, value: &Spanned<DeValue<'_>>) -> Option<Kernel> {
    match value.get_ref() {
        DeValue::String(path) => file(found, path, &value.span(), "kernel", "Debian's: `kernel = { debian = \"6.1\" }`").map(Kernel::File),
        DeValue::Table(entries) => {
            let table = Table::new(entries, value.span(), "a kernel");
            let known = table.only(found, &["debian"]);
            let choices = Debian::ALL.map(|series| (series.name(), series));
            if known && table.get("debian").is_none() {
                table.missing(found, "debian", KERNEL_HELP);
            }
            table.choice(found, "debian", &choices).map(Kernel::Debian)
        }
        _ => {
            wrong_type(found, "kernel", value, "a path or a table", "\"path/to/Image\"` or `kernel = { debian = \"6.1\" }");
            None
        }
    }
}

fn initrd(found: &mut Collector<'_>, value: &Spanned<DeValue<'_>>, kernel: Option<&Kernel>) -> Option<Initrd> {
    const HELP: &str = "give a file, `initrd = \"path/to/initrd\"`, or the demonstration's own, `initrd = { builtin = \"demo\" }`";
    match value.get_ref() {
        DeValue::String(path) => {
            file(found, path, &value.span(), "initrd", "the demonstration's: `initrd = { builtin = \"demo\" }`").map(Initrd::File)
        }
        DeValue::Table(entries) => {
            let table = Table::new(entries, value.span(), "an initial RAM disk");
            let known = table.only(found, &["builtin"]);
            if known && table.get("builtin").is_none() {
                table.missing(found, "builtin", HELP);
            }
            let initrd = table.choice(found, "builtin", &[("demo", Initrd::Demo)].map(|(name, _)| (name, ())));
            if initrd.is_some() && matches!(kernel, Some(Kernel::File(_))) {
                let help = "take `kernel = { debian = \"6.1\" }`, or an initial RAM disk of your own: `initrd = \"path/to/initrd\"`";
                found.report(
                    Kind::ConflictingKeys,
                    &value.span(),
                    "the demonstration's RAM disk goes with Debian's kernels only",
                    "it holds modules of a Debian kernel",
                    help,
                );
            }
            initrd.map(|()| Initrd::Demo)
        }
        _ => {
            wrong_type(found, "initrd", value, "a path or a table", "\"path/to/initrd\"` or `initrd = { builtin = \"demo\" }");
            None
        }
    }
}

/// The file of this path, which is relative to the manifest's folder, if it is there.
fn file(found: &mut Collector<'_>, path: &str, at: &Range<usize>, key: &str, other: &str) -> Option<PathBuf> {
    let Some(folder) = found.source.folder() else { return Some(PathBuf::from(path)) };
    let place = folder.join(path);
    let label = match std::fs::metadata(&place) {
        Ok(file) if file.is_file() => match std::fs::File::open(&place) {
            Ok(_) => return Some(place),
            Err(error) => format!("cannot be read: {error}"),
        },
        Ok(_) => "this is no file".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let path_help = if Path::new(path).is_absolute() {
        "correct the path".to_owned()
    } else {
        format!("paths are relative to the manifest, this one is `{}`", place.display())
    };
    let message = format!("the {key} `{path}` cannot be loaded");
    found.report(Kind::File, at, message, label, format!("{path_help}; or take {other}"));
    None
}

fn check_command_line(found: &mut Collector<'_>, line: &Located<&str>) {
    if line.value.len() > MAX_COMMAND_LINE {
        let label = format!("{} bytes", line.value.len());
        let help = format!("shorten it: at most {MAX_COMMAND_LINE} bytes fit");
        found.report(Kind::TooLong, &line.at, "the kernel command line is too long", label, help);
    }
    if line.value.contains(|character: char| character.is_control()) {
        let message = "the kernel command line has a line feed or another control character";
        let help = "write it on one line; in a text of several lines, in \"\"\", end each but the last with a backslash";
        found.report(Kind::UnknownValue, &line.at, message, "in here", help);
    }
}

/// Whether the images that are files fit the VM's memory.
fn check_room(found: &mut Collector<'_>, memory: &Located<u64>, kernel: &Kernel, initrd: Option<&Initrd>) {
    if found.source.folder().is_none() {
        return;
    }
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let kernel = if let Kernel::File(path) = kernel { size(path) } else { 0 };
    let initrd = if let Some(Initrd::File(path)) = initrd { size(path) } else { 0 };
    let images = kernel.saturating_add(initrd);
    if images >= memory.value {
        let least = Bytes(images.saturating_add(1).next_multiple_of(MEMORY.unit.0).saturating_mul(2));
        let label = format!("kernel and initial RAM disk have {images} bytes");
        let help = format!("give the VM more, so that the kernel can also work: `memory = \"{least}\"`");
        found.report(Kind::MemoryTooSmall, &memory.at, "the memory does not hold the VM's images", label, help);
    }
}

impl Vm {
    /// "2 vCPUs, 256 MiB".
    #[must_use]
    pub fn size(&self) -> String {
        format!("{}, {}", words::count(usize::from(self.vcpus), "vCPU"), Bytes(self.memory))
    }
}
