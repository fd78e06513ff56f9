//! Checkpoint format V1: saved tensor slices, whole tables with the tensors in them.
//!
//! Source: `tensorflow/core/util/{tensor_slice_writer,tensor_slice_reader}.cc`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::{Path, PathBuf};

use disk::Disk;
use prost::Message;

use crate::checkpoint::Variable;
use crate::error::ON_ONE_LINE;
use crate::proto::{SavedTensorSliceMeta, SavedTensorSlices, TensorSlice};
use crate::slice_key::{self, Extent};
use crate::slices::{self, Region, assemble};
use crate::table::Table;
use crate::tensor::element_count;
use crate::tensor_proto::{Missing, decode_as, dims};
use crate::wire::{Fields, Value, count};
use crate::{DType, Error, Tensor};

/// `TF_CHECKPOINT_VERSION` is 1 in every release there is.
const VERSION: i32 = 1;
/// A tensor of small integers may take this much more memory than file.
const WIDENED: u64 = 64 << 20;
/// Tensors, slices and dimensions that a header may list: each takes some bytes of file and a hundred of memory.
const MAX_LISTED: usize = 500_000;

/// An open V1 checkpoint: the list of tensors is in memory, the tensors are read as needed.
#[derive(Debug)]
pub(crate) struct SavedSlices {
    tables: Vec<Table>,
    tensors: BTreeMap<String, Saved>,
}

#[derive(Debug)]
struct Saved {
    dtype: DType,
    shape: Vec<usize>,
    /// Which table each slice is in, and where in the tensor it belongs.
    slices: Vec<(usize, Vec<Extent>)>,
}

impl SavedSlices {
    /// Opens a checkpoint that consists of these files.
    pub(crate) fn open(disk: &Disk, files: &[PathBuf]) -> Result<SavedSlices, Error> {
        let mut all = SavedSlices { tables: Vec::new(), tensors: BTreeMap::new() };
        for path in files {
            let table = Table::open(disk, path)?;
            let meta = table.get(b"", |value| header(path, value))?;
            let meta = meta.ok_or_else(|| Error::Header {
                path: path.clone(),
                expected: "an entry with an empty key",
                found: "none".to_owned(),
            })?;
            all.add(path, meta)?;
            all.tables.push(table);
        }
        Ok(all)
    }

    /// Adds the tensors of the next table.
    fn add(&mut self, path: &Path, meta: SavedTensorSliceMeta) -> Result<(), Error> {
        let number = self.tables.len();
        for saved in meta.tensor {
            let wrong =
                |expected, found| Error::Entry { path: path.to_owned(), variable: saved.name.clone(), expected, found };
            if saved.name.contains('\n') {
                return Err(wrong(ON_ONE_LINE, format!("{:?}", saved.name)));
            }
            let proto = saved.shape.unwrap_or_default();
            let shape = dims(&proto)
                .ok_or_else(|| wrong("a shape without unknown or negative dimensions", format!("{:?}", proto.dim)))?;
            let dtype = DType::from_number(saved.dtype);
            let slices = saved.slice.iter().map(|s| (number, slices::extents(s)));
            match self.tensors.entry(saved.name.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(Saved { dtype, shape, slices: slices.collect() });
                }
                Slot::Occupied(mut slot) => {
                    let known = slot.get_mut();
                    if known.dtype != dtype || known.shape != shape {
                        let found = format!("{dtype} {shape:?} after {} {:?}", known.dtype, known.shape);
                        return Err(wrong("the same type and shape in every file and entry", found));
                    }
                    known.slices.extend(slices);
                }
            }
        }
        Ok(())
    }

    /// The files of the checkpoint.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.tables.iter().map(|t| t.path().to_owned()).collect()
    }

    /// Every variable, by name.
    pub(crate) fn variables(&self) -> Vec<Variable> {
        self.tensors
            .iter()
            .map(|(name, saved)| Variable { name: name.clone(), dtype: saved.dtype, shape: saved.shape.clone() })
            .collect()
    }

    /// Reads the variable `name`; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(saved) = self.tensors.get(name) else { return Ok(None) };
        let listed_in = |number: usize| self.tables.get(number).map(|t| t.path().to_owned()).unwrap_or_default();
        let wrong = |number, found| Error::Slices { path: listed_in(number), variable: name.to_owned(), found };
        if saved.dtype != DType::String && saved.dtype.size().is_none() {
            let path = listed_in(saved.slices.first().map_or(0, |s| s.0));
            return Err(Error::Unsupported { path, variable: name.to_owned(), dtype: saved.dtype });
        }
        let mut regions = Vec::new();
        for (number, extents) in &saved.slices {
            let region = Region::new(extents, &saved.shape);
            let outside = || wrong(*number, format!("one outside its shape {:?}", saved.shape));
            regions.push(region.ok_or_else(outside)?);
        }
        let first = saved.slices.first().map_or(0, |s| s.0);
        self.check_size(&listed_in(first), name, saved)?;
        let parts = saved.slices.iter().zip(&regions).map(|((number, extents), region)| {
            let table = self.tables.get(*number).ok_or_else(|| wrong(*number, "one in no file".to_owned()))?;
            let key = slice_key::encode(name, extents);
            let part = table.get(&key, |value| slice(table.path(), name, value, saved.dtype, extents, region))?;
            part.ok_or_else(|| wrong(*number, format!("one of shape {:?} listed but not stored", region.shape())))
        });
        assemble(saved.dtype, &saved.shape, &regions, parts, |found| wrong(first, found)).map(Some)
    }

    /// Small integers take a byte each in the file, whatever their type, and eight in memory at most.
    fn check_size(&self, path: &Path, name: &str, saved: &Saved) -> Result<(), Error> {
        let files = self.tables.iter().fold(WIDENED, |sum, table| sum.saturating_add(table.len()));
        let size = element_count(&saved.shape).and_then(|n| n.checked_mul(saved.dtype.size().unwrap_or(1)));
        if size.and_then(|n| u64::try_from(n).ok()).is_some_and(|n| n <= files) {
            return Ok(());
        }
        Err(Error::TooMuch {
            path: path.to_owned(),
            what: format!("variable {name:?}"),
            limit: files,
            unit: "bytes, from the size of the files",
            found: format!("{} {:?}", saved.dtype, saved.shape),
        })
    }
}

/// The list of tensors, which is under the empty key.
fn header(path: &Path, value: &[u8]) -> Result<SavedTensorSliceMeta, Error> {
    let wrong = |expected, found: String| Error::Header { path: path.to_owned(), expected, found };
    // Field 1 of the V1 header is a message; field 1 of a bundle header is a number.
    if value.first() == Some(&0x08) {
        return Err(Error::WrongFormat {
            path: path.to_owned(),
            expected: "a whole V1 checkpoint",
            found: "the index of a V2 checkpoint",
            hint: "its name should end in .index, with its data files beside it",
        });
    }
    let counts: [&[u32]; 4] = [&[1, 1], &[1, 1, 2, 2], &[1, 1, 4], &[1, 1, 4, 1]];
    let listed = counts.iter().fold(0usize, |n, path_of| n.saturating_add(count(value, path_of)));
    if listed > MAX_LISTED {
        return Err(Error::TooMuch {
            path: path.to_owned(),
            what: "checkpoint header".to_owned(),
            limit: u64::try_from(MAX_LISTED).unwrap_or(u64::MAX),
            unit: "tensors, slices and dimensions",
            found: listed.to_string(),
        });
    }
    let header = SavedTensorSlices::decode(value).map_err(|e| Error::Message {
        path: path.to_owned(),
        what: "header".to_owned(),
        message: "SavedTensorSlices",
        source: Box::new(e),
    })?;
    let meta = header.meta.ok_or_else(|| wrong("a list of tensors", "none".to_owned()))?;
    let min_consumer = meta.versions.as_ref().map_or(0, |v| v.min_consumer);
    if min_consumer > VERSION {
        return Err(wrong("a format version of at most 1", min_consumer.to_string()));
    }
    Ok(meta)
}

/// Decodes one slice, and checks that it is the one that its key says.
fn slice(
    path: &Path,
    name: &str,
    value: &[u8],
    dtype: DType,
    extents: &[Extent],
    region: &Region,
) -> Result<Tensor, Error> {
    let wrong =
        |expected, found: String| Error::Entry { path: path.to_owned(), variable: name.to_owned(), expected, found };
    let unreadable = |_| wrong("a SavedTensorSlices message", "bytes that are not one".to_owned());
    let mut data = None;
    for field in Fields::new(value) {
        if let (2, Value::Bytes(b)) = field.map_err(unreadable)? {
            data = Some(b);
        }
    }
    let (mut stored_name, mut stored_slice, mut tensor): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    for field in Fields::new(data.unwrap_or_default()) {
        match field.map_err(unreadable)? {
            (1, Value::Bytes(b)) => stored_name = b,
            (2, Value::Bytes(b)) => stored_slice = b,
            (3, Value::Bytes(b)) => tensor = b,
            _ => (),
        }
    }
    let stored_slice = TensorSlice::decode(stored_slice).map(|s| slices::extents(&s)).unwrap_or_default();
    if stored_name != name.as_bytes() || stored_slice != extents {
        let found = format!("{:?} {stored_slice:?}", String::from_utf8_lossy(stored_name));
        return Err(wrong("the slice that the key is of", found));
    }
    decode_as(tensor, dtype, region.shape().to_vec(), Missing::Refuse)
        .map_err(|e| wrong("one value of its type per element", e.to_string()))
}

#[cfg(test)]
#[path = "saved_slices_tests.rs"]
mod tests;
