//! Who runs a VM: the process that holds the lock on a file of the VM's own. The kernel lets go of it when the process dies, however.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::join::LinkError;

/// How long a lock may be held by somebody who only looks whether it is held.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a lock is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(20);
/// More digits than a process id has.
const LONGEST_PID: u64 = 20;

/// Where the lock of the VM `name` is.
pub(crate) fn path(socket: &Path, name: &str) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(format!(".{name}.lock"));
    path.into()
}

/// The right to run a VM, for as long as the value lives. The file stays: were it removed, two processes could each hold a lock on a file that had
/// its name.
#[derive(Debug)]
pub(crate) struct VmLock(#[allow(dead_code, reason = "held, not used")] File);

impl VmLock {
    /// Takes the lock of the VM `name`.
    ///
    /// # Errors
    /// [`LinkError::Runs`] where another process holds it, [`LinkError::File`] where it cannot be opened or written.
    pub(crate) fn take(socket: &Path, name: &str) -> Result<Self, LinkError> {
        let path = path(socket, name);
        let failed = |error: std::io::Error| LinkError::File { path: path.clone(), error };
        let mut file = open(&path).map_err(failed)?;
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => std::thread::sleep(AGAIN),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Err(LinkError::Runs { vm: name.to_owned(), pid: pid(&mut file) }),
                Err(error) => return Err(failed(error.into())),
            }
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self(file))
    }
}

/// Who runs the VM `name`: the process id that the holder of its lock has written down, zero where that is unreadable. `None`: nobody does.
///
/// # Errors
/// [`LinkError::File`].
pub(crate) fn holder(socket: &Path, name: &str) -> Result<Option<u32>, LinkError> {
    let path = path(socket, name);
    let failed = |error: std::io::Error| LinkError::File { path: path.clone(), error };
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Shared: two that look do not see each other.
    loop {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(pid(&mut file).unwrap_or(0))),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(LONGEST_PID).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_runs_once_and_its_process_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        assert_eq!(holder(&socket, "vm0").unwrap(), None);
        let lock = VmLock::take(&socket, "vm0").unwrap();
        assert_eq!(holder(&socket, "vm0").unwrap(), Some(std::process::id()));
        assert_eq!(holder(&socket, "vm1").unwrap(), None);
        let error = VmLock::take(&socket, "vm0").unwrap_err();
        assert!(matches!(&error, LinkError::Runs { vm, pid: Some(pid) } if vm == "vm0" && *pid == std::process::id()), "{error}");
        drop(lock);
        assert_eq!(holder(&socket, "vm0").unwrap(), None, "what is written in it means nothing when nobody holds it");
        VmLock::take(&socket, "vm0").unwrap();
    }

    #[test]
    fn looking_does_not_keep_a_process_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        drop(VmLock::take(&socket, "vm0").unwrap());
        let looker = File::open(path(&socket, "vm0")).unwrap();
        flock(&looker, FlockOperation::NonBlockingLockShared).unwrap();
        let looks = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(looker);
        });
        VmLock::take(&socket, "vm0").unwrap();
        looks.join().unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_a_lock_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, path(&socket, "vm0")).unwrap();
        assert!(matches!(VmLock::take(&socket, "vm0"), Err(LinkError::File { .. })));
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
    }
}
