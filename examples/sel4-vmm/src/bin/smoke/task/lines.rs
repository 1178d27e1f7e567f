//! Interrupt lines of a guest that is a thread: all of them are one notification.

use core::convert::Infallible;
use core::fmt;

use crossvm_core::{Bdf, ErrorKind, ErrorType, InterruptController, Irq, IrqAllocator, Level, Message};
use crossvm_sel4::kernel::{CPtr, Kernel};

/// Lines of a guest.
const COUNT: u32 = 32;

/// The lines of one guest that are free.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Bit `n`: line `n` is in use.
    used: u32,
}

/// No line is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoLine;

impl crossvm_core::Error for NoLine {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Exhausted
    }
}

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no interrupt line is left")
    }
}

impl Lines {
    /// How many are in use.
    pub(crate) const fn used(&self) -> u32 {
        self.used.count_ones()
    }
}

impl ErrorType for Lines {
    type Error = NoLine;
}

impl IrqAllocator for Lines {
    fn allocate(&mut self) -> Result<Irq, NoLine> {
        let line = self.used.trailing_ones();
        if line >= COUNT {
            return Err(NoLine);
        }
        self.used |= 1 << line;
        Ok(Irq::new(line))
    }

    fn release(&mut self, irq: Irq) {
        self.used &= !1_u32.checked_shl(irq.number()).unwrap_or(0);
    }
}

/// The interrupt controller of a guest: when a line rises, its notification is signalled. The guest looks at all its connections then, and
/// waits only when none has an event: so no line that is high already needs another signal.
#[derive(Debug)]
pub(crate) struct Interrupt<K> {
    kernel: K,
    notification: CPtr,
    /// Bit `n`: line `n` is high.
    high: u32,
}

impl<K: Kernel> Interrupt<K> {
    /// All lines are low.
    pub(crate) const fn new(kernel: K, notification: CPtr) -> Self {
        Self { kernel, notification, high: 0 }
    }
}

impl<K> ErrorType for Interrupt<K> {
    type Error = Infallible;
}

impl<K: Kernel> InterruptController for Interrupt<K> {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), Infallible> {
        let line = 1_u32.checked_shl(irq.number()).unwrap_or(0);
        if !level.is_high() {
            self.high &= !line;
        } else if self.high & line == 0 {
            self.high |= line;
            self.kernel.signal(self.notification);
        }
        Ok(())
    }

    fn deliver_msi(&mut self, _: Bdf, _: Message) -> Result<(), Infallible> {
        // The connections of such a guest have no MSI-X.
        Ok(())
    }
}
