//! A terminal in which a few lines stand still and change.

use std::io::{self, IsTerminal};

use console::{Term, truncate_str};

use crate::failure::Failure;

/// The terminal's second screen, which leaves what was there before as it was. Terminals without one show the lines all the same.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The terminal. It gets back its cursor and its content in any case.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Term,
    entered: bool,
}

impl Screen {
    /// The terminal that standard output is; `None` where it is none, or one that cannot move its cursor.
    pub(crate) fn open() -> Option<Self> {
        let able = io::stdout().is_terminal() && !console::is_dumb();
        able.then(|| Self { terminal: Term::buffered_stdout(), entered: false })
    }

    /// Takes the terminal.
    pub(crate) fn enter(&mut self) -> Result<(), Failure> {
        self.entered = true;
        let enter = || {
            self.terminal.write_str(ENTER)?;
            self.terminal.hide_cursor()?;
            self.terminal.flush()
        };
        enter().map_err(Failure::output)
    }

    /// Shows `lines`, as far as there is room. All in one write, each line over the one that was there: nothing flickers.
    pub(crate) fn draw(&self, lines: &[String]) -> Result<(), Failure> {
        let (height, width) = self.terminal.size();
        let room = usize::from(height).saturating_sub(1).max(1);
        let draw = || {
            self.terminal.move_cursor_to(0, 0)?;
            let (shown, more) = match lines.len().checked_sub(room) {
                None | Some(0) => (lines.len(), 0),
                Some(more) => (room.saturating_sub(1), more.saturating_add(1)),
            };
            for line in lines.iter().take(shown) {
                self.terminal.clear_line()?;
                self.terminal.write_line(&truncate_str(line, width.into(), "…"))?;
            }
            if more > 0 {
                self.terminal.clear_line()?;
                self.terminal.write_line(&truncate_str(&format!("… {more} lines more"), width.into(), ""))?;
            }
            self.terminal.clear_to_end_of_screen()?;
            self.terminal.flush()
        };
        draw().map_err(Failure::output)
    }

    /// Gives the terminal back.
    pub(crate) fn leave(mut self) -> Result<(), Failure> {
        self.restore().map_err(Failure::output)
    }

    fn restore(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.entered) {
            self.terminal.show_cursor()?;
            self.terminal.write_str(LEAVE)?;
            self.terminal.flush()?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // On the way out with another error, which is told.
        let _ = self.restore();
    }
}
