//! The progress bar, on terminals only.

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg:14} {wide_bar:.cyan/dim} {human_pos} of {human_len}  {eta}";

/// A bar that is drawn when the standard error is a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar, or none at all when the output is for a program.
    pub(crate) fn new(silent: bool) -> Progress {
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar }
    }

    pub(crate) fn start(&self, name: &str, records: usize) {
        self.bar.set_length(records as u64);
        self.bar.set_message(name.to_owned());
        self.bar.reset();
    }

    /// Shows how many records are done.
    pub(crate) fn show(&self, records: u32) {
        if u64::from(records) <= self.bar.length().unwrap_or(0) {
            self.bar.set_position(u64::from(records));
        }
    }

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
