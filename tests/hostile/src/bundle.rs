//! V2 checkpoints: right ones, and what makes them wrong.

use crate::table::{masked, table};
use crate::wire::{bytes, fixed32, number, shape, slice, slice_key};

/// The parts of a `BundleEntryProto`, any of which a test may change.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number of the element type.
    pub dtype: i64,
    /// The `TensorShapeProto`.
    pub shape: Vec<u8>,
    /// Number of the data file.
    pub shard: i64,
    /// Where its bytes begin.
    pub offset: i64,
    /// How many there are.
    pub size: i64,
    /// Their checksum, not masked.
    pub crc: u32,
    /// `TensorSliceProto`s of a partitioned variable.
    pub slices: Vec<Vec<u8>>,
}

/// A bundle of one data file.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// `BundleHeaderProto`.
    pub header: Vec<u8>,
    /// Entries by key, in the order in which they are written.
    pub entries: Vec<(Vec<u8>, Entry)>,
    /// The data file.
    pub data: Vec<u8>,
}

/// The kernel of [`Bundle::lstm`].
pub const KERNEL: &str = "rnn/basic_lstm_cell/kernel";
/// The bias of [`Bundle::lstm`].
pub const BIAS: &str = "rnn/basic_lstm_cell/bias";

/// A `BundleHeaderProto` of this many data files.
pub fn header(shards: i64) -> Vec<u8> {
    [number(1, shards), bytes(3, &number(1, 1))].concat()
}

/// These numbers as float32.
pub fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A string tensor in a data file, and its checksum.
pub fn strings(strings: &[&[u8]]) -> (Vec<u8>, u32) {
    let mut out = vec![];
    let mut crc = 0;
    for s in strings {
        out.extend(crate::wire::varint(s.len() as u64));
        crc = crc32c::crc32c_append(crc, &(s.len() as u32).to_le_bytes());
    }
    let lengths = masked(crc).to_le_bytes();
    out.extend(lengths);
    crc = crc32c::crc32c_append(crc, &lengths);
    for s in strings {
        out.extend(*s);
        crc = crc32c::crc32c_append(crc, s);
    }
    (out, crc)
}

/// A part of a partitioned variable: its extents in the variable, and the shape that its own entry says.
pub type Part<'a> = (&'a [(i64, Option<i64>)], &'a [i64]);

impl Bundle {
    /// One without variables.
    pub fn empty() -> Bundle {
        Bundle { header: header(1), entries: vec![], data: vec![] }
    }

    /// A right one of one LSTM with two units: a kernel `[3, 8]` and a bias `[8]`, as TensorFlow would save it.
    pub fn lstm() -> Bundle {
        let mut bundle = Bundle::empty();
        bundle.add(BIAS, 1, &[8], &floats((0..8).map(|n| n as f32 / 8.0)));
        bundle.add(KERNEL, 1, &[3, 8], &floats((0..24).map(|n| n as f32 / 24.0 - 0.5)));
        bundle
    }

    /// Adds a variable after the others.
    pub fn add(&mut self, name: &str, dtype: i64, dims: &[i64], data: &[u8]) {
        self.add_key(name.as_bytes(), dtype, dims, data, crc32c::crc32c(data));
    }

    /// Adds an entry after the others.
    pub fn add_key(&mut self, key: &[u8], dtype: i64, dims: &[i64], data: &[u8], crc: u32) {
        let (offset, size) = (self.data.len() as i64, data.len() as i64);
        let entry = Entry { dtype, shape: shape(dims), shard: 0, offset, size, crc, slices: vec![] };
        self.entries.push((key.to_vec(), entry));
        self.data.extend(data);
    }

    /// Adds a partitioned float32 variable of zeros: each part with what is listed, what its key says, and its shape.
    pub fn add_parts(&mut self, name: &str, dims: &[i64], parts: &[Part<'_>]) {
        let slices = parts.iter().map(|(extents, _)| slice(extents)).collect();
        let entry = Entry { dtype: 1, shape: shape(dims), shard: 0, offset: 0, size: 0, crc: 0, slices };
        for (extents, dims) in parts {
            let count = dims.iter().product::<i64>().max(0) as usize;
            let zeros = vec![0; count * 4];
            self.add_key(&slice_key(name, extents), 1, dims, &zeros, crc32c::crc32c(&zeros));
        }
        self.entries.push((name.as_bytes().to_vec(), entry));
    }

    /// The entry of this name.
    pub fn entry(&mut self, name: &str) -> &mut Entry {
        let found = self.entries.iter_mut().find(|(key, _)| key == name.as_bytes());
        &mut found.expect("an entry of this name").1
    }

    /// The same with the bytes of the entry's tensor replaced, and checksums that are right.
    pub fn encoded(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = vec![(vec![], self.header.clone())];
        all.extend(self.entries.iter().map(|(key, entry)| (key.clone(), entry.encode())));
        all
    }

    /// The bytes of the index.
    pub fn index(&self) -> Vec<u8> {
        table(&self.encoded())
    }

    /// The index with its entries in the order of their keys, as TensorFlow writes them.
    pub fn sorted(mut self) -> Bundle {
        self.entries.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }

    /// Both files, by the names that a checkpoint `model.ckpt` has.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        vec![(INDEX.to_owned(), self.index()), (DATA.to_owned(), self.data.clone())]
    }
}

/// Name of the index.
pub const INDEX: &str = "model.ckpt.index";
/// Name of the data file.
pub const DATA: &str = "model.ckpt.data-00000-of-00001";

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut out = [
            number(1, self.dtype),
            bytes(2, &self.shape),
            number(3, self.shard),
            number(4, self.offset),
            number(5, self.size),
            fixed32(6, masked(self.crc)),
        ]
        .concat();
        out.extend(self.slices.iter().flat_map(|s| bytes(7, s)));
        out
    }
}

/// Splits one input of a fuzzer into the two files: four bytes say how long the index is.
pub fn split(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// The inverse of [`split`].
pub fn join(index: &[u8], data: &[u8]) -> Vec<u8> {
    [&(index.len() as u32).to_le_bytes(), index, data].concat()
}
