//! How `defmt` shows what cannot derive it.

use defmt::{Format, Formatter, write};

use crate::registers::EventRegisters;
use crate::words::Words;

impl<R: Words> Format for EventRegisters<R> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "'{=str}', {}, dataports {}", self.name(), self.profile(), self.records());
    }
}
