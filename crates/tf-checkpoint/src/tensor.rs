//! A tensor as it was saved.

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use crate::DType;

/// Most strings that a tensor may have: each takes a byte or two of file, and up to 24 of memory.
pub(crate) const MAX_STRINGS: usize = 4 << 20;

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

    /// A float32 tensor from elsewhere than a checkpoint, row-major; `None` unless there are as many values as `shape`
    /// says.
    #[must_use]
    pub fn float32(shape: Vec<usize>, values: &[f32]) -> Option<Tensor> {
        Tensor::fixed(DType::Float32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// The same of float64.
    #[must_use]
    pub fn float64(shape: Vec<usize>, values: &[f64]) -> Option<Tensor> {
        Tensor::fixed(DType::Float64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A tensor of strings that lie one after the other in `bytes`, each up to its place in `ends`; `None` unless there
    /// are as many as `shape` says, and they fill `bytes`.
    pub(crate) fn joined_strings(shape: Vec<usize>, bytes: Vec<u8>, ends: Vec<usize>) -> Option<Tensor> {
        let filled = ends.is_sorted() && ends.last().copied().unwrap_or(0) == bytes.len();
        (filled && ends.len() == element_count(&shape)?).then_some(Tensor { dtype: DType::String, shape, bytes, ends })
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

    /// The elements as `f32` where that loses nothing: `float32` as it is, `float16` and `bfloat16` widened. `None` for
    /// every other type: to narrow a `float64` takes a decision, see [`Tensor::to_f64`].
    ///
    /// Every number, infinity and signed zero is kept; of a NaN, that it is one, but not always its payload.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match self.dtype {
            DType::Float32 => Some(self.words(f32::from_le_bytes)),
            DType::Float16 => Some(self.words(|b| f16::from_le_bytes(b).to_f32())),
            DType::BFloat16 => Some(self.words(|b| bf16::from_le_bytes(b).to_f32())),
            _ => None,
        }
    }

    /// The elements as `f64` where that loses nothing: `float64` as it is; `float32`, `float16` and `bfloat16` widened;
    /// integers of up to 32 bits; and integers of 64 bits if each one of them is a number that `f64` has, as all are up
    /// to 2^53. `None` otherwise, and for `bool`, strings, complex, quantized and 8-bit floating-point types.
    ///
    /// Every number, infinity and signed zero is kept; of a NaN, that it is one, but not always its payload. What is lost
    /// is the type: the bytes of the result are no longer those that [`Tensor::sha256`] is of.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match self.dtype {
            DType::Float64 => Some(self.words(f64::from_le_bytes)),
            DType::Float32 => Some(self.words(|b| f32::from_le_bytes(b).into())),
            DType::Float16 => Some(self.words(|b| f16::from_le_bytes(b).to_f64())),
            DType::BFloat16 => Some(self.words(|b| bf16::from_le_bytes(b).to_f64())),
            DType::UInt64 => self.words(|b| exact(u64::from_le_bytes(b).into())).into_iter().collect(),
            DType::Bool => None,
            _ => self.to_i64()?.into_iter().map(|n| exact(n.into())).collect(),
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

/// An integer as `f64`, if that has it.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the way back says whether anything was lost"
)]
fn exact(n: i128) -> Option<f64> {
    let float = n as f64;
    (float as i128 == n).then_some(float)
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
        assert_eq!((int.to_f64(), int.to_i64(), int.to_f32()), (Some(vec![-7.0]), Some(vec![-7]), None));
    }

    #[test]
    fn every_half_is_the_same_number_in_every_width() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [DType::Float16, DType::BFloat16] {
            let tensor = Tensor::fixed(dtype, vec![1 << 16], all.clone()).unwrap();
            let (single, double) = (tensor.to_f32().unwrap(), tensor.to_f64().unwrap());
            for (bits, (&s, &d)) in (0..=u16::MAX).zip(single.iter().zip(&double)) {
                let back = match dtype {
                    DType::Float16 => (f16::from_f32(s).to_bits(), f16::from_f64(d).to_bits()),
                    _ => (bf16::from_f32(s).to_bits(), bf16::from_f64(d).to_bits()),
                };
                assert!(back == (bits, bits) || (s.is_nan() && d.is_nan()), "{dtype} {bits:04x}");
                assert!(f64::from(s).to_bits() == d.to_bits() || s.is_nan(), "{dtype} {bits:04x}");
            }
        }
    }

    #[test]
    fn integers_are_floats_where_they_are_exact() {
        let long = |n: i64| Tensor::fixed(DType::Int64, vec![], n.to_le_bytes().to_vec()).unwrap().to_f64();
        assert_eq!(long(1 << 53), Some(vec![9_007_199_254_740_992.0]));
        assert_eq!((long((1 << 53) + 1), long(i64::MAX)), (None, None));
        assert_eq!(long(i64::MIN), Some(vec![-9_223_372_036_854_775_808.0]));
        let unsigned = |n: u64| Tensor::fixed(DType::UInt64, vec![], n.to_le_bytes().to_vec()).unwrap().to_f64();
        assert_eq!((unsigned(1 << 63), unsigned(u64::MAX)), (Some(vec![9_223_372_036_854_775_808.0]), None));
        for dtype in [DType::Bool, DType::QInt8, DType::Float8E5M2] {
            assert_eq!(Tensor::fixed(dtype, vec![1], vec![1]).unwrap().to_f64(), None);
        }
        assert_eq!(Tensor::fixed(DType::UInt8, vec![1], vec![255]).unwrap().to_f64(), Some(vec![255.0]));
    }

    #[test]
    fn strings_keep_their_borders() {
        let tensor = Tensor::of_strings(vec![3], [&b"ab"[..], b"", b"c"]).unwrap();
        assert_eq!(tensor.strings().unwrap(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(tensor.bytes(), b"abc");
        assert_eq!(tensor.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
