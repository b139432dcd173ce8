//! How far something is that takes a while: for people at a terminal, on the standard error, and for nobody else.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How often what goes on without news is drawn again.
const TICK: Duration = Duration::from_millis(200);

/// How the lines look.
const OF: &str = "{msg} {wide_bar} {human_pos} of {human_len}, {eta} left";
const BYTES_OF: &str = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {eta} left";
const BYTES: &str = "{binary_bytes} in {elapsed}";
const COUNTING: &str = "{msg} {human_pos}, {elapsed}";

/// A line at the bottom of a terminal. Dropped, it is gone, and leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// So many of something.
    pub(crate) fn of(total: u64, what: &'static str, output: Output) -> Self {
        Self::new(Some(total), OF, what, is_wanted(output))
    }

    /// Bytes, of so many as far as that is known.
    pub(crate) fn bytes(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => BYTES_OF,
            None => BYTES,
        };
        Self::new(total, template, "", is_wanted(Output::default()))
    }

    /// So many of something, of nobody knows how many.
    pub(crate) fn counting(what: &'static str, output: Output) -> Self {
        Self::new(None, COUNTING, what, is_wanted(output))
    }

    fn new(total: Option<u64>, template: &str, what: &'static str, is_wanted: bool) -> Self {
        let target = if is_wanted {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target).with_message(what);
        // One that is wrong would be a plain bar; a test reads them all.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if is_wanted {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// So many are done.
    pub(crate) fn at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// So many more are done.
    pub(crate) fn more(&self, count: u64) {
        self.0.inc(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Whether somebody looks: programs that read JSON do not, and a terminal that cannot move its cursor would be filled.
fn is_wanted(output: Output) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    !output.json() && !dumb && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_that_can_be_drawn() {
        for template in [OF, BYTES_OF, BYTES, COUNTING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn nothing_is_drawn_where_nobody_looks_and_it_counts_all_the_same() {
        // The standard error of a test is no terminal.
        let letters = Progress::of(4, "letters", Output::default());
        letters.more(1);
        letters.at(2);
        letters.more(1);
        assert!(letters.0.is_hidden());
        assert_eq!(letters.0.position(), 3);
    }
}
