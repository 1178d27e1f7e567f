//! Looks for lines of a guest that have a text in them, so that what happened between two of them can be told apart.

/// Most lines of one guest that are noticed: it can write as many as it likes.
const MOST: u32 = 256;
/// Of a line, so many bytes are looked at.
const LONGEST: usize = 512;

/// Looks for lines with a text.
#[derive(Debug)]
pub(super) struct Watch {
    text: Vec<u8>,
    line: Vec<u8>,
    left: u32,
}

impl Watch {
    /// For lines with `text`.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.as_bytes().to_vec(), line: Vec::new(), left: MOST }
    }

    /// The guest writes `byte`: whether it ends a line that is looked for.
    pub(super) fn sees(&mut self, byte: u8) -> bool {
        if byte != b'\n' {
            if self.line.len() < LONGEST {
                self.line.push(byte);
            }
            return false;
        }
        let found = self.left > 0 && self.line.windows(self.text.len().max(1)).any(|window| window == self.text);
        self.left = self.left.saturating_sub(found.into());
        self.line.clear();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(watch: &mut Watch, text: &[u8]) -> usize {
        text.iter().filter(|byte| watch.sees(**byte)).count()
    }

    #[test]
    fn lines_with_the_text_are_seen_at_their_end() {
        let mut watch = Watch::new("check=");
        assert_eq!(seen(&mut watch, b"DEMO check=ping ok=1\r"), 0);
        assert_eq!(seen(&mut watch, b"\n"), 1);
        assert_eq!(seen(&mut watch, b"\ncheck\n=\nche"), 0);
        assert_eq!(seen(&mut watch, b"ck=\n"), 1);
    }

    #[test]
    fn a_guest_is_not_noticed_for_ever_and_its_lines_take_no_more_than_a_line() {
        let mut watch = Watch::new("x");
        assert_eq!(seen(&mut watch, &b"x\n".repeat(1000)), MOST as usize);
        assert_eq!(seen(&mut watch, &[b'y'; 100_000]), 0);
        assert_eq!(watch.line.len(), LONGEST);
        assert_eq!(seen(&mut Watch::new(""), b"a\n\n"), 0, "no text is in no line");
    }
}
