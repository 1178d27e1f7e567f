//! The text of a manifest, and where things are in it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A manifest as it was written.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    text: String,
    folder: Option<PathBuf>,
}

impl Source {
    /// A text that comes from no file; `name` stands for one in diagnostics. Whether the files that it names exist is not checked.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), folder: None }
    }

    /// The file at `path`. What it names is relative to the folder that it is in, and is checked for existence.
    ///
    /// # Errors
    /// Those of reading the file; [`io::ErrorKind::InvalidData`] where it is not UTF-8.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { name: path.display().to_string(), text, folder: Some(folder) })
    }

    /// What diagnostics call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder that paths are relative to, for a manifest that comes from a file.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What stands there; nothing where the range is not one of this text.
    pub(super) fn slice(&self, at: &Range<usize>) -> &str {
        self.text.get(at.clone()).unwrap_or_default()
    }

    /// The place of the byte at `offset`.
    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |feed| feed + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Position { line, column }
    }
}

/// A place in a text, counted as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("x", "ab\n\u{e4}c\n");
        let at = |offset| {
            let Position { line, column } = source.position(offset);
            (line, column)
        };
        assert_eq!([at(0), at(2), at(3), at(5), at(7), at(99)], [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 1)]);
    }
}
