//! The progress bar, on terminals only.

use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;

const TEMPLATE: &str = "{wide_bar:.cyan/dim} {pos} of {len}  {msg:40}";

/// A bar on the standard error.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of so many steps, or none at all.
    #[must_use]
    pub fn new(steps: usize, silent: bool) -> Self {
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(steps as u64) };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// Says what comes now.
    pub fn say(&self, what: fmt::Arguments<'_>) {
        self.0.set_message(what.to_string());
        // Before the work and not during it: the bar has no thread of its own.
        self.0.tick();
    }

    /// One more step is done.
    pub fn done(&self) {
        self.0.inc(1);
    }

    /// Takes the bar away while `print` prints.
    pub fn hidden_while<R>(&self, print: impl FnOnce() -> R) -> R {
        self.0.suspend(print)
    }

    /// Takes the bar away for good.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        ProgressStyle::with_template(TEMPLATE).expect("valid");
    }
}
