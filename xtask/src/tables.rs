//! Tables as all verbs show them.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

/// Width of a table where there is no terminal to ask.
const WIDTH: u16 = 160;

/// An empty table with this head, as wide as the terminal.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    if !console::user_attended() {
        table.set_width(WIDTH);
    }
    table
}

/// A cell for what is as it should be.
pub(crate) fn good(text: &str) -> Cell {
    Cell::new(text).fg(Color::Green)
}

/// A cell for what is not.
pub(crate) fn bad(text: &str) -> Cell {
    Cell::new(text).fg(Color::Red).add_attribute(Attribute::Bold)
}
