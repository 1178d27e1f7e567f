//! The machine-readable lines of the hypervisor and the guests: words `key=value`, values without blanks.

use std::collections::BTreeMap;

/// The words of one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads the `key=value` words of `text`; other words are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let words = text.split_whitespace().filter_map(|word| word.split_once('='));
        Self(words.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value of `key` as a decimal number, or a hexadecimal one behind `0x`.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        number(self.get(key)?)
    }

    /// Every value that is a number, apart from those of the keys in `except`.
    pub(crate) fn numbers(&self, except: &[&str]) -> BTreeMap<String, u64> {
        let pairs = self.0.iter().filter(|(key, _)| !except.contains(&key.as_str()));
        pairs.filter_map(|(key, value)| Some((key.clone(), number(value)?))).collect()
    }
}

/// A decimal number, or a hexadecimal one behind `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_fields() {
        let fields = Fields::parse("record=exits vm=vm0 data-abort=12 base=0x1f note");
        assert_eq!((fields.get("vm"), fields.number("data-abort"), fields.number("base")), (Some("vm0"), Some(12), Some(31)));
        assert_eq!(fields.number("vm"), None);
        assert_eq!(fields.numbers(&["base"]), BTreeMap::from([("data-abort".to_owned(), 12)]));
    }
}
