//! What came of an access to a board.

use crossvm_core::{Bdf, ConfigEffect, GuestAddr, Width};

use super::End;
use crate::arch::map;
use crate::exits::ExitKind;

/// What an access was for, and what is to be done about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    /// For the counters.
    pub(crate) kind: ExitKind,
    /// What a load gives; for a store, nothing.
    pub(crate) value: u64,
    /// The function whose configuration space it was.
    pub(crate) function: Option<Bdf>,
    /// What a write to configuration space has changed.
    pub(crate) effect: Option<ConfigEffect>,
    /// The VM ends.
    pub(crate) end: Option<End>,
}

impl Served {
    /// A load that gives `value`.
    pub(crate) const fn value(kind: ExitKind, value: u64) -> Self {
        Self { kind, value, function: None, effect: None, end: None }
    }

    /// A store, or a load where nothing answers.
    pub(crate) const fn nothing(kind: ExitKind) -> Self {
        Self::value(kind, u64::MAX)
    }
}

/// The function whose configuration space is at `at`.
pub(crate) fn function_at(at: GuestAddr, width: Width) -> Option<Bdf> {
    Some(map::ECAM.decode(at, width)?.0)
}
