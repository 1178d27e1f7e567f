//! The guest's machine: where everything is. The layout is that of `vmm_common::map`; this module has what depends on KVM.

use crossvm_core::{GuestAddr, GuestRange, Irq};
use vmm_common::map;

pub(crate) use map::{CONNECTION_IRQS, ECAM, MESSAGE_FRAME, PCI_WINDOW, UART, UART_IRQ};

/// Where devices are, and nothing is ever mapped. KVM's interrupt controller has the redistributors of its vCPUs, or a CPU interface.
pub(crate) fn devices() -> impl Iterator<Item = GuestRange> {
    [map::DISTRIBUTOR, map::CPU_INTERFACE, MESSAGE_FRAME, map::REDISTRIBUTORS, UART, ECAM.range()].into_iter()
}

/// The interrupts of connections: INTIDs.
pub(crate) fn connection_irqs() -> impl Iterator<Item = Irq> {
    (map::FIRST_CONNECTION_IRQ.number()..).take(CONNECTION_IRQS as usize).map(Irq::new)
}

/// Where the RAM of a guest lies; `None` where it has none, or more than there is room for.
pub(crate) fn ram(memory: u64) -> Option<GuestRange> {
    GuestRange::new(map::RAM_BASE, memory).filter(|_| memory <= map::MAX_RAM)
}

/// The bridge's window for BARs of 64 bits, on a host whose guests have addresses of so many bits. `None` where they do not reach it.
pub(crate) fn high_window(address_bits: u8, _memory: u64) -> Option<GuestRange> {
    let window = map::PCI_HIGH_WINDOW;
    let end = 1u64.checked_shl(address_bits.into()).unwrap_or(u64::MAX);
    (window.last() < GuestAddr::new(end)).then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        let mut all: Vec<GuestRange> = devices().chain([PCI_WINDOW]).collect();
        all.extend(ram(map::MAX_RAM));
        all.extend(high_window(40, map::MAX_RAM));
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert!(!one.overlaps(*other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn the_high_window_is_there_where_guests_reach_it() {
        assert_eq!([32, 36, 38].map(|bits| high_window(bits, 0)), [None; 3]);
        assert_eq!([39, 40, 64].map(|bits| high_window(bits, 0)), [Some(map::PCI_HIGH_WINDOW); 3]);
        assert_eq!((ram(0), ram(map::MAX_RAM + 1)), (None, None));
    }
}
