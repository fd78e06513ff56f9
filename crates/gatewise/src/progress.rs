//! Progress on stderr: only where somebody watches, and only of what takes longer than a moment.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done sooner is done without a bar.
const MOMENT: Duration = Duration::from_millis(700);
/// Between two drawings, so that time goes on being shown where nothing else does.
const TICK: Duration = Duration::from_millis(200);

/// A bar that clears itself away when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// The thread that shows the bar, and what tells it that the work is done.
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Over bytes.
    pub(crate) fn bytes(what: &str, total: u64, quiet: bool) -> Progress {
        let line = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
        Progress::new(what, total, line, quiet)
    }

    /// Over stages of work of about the same length.
    pub(crate) fn stages(what: &str, total: u64, quiet: bool) -> Progress {
        Progress::new(what, total, "{msg} {wide_bar} {pos}/{len}, {per_sec}, {elapsed}, {eta} left", quiet)
    }

    fn new(what: &str, total: u64, line: &str, quiet: bool) -> Progress {
        if quiet || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), shown: None };
        }
        Progress::on(ProgressDrawTarget::stderr, MOMENT, what, total, line)
    }

    /// A bar that is shown on `target` after a moment.
    fn on(
        target: impl FnOnce() -> ProgressDrawTarget + Send + 'static,
        moment: Duration,
        what: &str,
        total: u64,
        line: &str,
    ) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(line) {
            // As every locale can show.
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        let (done, waiting) = mpsc::channel();
        let its = bar.clone();
        let show = move || {
            if waiting.recv_timeout(moment) == Err(RecvTimeoutError::Timeout) {
                its.set_draw_target(target());
                its.tick();
                while waiting.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    its.tick();
                }
                its.finish_and_clear();
            }
        };
        // A system that has no thread to give gets no bar.
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(show).ok();
        Progress { bar, shown: thread.map(|thread| (done, thread)) }
    }

    /// So much more is done.
    pub(crate) fn add(&self, done: u64) {
        self.bar.inc(done);
    }

    /// So much is done in all.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// What is being worked on.
    pub(crate) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.shown.take() {
            drop(done);
            // The bar is gone from the screen before anything else is written to it.
            let _cleared = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use indicatif::TermLike;

    use super::*;

    /// Every line written to a screen, and an empty one for each that was cleared.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn push(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }

        fn lines(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.push(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.push(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.push("")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn bar(screen: &Screen, moment: Duration) -> Progress {
        let target = screen.clone();
        let line = "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
        Progress::on(move || ProgressDrawTarget::term_like(Box::new(target)), moment, "hashing", 4 << 20, line)
    }

    #[test]
    fn long_work_shows_how_fast_it_goes_and_how_long_it_takes_and_leaves_nothing() {
        let screen = Screen::default();
        let progress = bar(&screen, Duration::ZERO);
        let begun = Instant::now();
        while !screen.lines().iter().any(|l| l.contains("2.00 MiB/4.00 MiB")) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", screen.lines());
            progress.set(2 << 20);
            thread::sleep(Duration::from_millis(20));
        }
        drop(progress);
        let lines = screen.lines();
        let shown = lines.iter().rfind(|l| l.contains("2.00 MiB")).unwrap();
        assert!(shown.starts_with("hashing ") && shown.contains("iB/s, ") && shown.contains(" left"), "{shown}");
        assert!(shown.is_ascii() && shown.trim_end().chars().count() <= 80, "{shown}");
        let last_shown = lines.iter().rposition(|l| l.contains("hashing")).unwrap();
        assert!(lines[last_shown..].iter().any(String::is_empty), "the bar is cleared: {lines:?}");
    }

    #[test]
    fn short_work_shows_nothing() {
        let screen = Screen::default();
        let progress = bar(&screen, Duration::from_secs(3600));
        progress.add(1 << 20);
        drop(progress);
        assert!(screen.lines().is_empty(), "{:?}", screen.lines());
    }

    #[test]
    fn nobody_who_does_not_watch_is_shown_anything() {
        assert!(Progress::bytes("hashing", 10, true).shown.is_none());
    }
}
