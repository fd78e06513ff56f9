//! What a signal leaves behind: nothing that is not whole.
//!
//! Files and folders are written under temporary names and then renamed (`output`, `bundle`). A signal that ends the
//! program removes those names first. It waits for a rename under way and lets no other begin, so that files that belong
//! together appear together.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Temporary names in use.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The temporary names in use. While this is held no signal ends the program.
pub(crate) fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on an interrupted program tidies up, and ends with 128 and the signal's number: 130 after Ctrl-C.
#[cfg(unix)]
pub(crate) fn watch() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    // What started the program with a signal ignored, as nohup does, wants it ignored.
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let wanted: Vec<i32> = wanted.collect();
    // Without handlers the program still ends at a signal; a temporary file may stay.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            end(signal);
        }
    };
    let _thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
}

#[cfg(not(unix))]
pub(crate) fn watch() {}

#[cfg(unix)]
fn end(signal: i32) -> ! {
    use std::io::{IsTerminal, Write};

    let files = unfinished();
    for file in files.iter() {
        let _gone = std::fs::remove_file(file).or_else(|_| std::fs::remove_dir_all(file));
    }
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // A progress bar may stand on the line.
        let _shown = stderr.write_all(b"\r\x1b[K");
    }
    // At once: what is registered to run at a normal exit must not run beside a driver at work. The lock is still held.
    signal_hook::low_level::exit(128 + signal)
}

/// The signals that this program was started to ignore, as bits from signal 1 on; none where the system does not say.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
