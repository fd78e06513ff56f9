//! What tells one state of a file from another without reading it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// Twice the longest tick by which Linux keeps a file's times.
const TICK: Duration = Duration::from_millis(20);

/// Length, times and place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes in it.
    pub len: u64,
    /// When its bytes were last written.
    modified: Option<SystemTime>,
    /// When anything about it last changed, which no program can set back: seconds and nanoseconds.
    changed: Option<(i64, i64)>,
    /// The file system and the file's number in it.
    place: Option<(u64, u64)>,
}

impl Stamp {
    /// Of a file's metadata.
    #[must_use]
    pub fn new(metadata: &Metadata) -> Stamp {
        #[cfg(unix)]
        let (changed, place) = {
            use std::os::unix::fs::MetadataExt;
            (Some((metadata.ctime(), metadata.ctime_nsec())), Some((metadata.dev(), metadata.ino())))
        };
        #[cfg(not(unix))]
        let (changed, place) = (None, None);
        Stamp { len: metadata.len(), modified: metadata.modified().ok(), changed, place }
    }

    /// Of bytes that nobody can change: of a [`System`](crate::System) that keeps its files in memory.
    #[must_use]
    pub fn of_unchanging(len: u64) -> Stamp {
        Stamp { len, modified: None, changed: None, place: None }
    }

    /// What is different in `now`, in words.
    pub(crate) fn difference(&self, now: &Stamp) -> Option<String> {
        if self.len != now.len {
            return Some(format!("it had {} bytes, and has {}", self.len, now.len));
        }
        if self.place != now.place {
            return Some("another file took its name".to_owned());
        }
        (self != now).then(|| format!("it was written to, and has {} bytes as before", self.len))
    }

    /// How long to wait until another change is sure to get another time; `None` if there is nothing to wait for.
    pub(crate) fn settles_in(&self) -> Option<Duration> {
        let changed = self.changed.and_then(|(seconds, nanoseconds)| {
            let nanoseconds = u32::try_from(nanoseconds).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).ok()?, nanoseconds))
        });
        // A clock that is behind the file system's is another machine's: no waiting helps.
        let age = SystemTime::now().duration_since(changed.or(self.modified)?).ok()?;
        TICK.checked_sub(age).filter(|wait| !wait.is_zero())
    }
}
