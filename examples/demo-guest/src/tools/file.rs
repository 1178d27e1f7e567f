//! Files of random bytes, and what is in a file.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::bulk::hexadecimal;
use crate::random::Random;

/// Bytes that are made or read at a time.
const BLOCK: usize = 64 << 10;

/// A file that is gone when this is: guests have their files in memory.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// SHA-256 in hexadecimal digits; empty before there is anything.
    pub(super) digest: String,
}

impl Payload {
    /// Writes `bytes` bytes that nobody can have kept from an earlier run.
    pub(super) fn random(path: PathBuf, bytes: u64) -> Result<Self, String> {
        let mut payload = Self { path, bytes, digest: String::new() };
        let failed = |error: std::io::Error| format!("{}: {error}", payload.path.display());
        let mut random = Random::from_kernel().map_err(|error| format!("/dev/urandom: {error}"))?;
        let mut file = BufWriter::with_capacity(BLOCK, File::create(&payload.path).map_err(failed)?);
        let (mut block, mut hash, mut left) = (vec![0; BLOCK], Sha256::new(), bytes);
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let part = block.get_mut(..length).unwrap_or_default();
            random.fill(part);
            hash.update(&*part);
            file.write_all(part).map_err(failed)?;
            left -= length as u64;
        }
        file.flush().map_err(failed)?;
        payload.digest = hexadecimal(&hash.finalize());
        Ok(payload)
    }

    /// The place of a file that somebody else will write.
    pub(super) fn to_come(path: PathBuf) -> Self {
        Self { path, bytes: 0, digest: String::new() }
    }

    /// The path as an argument of a program.
    pub(super) fn shown(&self) -> Result<&str, String> {
        self.path.to_str().ok_or_else(|| format!("{} is no text", self.path.display()))
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // There is none where nobody has written it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Length and SHA-256 of a file.
pub(super) fn digest_of(path: &Path) -> Result<(u64, String), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let (mut block, mut hash, mut bytes) = (vec![0; BLOCK], Sha256::new(), 0);
    loop {
        let length = file.read(&mut block).map_err(failed)?;
        if length == 0 {
            return Ok((bytes, hexadecimal(&hash.finalize())));
        }
        hash.update(block.get(..length).unwrap_or_default());
        bytes += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_was_hashed_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [0, 1, 65_536, 200_001] {
            let path = folder.path().join("file");
            let payload = Payload::random(path.clone(), bytes).unwrap();
            assert_eq!(digest_of(&path), Ok((bytes, payload.digest.clone())));
            drop(payload);
            assert!(!path.exists());
        }
    }

    #[test]
    fn each_file_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let digests = ["a", "b"].map(|name| Payload::random(folder.path().join(name), 64).unwrap().digest.clone());
        assert_ne!(digests[0], digests[1]);
    }
}
