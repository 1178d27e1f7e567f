//! One table of a manifest: its keys are asked for by type, and what is not as it should be is reported.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Bytes;
use super::bytes::NotASize;
use super::diagnostic::{Collector, Kind};
use super::words;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// Where it starts: its header, its braces, or its key.
    pub(super) at: Range<usize>,
    /// What it is: "a VM".
    what: &'static str,
}

impl<'a> Table<'a> {
    pub(super) const fn new(entries: &'a DeTable<'a>, at: Range<usize>, what: &'static str) -> Self {
        Self { entries, at, what }
    }

    /// `value` as a table, if it is one.
    pub(super) fn of(value: &'a Spanned<DeValue<'a>>, what: &'static str) -> Option<Self> {
        value.get_ref().as_table().map(|entries| Self::new(entries, value.span(), what))
    }

    /// Reports every key that is not one of these; whether there is none.
    pub(super) fn only(&self, found: &mut Collector<'_>, keys: &[&str]) -> bool {
        let mut known = true;
        for key in self.entries.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let message = format!("{} has no key `{}`", self.what, key.get_ref());
            let help = words::advice(key.get_ref(), keys, &format!("the keys of {}", self.what));
            found.report(Kind::UnknownKey, &key.span(), message, "no such key", help);
            known = false;
        }
        known
    }

    /// Its entries in the order of the text.
    pub(super) fn entries(&self) -> Vec<(Located<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let entry = |(key, value): (&'a Spanned<_>, _)| -> (Located<&'a str>, &'a Spanned<DeValue<'a>>) {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            (Located { value: name.as_ref(), at: key.span() }, value)
        };
        let mut entries: Vec<_> = self.entries.iter().map(entry).collect();
        entries.sort_by_key(|(key, _)| key.at.start);
        entries
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }

    /// Where the key stands.
    pub(super) fn key(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, found: &mut Collector<'_>, key: &str, help: &str) {
        found.report(Kind::MissingKey, &self.at, format!("{} lacks `{key}`", self.what), format!("`{key}` is missing here"), help);
    }

    /// A text. `example` is a value as it stands in TOML.
    pub(super) fn text(&self, found: &mut Collector<'_>, key: &str, example: &str) -> Option<Located<&'a str>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Located { value: text.as_ref(), at: value.span() }),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
                let quoted = format!("\"{}\"", found.source.slice(&value.span()));
                wrong_type(found, key, value, "a text", &quoted);
                None
            }
            _ => {
                wrong_type(found, key, value, "a text", example);
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, found: &mut Collector<'_>, key: &str, (least, most): (u8, u8), why: &str) -> Option<Located<u8>> {
        let value = self.get(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            let meant = value.get_ref().as_str().and_then(|text| text.trim().parse().ok()).unwrap_or(least);
            wrong_type(found, key, value, "a whole number", &meant.to_string());
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| u8::try_from(number).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("`{key}` is out of range");
            found.report(Kind::OutOfRange, &value.span(), message, format!("not from {least} to {most}"), why);
        }
        number.map(|number| Located { value: number, at: value.span() })
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, found: &mut Collector<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.choice_of(found, key, key, choices)
    }

    /// One of some words, of which `subject` is one; the key may be called after somebody.
    pub(super) fn choice_of<T: Copy>(&self, found: &mut Collector<'_>, key: &str, subject: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let DeValue::String(word) = value.get_ref() else {
            // What stands there without quotes may be meant.
            let there = found.source.slice(&value.span());
            let meant = choices.iter().find(|(word, _)| *word == there).or(choices.first()).map_or("", |(word, _)| word);
            wrong_type(found, key, value, "a text", &format!("\"{meant}\""));
            return None;
        };
        let text = Located { value: word.as_ref(), at: value.span() };
        let choice = choices.iter().find(|(word, _)| *word == text.value);
        if choice.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            // `ro` and `write` are nearer to the wrong one than to the right one.
            let help = match subject {
                "rights" => "an end has `rw`, to read and write, or `r`, to read only; there is nothing else".to_owned(),
                _ => words::advice(text.value, &words, &format!("`{subject}` is one of")),
            };
            found.report(Kind::UnknownValue, &text.at, format!("`{subject}` cannot be `{}`", text.value), "no such value", help);
        }
        choice.map(|(_, choice)| *choice)
    }

    /// A number of bytes that fits `rule`.
    pub(super) fn size(&self, found: &mut Collector<'_>, key: &str, rule: &SizeRule) -> Option<Located<u64>> {
        let SizeRule { unit, most, example } = *rule;
        let value = self.get(key)?;
        let at = value.span();
        let bytes = match value.get_ref() {
            DeValue::String(text) => text.parse().map_err(|error| not_a_size(found, key, text, &at, &error, rule)).ok()?,
            DeValue::Integer(integer) => {
                not_a_size(found, key, integer.as_str(), &at, &NotASize::NoUnit, rule);
                return None;
            }
            _ => {
                wrong_type(found, key, value, "a size", &format!("\"{example}\""));
                return None;
            }
        };
        let Bytes(number) = bytes;
        if number == 0 || !number.is_multiple_of(unit.0) {
            let below = number - number % unit.0;
            let help = match below {
                0 => format!("the smallest is `{key} = \"{unit}\"`"),
                _ => format!("the nearest are `\"{}\"` and `\"{}\"`", Bytes(below), Bytes(below.saturating_add(unit.0))),
            };
            let message = format!("`{key}` must be a positive multiple of {unit}");
            found.report(Kind::Alignment, &at, message, format!("{bytes} is none"), help);
            return None;
        }
        if bytes > most {
            found.report(
                Kind::OutOfRange,
                &at,
                format!("`{key}` is too large"),
                format!("more than {most}"),
                format!("the most is {most}"),
            );
            return None;
        }
        Some(Located { value: number, at })
    }
}

/// What a size must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeRule {
    /// It is a positive multiple of this.
    pub(super) unit: Bytes,
    /// It is at most this.
    pub(super) most: Bytes,
    /// A usual one.
    pub(super) example: Bytes,
}

fn not_a_size(found: &mut Collector<'_>, key: &str, text: &str, at: &Range<usize>, error: &NotASize, rule: &SizeRule) {
    let text = text.trim();
    let (message, help) = match error {
        NotASize::Unit { meant: Some(meant), .. } => {
            (format!("`{key}` is not a size"), format!("did you mean `{key} = \"{meant}\"`? A KiB is 1024 bytes, a MiB is 1024 KiB"))
        }
        NotASize::NoUnit => {
            let bytes = text.parse().ok().filter(|bytes: &u64| *bytes != 0 && bytes.is_multiple_of(rule.unit.0)).map(Bytes);
            let help = match bytes {
                Some(bytes) => format!("if these are bytes, write `{key} = \"{bytes}\"`"),
                None => format!("put a unit behind it, and quotes around both: `{key} = \"{text} KiB\"` or `\"{text} MiB\"`"),
            };
            (format!("`{key}` has no unit"), help)
        }
        _ => {
            let example = Bytes::from_fraction(text).unwrap_or(rule.example);
            let help = format!("write a whole number and one of the units B, KiB, MiB and GiB: `{key} = \"{example}\"`");
            (format!("`{key}` is not a size"), help)
        }
    };
    found.report(Kind::Unit, at, message, error.to_string(), help);
}

/// Reports that a value has another type.
pub(super) fn wrong_type(found: &mut Collector<'_>, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, example: &str) {
    let is = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    found.report(
        Kind::WrongType,
        &value.span(),
        format!("`{key}` must be {wanted}"),
        format!("this is {is}"),
        format!("write `{key} = {example}`"),
    );
}
