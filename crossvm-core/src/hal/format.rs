//! How `defmt` shows doorbells: without their pins, which seldom implement it.

use defmt::{Format, Formatter, write};

use super::{EdgeSource, HandshakeNotifier, HandshakeSource, LevelSource, PulseNotifier, PulseWidth, ToggleNotifier};

impl Format for PulseWidth {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u32} ns", self.nanos());
    }
}

impl<P, D> Format for PulseNotifier<P, D> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "PulseNotifier {{ polarity: {}, width: {}, .. }}", self.polarity, self.width);
    }
}

impl<P> Format for ToggleNotifier<P> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "ToggleNotifier {{ .. }}");
    }
}

impl<O, I> Format for HandshakeNotifier<O, I> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "HandshakeNotifier {{ .. }}");
    }
}

impl<I, O> Format for HandshakeSource<I, O> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "HandshakeSource {{ event: {}, .. }}", self.event);
    }
}

impl<P> Format for LevelSource<P> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "LevelSource {{ polarity: {}, event: {}, .. }}", self.polarity, self.event);
    }
}

impl<P> Format for EdgeSource<P> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "EdgeSource {{ edge: {}, event: {}, .. }}", self.edge, self.event);
    }
}
