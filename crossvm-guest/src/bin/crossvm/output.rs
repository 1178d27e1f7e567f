//! Standard output: text, tables, JSON.

use std::io::{self, Write};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// How to show what was found.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// As JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints `text` at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints `bytes` at once.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(bytes).and_then(|()| output.flush()).map_err(Failure::output)
}

/// Prints `value` as JSON, indented.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(not_json)?;
    print(&format!("{text}\n"))
}

/// Prints `value` as one line of JSON.
pub(crate) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(not_json)?;
    print(&format!("{text}\n"))
}

fn not_json(error: serde_json::Error) -> Failure {
    Failure::Stream("JSON".to_owned(), error.into())
}

/// How the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Text,
    Number,
}

/// The lines of a table without a frame, so that other programs can cut it up, too.
pub(crate) fn table<const N: usize>(head: [(&str, Column); N], rows: impl IntoIterator<Item = [String; N]>) -> Vec<String> {
    let mut table = Table::new();
    // The first row, not the header, which is there without a frame.
    table.load_preset(presets::NOTHING).add_row(head.map(|(title, _)| title)).add_rows(rows);
    for (column, (_, kind)) in table.column_iter_mut().zip(head) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match kind {
            Column::Text => CellAlignment::Left,
            Column::Number => CellAlignment::Right,
        });
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// What stands for what is not known.
pub(crate) const NONE: &str = "-";

/// `value`, or a dash.
pub(crate) fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}
