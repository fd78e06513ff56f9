//! A file of which parts are read by position. It must not change while it is in use.

use std::path::{Path, PathBuf};

use disk::{Disk, DiskFile};

use crate::Error;

/// Bytes handed to a checksum at a time: small enough to be still in the cache after the read.
pub(crate) const CHUNK: usize = 256 * 1024;

/// A file of which parts are read. It is opened anew for each part, so that parts can be read by several threads.
#[derive(Debug)]
pub(crate) struct Source {
    disk: Disk,
    path: PathBuf,
    len: u64,
}

impl Source {
    /// Notes the state of the file at `path`.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Source, Error> {
        let len = disk.open(path)?.len();
        Ok(Source { disk: disk.clone(), path: path.to_owned(), len })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file when it was first opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether `size` bytes at `offset` are inside the file.
    pub(crate) fn holds(&self, offset: u64, size: u64) -> bool {
        offset.checked_add(size).is_some_and(|end| end <= self.len)
    }

    /// Reads `size` bytes at `offset`, which the caller has found to be inside the file.
    pub(crate) fn read(&self, offset: u64, size: usize) -> Result<Vec<u8>, Error> {
        self.read_with(offset, size, |_| ())
    }

    /// Like [`Source::read`], and shows each piece to `each` as it arrives.
    pub(crate) fn read_with(&self, offset: u64, size: usize, mut each: impl FnMut(&[u8])) -> Result<Vec<u8>, Error> {
        let mut file = self.open_at(offset, size)?;
        let mut bytes = vec![0; size];
        for chunk in bytes.chunks_mut(CHUNK) {
            file.fill(chunk)?;
            each(chunk);
        }
        file.check()?;
        Ok(bytes)
    }

    /// Shows the same pieces to `each` as [`Source::read_with`], and keeps none of them.
    pub(crate) fn stream(&self, offset: u64, size: usize, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let mut file = self.open_at(offset, size)?;
        let mut buffer = vec![0; size.min(CHUNK)];
        let mut left = size;
        while left > 0 {
            buffer.truncate(left);
            file.fill(&mut buffer)?;
            each(&buffer);
            left = left.saturating_sub(buffer.len());
        }
        Ok(file.check()?)
    }

    /// The whole file.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        Ok(self.disk.read(&self.path)?)
    }

    /// The file at `offset`, if it is as it was and has `size` bytes there.
    fn open_at(&self, offset: u64, size: usize) -> Result<DiskFile, Error> {
        let mut file = self.disk.open(&self.path)?;
        if !self.holds(offset, u64::try_from(size).unwrap_or(u64::MAX)) {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(Error::Io { doing: "reading", path: self.path.clone(), source });
        }
        file.seek(offset)?;
        Ok(file)
    }
}

/// What the first bytes of a file look like, and what kind of file often starts so.
pub(crate) fn describe_start(bytes: &[u8], len: u64) -> (String, &'static str) {
    let start: Vec<u8> = bytes.iter().copied().take(24).collect();
    let text = std::str::from_utf8(&start)
        .ok()
        .filter(|t| !t.is_empty() && !t.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()));
    let shown = match text {
        Some(text) => format!("{len} bytes that start with the text {text:?}"),
        None if start.is_empty() => "an empty file".to_owned(),
        None => format!("{len} bytes that start with {}", hex(&start)),
    };
    let lower = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
    let hint = if lower.starts_with("version https://git-lfs") {
        "this is a Git LFS pointer; fetch the file itself with `git lfs pull`"
    } else if lower.starts_with("<!doctype") || lower.starts_with("<html") || lower.starts_with("<?xml") {
        "this is a web page; download the file itself"
    } else if bytes.starts_with(b"\x89HDF") {
        "this is an HDF5 file, as Keras writes, not a TensorFlow checkpoint"
    } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x1f\x8b") {
        "this is an archive; unpack it first"
    } else if len == 0 {
        "the file is empty; copy it again"
    } else {
        "it is damaged, incomplete or no checkpoint at all"
    };
    (shown, hint)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        let source = Source::open(&Disk::new(), &path).unwrap();
        assert_eq!(source.read(3, 4).unwrap(), b"3456");
        assert!(matches!(source.read(8, 3), Err(Error::Io { .. })));
        for other in [&b"0123456789a"[..], b"012345678"] {
            std::fs::write(&path, other).unwrap();
            assert!(matches!(source.read(3, 4), Err(Error::FileChanged { .. })));
            assert!(matches!(source.stream(3, 4, |_| ()), Err(Error::FileChanged { .. })));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(source.read(3, 4), Err(Error::Io { .. })));
        assert!(matches!(source.stream(3, 4, |_| ()), Err(Error::Io { .. })));
        assert!(matches!(Source::open(&Disk::new(), dir.path()), Err(Error::Io { .. })));
    }

    #[test]
    fn a_stream_has_every_byte_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let all: Vec<u8> = (0..2 * CHUNK + 5).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &all).unwrap();
        let source = Source::open(&Disk::new(), &path).unwrap();
        for (offset, size) in [(0, all.len()), (3, 2 * CHUNK), (7, CHUNK), (4, CHUNK + 1), (1, 9), (all.len(), 0)] {
            let mut pieces = Vec::new();
            source.stream(offset as u64, size, |piece| pieces.push(piece.to_vec())).unwrap();
            assert_eq!(pieces.len(), size.div_ceil(CHUNK));
            assert!(pieces.concat() == all[offset..offset + size], "{size} bytes at {offset}");
        }
        assert!(matches!(source.stream(6, all.len(), |_| ()), Err(Error::Io { .. })));
    }

    #[test]
    fn a_file_that_changes_length_within_a_stream_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let length = 2 * CHUNK as u64;
        for other in [length + 1, length - 1, CHUNK as u64, 0] {
            std::fs::write(&path, vec![0; 2 * CHUNK]).unwrap();
            let source = Source::open(&Disk::new(), &path).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let outcome = source.stream(0, 2 * CHUNK, |_| file.set_len(other).unwrap());
            let expected = format!("it had {length} bytes, and has {other}");
            assert!(matches!(outcome, Err(Error::FileChanged { how, .. }) if how == expected));
        }
    }

    #[test]
    fn a_first_look_names_the_kind_of_file() {
        assert!(describe_start(b"<!DOCTYPE html><html>", 21).1.contains("web page"));
        assert!(describe_start(b"version https://git-lfs.example/spec/v1", 130).1.contains("LFS"));
        assert_eq!(describe_start(&[0x89, 1, 2], 3).0, "3 bytes that start with 89 01 02");
    }
}
