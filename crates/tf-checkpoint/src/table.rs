//! The sorted table in which both checkpoint formats keep their entries: LevelDB's table file, as TensorFlow writes it.
//!
//! Sources: `tensorflow/core/lib/io/{table_builder,block_builder,format,block,table}.cc`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use disk::Disk;

use crate::Error;
use crate::source::{Source, describe_start};
use crate::wire::{take, u32_le, varint};

pub(crate) const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
const FOOTER: u64 = 48;
/// Type byte and checksum after each block.
const TRAILER: u64 = 5;
/// Keys share prefixes, so they take more memory than file: with the names of real variables up to three times as much.
const KEY_EXPANSION: u64 = 4;
/// Keys of this many bytes in all are fine, however small the file.
const KEY_ALLOWANCE: u64 = 16 << 20;
/// Snappy can not shrink bytes more than this, so a block that says so lies.
const SNAPPY_EXPANSION: usize = 64;
/// A block that is compressed unpacks to no more than this, as it is in memory twice and may be mostly zeros. TensorFlow
/// compresses none, and others break up blocks at some kilobytes.
const SNAPPY_LIMIT: usize = 64 << 20;

/// Where a block is: its offset, and its size without the trailer.
#[derive(Debug, Clone, Copy)]
struct Handle {
    offset: u64,
    size: u64,
}

/// The contents of a block.
type Block = Arc<Vec<u8>>;

/// An open table: its index is in memory, its data blocks are read as needed and checked each time.
#[derive(Debug)]
pub(crate) struct Table {
    source: Source,
    index: Vec<(Vec<u8>, Handle)>,
    /// The block read last: small neighbours of a large tensor share its block.
    last: Mutex<Option<(usize, Block)>>,
}

impl Table {
    /// Reads the footer and the index of the table at `path`.
    pub(crate) fn open(disk: &Disk, path: &Path) -> Result<Table, Error> {
        let source = Source::open(disk, path)?;
        let Some(footer_at) = source.len().checked_sub(FOOTER) else { return Err(not_a_table(&source)) };
        let footer = source.read(footer_at, 48)?;
        if !footer.ends_with(&MAGIC) {
            return Err(not_a_table(&source));
        }
        let mut handles = footer.as_slice();
        let (Some(meta), Some(index)) = (Handle::take(&mut handles), Handle::take(&mut handles)) else {
            return Err(broken(&source, footer_at, "two block handles in the footer", "numbers that do not end"));
        };
        if reach_magic(handles) {
            return Err(broken(&source, footer_at, "two block handles in 40 bytes of footer", "longer ones"));
        }
        let mut table = Table { source, index: Vec::new(), last: Mutex::new(None) };
        // Nothing is in the metaindex, but a damaged one is a damaged file.
        table.read_block(meta)?;
        let block = table.read_block(index)?;
        let mut budget = table.key_budget();
        let mut entries = Vec::new();
        let mut end = 0u64;
        table.entries(index.offset, &block, &mut budget, |key, mut value| {
            let handle = Handle::take(&mut value).filter(|_| value.is_empty());
            let handle = handle
                .ok_or_else(|| table.broken(index.offset, "a block handle in each index entry", "other bytes"))?;
            // Or a few bytes could ask for the same large block a million times.
            if handle.offset < end {
                let found = format!("one at byte {} after one that ends at {end}", handle.offset);
                return Err(table.broken(index.offset, "blocks one after the other", &found));
            }
            end = handle.offset.saturating_add(handle.size);
            entries.push((key.to_vec(), handle));
            Ok(true)
        })?;
        table.index = entries;
        Ok(table)
    }

    pub(crate) fn path(&self) -> &Path {
        self.source.path()
    }

    /// Length of the file.
    pub(crate) fn len(&self) -> u64 {
        self.source.len()
    }

    /// Calls `f` for every key and value, in order, after checking that keys increase from first to last.
    pub(crate) fn scan(&self, mut f: impl FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut budget = self.key_budget();
        for number in 0..self.index.len() {
            let Some((block, offset)) = self.block(number)? else { break };
            self.entries(offset, &block, &mut budget, |key, value| {
                self.check_separators(number, offset, key)?;
                f(key, value).map(|()| true)
            })?;
        }
        Ok(())
    }

    /// Calls `f` with the value of `key`; `None` if the table has no such key.
    pub(crate) fn get<T>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let number = self.index.partition_point(|(separator, _)| separator.as_slice() < key);
        let Some((block, offset)) = self.block(number)? else { return Ok(None) };
        let (mut f, mut found) = (Some(f), None);
        self.entries(offset, &block, &mut self.key_budget(), |k, value| {
            self.check_separators(number, offset, k)?;
            if k == key
                && let Some(f) = f.take()
            {
                found = Some(f(value)?);
            }
            Ok(k < key)
        })?;
        Ok(found)
    }

    /// A block's keys are after the separator before it and not after its own. Lookup relies on that, and so does the
    /// order of keys across blocks.
    fn check_separators(&self, number: usize, offset: u64, key: &[u8]) -> Result<(), Error> {
        let own = self.index.get(number).map(|i| i.0.as_slice());
        let before = number.checked_sub(1).and_then(|n| self.index.get(n)).map(|i| i.0.as_slice());
        if own.is_some_and(|own| key <= own) && before.is_none_or(|before| before < key) {
            return Ok(());
        }
        Err(self.broken(offset, "keys that increase from block to block", "a key outside its block's range"))
    }

    /// The contents of data block `number` and its offset; `None` past the last.
    fn block(&self, number: usize) -> Result<Option<(Block, u64)>, Error> {
        let Some((_, handle)) = self.index.get(number) else { return Ok(None) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cached, block)) = last.as_ref()
            && *cached == number
        {
            return Ok(Some((Arc::clone(block), handle.offset)));
        }
        // Given up first, so that two large blocks are never held at once.
        *last = None;
        let block = Arc::new(self.read_block(*handle)?);
        *last = Some((number, Arc::clone(&block)));
        Ok(Some((block, handle.offset)))
    }

    /// Reads, checks and unpacks a block.
    fn read_block(&self, handle: Handle) -> Result<Vec<u8>, Error> {
        let Handle { offset, size } = handle;
        let outside = || {
            self.broken(
                offset,
                "a block inside the file",
                &format!("{size} bytes at byte {offset} of {}", self.source.len()),
            )
        };
        let with_trailer = size.checked_add(TRAILER).ok_or_else(outside)?;
        if !self.source.holds(offset, with_trailer) {
            return Err(outside());
        }
        let mut bytes = self.source.read(offset, usize::try_from(with_trailer).map_err(|_| outside())?)?;
        let (Some(at), Ok(size)) = (bytes.len().checked_sub(4), usize::try_from(size)) else { return Err(outside()) };
        let (body, mut crc) = bytes.split_at_checked(at).ok_or_else(outside)?;
        let stored = unmask(u32_le(&mut crc).ok_or_else(outside)?);
        let computed = crc32c::crc32c(body);
        if stored != computed {
            return Err(Error::BlockChecksum { path: self.path().to_owned(), offset, stored, computed });
        }
        match body.last() {
            Some(0) => {
                bytes.truncate(size);
                Ok(bytes)
            }
            Some(1) => {
                let packed = bytes.get(..size).ok_or_else(outside)?;
                self.unpack(offset, packed)
            }
            other => Err(self.broken(offset, "compression type 0 or 1", &format!("{other:?}"))),
        }
    }

    fn unpack(&self, offset: u64, packed: &[u8]) -> Result<Vec<u8>, Error> {
        let damaged = |e: snap::Error| self.broken(offset, "a Snappy block", &e.to_string());
        let len = snap::raw::decompress_len(packed).map_err(damaged)?;
        if len > packed.len().saturating_add(64).saturating_mul(SNAPPY_EXPANSION) {
            return Err(self.broken(
                offset,
                "a Snappy block",
                &format!("{} bytes said to unpack to {len}", packed.len()),
            ));
        }
        if len > SNAPPY_LIMIT {
            let found = format!("one that unpacks to {len}");
            return Err(self.broken(offset, "a Snappy block that unpacks to at most 64 MiB", &found));
        }
        snap::raw::Decoder::new().decompress_vec(packed).map_err(damaged)
    }

    /// Calls `f` for the entries of one block until it says `false`.
    fn entries(
        &self,
        offset: u64,
        block: &[u8],
        budget: &mut u64,
        mut f: impl FnMut(&[u8], &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut rest = entry_bytes(block).ok_or_else(|| {
            self.broken(offset, "a block with its restart array", &format!("{} bytes without", block.len()))
        })?;
        let mut key = Vec::new();
        let mut first = true;
        while !rest.is_empty() {
            let (next, value) = entry(&mut rest, &key)
                .ok_or_else(|| self.broken(offset, "an entry inside its block", "one that is cut off"))?;
            if !first && next <= key {
                return Err(self.broken(offset, "keys that increase", "one that does not"));
            }
            first = false;
            key = next;
            let spent = u64::try_from(key.len()).unwrap_or(u64::MAX);
            *budget = budget.checked_sub(spent).ok_or_else(|| {
                self.broken(offset, "keys of a size that the file justifies", "shared prefixes that unpack to far more")
            })?;
            if !f(&key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn key_budget(&self) -> u64 {
        self.source.len().saturating_mul(KEY_EXPANSION).saturating_add(KEY_ALLOWANCE)
    }

    fn broken(&self, offset: u64, expected: &'static str, found: &str) -> Error {
        broken(&self.source, offset, expected, found)
    }
}

/// Whether the last 8 bytes of the file say that it is a table.
pub(crate) fn has_magic(disk: &Disk, path: &Path) -> Result<bool, Error> {
    let source = Source::open(disk, path)?;
    match source.len().checked_sub(FOOTER) {
        Some(at) => Ok(source.read(at, 48)?.ends_with(&MAGIC)),
        None => Ok(false),
    }
}

/// Undoes the masking of a stored CRC-32C (`tensorflow/core/lib/hash/crc32c.h`).
pub(crate) fn unmask(stored: u32) -> u32 {
    stored.wrapping_sub(0xa282_ead8).rotate_left(15)
}

/// The masked form in which a CRC-32C is stored.
pub(crate) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

impl Handle {
    fn take(input: &mut &[u8]) -> Option<Handle> {
        Some(Handle { offset: varint(input)?, size: varint(input)? })
    }
}

/// Whether the handles ran into the magic number, which is the last 8 bytes of the footer.
fn reach_magic(rest: &[u8]) -> bool {
    rest.len() < MAGIC.len()
}

/// The part of a block before its restart array. The array itself is an aid to seeking, and is not needed here.
fn entry_bytes(block: &[u8]) -> Option<&[u8]> {
    let (rest, mut count) = block.split_at_checked(block.len().checked_sub(4)?)?;
    let restarts = usize::try_from(u32_le(&mut count)?).ok()?;
    rest.get(..rest.len().checked_sub(restarts.checked_mul(4)?)?)
}

/// Takes one entry: its whole key and its value.
fn entry<'a>(rest: &mut &'a [u8], previous: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut length = || usize::try_from(varint(rest)?).ok();
    let (shared, unshared, value) = (length()?, length()?, length()?);
    let mut key = previous.get(..shared)?.to_vec();
    key.extend_from_slice(take(rest, unshared)?);
    Some((key, take(rest, value)?))
}

fn not_a_table(source: &Source) -> Error {
    let size = usize::try_from(source.len().min(64)).unwrap_or(64);
    match source.read(0, size) {
        Ok(start) => {
            let (found, hint) = describe_start(&start, source.len());
            Error::NotATable { path: source.path().to_owned(), found, hint }
        }
        Err(e) => e,
    }
}

fn broken(source: &Source, offset: u64, expected: &'static str, found: &str) -> Error {
    Error::Table { path: source.path().to_owned(), offset, expected, found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_writer::{BlockType, TableWriter};

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(bytes: &[u8]) -> Result<Pairs, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let table = Table::open(&Disk::new(), &path)?;
        table.scan(|k, v| {
            all.push((k.to_vec(), v.to_vec()));
            Ok(())
        })?;
        for (key, value) in &all {
            assert_eq!(table.get(key, |v| Ok(v.to_vec()))?.as_ref(), Some(value));
        }
        assert!(table.get(b"zz no such key", |_| Ok(()))?.is_none());
        Ok(all)
    }

    fn many() -> Pairs {
        (0..100u32).map(|i| (format!("key/{i:04}").into_bytes(), vec![i as u8; 50])).collect()
    }

    fn written(block_size: usize, kind: BlockType) -> Vec<u8> {
        let mut writer = TableWriter::new(block_size, kind);
        for (k, v) in many() {
            writer.add(&k, &v);
        }
        writer.finish()
    }

    #[test]
    fn checksum_vectors() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(mask(0xe306_9283), 0xc78a_b0e5);
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(mask(0x8a91_36aa), 0x0fd7_fffa);
        assert_eq!(mask(0), 0xa282_ead8);
        assert_eq!(unmask(mask(0x1234_5678)), 0x1234_5678);
    }

    #[test]
    fn one_block_many_blocks_and_snappy() {
        for block_size in [1, 500, 1 << 18] {
            for kind in [BlockType::Stored, BlockType::Snappy] {
                assert_eq!(read(&written(block_size, kind)).unwrap(), many());
            }
        }
    }

    #[test]
    fn unknown_compression_is_refused() {
        assert!(matches!(
            read(&written(500, BlockType::Unknown)),
            Err(Error::Table { expected: "compression type 0 or 1", .. })
        ));
    }

    #[test]
    fn keys_out_of_order_are_refused() {
        for block_size in [1, 1 << 18] {
            for second in [&b"a"[..], b"b"] {
                let mut writer = TableWriter::new(block_size, BlockType::Stored);
                writer.add(b"b", b"1");
                writer.add(second, b"2");
                assert!(matches!(read(&writer.finish()), Err(Error::Table { .. })));
            }
        }
    }

    #[test]
    fn a_key_bomb_is_refused() {
        let mut writer = TableWriter::new(1 << 30, BlockType::Stored).restart_every(usize::MAX);
        let mut key = vec![b'k'; 100_000];
        for i in 0..10_000u32 {
            key.truncate(99_990);
            key.extend(format!("{i:010}").bytes());
            writer.add(&key, b"");
        }
        let error = read(&writer.finish()).unwrap_err();
        assert!(error.to_string().contains("far more"), "{error}");
    }

    #[test]
    fn a_snappy_bomb_is_refused() {
        let mut writer = TableWriter::new(1 << 18, BlockType::SnappyClaiming(1 << 31));
        writer.add(b"a", b"1");
        let error = read(&writer.finish()).unwrap_err();
        assert!(error.to_string().contains("said to unpack to"), "{error}");
    }

    #[test]
    fn a_wrong_block_checksum_is_refused() {
        let mut bytes = written(500, BlockType::Stored);
        bytes[20] ^= 1;
        assert!(matches!(read(&bytes), Err(Error::BlockChecksum { offset: 0, .. })));
    }

    #[test]
    fn other_files_are_described() {
        for (bytes, part) in [
            (&b"<!DOCTYPE html>\n<html><body>nothing here for you to read, move along</body>"[..], "web page"),
            (b"", "empty"),
            (b"short", "damaged"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(matches!(error, Error::NotATable { .. }));
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn handles_outside_the_file_are_refused() {
        for handle in [(usize::MAX, 1), (0, usize::MAX), (0, 1 << 40)] {
            let bytes = TableWriter::new(500, BlockType::Stored).finish_with_index_at(handle);
            assert!(matches!(read(&bytes), Err(Error::Table { .. })), "{handle:?}");
        }
    }
}
