//! `cargo xtask microkit`: a manifest as a system of seL4's Microkit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};
use crossvm_manifest::manifest::microkit::{Options, Refused, System};
use crossvm_manifest::manifest::{Manifest, Source};

use crate::{manifest, output};

/// The most that one program must know: 64 connections with long names.
const CONFIG_BYTES: usize = 64 << 10;

/// Write the system description that Microkit's tool builds a manifest's system from.
///
/// Every VM gets a protection domain with its monitor, every component one, every connection a channel and memory that is mapped
/// from the start. What each program must know is written beside the description, and reaches the program as memory. docs/sel4.md says
/// which programs are yours to supply.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The manifest, in TOML
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,

    /// Where the description goes, with the programs' configurations beside it. Without it, the description alone goes to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Microkit's board
    #[arg(long, value_enum, value_name = "BOARD", default_value = "qemu_virt_aarch64")]
    board: Board,

    /// Physical address of the board's GICV (GICv2's virtual CPU interface), in hexadecimal; a board without one has a GICv3
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    gicv: Option<u64>,

    /// The program image of the VMs' monitors
    #[arg(long, value_name = "FILE", default_value = "vmm.elf")]
    monitor: String,

    /// Give the serial port to nobody
    #[arg(long)]
    no_console: bool,
}

/// What we know of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Board {
    /// QEMU's `virt` machine with GICv2
    QemuVirtAarch64,
    /// Any other with AArch64: without a console, and without a GICV unless `--gicv` says where it is
    Other,
}

fn address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "write a hexadecimal number, such as 0x8040000".to_owned())
}

/// Writes the system of a manifest.
pub(crate) fn microkit(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.manifest;
    let source = Source::read(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
    let system = Manifest::parse(&source).map_err(Refused::Manifest).and_then(|manifest| manifest.microkit(&source, &options(arguments)));
    match system {
        Ok(system) => {
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let xml = system.xml(&name)?;
            match &arguments.output {
                Some(file) => write(&system, &xml, file)?,
                None => output::line(xml.trim_end()),
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused::Manifest(diagnostics)) => {
            manifest::show(&diagnostics);
            Ok(ExitCode::FAILURE)
        }
        Err(Refused::Options(unusable)) => Err(unusable.into()),
    }
}

fn options(arguments: &Arguments) -> Options {
    let board = match arguments.board {
        Board::QemuVirtAarch64 => Options::qemu_virt_aarch64(),
        Board::Other => Options::other(),
    };
    Options {
        monitor: arguments.monitor.clone(),
        gicv: arguments.gicv.or(board.gicv),
        console: board.console.filter(|_| !arguments.no_console),
    }
}

/// The description, and beside it what each program must know.
fn write(system: &System, xml: &str, file: &Path) -> Result<()> {
    let put = |file: &Path, bytes: &[u8]| {
        fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        output::line(file.display());
        Ok::<(), anyhow::Error>(())
    };
    put(file, xml.as_bytes())?;
    let mut buffer = vec![0; CONFIG_BYTES];
    for program in &system.programs {
        let config = program.config.encode(&mut buffer).map_err(|error| anyhow!("`{}`: {error}", program.name))?;
        put(&file.with_file_name(program.config_file()), config)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crossvm_manifest::FixedPeer;

    use super::*;

    fn arguments(manifest: &Path, output: Option<PathBuf>) -> Arguments {
        let monitor = "vmm.elf".to_owned();
        Arguments { manifest: manifest.to_owned(), output, board: Board::QemuVirtAarch64, gicv: None, monitor, no_console: false }
    }

    #[test]
    fn a_system_comes_with_what_its_programs_must_know() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("m.toml");
        let text = "[vm.a]\nkernel = { debian = \"6.1\" }\n[component.m]\nkind = \"reverse\"\n[[connection]]\nname = \"x\"\nbetween = [\"a\", \"m\"]\nsize = \"4 KiB\"\n";
        fs::write(&manifest, text).unwrap();
        let file = folder.path().join("m.system");
        assert_eq!(microkit(&arguments(&manifest, Some(file.clone()))).unwrap(), ExitCode::SUCCESS);
        assert!(fs::read_to_string(&file).unwrap().contains("prefill_path=\"a_vmm.config\""));
        let known = |name: &str| FixedPeer::decode(&fs::read(folder.path().join(name)).unwrap()).unwrap();
        assert!(known("a_vmm.config").vm.is_some() && known("m.config").vm.is_none());
        fs::write(&manifest, text.replace("\"m\"", "\"nobody\"")).unwrap();
        assert_eq!(microkit(&arguments(&manifest, Some(file))).unwrap(), ExitCode::FAILURE);
    }

    #[test]
    fn addresses_are_hexadecimal_and_fit_a_page() {
        assert_eq!((address("0x8040000"), address("f9060000")), (Ok(0x0804_0000), Ok(0xf906_0000)));
        assert!(address("GICV").is_err());
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/manifests/two-guests.toml");
        let odd = Arguments { gicv: Some(0x0804_0001), ..arguments(&example, None) };
        assert!(microkit(&odd).unwrap_err().to_string().contains("no multiple of a page"));
    }
}
