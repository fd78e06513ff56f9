//! Checkpoint format V2: the tensor bundle, an index table and data files.
//!
//! Source: `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use disk::Disk;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::checkpoint::Variable;
use crate::error::ON_ONE_LINE;
use crate::proto::{BundleEntry, BundleHeader};
use crate::slice_key::{self, Extent};
use crate::slices::{self, Region, assemble};
use crate::source::Source;
use crate::string_tensor;
use crate::table::{Table, unmask};
use crate::tensor::{MAX_STRINGS, element_count, hex};
use crate::tensor_proto::dims;
use crate::{DType, Error, Tensor, data_files};

/// TensorFlow names shards with five digits and refuses more itself.
const MAX_SHARDS: usize = 99_999;
/// `TensorShape::MaxDimensions`.
const MAX_RANK: usize = 254;
/// `kTensorBundleMinConsumer` and its producer are 1 in every release there is.
const VERSION: i32 = 1;

/// An open bundle. The index is in memory, tensors are read as needed.
#[derive(Debug)]
pub(crate) struct Bundle {
    index: PathBuf,
    big_endian: bool,
    entries: BTreeMap<Vec<u8>, Entry>,
    data: BTreeMap<usize, Source>,
}

#[derive(Debug)]
struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    elements: usize,
    shard: usize,
    offset: u64,
    size: u64,
    /// Unmasked.
    crc: u32,
    slices: Vec<Vec<Extent>>,
}

impl Bundle {
    /// Opens the bundle with this prefix: reads the whole index, and checks that all of it fits the data files.
    pub(crate) fn open(disk: &Disk, prefix: &Path) -> Result<Bundle, Error> {
        let index = data_files::with_suffix(prefix, ".index");
        let table = Table::open(disk, &index)?;
        let mut header: Option<Header> = None;
        let mut entries = BTreeMap::new();
        table.scan(|key, value| {
            match &header {
                None => header = Some(Header::parse(&index, key, value)?),
                Some(header) => {
                    entries.insert(key.to_vec(), Entry::parse(&index, key, value, header.shards)?);
                }
            }
            Ok(())
        })?;
        let Some(header) = header else {
            return Err(Error::Header {
                path: index,
                expected: "an entry with an empty key",
                found: "no entries".to_owned(),
            });
        };
        let mut stored: Vec<(&Vec<u8>, &Entry)> = entries.iter().filter(|(_, e)| e.slices.is_empty()).collect();
        stored.sort_by_key(|(_, e)| (e.shard, e.offset, e.size));
        let mut ends: BTreeMap<usize, (u64, &Vec<u8>, &Entry)> = BTreeMap::new();
        for (key, entry) in stored {
            // No overflow: checked when the entry was parsed.
            let end = entry.offset.saturating_add(entry.size);
            match ends.get(&entry.shard) {
                // Or a few bytes of index could ask for the same large tensor a million times.
                Some((before, other, _)) if entry.offset < *before && entry.size > 0 => {
                    let found = format!("bytes that {:?} has too", show(other));
                    return Err(entry_error(&index, key, "bytes of its own", found));
                }
                Some((before, ..)) if *before >= end => {}
                _ => drop(ends.insert(entry.shard, (end, key, entry))),
            }
        }
        let mut data = BTreeMap::new();
        for (shard, (end, key, entry)) in ends {
            let source = data_files::open(disk, &index, prefix, shard, header.shards)?;
            if end > source.len() {
                return Err(Error::OutsideFile {
                    path: source.path().to_owned(),
                    variable: show(key),
                    offset: entry.offset,
                    size: entry.size,
                    length: source.len(),
                });
            }
            if end < source.len() {
                return Err(Error::DataLength { path: source.path().to_owned(), expected: end, found: source.len() });
            }
            data.insert(shard, source);
        }
        let bundle = Bundle { index, big_endian: header.big_endian, entries, data };
        bundle.variables()?;
        Ok(bundle)
    }

    /// The index and every data file with tensors in it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.index.clone()).chain(self.data.values().map(|s| s.path().to_owned())).collect()
    }

    /// Every variable, by name. Keys that start with a zero byte are of slices.
    pub(crate) fn variables(&self) -> Result<Vec<Variable>, Error> {
        self.entries
            .iter()
            .filter(|(key, _)| !key.starts_with(&[0]))
            .map(|(key, entry)| match std::str::from_utf8(key) {
                Ok(name) if name.contains('\n') => Err(entry_error(&self.index, key, ON_ONE_LINE, format!("{name:?}"))),
                Ok(name) => Ok(Variable { name: name.to_owned(), dtype: entry.dtype, shape: entry.shape.clone() }),
                Err(_) => Err(entry_error(&self.index, key, "a name in UTF-8", "other bytes".to_owned())),
            })
            .collect()
    }

    /// Reads the variable `name`; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(entry) = self.entries.get(name.as_bytes()) else { return Ok(None) };
        if entry.slices.is_empty() {
            return self.read_entry(name, entry).map(Some);
        }
        let wrong = |found: String| Error::Slices { path: self.index.clone(), variable: name.to_owned(), found };
        let (mut regions, mut parts) = (Vec::new(), Vec::new());
        for extents in &entry.slices {
            let region = Region::new(extents, &entry.shape)
                .ok_or_else(|| wrong(format!("one outside its shape {:?}", entry.shape)))?;
            let part = self.entries.get(&slice_key::encode(name, extents)).filter(|p| p.slices.is_empty());
            let part = part.ok_or_else(|| wrong(format!("one of shape {:?} listed but not stored", region.shape())))?;
            if part.dtype != entry.dtype || part.shape != region.shape() {
                return Err(wrong(format!(
                    "one stored as {} {:?} but listed as {} {:?}",
                    part.dtype,
                    part.shape,
                    entry.dtype,
                    region.shape()
                )));
            }
            regions.push(region);
            parts.push(part);
        }
        let parts = parts.into_iter().map(|part| self.read_entry(name, part));
        assemble(entry.dtype, &entry.shape, &regions, parts, wrong).map(Some)
    }

    /// The digest of the variable `name`; `None` if there is none.
    pub(crate) fn sha256(&self, name: &str) -> Result<Option<String>, Error> {
        match self.entries.get(name.as_bytes()) {
            // The bytes in the file are those of the tensor.
            Some(entry) if entry.slices.is_empty() && entry.dtype.word().is_some() && !self.big_endian => {
                let (source, size) = self.place(name, entry)?;
                let (mut crc, mut digest) = (0, Sha256::new());
                source.stream(entry.offset, size, |chunk| {
                    crc = crc32c::crc32c_append(crc, chunk);
                    digest.update(chunk);
                })?;
                if crc != entry.crc {
                    return Err(bad_crc(source, name, entry.crc, crc));
                }
                Ok(Some(hex(&digest.finalize())))
            }
            _ => Ok(self.read(name)?.map(|tensor| tensor.sha256())),
        }
    }

    fn read_entry(&self, name: &str, entry: &Entry) -> Result<Tensor, Error> {
        let word = match entry.dtype {
            DType::String => 1,
            fixed => fixed.word().ok_or_else(|| self.unsupported(name, entry))?,
        };
        let (source, size) = self.place(name, entry)?;
        if entry.dtype == DType::String {
            let bytes = source.read(entry.offset, size)?;
            return string_tensor::decode(&bytes, &entry.shape, entry.elements, entry.crc, self.big_endian).map_err(
                |e| match e {
                    string_tensor::Problem::Checksum { stored, computed } => bad_crc(source, name, stored, computed),
                    string_tensor::Problem::Lengths => entry_error(
                        source.path(),
                        name.as_bytes(),
                        "strings whose lengths fill the entry",
                        format!("{size} bytes that they do not"),
                    ),
                    string_tensor::Problem::Elements => Error::TooMuch {
                        path: source.path().to_owned(),
                        what: format!("variable {name:?}"),
                        limit: u64::try_from(MAX_STRINGS).unwrap_or(u64::MAX),
                        unit: "strings",
                        found: entry.elements.to_string(),
                    },
                },
            );
        }
        let mut crc = 0;
        let mut bytes = source.read_with(entry.offset, size, |chunk| crc = crc32c::crc32c_append(crc, chunk))?;
        if crc != entry.crc {
            return Err(bad_crc(source, name, entry.crc, crc));
        }
        if self.big_endian {
            bytes.chunks_mut(word).for_each(<[u8]>::reverse);
        }
        Tensor::fixed(entry.dtype, entry.shape.clone(), bytes).ok_or_else(|| self.unsupported(name, entry))
    }

    /// The data file that `entry` is in, and its size where it can be memory's.
    fn place(&self, name: &str, entry: &Entry) -> Result<(&Source, usize), Error> {
        let place = self.data.get(&entry.shard).zip(usize::try_from(entry.size).ok());
        place.ok_or_else(|| self.unsupported(name, entry))
    }

    fn unsupported(&self, name: &str, entry: &Entry) -> Error {
        Error::Unsupported { path: self.index.clone(), variable: name.to_owned(), dtype: entry.dtype }
    }
}

struct Header {
    shards: usize,
    big_endian: bool,
}

impl Header {
    fn parse(index: &Path, key: &[u8], value: &[u8]) -> Result<Header, Error> {
        let wrong = |expected, found: String| Error::Header { path: index.to_owned(), expected, found };
        if !key.is_empty() {
            return Err(wrong("an empty first key", format!("{:?}", show(key))));
        }
        // Field 1 of a bundle header is a number; field 1 of the V1 header is a message.
        if value.first() == Some(&0x0a) {
            return Err(Error::WrongFormat {
                path: index.to_owned(),
                expected: "the index of a V2 checkpoint",
                found: "a whole V1 checkpoint",
                hint: "remove .index from its name",
            });
        }
        let header = BundleHeader::decode(value).map_err(|e| message(index, "header", "BundleHeaderProto", e))?;
        let shards = usize::try_from(header.num_shards).ok().filter(|n| (1..=MAX_SHARDS).contains(n));
        let shards = shards.ok_or_else(|| wrong("between 1 and 99999 data files", header.num_shards.to_string()))?;
        let big_endian = match header.endianness {
            0 => false,
            1 => true,
            other => return Err(wrong("byte order 0 or 1", other.to_string())),
        };
        let min_consumer = header.version.map_or(0, |v| v.min_consumer);
        if min_consumer > VERSION {
            return Err(wrong("a format version of at most 1", min_consumer.to_string()));
        }
        Ok(Header { shards, big_endian })
    }
}

impl Entry {
    fn parse(index: &Path, key: &[u8], value: &[u8], shards: usize) -> Result<Entry, Error> {
        let wrong = |expected, found: String| entry_error(index, key, expected, found);
        let raw = BundleEntry::decode(value).map_err(|e| message(index, &show(key), "BundleEntryProto", e))?;
        let dtype = DType::from_number(raw.dtype);
        let proto = raw.shape.unwrap_or_default();
        if proto.dim.len() > MAX_RANK {
            return Err(wrong("at most 254 dimensions", proto.dim.len().to_string()));
        }
        let shape = dims(&proto).ok_or_else(|| {
            let found: Vec<i64> = proto.dim.iter().map(|d| d.size).collect();
            wrong(
                "a shape without unknown or negative dimensions",
                if proto.unknown_rank { "unknown rank".to_owned() } else { format!("{found:?}") },
            )
        })?;
        let elements = element_count(&shape).ok_or_else(|| wrong("a shape that fits memory", format!("{shape:?}")))?;
        let shard = usize::try_from(raw.shard_id).ok().filter(|&s| s < shards);
        let shard = shard.ok_or_else(|| {
            wrong("a data file number below that of data files", format!("{} of {shards}", raw.shard_id))
        })?;
        let (Ok(offset), Ok(size)) = (u64::try_from(raw.offset), u64::try_from(raw.size)) else {
            return Err(wrong("an offset and a size of at least 0", format!("{} and {}", raw.offset, raw.size)));
        };
        if offset.checked_add(size).is_none() {
            return Err(wrong("an end below 2^64", format!("{size} bytes at byte {offset}")));
        }
        let slices: Vec<Vec<Extent>> = raw.slices.iter().map(slices::extents).collect();
        if slices.is_empty() {
            let expected = dtype.size().map(|s| elements.checked_mul(s).and_then(|n| u64::try_from(n).ok()));
            if expected.is_some_and(|n| n != Some(size)) {
                return Err(wrong(
                    "a size that is its shape times its type",
                    format!("{size} bytes for {dtype} {shape:?}"),
                ));
            }
        }
        Ok(Entry { dtype, shape, elements, shard, offset, size, crc: unmask(raw.crc32c), slices })
    }
}

fn entry_error(path: &Path, key: &[u8], expected: &'static str, found: String) -> Error {
    Error::Entry { path: path.to_owned(), variable: show(key), expected, found }
}

fn bad_crc(source: &Source, name: &str, stored: u32, computed: u32) -> Error {
    Error::TensorChecksum { path: source.path().to_owned(), variable: name.to_owned(), stored, computed }
}

fn message(path: &Path, what: &str, message: &'static str, source: prost::DecodeError) -> Error {
    Error::Message { path: path.to_owned(), what: what.to_owned(), message, source: Box::new(source) }
}

/// A key as text.
fn show(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
