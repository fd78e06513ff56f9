//! Files in memory, for entry points that are called millions of times.

use std::collections::BTreeMap;
use std::io::{Cursor, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, Kind, OpenFile, Stamp, System};

/// A disk with these files, which nobody changes. Their folder is on no real disk.
pub(crate) fn disk<const N: usize>(files: [(&str, Arc<[u8]>); N]) -> Disk {
    Disk::of(Memory(files.into_iter().map(|(name, bytes)| (path(name), bytes)).collect()))
}

/// The path of a file of such a disk.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("in-memory").join(name)
}

#[derive(Debug)]
struct Memory(BTreeMap<PathBuf, Arc<[u8]>>);

#[derive(Debug)]
struct File(Cursor<Arc<[u8]>>);

impl System for Memory {
    fn open(&self, path: &Path) -> Result<Box<dyn OpenFile>> {
        let bytes = self.0.get(path).ok_or(Error::from(ErrorKind::NotFound))?;
        Ok(Box::new(File(Cursor::new(Arc::clone(bytes)))))
    }

    fn kind(&self, path: &Path) -> Result<Kind> {
        if self.0.contains_key(path) { Ok(Kind::File) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn list(&self, _: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.0.keys().cloned().collect())
    }
}

impl OpenFile for File {
    fn stamp(&self) -> Result<Stamp> {
        Ok(Stamp::of_unchanging(self.0.get_ref().len() as u64))
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.0.seek(to)
    }
}
