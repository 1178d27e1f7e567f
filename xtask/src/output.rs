//! What we say. Nobody may be reading any more (`cargo xtask … | head`): that ends no run.

use std::fmt::Display;
use std::io::Write as _;

/// One line on standard output: results.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One line on standard error: what is going on.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
