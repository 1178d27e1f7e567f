//! How `defmt` shows values whose fields say little by themselves: numbers, addresses and sets, as `Display` shows them where there is one.
//! All other types derive it.

use defmt::{Format, Formatter, write};

use crate::device::Name;
use crate::{
    Backend, BarIndex, Bdf, ClassCode, CrossVm, EventId, EventSet, ExactId, FrameSize, GuestAccess, GuestAddr, GuestRange, Irq, Message,
};

impl Format for GuestAddr {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64:#x}", self.get());
    }
}

impl Format for GuestRange {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64:#x}..={=u64:#x}", self.start().get(), self.last().get());
    }
}

impl Format for FrameSize {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64} bytes", self.bytes());
    }
}

impl Format for GuestAccess {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Read { at, width } => write!(f, "read of {=u64} bytes at {}", width.bytes(), at),
            Self::Write { at, width, value } => write!(f, "write of {=u64:#x} ({=u64} bytes) at {}", value, width.bytes(), at),
            Self::UndecodedWrite(range) => write!(f, "undecoded write at {}", range),
            Self::UndecodedRead(range) => write!(f, "undecoded read at {}", range),
        }
    }
}

impl Format for EventId {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u8}", self.bit());
    }
}

impl Format for ExactId {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64:#x}", self.value());
    }
}

impl Format for EventSet {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "EventSet({=u64:#x})", self.word());
    }
}

impl Format for Irq {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u32}", self.number());
    }
}

impl Format for Message {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "message {=u32:#x} to {=u64:#x}", self.data, self.address);
    }
}

impl Format for Bdf {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u8:02x}:{=u8:02x}.{=u8}", self.bus(), self.device(), self.function());
    }
}

impl Format for BarIndex {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "BAR{=usize}", self.get());
    }
}

impl Format for ClassCode {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u8:02x}/{=u8:02x}/{=u8:02x}", self.base, self.sub, self.interface);
    }
}

impl Format for Name {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=str}", self.as_str());
    }
}

/// The connections by their ids, as `Debug` shows them.
impl<B: Backend, D, K, const N: usize> Format for CrossVm<B, D, K, N> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{{");
        for (place, (id, name)) in self.names().enumerate() {
            if place > 0 {
                write!(f, ", ");
            }
            write!(f, "{=usize}: {}", id.index(), name);
        }
        write!(f, "}}");
    }
}
