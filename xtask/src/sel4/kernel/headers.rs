//! The headers of libsel4: those of the sources, and those that their generators make.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::compiler::Compiler;
use super::python::Python;
use super::{VERSION, configuration};
use crate::process;

/// Where they are in a prefix.
const FOLDER: &str = "libsel4/include";
/// Those of the sources, by the part of the machine that they belong to.
const PARTS: [&str; 4] = ["include", "arch_include/x86", "sel4_arch_include/x86_64", "sel4_plat_include/pc99"];
/// Descriptions of the calls: for any machine, for this family, for this machine.
const CALLS: [(&str, &str, Option<&str>); 3] = [
    ("include/interfaces/sel4.xml", "sel4/invocation.h", None),
    ("arch_include/x86/interfaces/sel4arch.xml", "sel4/arch/invocation.h", Some("--arch")),
    ("sel4_arch_include/x86_64/interfaces/sel4arch.xml", "sel4/sel4_arch/invocation.h", Some("--sel4_arch")),
];
/// Descriptions of structures.
const STRUCTURES: [(&str, &str); 3] = [
    ("sel4/types_64.bf", "sel4/types_gen.h"),
    ("sel4/shared_types_64.bf", "sel4/shared_types_gen.h"),
    ("sel4/sel4_arch/types.bf", "sel4/sel4_arch/types_gen.h"),
];

/// Puts all headers, and the file that tells the version, into `prefix`. Returns every file that is in it then.
pub(super) fn generate(sources: &Path, python: &Python, compiler: &Compiler, prefix: &Path) -> Result<Vec<PathBuf>> {
    let library = sources.join("libsel4");
    let place = prefix.join(FOLDER);
    for part in PARTS {
        copy_tree(&library.join(part), &place)?;
    }
    fs::copy(sources.join("include/plat/pc99").join(configuration::NAME), place.join(configuration::NAME))?;
    let tools = library.join("tools");
    let generator = |name: &str| {
        let mut command = python.command(&tools.join(name), &sources.join("tools"));
        // The name of a header's guard is the path that is given here.
        command.current_dir(&place);
        command
    };
    for (from, to, option) in CALLS {
        let mut command = generator("invocation_header_gen.py");
        process::run(command.arg("--libsel4").args(option).arg("--xml").arg(library.join(from)).args(["--dest", to]))?;
    }
    let calls = sources.join("include/api/syscall.xml");
    process::run(generator("syscall_header_gen.py").arg("--xml").arg(calls).args(["--libsel4_header", "sel4/syscall.h"]))?;
    for (from, to) in STRUCTURES {
        let flat = process::output(compiler.command("cpp").current_dir(&place).args(["-nostdinc", "-DHAVE_AUTOCONF", "-I.", "-P", from]))?;
        let file = place.join("structures");
        fs::write(&file, flat)?;
        process::run(generator("bitfield_gen.py").args(["--environment", "libsel4", "structures", to]))?;
        fs::remove_file(&file)?;
    }
    let mut stubs = generator("syscall_stub_gen.py");
    stubs.args(["-a", "x86_64", "-w", "64", "-o", "interfaces/sel4_client.h"]);
    process::run(stubs.args(CALLS.iter().rev().map(|(from, ..)| library.join(from))))?;
    fs::write(prefix.join("VERSION"), format!("{VERSION}\n"))?;
    files(prefix, prefix)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?.flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// All files below `folder`, as paths within `root`.
fn files(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path().is_dir() {
            found.extend(files(root, &entry.path())?);
        } else {
            found.push(entry.path().strip_prefix(root).map_err(|_| anyhow!("a file outside of its folder"))?.to_owned());
        }
    }
    found.sort();
    Ok(found)
}
