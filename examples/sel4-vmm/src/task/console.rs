//! The kernel's debug console.

use core::fmt::{self, Write};

use crossvm_sel4::libsel4::Libsel4;

/// The console, which adds a carriage return to each line feed. It needs a kernel that was built with its debug interface.
#[derive(Debug, Clone, Copy)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(Libsel4::debug_byte);
        Ok(())
    }
}

/// Prints one line.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes everything.
        let _ = writeln!($crate::task::console::Console, $($text)*);
    }};
}
