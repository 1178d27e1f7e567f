//! What is counted for the records at a VM's end.

use core::fmt;

/// Kinds of exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// A load or store that stage 2 stopped.
    DataAbort,
    /// A fetch that stage 2 stopped.
    InstructionAbort,
    /// A system register.
    SystemRegister,
    /// HVC.
    Hypercall,
    /// SMC.
    SecureCall,
    /// WFI or WFE.
    Wait,
    /// An interrupt of the physical machine.
    Interrupt,
    /// Anything else.
    Other,
}

impl ExitKind {
    /// All kinds, in the order of the record.
    pub const ALL: [Self; 8] = [
        Self::DataAbort,
        Self::InstructionAbort,
        Self::SystemRegister,
        Self::Hypercall,
        Self::SecureCall,
        Self::Wait,
        Self::Interrupt,
        Self::Other,
    ];

    /// Its key in the record.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::DataAbort => "data-abort",
            Self::InstructionAbort => "instruction-abort",
            Self::SystemRegister => "sysreg",
            Self::Hypercall => "hvc",
            Self::SecureCall => "smc",
            Self::Wait => "wfx",
            Self::Interrupt => "irq",
            Self::Other => "other",
        }
    }
}

/// Exits by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitCounts([u64; ExitKind::ALL.len()]);

impl ExitCounts {
    /// Counts one.
    pub fn count(&mut self, kind: ExitKind) {
        let slot = ExitKind::ALL.into_iter().zip(&mut self.0).find(|(each, _)| *each == kind);
        if let Some((_, count)) = slot {
            *count = count.saturating_add(1);
        }
    }

    /// Takes over the counts of `other`, which starts again from zero.
    pub fn absorb(&mut self, other: &mut Self) {
        for (count, other) in self.0.iter_mut().zip(&mut other.0) {
            *count = count.saturating_add(core::mem::take(other));
        }
    }
}

/// `data-abort=12 instruction-abort=0 …`
impl fmt::Display for ExitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in ExitKind::ALL.into_iter().zip(&self.0).enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{}={count}", kind.key())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_apart() {
        let mut counts = ExitCounts::default();
        for (times, kind) in ExitKind::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counts.count(kind));
        }
        let expected = "data-abort=0 instruction-abort=1 sysreg=2 hvc=3 smc=4 wfx=5 irq=6 other=7";
        assert_eq!(std::format!("{counts}"), expected);
        let mut all = counts.clone();
        all.absorb(&mut counts);
        assert_eq!(counts, ExitCounts::default());
        assert!(std::format!("{all}").ends_with("irq=12 other=14"));
    }
}
