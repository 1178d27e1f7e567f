//! Random bytes for the guests' kernels, so that they need not wait for their own.

use blake2::{Blake2s256, Digest};

/// Length of a seed in bytes.
pub const SEED_BYTES: usize = 32;

/// The seed of VM `number`: what the firmware gave the VMM, made the VM's own. `None` where the firmware gave nothing.
///
/// From its own seed, a guest learns neither the firmware's nor that of another VM.
#[must_use]
pub fn derive_seed(firmware: &[u8], number: u8) -> Option<[u8; SEED_BYTES]> {
    if firmware.is_empty() {
        return None;
    }
    let digest = Blake2s256::new().chain_update(b"crossvm el2-vmm guest seed").chain_update([number]).chain_update(firmware).finalize();
    Some(digest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vm_has_a_seed_of_its_own_at_each_boot() {
        let seeds = [(1, 0), (1, 1), (2, 0)].map(|(firmware, number)| derive_seed(&[firmware; 32], number).unwrap());
        assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2] && seeds[1] != seeds[2]);
        assert!(!seeds.contains(&[1; 32]));
        assert_eq!(derive_seed(&[], 0), None, "no entropy is better than false entropy");
    }
}
