//! V1 checkpoints: right ones, and what makes them wrong.

use crate::bundle::{BIAS, KERNEL, floats};
use crate::table::table;
use crate::wire::{bytes, number, shape, slice, slice_key};

/// Start and length along each axis.
pub type Extents = Vec<(i64, Option<i64>)>;

/// What the header says of a tensor: a `SavedSliceMeta`.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its `TensorShapeProto`.
    pub shape: Vec<u8>,
    /// Number of its element type.
    pub dtype: i64,
    /// Its slices.
    pub slices: Vec<Extents>,
}

/// A V1 file.
#[derive(Clone, Debug, Default)]
pub struct SavedSlices {
    /// The tensors that the header lists.
    pub listed: Vec<Listed>,
    /// Keys and `SavedTensorSlices` messages after the header, in this order.
    pub stored: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Name of the file.
pub const FILE: &str = "model.ckpt";

/// A `SavedTensorSlices` that holds one slice with these values.
pub fn stored(name: &str, extents: &[(i64, Option<i64>)], tensor: &[u8]) -> Vec<u8> {
    bytes(2, &[bytes(1, name.as_bytes()), bytes(2, &slice(extents)), bytes(3, tensor)].concat())
}

impl SavedSlices {
    /// A right one of one LSTM, as `Bundle::lstm`.
    pub fn lstm() -> SavedSlices {
        let mut file = SavedSlices::default();
        file.add(BIAS, &[8], &[(0, None)], &bytes(5, &floats((0..8).map(|n| n as f32 / 8.0))));
        let kernel = bytes(5, &floats((0..24).map(|n| n as f32 / 24.0 - 0.5)));
        file.add(KERNEL, &[3, 8], &[(0, None), (0, None)], &kernel);
        file
    }

    /// Lists a float32 tensor of one slice, and stores it.
    pub fn add(&mut self, name: &str, dims: &[i64], extents: &[(i64, Option<i64>)], tensor: &[u8]) {
        let slices = vec![extents.to_vec()];
        self.listed.push(Listed { name: name.to_owned(), shape: shape(dims), dtype: 1, slices });
        self.stored.push((slice_key(name, extents), stored(name, extents, tensor)));
    }

    /// What the header says of the kernel.
    pub fn kernel(&mut self) -> &mut Listed {
        self.listed.iter_mut().find(|l| l.name == KERNEL).expect("the kernel")
    }

    /// The `SavedTensorSlices` under the empty key.
    fn header(&self) -> Vec<u8> {
        let tensors = self.listed.iter().map(|l| {
            let slices = l.slices.iter().flat_map(|s| bytes(4, &slice(s)));
            let mut meta = [bytes(1, l.name.as_bytes()), bytes(2, &l.shape), number(3, l.dtype)].concat();
            meta.extend(slices);
            bytes(1, &meta)
        });
        let mut meta: Vec<u8> = tensors.flatten().collect();
        meta.extend(bytes(2, &number(1, 1)));
        bytes(1, &meta)
    }

    /// Keys and values, the header first.
    pub fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        [vec![(vec![], self.header())], self.stored.clone()].concat()
    }

    /// The file.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        vec![(FILE.to_owned(), table(&self.entries()))]
    }
}
