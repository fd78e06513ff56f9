//! Finished cases, kept in a file, so that a run that was killed does not run them again.
//!
//! A record is one line: the SHA-256 of the rest, a space, JSON. A line that is not whole, for whatever reason, is not
//! there: its case runs again. Lines are only ever added, each flushed to the disk before the next case is called
//! finished; of several with one key the last counts.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use report::document::{CaseTime, Finding};
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::output;

/// A journal beyond this many bytes is none that gatewise wrote.
const LARGEST: u64 = 1 << 30;

/// One finished case.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    /// Digest of all that determines the finding.
    pub(crate) key: String,
    pub(crate) finding: Finding,
    pub(crate) time: CaseTime,
}

/// The file, held alone by this run.
pub(crate) struct Journal {
    path: PathBuf,
    known: HashMap<String, Record>,
    /// Lines that were not whole.
    pub(crate) broken: usize,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the file, or begins it.
    pub(crate) fn open(path: &Path) -> Result<Journal, CliError> {
        let failed = |doing| move |source| CliError::File { doing, file: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed("opening the state file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CliError::StateInUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("locking the state file")(error)),
        }
        let mut bytes = vec![];
        Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed("reading the state file"))?;
        if bytes.len() as u64 > LARGEST {
            let problem = format!("it has more than {LARGEST} bytes: begin another one");
            return Err(CliError::State { file: path.to_owned(), problem });
        }
        let mut known = HashMap::new();
        let (mut broken, mut whole) = (0, 0);
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match read(line) {
                Some(record) => {
                    known.insert(record.key.clone(), record);
                    whole += 1;
                }
                None => broken += 1,
            }
        }
        // A file that somebody named by mistake is not written to.
        if broken > 0 && whole == 0 && !could_be_ours(&bytes) {
            let problem = "it holds something else than the state of a suite".to_owned();
            return Err(CliError::State { file: path.to_owned(), problem });
        }
        // After a line that was cut off the next one begins on its own.
        if bytes.last().is_some_and(|b| *b != b'\n') {
            file.write_all(b"\n").map_err(failed("writing the state file"))?;
        }
        Ok(Journal { path: path.to_owned(), known, broken, file: Mutex::new(file) })
    }

    /// What is known of a case.
    pub(crate) fn find(&self, key: &str) -> Option<&Record> {
        self.known.get(key)
    }

    /// Adds a finished case.
    pub(crate) fn add(&self, record: &Record) -> Result<(), CliError> {
        let failed = |source| CliError::File { doing: "writing the state file", file: self.path.clone(), source };
        let json = serde_json::to_string(record).map_err(|e| failed(e.into()))?;
        let line = format!("{} {json}\n", output::sha256(json.as_bytes()));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
    }
}

/// A record, if the line is whole.
fn read(line: &[u8]) -> Option<Record> {
    let (digest, rest) = line.split_at_checked(64)?;
    let json = rest.strip_prefix(b" ")?;
    if digest != output::sha256(json).as_bytes() {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Whether a file without one whole record may still be a journal: it begins as a digest does, as far as it goes.
fn could_be_ours(bytes: &[u8]) -> bool {
    bytes.iter().take(64).all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use report::document::Ending;

    fn record(key: &str, seconds: f64) -> Record {
        let finding = Finding {
            verdict: Ending::Fail,
            reasons: vec!["lstm: wrong\nby \u{1b} much".to_owned()],
            faults: vec![],
            device: None,
            lstms: 1,
            divergence: None,
        };
        Record { key: key.to_owned(), finding, time: CaseTime { seconds, host: "h".to_owned() } }
    }

    #[test]
    fn what_was_added_is_found_again_and_the_last_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let journal = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(CliError::StateInUse(_))), "one run at a time");
        for r in [record("a", 1.0), record("b", 2.0), record("a", 3.0)] {
            journal.add(&r).unwrap();
        }
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert_eq!((journal.find("a"), journal.find("b")), (Some(&record("a", 3.0)), Some(&record("b", 2.0))));
        assert_eq!((journal.find("c"), journal.broken), (None, 0));
    }

    /// Every byte of the file is changed, and the file is cut off at every byte: the records that are hit are gone, the
    /// others stay, and what is added then is found.
    #[test]
    fn a_line_that_is_not_whole_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let journal = Journal::open(&path).unwrap();
        journal.add(&record("a", 1.0)).unwrap();
        let first = std::fs::metadata(&path).unwrap().len() as usize;
        journal.add(&record("b", 2.0)).unwrap();
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let journal = Journal::open(&path).unwrap();
            // The end of the first line joins both.
            assert_eq!(journal.find("a").is_some(), at >= first, "byte {at}");
            assert_eq!(journal.find("b").is_some(), at < first - 1, "byte {at}");
            assert!(journal.broken > 0 || at == whole.len() - 1);
            drop(journal);

            std::fs::write(&path, &whole[..at]).unwrap();
            let journal = Journal::open(&path).unwrap();
            // Without its line end a record is whole all the same.
            assert_eq!(journal.find("a").is_some(), at >= first - 1, "cut at {at}");
            assert_eq!(journal.find("b").is_some(), at == whole.len() - 1, "cut at {at}");
            journal.add(&record("c", 3.0)).unwrap();
            drop(journal);
            assert!(Journal::open(&path).unwrap().find("c").is_some(), "added after a cut at {at}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        std::fs::write(&path, "[[case]]\nname = \"a\"").unwrap();
        assert!(matches!(Journal::open(&path), Err(CliError::State { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"[[case]]\nname = \"a\"");
    }
}
