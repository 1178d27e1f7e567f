//! Text that is no TOML.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::diagnostic::{Collector, Kind};

/// Most mistakes in the syntax that are told at once: the parser guesses how to go on, and is wrong in the end.
const MOST: usize = 5;

/// Reports what the parser complains about. Whether the tables can be relied on all the same.
pub(super) fn report(found: &mut Collector<'_>, root: &DeTable<'_>, errors: &[Error]) -> bool {
    let (twice, broken): (Vec<&Error>, Vec<&Error>) = errors.iter().partition(|error| error.message() == "duplicate key");
    for error in &twice {
        duplicate(found, root, &span(error, found.source.text()));
    }
    let mut last_line = 0;
    let mut told = 0;
    for error in &broken {
        let at = span(error, found.source.text());
        let line = found.source.position(at.start).line;
        if line != last_line && told < MOST {
            let at = visible(&at, found.source.text());
            found.report(Kind::Syntax, &at, "this is not TOML", label(error.message()), help(error.message()));
            told += 1;
        }
        last_line = line;
    }
    broken.is_empty()
}

fn span(error: &Error, text: &str) -> Range<usize> {
    error.span().unwrap_or(0..text.len().min(1))
}

/// The range, or the character around it where it is empty: something must be underlined.
fn visible(at: &Range<usize>, text: &str) -> Range<usize> {
    if !at.is_empty() {
        return at.clone();
    }
    match text.get(at.start..).and_then(|rest| rest.chars().next()) {
        Some('\n') | None => {
            let before = text.get(..at.start).and_then(|before| before.chars().next_back());
            before.filter(|character| *character != '\n').map_or(at.start..at.start, |character| at.start - character.len_utf8()..at.start)
        }
        Some(character) => at.start..at.start + character.len_utf8(),
    }
}

fn label(message: &str) -> String {
    match message {
        "string values must be quoted, expected literal string" => "a text must stand in quotes".to_owned(),
        "invalid basic string, expected `\"`" | "invalid literal string, expected `'`" => "the quote is not closed".to_owned(),
        other => other.to_owned(),
    }
}

fn help(message: &str) -> &'static str {
    match message {
        "string values must be quoted, expected literal string" => {
            "give `key = VALUE`, and put quotes around a text: `memory = \"64 MiB\"`; only numbers, `true` and `false` stand without"
        }
        "invalid basic string, expected `\"`" | "invalid literal string, expected `'`" => {
            "close the text on the same line by the quote that it starts with"
        }
        _ if message.starts_with("unclosed table") => {
            "a table's header stands in brackets on a line of its own: `[vm.NAME]`, `[[connection]]`"
        }
        _ if message.contains("array") => "an array stands in brackets, with a comma behind each element: `between = [\"a\", \"b\"]`",
        _ if message.contains("key-value pairs") || message.contains("inline table") => {
            "an inline table stands in braces, with a comma between its parts: `{ a = \"rw\", b = \"r\" }`"
        }
        _ if message.contains("key with no value") => "a key is followed by `=` and its value: `memory = \"64 MiB\"`",
        _ if message.contains("unexpected key or value") => "each key stands on a line of its own",
        _ => "a manifest consists of `[table]` headers and `key = value` lines; docs/manifest.md has an example of each",
    }
}

/// A key or table that is given once more.
fn duplicate(found: &mut Collector<'_>, root: &DeTable<'_>, at: &Range<usize>) {
    let text = found.source.text();
    let word = found.source.slice(at).to_owned();
    let line_start = text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |feed| feed + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    if line.starts_with("[[") {
        let message = format!("`{word}` is a list here, and a single table elsewhere");
        let help =
            format!("write all of them as `[[{word}]]`, or all as `[{word}.NAME]`: connections are a list, VMs and components have names");
        found.report(Kind::DuplicateKey, at, message, "this makes it a list", help);
        return;
    }
    let (message, first) = if line.starts_with('[') {
        let header = line.split_inclusive(']').next().unwrap_or(line);
        let first = text.find(header).filter(|place| *place < line_start).map(|place| place..place + header.len());
        (format!("the table `{header}` is there twice"), first)
    } else {
        (format!("`{word}` is given twice"), first_of(root, &word, at))
    };
    found.report(Kind::DuplicateKey, at, message, "once more", "keep one of the two: which of them counts would be a guess");
    if let Some(first) = first {
        found.relate(&first, "the first");
    }
}

/// The last key of this name before `at`.
fn first_of(table: &DeTable<'_>, word: &str, at: &Range<usize>) -> Option<Range<usize>> {
    let own = table.keys().filter(|key| key.get_ref() == word).map(toml::Spanned::span);
    let inner = table.values().filter_map(|value| first_within(value.get_ref(), word, at));
    own.chain(inner).filter(|span| span.start < at.start).max_by_key(|span| span.start)
}

fn first_within(value: &toml::de::DeValue<'_>, word: &str, at: &Range<usize>) -> Option<Range<usize>> {
    match value {
        toml::de::DeValue::Table(table) => first_of(table, word, at),
        toml::de::DeValue::Array(array) => {
            array.iter().filter_map(|value| first_within(value.get_ref(), word, at)).max_by_key(|span| span.start)
        }
        _ => None,
    }
}
