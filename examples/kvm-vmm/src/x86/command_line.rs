//! The kernel's command line.

/// What manifests say for Arm's serial port is no console here: where `line` has no `console=ttyS…`, it gets one, in front of what the
/// kernel leaves to its first process (behind `--`).
///
/// The last console that a kernel knows becomes `/dev/console`; it passes over those that it does not have, as `console=ttyAMA0`.
pub(crate) fn with_console(line: &str) -> String {
    let words = || line.split(' ');
    let kernel_words = words().take_while(|word| *word != "--").count();
    if words().take(kernel_words).any(|word| word.starts_with("console=ttyS")) {
        return line.to_owned();
    }
    let own = words().take(kernel_words).filter(|word| !word.is_empty()).chain(["console=ttyS0"]).collect::<Vec<_>>().join(" ");
    let rest: Vec<&str> = words().skip(kernel_words).collect();
    if rest.is_empty() { own } else { format!("{own} {}", rest.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_serial_console_gets_one() {
        for (line, expected) in [
            ("", "console=ttyS0"),
            ("console=ttyAMA0 quiet", "console=ttyAMA0 quiet console=ttyS0"),
            ("quiet -- console=ttyS0 -x", "quiet console=ttyS0 -- console=ttyS0 -x"),
            ("-- x", "console=ttyS0 -- x"),
            ("console=ttyS0,115200 quiet", "console=ttyS0,115200 quiet"),
            ("console=ttyS1 -- x", "console=ttyS1 -- x"),
            ("myconsole=ttyS0", "myconsole=ttyS0 console=ttyS0"),
        ] {
            assert_eq!(with_console(line), expected, "{line}");
        }
    }
}
