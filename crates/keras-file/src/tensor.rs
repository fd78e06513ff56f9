//! Arrays as `.npy` and `.safetensors` hold them: bytes, with what is needed to understand them.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::error::Problem;
use crate::layer::{Array, Dtype};

/// Axes that an array may have; numpy allows no more.
pub(crate) const MAX_AXES: usize = 64;

/// Type of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// Any type of weights.
    Float(Dtype),
    /// Two's complement, of this many bytes.
    Signed(usize),
    /// Of this many bytes.
    Unsigned(usize),
    /// One byte, zero or not.
    Bool,
    /// Anything else, under the name that the file has for it.
    Other(String),
}

impl Element {
    /// Bytes of one element, if this crate can read it.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Element::Float(dtype) => Some(width(*dtype)),
            Element::Signed(width) | Element::Unsigned(width) => Some(*width),
            Element::Bool => Some(1),
            Element::Other(_) => None,
        }
    }

    /// numpy's name: `float32`, `int64`, `uint8`, `bool`; else the file's.
    pub(crate) fn name(&self) -> String {
        let bits = |width: usize| width.saturating_mul(8);
        match self {
            Element::Float(dtype) => dtype.as_str().to_owned(),
            Element::Signed(width) => format!("int{}", bits(*width)),
            Element::Unsigned(width) => format!("uint{}", bits(*width)),
            Element::Bool => "bool".to_owned(),
            Element::Other(name) => name.clone(),
        }
    }
}

/// One named array, not yet converted. `bytes` are as many as shape and element need, where the element is known.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) element: Element,
    pub(crate) big_endian: bool,
    /// Whether the first axis is the fastest in `bytes`.
    pub(crate) fortran: bool,
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// The elements as weights.
    pub(crate) fn array(&self) -> Result<Array, Problem> {
        let Element::Float(dtype) = &self.element else {
            return Err(self.refuse("float16, bfloat16, float32 or float64 elements", self.element.name()));
        };
        let mut data = Vec::new();
        let lossy = floats(*dtype, self.big_endian, &self.row_major(width(*dtype)), &mut data);
        Ok(Array { shape: self.shape.clone(), data, stored_as: *dtype, lossy })
    }

    /// The elements as numbers, without loss.
    pub(crate) fn values(&self) -> Result<Vec<f64>, Problem> {
        let bytes = self.row_major(self.element.width().unwrap_or(1));
        let big = self.big_endian;
        let values = match &self.element {
            Element::Float(Dtype::Float16) => elements(&bytes, big).map(|e| f64::from(f16::from_le_bytes(e))).collect(),
            Element::Float(Dtype::BFloat16) => {
                elements(&bytes, big).map(|e| f64::from(bf16::from_le_bytes(e))).collect()
            }
            Element::Float(Dtype::Float32) => elements(&bytes, big).map(|e| f64::from(f32::from_le_bytes(e))).collect(),
            Element::Float(Dtype::Float64) => elements(&bytes, big).map(f64::from_le_bytes).collect(),
            Element::Signed(1) => elements(&bytes, big).map(|e| f64::from(i8::from_le_bytes(e))).collect(),
            Element::Signed(2) => elements(&bytes, big).map(|e| f64::from(i16::from_le_bytes(e))).collect(),
            Element::Signed(4) => elements(&bytes, big).map(|e| f64::from(i32::from_le_bytes(e))).collect(),
            Element::Signed(8) => {
                let values: Result<_, _> = elements(&bytes, big).map(|e| exact(i64::from_le_bytes(e).into())).collect();
                values.map_err(|n| self.refuse(INTEGERS, n))?
            }
            Element::Unsigned(1) => bytes.iter().map(|n| f64::from(*n)).collect(),
            Element::Unsigned(2) => elements(&bytes, big).map(|e| f64::from(u16::from_le_bytes(e))).collect(),
            Element::Unsigned(4) => elements(&bytes, big).map(|e| f64::from(u32::from_le_bytes(e))).collect(),
            Element::Unsigned(8) => {
                let values: Result<_, _> = elements(&bytes, big).map(|e| exact(u64::from_le_bytes(e).into())).collect();
                values.map_err(|n| self.refuse(INTEGERS, n))?
            }
            Element::Bool => bytes.iter().map(|b| f64::from(u8::from(*b != 0))).collect(),
            Element::Signed(_) | Element::Unsigned(_) | Element::Other(_) => {
                return Err(self.refuse("float, integer or bool elements", self.element.name()));
            }
        };
        Ok(values)
    }

    fn refuse(&self, expected: &str, found: String) -> Problem {
        Problem::Array { array: self.name.clone(), expected: expected.to_owned(), found }
    }

    /// The bytes with the last axis fastest.
    fn row_major(&self, width: usize) -> Cow<'_, [u8]> {
        if !self.fortran || self.shape.len() < 2 {
            return Cow::Borrowed(&self.bytes);
        }
        // Of each axis: extent, distance in the file, and where this element is.
        let mut axes = Vec::with_capacity(self.shape.len());
        let mut stride = width;
        for extent in &self.shape {
            axes.push((*extent, stride, 0usize));
            stride = stride.saturating_mul(*extent);
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut at = 0usize;
        while out.len() < self.bytes.len() {
            let Some(element) = self.bytes.get(at..).and_then(|rest| rest.get(..width)) else { break };
            out.extend_from_slice(element);
            for (extent, stride, index) in axes.iter_mut().rev() {
                *index = index.saturating_add(1);
                at = at.saturating_add(*stride);
                if *index < *extent {
                    break;
                }
                at = at.saturating_sub(stride.saturating_mul(*extent));
                *index = 0;
            }
        }
        Cow::Owned(out)
    }
}

const EXACT: u64 = 1 << 53;
const INTEGERS: &str = "integers of at most 2^53, which float64 holds exactly,";

/// Bytes that an array of these elements needs. None where that is more than memory can address, whatever the other
/// extents: an extent of zero does not excuse another that cannot be.
pub(crate) fn bytes_of(shape: &[usize], width: usize) -> Option<usize> {
    let largest = shape.iter().try_fold(width, |n, d| n.checked_mul(*d.max(&1)));
    let largest = largest.filter(|n| isize::try_from(*n).is_ok())?;
    Some(if shape.contains(&0) { 0 } else { largest })
}

/// Bytes of one element.
pub(crate) fn width(dtype: Dtype) -> usize {
    match dtype {
        Dtype::Float16 | Dtype::BFloat16 => 2,
        Dtype::Float32 => 4,
        Dtype::Float64 => 8,
    }
}

/// Splits into elements of N bytes, made little-endian.
fn elements<const N: usize>(raw: &[u8], big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    let (whole, _) = raw.as_chunks::<N>();
    whole.iter().map(move |e| {
        let mut e = *e;
        if big_endian {
            e.reverse();
        }
        e
    })
}

/// An integer as `f64`, unless that may not hold it: then as text.
#[allow(clippy::cast_precision_loss, reason = "up to 2^53 there is none")]
fn exact(n: i128) -> Result<f64, String> {
    if n.unsigned_abs() <= u128::from(EXACT) { Ok(n as f64) } else { Err(n.to_string()) }
}

/// Appends the elements of `raw` as f32; says whether any was rounded.
pub(crate) fn floats(dtype: Dtype, big_endian: bool, raw: &[u8], data: &mut Vec<f32>) -> bool {
    let mut lossy = false;
    match dtype {
        Dtype::Float32 => data.extend(elements(raw, big_endian).map(f32::from_le_bytes)),
        Dtype::Float16 => data.extend(elements(raw, big_endian).map(|e| f16::from_le_bytes(e).to_f32())),
        Dtype::BFloat16 => data.extend(elements(raw, big_endian).map(|e| bf16::from_le_bytes(e).to_f32())),
        Dtype::Float64 => {
            data.extend(elements(raw, big_endian).map(|e| {
                let wide = f64::from_le_bytes(e);
                #[allow(clippy::cast_possible_truncation, reason = "what is lost is said")]
                let narrow = wide as f32;
                lossy |= f64::from(narrow) != wide && !wide.is_nan();
                narrow
            }));
        }
    }
    lossy
}
