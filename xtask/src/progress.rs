//! One line for each step of a long work: a spinner with the elapsed time on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use anyhow::Result;
use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Runs `work` as one step, shown as `what`. `work` may tell what it is doing at the moment through the [`Step`].
pub(crate) fn step<T>(what: &str, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
    let step = Step::begin(what);
    let result = work(&step);
    step.end(result.is_ok());
    result
}

/// A step in progress.
#[derive(Debug)]
pub(crate) struct Step {
    what: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    fn begin(what: &str) -> Self {
        let bar = console::user_attended_stderr().then(|| {
            let bar = ProgressBar::new_spinner().with_message(what.to_owned());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} [{elapsed}]") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if bar.is_none() {
            output::note(format!("  .. {what}"));
        }
        Self { what: what.to_owned(), started: Instant::now(), bar }
    }

    /// Says what the step is doing now.
    pub(crate) fn detail(&self, detail: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {detail}", self.what)),
            None => output::note(format!("     {detail}")),
        }
    }

    fn end(self, good: bool) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        let mark = if good { style("ok").green() } else { style("!!").red() }.for_stderr();
        output::note(format!("  {mark} {} ({})", self.what, seconds(self.started.elapsed())));
    }
}

/// A duration as people read it: `0.4 s`, `73 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) { format!("{:.1} s", duration.as_secs_f64()) } else { format!("{} s", duration.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_millis(73_400)), "73 s");
    }
}
