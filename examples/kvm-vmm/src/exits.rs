//! Exits to this program, counted by what they were for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an exit to this program was for. Exits that KVM serves itself are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// Configuration space, by ECAM or ports.
    PciConfig,
    /// The windows of the PCI bridge: registers of a connection and MSI-X tables above all.
    Connection,
    /// The serial port.
    Serial,
    /// CMOS, ports 0x70 and 0x71.
    Cmos,
    /// The registers of an IOAPIC in this program.
    Ioapic,
    /// The registers of an 8259 in this program.
    Pic,
    /// The frame for messages of a GIC.
    MessageFrame,
    /// The end of a level-triggered interrupt of an IOAPIC in this program.
    Eoi,
    /// Power management, reset, exit port.
    Power,
    /// Another port.
    OtherPort,
    /// Another address.
    OtherMmio,
    /// The guest can take an interrupt of an 8259 in this program now.
    InterruptWindow,
    /// The processor waits for an interrupt, where KVM does not wait for it itself.
    Halt,
    /// A kick by another thread.
    Signal,
    /// Anything else.
    Other,
}

impl ExitKind {
    /// All kinds, in the order of the record.
    pub(crate) const ALL: [Self; 15] = [
        Self::PciConfig,
        Self::Connection,
        Self::Serial,
        Self::Cmos,
        Self::Ioapic,
        Self::Pic,
        Self::MessageFrame,
        Self::Eoi,
        Self::Power,
        Self::OtherPort,
        Self::OtherMmio,
        Self::InterruptWindow,
        Self::Halt,
        Self::Signal,
        Self::Other,
    ];

    /// Its key in the record.
    const fn key(self) -> &'static str {
        match self {
            Self::PciConfig => "pci-config",
            Self::Connection => "connection",
            Self::Serial => "serial",
            Self::Cmos => "cmos",
            Self::Ioapic => "ioapic",
            Self::Pic => "pic",
            Self::MessageFrame => "message-frame",
            Self::Eoi => "eoi",
            Self::Power => "power",
            Self::OtherPort => "other-port",
            Self::OtherMmio => "other-mmio",
            Self::InterruptWindow => "interrupt-window",
            Self::Halt => "hlt",
            Self::Signal => "signal",
            Self::Other => "other",
        }
    }
}

/// Exits of all vCPUs of a VM by kind.
#[derive(Debug, Default)]
pub(crate) struct ExitCounts([AtomicU64; ExitKind::ALL.len()]);

impl ExitCounts {
    /// Counts one.
    pub(crate) fn count(&self, kind: ExitKind) {
        if let Some((_, count)) = ExitKind::ALL.into_iter().zip(&self.0).find(|(each, _)| *each == kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `pci-config=12 connection=0 …`
impl fmt::Display for ExitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in ExitKind::ALL.into_iter().zip(&self.0).enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{}={}", kind.key(), count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// Exits that the registers of one connection have caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RegisterExits {
    /// Stores to EMIT that were no ioeventfd's.
    pub(crate) emit: u64,
    /// Stores to COUNT or ACK.
    pub(crate) count: u64,
    /// Accesses to its configuration space: at boot, and by drivers that mask INTx there at each interrupt, as `uio_pci_generic` does.
    pub(crate) config: u64,
    /// All else: MSI-X tables, stores that have no effect.
    pub(crate) other: u64,
}

/// `exits_emit=0 exits_count=12 exits_config=40 exits_other=3`
impl fmt::Display for RegisterExits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exits_emit={} exits_count={} exits_config={} exits_other={}", self.emit, self.count, self.config, self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_apart() {
        let counts = ExitCounts::default();
        for (times, kind) in ExitKind::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counts.count(kind));
        }
        let expected = "pci-config=0 connection=1 serial=2 cmos=3 ioapic=4 pic=5 message-frame=6 eoi=7 power=8 other-port=9 \
                        other-mmio=10 interrupt-window=11 hlt=12 signal=13 other=14";
        assert_eq!(counts.to_string(), expected);
    }
}
