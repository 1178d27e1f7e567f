//! Words for diagnostics: lists, and what somebody may have meant.

/// The words as a list in a sentence: "`a`, `b` and `c`".
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
    }
}

/// The candidate that `word` is most likely a misspelling of.
pub(super) fn meant<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('_', "-");
    let word = plain(word);
    let near = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(&word, &plain(candidate));
        (distance <= 1 + candidate.len() / 4 && distance < candidate.len()).then_some(distance)
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((near(&candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// "did you mean …?" where something is near, and in any case what there is.
pub(super) fn advice(word: &str, candidates: &[&str], there_is: &str) -> String {
    let choice = list(candidates.iter().copied(), "and");
    match meant(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {there_is}: {choice}"),
        None => format!("{there_is}: {choice}"),
    }
}

/// "1 vCPU", "2 vCPUs".
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_what_was_meant_and_nothing_else() {
        let keys = ["kernel", "initrd", "command-line", "memory", "vcpus"];
        for (word, near) in [
            ("memmory", "memory"),
            ("command_line", "command-line"),
            ("vcpu", "vcpus"),
            ("Kernel", "kernel"),
            ("inird", "initrd"),
            ("VCPUS", "vcpus"),
            ("COMMAND_LINE", "command-line"),
        ] {
            assert_eq!(meant(word, keys), Some(near));
        }
        for word in ["disk", "x", "", "cmdline"] {
            assert_eq!(meant(word, keys), None, "{word}");
        }
        assert_eq!(meant("c", ["a", "b"]), None);
    }

    #[test]
    fn a_list_is_a_part_of_a_sentence() {
        assert_eq!(list(["a", "b", "c"], "and"), "`a`, `b` and `c`");
        assert_eq!((list(["a"], "or").as_str(), list([], "or").as_str()), ("`a`", ""));
    }
}
