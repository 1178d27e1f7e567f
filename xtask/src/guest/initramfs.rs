//! The initial RAM disk of the guests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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
    expr false find free grep halt head hexdump hostname id insmod kill killall less ln ls lsmod lspci md5sum mkdir mkfifo mknod modprobe more \
    mount mv nproc od pidof poweroff printf ps pwd readlink reboot rm rmdir rmmod sed seq setsid sh sha256sum sleep sort stat stty sync \
    sysctl tail tar taskset tee test time timeout top touch tr true tty umount uname uniq uptime usleep vi watch wc which xargs xxd yes";

/// Puts the disk together. The archive is not compressed: the emulated guest would spend longer on that than on copying.
pub(crate) fn assemble(busybox: &Path, modules: &[PathBuf], programs: &Programs) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.device("dev/console", Device { major: 5, minor: 1 });
    archive.device("dev/null", Device { major: 1, minor: 3 });
    archive.program("bin/busybox", &read(busybox)?);
    for command in COMMANDS.split_whitespace() {
        archive.link(&format!("bin/{command}"), "busybox");
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

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
