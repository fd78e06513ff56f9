//! A tensor as it was saved.

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::DType;

/// A tensor in memory: type, shape, and its elements in row-major order, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    /// For string tensors, the elements one after the other.
    bytes: Vec<u8>,
    /// For string tensors, where in `bytes` each element ends.
    ends: Vec<usize>,
}

impl Tensor {
    /// A tensor of fixed-size elements; `None` unless `bytes` are exactly those of `shape`.
    pub(crate) fn fixed(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Option<Tensor> {
        let expected = element_count(&shape)?.checked_mul(dtype.size()?)?;
        (bytes.len() == expected).then_some(Tensor { dtype, shape, bytes, ends: Vec::new() })
    }

    /// A tensor of strings; `None` unless there are as many as `shape` says.
    pub(crate) fn of_strings<'a>(shape: Vec<usize>, elements: impl IntoIterator<Item = &'a [u8]>) -> Option<Tensor> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for element in elements {
            bytes.extend_from_slice(element);
            ends.push(bytes.len());
        }
        (ends.len() == element_count(&shape)?).then_some(Tensor { dtype: DType::String, shape, bytes, ends })
    }

    /// Type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extent of each dimension, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements: little-endian, row-major, without padding. Of a string tensor, the strings one after the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements as [`Tensor::bytes`] has them, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-256 of [`Tensor::bytes`], in lower-case hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }

    /// The elements as `f32` where that loses nothing: `float32` as it is, `float16` and `bfloat16` widened.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.dtype {
            DType::Float32 => Some(self.words(f32::from_le_bytes)),
            DType::Float16 => Some(self.words(|b| f16::from_le_bytes(b).to_f32())),
            DType::BFloat16 => Some(self.words(|b| bf16::from_le_bytes(b).to_f32())),
            _ => None,
        }
    }

    /// The elements as `f64` for every floating-point type of 16 bits or more, which loses nothing.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match self.dtype {
            DType::Float64 => Some(self.words(f64::from_le_bytes)),
            _ => Some(self.to_f32()?.into_iter().map(f64::from).collect()),
        }
    }

    /// The elements as `i64`, for the integer types that fit and `bool`.
    #[must_use]
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self.dtype {
            DType::Int64 => Some(self.words(i64::from_le_bytes)),
            DType::Int32 => Some(self.words(|b| i32::from_le_bytes(b).into())),
            DType::UInt32 => Some(self.words(|b| u32::from_le_bytes(b).into())),
            DType::Int16 => Some(self.words(|b| i16::from_le_bytes(b).into())),
            DType::UInt16 => Some(self.words(|b| u16::from_le_bytes(b).into())),
            DType::Int8 => Some(self.words(|b| i8::from_le_bytes(b).into())),
            DType::UInt8 | DType::Bool => Some(self.words(|b| u8::from_le_bytes(b).into())),
            _ => None,
        }
    }

    /// The elements of a string tensor.
    #[must_use]
    pub fn strings(&self) -> Option<Vec<Vec<u8>>> {
        (self.dtype == DType::String).then(|| self.elements().map(<[u8]>::to_vec).collect())
    }

    /// The elements of a string tensor; nothing for another.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }

    fn words<const N: usize, T>(&self, f: impl Fn([u8; N]) -> T) -> Vec<T> {
        self.bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
    }
}

/// A digest in lower-case hexadecimal.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// How many elements a tensor of this shape has; `None` if that does not fit.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_must_agree() {
        assert!(Tensor::fixed(DType::Float32, vec![2, 3], vec![0; 24]).is_some());
        assert!(Tensor::fixed(DType::Float32, vec![2, 3], vec![0; 23]).is_none());
        assert!(Tensor::fixed(DType::Float32, vec![], vec![0; 4]).is_some());
        assert!(Tensor::fixed(DType::Float32, vec![usize::MAX, 2], vec![]).is_none());
        assert!(Tensor::fixed(DType::Float32, vec![usize::MAX, 2, 0], vec![]).is_some());
        assert!(Tensor::of_strings(vec![2], [&b"a"[..]]).is_none());
    }

    #[test]
    fn floats_are_widened_exactly() {
        let half = Tensor::fixed(
            DType::Float16,
            vec![2],
            [f16::from_f32(0.1).to_le_bytes(), f16::MIN_POSITIVE.to_le_bytes()].concat(),
        )
        .unwrap();
        assert_eq!(half.to_f32().unwrap(), [0.099_975_586, 6.103_515_6e-5]);
        assert_eq!(half.to_f64().unwrap()[0], 0.099_975_585_937_5);
        let double = Tensor::fixed(DType::Float64, vec![], 0.1f64.to_le_bytes().to_vec()).unwrap();
        assert_eq!((double.to_f32(), double.to_f64()), (None, Some(vec![0.1])));
        let int = Tensor::fixed(DType::Int32, vec![1], (-7i32).to_le_bytes().to_vec()).unwrap();
        assert_eq!((int.to_f64(), int.to_i64()), (None, Some(vec![-7])));
    }

    #[test]
    fn strings_keep_their_borders() {
        let tensor = Tensor::of_strings(vec![3], [&b"ab"[..], b"", b"c"]).unwrap();
        assert_eq!(tensor.strings().unwrap(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(tensor.bytes(), b"abc");
        assert_eq!(tensor.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
