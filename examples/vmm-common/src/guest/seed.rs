//! Random bytes for the guests' kernels, so that they need not wait for their own.

use blake2::{Blake2s256, Digest};

/// Length of a seed in bytes.
pub const SEED_BYTES: usize = 32;

/// The seed of VM `number` for its boot `boot`: what the firmware gave the VMM, made this boot's own. `None` where the firmware gave nothing.
///
/// From its own seed, a guest learns neither the firmware's nor that of another VM or boot.
#[must_use]
pub fn derive_seed(firmware: &[u8], number: u8, boot: u32) -> Option<[u8; SEED_BYTES]> {
    if firmware.is_empty() {
        return None;
    }
    let digest = Blake2s256::new().chain_update(b"crossvm el2-vmm guest seed").chain_update([number]);
    let digest = digest.chain_update(boot.to_le_bytes()).chain_update(firmware).finalize();
    Some(digest.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vm_has_a_seed_of_its_own_at_each_boot() {
        let seeds = [(1, 0, 1), (1, 1, 1), (2, 0, 1), (1, 0, 2)];
        let seeds = seeds.map(|(firmware, number, boot)| derive_seed(&[firmware; 32], number, boot).unwrap());
        assert!((1..4).all(|place| !seeds[..place].contains(&seeds[place])));
        assert!(!seeds.contains(&[1; 32]));
        assert_eq!(derive_seed(&[], 0, 1), None, "no entropy is better than false entropy");
    }
}
