//! What stands behind the door.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::Stamp;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A pipe, a device or the like.
    Other,
}

/// An open file of a [`System`].
pub trait OpenFile: Read + Seek + Send + Debug {
    /// What it looks like now.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    fn stamp(&self) -> io::Result<Stamp>;
}

/// Files and folders: the operating system's, or a test's.
pub trait System: Send + Sync + Debug {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// If it cannot.
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// What is called so, links followed.
    ///
    /// # Errors
    ///
    /// If there is nothing, or that cannot be told.
    fn kind(&self, path: &Path) -> io::Result<Kind>;

    /// Everything in a folder.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// The operating system.
#[derive(Debug)]
pub(crate) struct Real;

impl OpenFile for File {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::new(&self.metadata()?))
    }
}

impl System for Real {
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let metadata = std::fs::metadata(path)?;
        Ok(match () {
            () if metadata.is_file() => Kind::File,
            () if metadata.is_dir() => Kind::Folder,
            () => Kind::Other,
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}
