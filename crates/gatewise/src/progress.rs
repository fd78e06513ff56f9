//! Progress on stderr: only where somebody watches, and only of what takes longer than a moment.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// What is done sooner is done without a bar.
const MOMENT: Duration = Duration::from_millis(700);
/// Between two drawings, so that time goes on being shown where nothing else does.
const TICK: Duration = Duration::from_millis(200);

// On a narrow terminal what comes last is cut off.
const BYTES: &str = "{bytes}/{total_bytes}, {pace} {bar:16} {wide_msg}";
const STAGES: &str = "{pos}/{len}, {pace} {bar:16} {wide_msg}";

/// How a bar looks. `line` is a template of `indicatif`, in which `{pace}` is how fast it goes and how long it still
/// takes: by `speed`, in items a second, which `shown` puts in words.
pub(crate) fn style(line: &str, speed: fn(&ProgressState) -> f64, shown: fn(f64) -> String) -> ProgressStyle {
    let pace = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let speed = speed(state);
        let to_do = state.len().unwrap_or(0).saturating_sub(state.pos()) as f64;
        let left = Duration::try_from_secs_f64(to_do / speed).ok().filter(|_| state.pos() > 0);
        // What cannot be written is not shown.
        let _shown = match left {
            Some(left) => write!(out, "{}, {} left", shown(speed), short(left)),
            None => write!(out, "time left not known yet"),
        };
    };
    let style = ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar());
    // As every locale can show.
    style.with_key("pace", pace).progress_chars("=> ")
}

/// Items a second since the beginning.
fn on_average(state: &ProgressState) -> f64 {
    state.pos() as f64 / state.elapsed().as_secs_f64()
}

/// Items a second, or seconds an item.
pub(crate) fn items(speed: f64) -> String {
    if speed < 1.0 { format!("{:.1} s each", 1.0 / speed) } else { format!("{speed:.1}/s") }
}

fn bytes(speed: f64) -> String {
    format!("{}/s", HumanBytes(speed as u64))
}

/// A time as it is said.
fn short(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// A bar that clears itself away when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// The thread that shows the bar, and what tells it that the work is done.
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Over bytes.
    pub(crate) fn bytes(what: &str, total: u64, quiet: bool) -> Progress {
        Progress::new(what, total, BYTES, bytes, quiet)
    }

    /// Over stages of work of about the same length.
    pub(crate) fn stages(what: &str, total: u64, quiet: bool) -> Progress {
        Progress::new(what, total, STAGES, items, quiet)
    }

    fn new(what: &str, total: u64, line: &str, speed: fn(f64) -> String, quiet: bool) -> Progress {
        if quiet || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), shown: None };
        }
        Progress::on(ProgressDrawTarget::stderr, MOMENT, what, total, (line, speed))
    }

    /// A bar that is shown on `target` after a moment.
    fn on(
        target: impl FnOnce() -> ProgressDrawTarget + Send + 'static,
        moment: Duration,
        what: &str,
        total: u64,
        (line, speed): (&str, fn(f64) -> String),
    ) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        bar.set_style(style(line, on_average, speed));
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
        let target = move || ProgressDrawTarget::term_like(Box::new(target));
        Progress::on(target, moment, "hashing", 4 << 20, (BYTES, bytes))
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
        assert!(
            shown.trim_end().ends_with(" hashing") && shown.contains("iB/s, ") && shown.contains(" left"),
            "{shown}"
        );
        assert!(shown.is_ascii() && shown.trim_end().chars().count() <= 80, "{shown}");
        let last_shown = lines.iter().rposition(|l| l.contains("hashing")).unwrap();
        assert!(lines[last_shown..].iter().any(String::is_empty), "the bar is cleared: {lines:?}");
    }

    /// Coarse stages: what is left is known by how long those took that are done, however long ago.
    #[test]
    fn before_the_first_stage_nothing_is_promised_and_then_the_average_is() {
        let screen = Screen::default();
        let target = screen.clone();
        let target = move || ProgressDrawTarget::term_like(Box::new(target));
        let progress = Progress::on(target, Duration::ZERO, "comparing", 3, (STAGES, items));
        let wait_for = |what: &str| {
            let begun = Instant::now();
            while !screen.lines().iter().any(|l| l.contains(what)) {
                assert!(begun.elapsed() < Duration::from_secs(20), "no {what:?}: {:?}", screen.lines());
                thread::sleep(Duration::from_millis(20));
            }
        };
        wait_for("0/3, time left not known yet");
        progress.add(1);
        wait_for("1/3, ");
        let shown = screen.lines().into_iter().rfind(|l| l.contains("1/3, ")).unwrap();
        assert!(shown.contains("/s, 0 s left") || shown.contains(" s each, ") && shown.contains(" s left"), "{shown}");
    }

    #[test]
    fn speeds_and_times_read_well() {
        assert_eq!([0.125, 1.0, 17.04].map(items), ["8.0 s each", "1.0/s", "17.0/s"]);
        assert_eq!(bytes(3.5 * 1024.0 * 1024.0), "3.50 MiB/s");
        let shown = [0, 59, 61, 3599, 7260].map(|s| short(Duration::from_secs(s)));
        assert_eq!(shown, ["0 s", "59 s", "1 min 1 s", "59 min 59 s", "2 h 1 min"]);
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
