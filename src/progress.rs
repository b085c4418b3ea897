//! How far something is: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal as _, stderr};
use waggle_knowledge::Progress;

/// The bar.
const TEMPLATE: &str = "{bar:40} {msg} {elapsed}";
/// How many lines are written where there is no terminal, at most.
const LINES_MAX: usize = 10;

/// What shows the progress. It goes to standard error, so that the output stays a program's to read.
pub(crate) struct Bar {
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// Elsewhere: in which tenth the last line was written.
    tenth: Cell<Option<usize>>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            match ProgressStyle::with_template(TEMPLATE) {
                Ok(style) => bar.with_style(style),
                Err(_malformed) => bar,
            }
        });
        Self { bar, tenth: Cell::new(None) }
    }

    /// How far an addition is: a file counts half when it is uploaded, and whole when it is indexed.
    pub(crate) fn show(&self, progress: Progress) {
        let Progress { files, uploaded, done } = progress;
        let told = format!("{uploaded}/{files} uploaded, {done}/{files} indexed");
        self.step(uploaded + done, 2 * files, told);
    }

    /// So many steps of so many are done; `told` says it in words.
    pub(crate) fn step(&self, steps: usize, steps_max: usize, told: String) {
        if steps_max == 0 {
            return;
        }
        match &self.bar {
            Some(bar) => {
                bar.set_length(steps_max as u64);
                bar.set_position(steps as u64);
                bar.set_message(told);
            }
            None => {
                let tenth = steps * LINES_MAX / steps_max;
                if self.tenth.replace(Some(tenth)) != Some(tenth) {
                    crate::screen::complain(&told);
                }
            }
        }
    }

    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
