//! The suite file on the disk.

use std::path::{Path, PathBuf};

use super::file::{self, Entry};
use crate::error::CliError;
use crate::output;

/// A suite beyond this many bytes is no suite that anybody wrote.
const LARGEST: u64 = 16 << 20;

/// A suite file, read but not yet matched with the files that it names.
#[derive(Debug)]
pub(crate) struct SuiteFile {
    /// The path as given.
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
    pub(crate) entries: Vec<Entry>,
}

impl SuiteFile {
    /// Reads a suite file.
    pub(crate) fn read(path: &Path) -> Result<SuiteFile, CliError> {
        let failed = |source| CliError::File { doing: "reading", file: path.to_owned(), source };
        let wrong = |problem| CliError::Suite { file: path.to_owned(), line: None, problem };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > LARGEST {
            return Err(wrong(format!("{length} bytes: a suite has at most {LARGEST}")));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let sha256 = output::sha256(&bytes);
        let text = String::from_utf8(bytes).map_err(|e| wrong(e.to_string()))?;
        let entries = file::parse(&text).map_err(|wrong| CliError::Suite {
            file: path.to_owned(),
            line: Some(wrong.line),
            problem: wrong.problem,
        })?;
        Ok(SuiteFile { path: path.to_owned(), sha256, entries })
    }
}
