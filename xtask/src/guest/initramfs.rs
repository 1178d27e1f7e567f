//! The initial RAM disk of the guests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Userland;
use super::cpio::{Archive, Device};

/// Our programs in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The `crossvm` command.
    pub(crate) crossvm: PathBuf,
    /// What the demonstration runs.
    pub(crate) demo: PathBuf,
    /// The script that the kernel starts.
    pub(crate) init: PathBuf,
    /// The tests of the Linux driver.
    pub(crate) driver_test: PathBuf,
    /// The script that the kernel starts for them: `rdinit=/driver-test`.
    pub(crate) driver_test_init: PathBuf,
}

const DIRECTORIES: [&str; 11] = ["bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root", "etc", "lib", "lib/modules"];

/// The commands of busybox that get a name of their own; `busybox COMMAND` runs the others.
const COMMANDS: &str = "ash awk base64 basename blkid cat chmod chown chroot cmp cp cut date dd devmem df diff dirname dmesg du echo egrep env \
    expr false find free grep halt head hexdump hostname id ifconfig insmod ip kill killall less ln ls lsmod lspci md5sum mkdir mkfifo mknod \
    modprobe more mount mv nc netstat nproc od pidof ping poweroff printf ps pwd readlink reboot rm rmdir rmmod route sed seq setsid sh \
    sha256sum sleep sort stat stty sync sysctl tail tar taskset tee telnet test time timeout top touch tr true tty umount uname uniq uptime \
    usleep vi watch wc wget which xargs xxd yes";

/// Puts the disk together. The archive is not compressed: the emulated guest would spend longer on that than on copying.
pub(crate) fn assemble(userland: &Userland, modules: &[PathBuf], programs: &Programs) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    shell(&mut archive, &userland.busybox)?;
    let mut folders = BTreeSet::new();
    for (place, file) in &userland.files {
        // From the top down, each once.
        let above: Vec<_> = place.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        for folder in above.into_iter().rev() {
            let name = folder.to_string_lossy().into_owned();
            if !DIRECTORIES.contains(&name.as_str()) && folders.insert(name.clone()) {
                archive.directory(&name);
            }
        }
        archive.program(&place.to_string_lossy(), &read(file)?);
    }
    for module in modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("lib/modules/{name}"), &read(module)?);
    }
    archive.program("bin/crossvm", &read(&programs.crossvm)?);
    archive.program("bin/demo-guest", &read(&programs.demo)?);
    archive.program("init", &read(&programs.init)?);
    archive.program("bin/driver-test", &read(&programs.driver_test)?);
    archive.program("driver-test", &read(&programs.driver_test_init)?);
    Ok(archive.finish())
}

/// The folders that every disk has, the devices that the kernel wants before there are any, and busybox.
pub(crate) fn shell(archive: &mut Archive, busybox: &Path) -> Result<()> {
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.device("dev/console", Device { major: 5, minor: 1 });
    archive.device("dev/null", Device { major: 1, minor: 3 });
    archive.program("bin/busybox", &read(busybox)?);
    for command in COMMANDS.split_whitespace() {
        archive.link(&format!("bin/{command}"), "busybox");
    }
    Ok(())
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
