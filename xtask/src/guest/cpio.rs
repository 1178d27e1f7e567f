//! Writes the archive format of initial RAM disks: cpio in its "newc" form (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Kept by hand: the crates for it write no device nodes, and the format is a header of 14 numbers.

/// File type bits of a mode (POSIX `sys/stat.h`).
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// An archive being written. All times are zero and all files are root's, so equal content gives equal bytes.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

/// Numbers of a character device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Archive {
    /// Adds a directory.
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, Device { major: 0, minor: 0 }, &[]);
    }

    /// Adds a file that may be executed.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o755, Device { major: 0, minor: 0 }, content);
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o644, Device { major: 0, minor: 0 }, content);
    }

    /// Adds a symbolic link to `target`.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, SYMBOLIC_LINK | 0o777, Device { major: 0, minor: 0 }, target.as_bytes());
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, device: Device) {
        self.entry(path, CHARACTER_DEVICE | 0o600, device, &[]);
    }

    /// Closes the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, Device { major: 0, minor: 0 }, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: Device, content: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // inode, mode, uid, gid, links, time, size, device numbers, rdev numbers, size of the name, checksum
        let fields =
            [self.entries, mode, 0, 0, links, 0, length(content.len()), 0, 0, device.major, device.minor, length(path.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The format's numbers have 32 bits; a longer file cannot be in an initial RAM disk of ours.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, mode, device numbers, content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Reads the archive back.
    fn read(mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| u32::from_str_radix(std::str::from_utf8(&bytes[6 + 8 * index..][..8]).unwrap(), 16).unwrap();
            let (size, name) = (field(6) as usize, field(11) as usize);
            let path = String::from_utf8(bytes[110..110 + name - 1].to_vec()).unwrap();
            let start = (110 + name).next_multiple_of(4);
            entries.push((path.clone(), field(1), (field(9), field(10)), bytes[start..start + size].to_vec()));
            if path == "TRAILER!!!" {
                return entries;
            }
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut archive = Archive::default();
        archive.directory("dev");
        archive.device("dev/console", Device { major: 5, minor: 1 });
        archive.program("init", b"#!/bin/sh\n");
        archive.link("bin/sh", "busybox");
        let entries = read(&archive.finish());
        assert_eq!(entries[0], ("dev".to_owned(), 0o040_755, (0, 0), Vec::new()));
        assert_eq!(entries[1], ("dev/console".to_owned(), 0o020_600, (5, 1), Vec::new()));
        assert_eq!(entries[2], ("init".to_owned(), 0o100_755, (0, 0), b"#!/bin/sh\n".to_vec()));
        assert_eq!(entries[3], ("bin/sh".to_owned(), 0o120_777, (0, 0), b"busybox".to_vec()));
    }
}
