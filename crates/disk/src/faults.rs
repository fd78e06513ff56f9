//! A disk that fails at a chosen call, for tests of those who read through the door.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::system::{Kind, OpenFile, Real, System};
use crate::{Disk, Stamp};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call gives an I/O error, as of a broken disk.
    Error,
    /// A read gives one byte where more were asked for, as an interrupted one does; calls of other kinds go well.
    Short,
    /// A read finds the end of the file; calls of other kinds go well.
    End,
}

/// The operating system's files, of which one call goes wrong.
#[derive(Clone, Debug)]
pub struct FaultySystem {
    fault: Fault,
    at: usize,
    calls: Arc<AtomicUsize>,
}

impl FaultySystem {
    /// A disk whose call number `at`, from 0, goes wrong in this way; and the counter of its calls.
    #[must_use]
    pub fn disk(fault: Fault, at: usize) -> (Disk, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        (Disk::of(FaultySystem { fault, at, calls: Arc::clone(&calls) }), calls)
    }

    /// Counts a call; whether it is the one that goes wrong.
    fn is_now(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) == self.at
    }

    /// Counts a call of another kind than reading.
    fn call(&self) -> io::Result<()> {
        if self.is_now() && self.fault == Fault::Error { Err(broken()) } else { Ok(()) }
    }
}

fn broken() -> io::Error {
    io::Error::other("an injected fault")
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn OpenFile>,
    system: FaultySystem,
}

impl Read for FaultyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.system.is_now() {
            return self.file.read(buffer);
        }
        match self.system.fault {
            Fault::Error => Err(broken()),
            Fault::End => Ok(0),
            Fault::Short => {
                let short = buffer.len().min(1);
                self.file.read(buffer.get_mut(..short).unwrap_or_default())
            }
        }
    }
}

impl Seek for FaultyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.system.call()?;
        self.file.seek(to)
    }
}

impl OpenFile for FaultyFile {
    fn stamp(&self) -> io::Result<Stamp> {
        self.system.call()?;
        self.file.stamp()
    }
}

impl System for FaultySystem {
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.call()?;
        let file = Real.open(path)?;
        Ok(Box::new(FaultyFile { file, system: self.clone() }))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        self.call()?;
        Real.kind(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.call()?;
        Real.list(folder)
    }
}
