//! How far a suite is, on stderr: a bar where somebody watches, a line for each case in a log.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState};
use report::document::Finding;
use report::printable;

use super::plan::Case;
use crate::progress;

/// Where progress goes.
pub(crate) struct Progress {
    total: usize,
    finished: AtomicUsize,
    known: AtomicUsize,
    look: Look,
}

enum Look {
    Silent,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(crate) fn new(total: usize, quiet: bool) -> Progress {
        let look = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Look::Silent,
            (false, false) => Look::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
                // Cases that are known take no time: the speed is that of the last ones.
                let line = "{bar:20} {pos}/{len}, {pace}  {wide_msg}";
                Look::Bar(bar.with_style(progress::style(line, ProgressState::per_sec, progress::items)))
            }
        };
        Progress { total, finished: AtomicUsize::new(0), known: AtomicUsize::new(0), look }
    }

    /// A case has been run.
    pub(crate) fn done(&self, case: &Case, finding: &Finding, seconds: f64) {
        self.show(case, finding, &format!("{seconds:.2} s"));
    }

    /// A case was found in the state file.
    pub(crate) fn known(&self, case: &Case, finding: &Finding) {
        self.known.fetch_add(1, Ordering::Relaxed);
        self.show(case, finding, "known");
    }

    fn show(&self, case: &Case, finding: &Finding, how: &str) {
        let n = self.finished.fetch_add(1, Ordering::Relaxed) + 1;
        let name = printable(&case.name);
        let verdict = finding.verdict;
        let unexpected = verdict != case.expected.verdict;
        let instead = if unexpected { format!(", not {}", case.expected.verdict) } else { String::new() };
        let line = format!("[{n}/{}] {verdict}{instead} ({how})  {name}", self.total);
        match &self.look {
            Look::Silent => {}
            Look::Lines => say(&line),
            Look::Bar(bar) => {
                if unexpected {
                    bar.println(&line);
                }
                bar.set_message(name.into_owned());
                bar.inc(1);
            }
        }
    }

    /// All cases have ended.
    pub(crate) fn finish(&self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
        let known = self.known.load(Ordering::Relaxed);
        if known > 0 && !matches!(self.look, Look::Silent) {
            say(&format!("note: {known} of {} cases were known from the state file", self.total));
        }
    }
}

/// A log that has gone away is no reason to stop.
fn say(line: &str) {
    let _gone = writeln!(std::io::stderr(), "{line}");
}
