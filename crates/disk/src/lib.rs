//! The one door through which files are read.
//!
//! A [`Disk`] remembers what every file looked like when it was first opened. Opening it again after it changed is an
//! error, and so is a change while it is read: what is hashed is what was used. What stands behind the door is the
//! operating system, or a [`System`] that a test makes fail.
//!
//! A file counts as unchanged if its length, its times of modification and of status change, and its place in the file
//! system are the same. File systems keep times in ticks of up to 10 ms (Linux before 6.13), so that a file written twice
//! within a tick can look the same: [`Disk::patient`] first waits until a file's last change is further back than that.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a test that panics has failed, which is what it is for"
    )
)]

mod faults;
mod stamp;
mod system;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use faults::{Fault, FaultySystem};
pub use stamp::Stamp;
pub use system::{Kind, OpenFile, System};

/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 20;

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum Error {
    /// The operating system says no.
    #[error("{doing} {}", .path.display())]
    Io {
        /// `opening`, `reading` or `listing`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// The file is not what it was when it was first opened.
    #[error(
        "{}: the file changed while it was in use: {how}\nhint: wait until the writer is done, or read a copy",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is different.
        how: String,
    },
}

/// Files, each as it was when first opened. Clones share what they have seen.
#[derive(Clone, Debug)]
pub struct Disk {
    system: Arc<dyn System>,
    seen: Arc<Mutex<BTreeMap<PathBuf, Stamp>>>,
    patient: bool,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::of(system::Real)
    }
}

impl Disk {
    /// The operating system's files.
    #[must_use]
    pub fn new() -> Disk {
        Disk::default()
    }

    /// As [`Disk::new`]; a file that was changed a moment ago is opened only when its next change is sure to show.
    #[must_use]
    pub fn patient() -> Disk {
        Disk { patient: true, ..Disk::default() }
    }

    /// What `system` says is there.
    pub fn of(system: impl System + 'static) -> Disk {
        Disk { system: Arc::new(system), seen: Arc::default(), patient: false }
    }

    /// Opens a file, which must be as it was if it was opened before.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, is a folder or the like, or has changed.
    pub fn open(&self, path: &Path) -> Result<DiskFile, Error> {
        let io = |source| Error::Io { doing: "opening", path: path.to_owned(), source };
        match self.system.kind(path).map_err(io)? {
            Kind::File => {}
            Kind::Folder => return Err(io(ErrorKind::IsADirectory.into())),
            // Opening a pipe would wait for a writer, and a device has no end.
            Kind::Other => return Err(io(std::io::Error::other("it is neither a file nor a folder"))),
        }
        let file = self.system.open(path).map_err(io)?;
        let mut stamp = file.stamp().map_err(io)?;
        if self.patient && self.first(path).is_none() {
            while let Some(wait) = stamp.settles_in() {
                std::thread::sleep(wait);
                stamp = file.stamp().map_err(io)?;
            }
        }
        let first = self.note(path, stamp);
        let opened = DiskFile { path: path.to_owned(), file, stamp: first };
        opened.check()?;
        Ok(opened)
    }

    /// All bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`Disk::open`], or if it cannot be read to its end.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut file = self.open(path)?;
        let too_large = || file.failed(ErrorKind::OutOfMemory.into());
        let size = usize::try_from(file.len()).map_err(|_| too_large())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| too_large())?;
        bytes.resize(size, 0);
        file.fill(&mut bytes)?;
        file.check()?;
        Ok(bytes)
    }

    /// SHA-256 of a file, in lower-case hexadecimal. `each` is told the number of bytes of every piece.
    ///
    /// # Errors
    ///
    /// As [`Disk::read`].
    pub fn sha256(&self, path: &Path, mut each: impl FnMut(u64)) -> Result<String, Error> {
        let mut file = self.open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut left = file.len();
        while left > 0 {
            let piece = left.min(CHUNK as u64);
            buffer.truncate(usize::try_from(piece).unwrap_or(CHUNK));
            file.fill(&mut buffer)?;
            hasher.update(&buffer);
            each(piece);
            left = left.saturating_sub(piece);
        }
        file.check()?;
        Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Whether there is a file of this name. Not being allowed to look is an error; a name that no file can have is not.
    ///
    /// # Errors
    ///
    /// If the operating system cannot say.
    pub fn is_file(&self, path: &Path) -> Result<bool, Error> {
        use ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
        match self.system.kind(path) {
            Ok(kind) => Ok(kind == Kind::File),
            Err(e) if matches!(e.kind(), NotFound | NotADirectory | InvalidFilename | InvalidInput) => Ok(false),
            Err(source) => Err(Error::Io { doing: "looking for", path: path.to_owned(), source }),
        }
    }

    /// Everything in a folder, in no order.
    ///
    /// # Errors
    ///
    /// If it cannot be listed to its end.
    pub fn list(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        self.system.list(folder).map_err(|source| Error::Io { doing: "listing", path: folder.to_owned(), source })
    }

    fn first(&self, path: &Path) -> Option<Stamp> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    /// The stamp of the first time.
    fn note(&self, path: &Path, stamp: Stamp) -> Stamp {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_insert(stamp)
    }
}

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    file: Box<dyn OpenFile>,
    /// Of the first time it was opened.
    stamp: Stamp,
}

impl DiskFile {
    /// Bytes in the file when it was first opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stamp.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stamp.len == 0
    }

    /// Goes to a place in the file.
    ///
    /// # Errors
    ///
    /// If the operating system cannot.
    pub fn seek(&mut self, offset: u64) -> Result<(), Error> {
        self.file.seek(std::io::SeekFrom::Start(offset)).map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// Fills all of `chunk`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or ends before; that it changed, where that is why.
    pub fn fill(&mut self, chunk: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact(chunk) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.check()?;
                Err(self.failed(error))
            }
        }
    }

    /// That the file is still as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it is not.
    pub fn check(&self) -> Result<(), Error> {
        let now = self.file.stamp().map_err(|e| self.failed(e))?;
        match self.stamp.difference(&now) {
            None => Ok(()),
            Some(how) => Err(Error::Changed { path: self.path.clone(), how }),
        }
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io { doing: "reading", path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
