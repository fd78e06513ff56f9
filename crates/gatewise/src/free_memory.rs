//! How much memory is free, where the operating system says: a run that does not fit is refused before it begins, as
//! Rust ends a program that gets no memory without a word about the run.

use std::path::Path;

use crate::error::CliError;

/// Of what a judgement is estimated to take, the part that it took at most when it was measured.
const TAKEN: u64 = 2;

/// Bytes that this process can still have; `None` where nothing says.
pub(crate) fn free() -> Option<u64> {
    let text = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let of_system = kib(&text("/proc/meminfo"), "MemAvailable:");
    let of_process = left_of_limit(&text("/proc/self/limits"), &text("/proc/self/status"));
    let of_group = left_of_group(&text("/sys/fs/cgroup/memory.max"), &text("/sys/fs/cgroup/memory.current"));
    [of_system, of_process, of_group].into_iter().flatten().min()
}

/// That a judgement estimated to take so much fits into what is free.
pub(crate) fn check(estimated: u64) -> Result<(), CliError> {
    check_against(estimated, free())
}

fn check_against(estimated: u64, free: Option<u64>) -> Result<(), CliError> {
    match free {
        Some(free) if estimated / TAKEN > free => Err(CliError::Memory { needed: estimated / TAKEN, free }),
        _ => Ok(()),
    }
}

/// The number after a word, which is in KiB, as bytes.
fn kib(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(word))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a limit on address space (`ulimit -v`) leaves.
fn left_of_limit(limits: &str, status: &str) -> Option<u64> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max address space"))?;
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(kib(status, "VmSize:")?))
}

/// What the limit of a control group, such as a container's, leaves.
fn left_of_group(limit: &str, used: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    Some(limit.saturating_sub(used.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
                          Max cpu time              unlimited            unlimited            seconds\n\
                          Max address space         1073741824           unlimited            bytes\n";

    #[test]
    fn what_linux_says_is_understood() {
        assert_eq!(kib("MemTotal:  8 kB\nMemAvailable:    16 kB\n", "MemAvailable:"), Some(16 << 10));
        assert_eq!(left_of_limit(LIMITS, "Name:\tx\nVmSize:\t  524288 kB\n"), Some(512 << 20));
        assert_eq!(left_of_limit(&LIMITS.replace("1073741824", "unlimited "), "VmSize:\t1 kB\n"), None);
        assert_eq!(left_of_group("1000\n", "400\n"), Some(600));
        assert_eq!(left_of_group("max\n", "400\n"), None);
        assert_eq!((kib("", "x"), left_of_limit("", ""), left_of_group("", "")), (None, None, None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(check_against(1 << 40, Some(1 << 30)).is_err());
        assert!(check_against(1 << 30, Some(1 << 30)).is_ok());
        assert!(check_against(u64::MAX, None).is_ok());
    }
}
