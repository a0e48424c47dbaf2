//! The progress bar, on terminals only.

use crate::options::Options;
use crate::question::Question;
use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg:48!} {wide_bar:.cyan/dim} {eta}";

/// A bar that is drawn when the standard error is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over all samples of the questions.
    pub(crate) fn new(questions: &[Question], options: &Options) -> Self {
        let samples = questions
            .iter()
            .map(|question| (question.entrants.len() * options.rounds(question.is_slow)) as u64);
        let bar = ProgressBar::new(samples.sum());
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    /// Names the question.
    pub(crate) fn start(&self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    /// One sample was taken.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Writes a line that stays.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away while `print` prints.
    pub(crate) fn hidden_while<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    /// Takes the bar away for good.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
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
