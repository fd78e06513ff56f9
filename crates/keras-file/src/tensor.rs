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
        data.reserve_exact(self.bytes.len().checked_div(width(*dtype)).unwrap_or(0));
        let mut lossy = false;
        self.row_major(width(*dtype), |piece| lossy |= floats(*dtype, self.big_endian, piece, &mut data));
        Ok(Array { shape: self.shape.clone(), data, stored_as: *dtype, lossy })
    }

    /// The elements as numbers, without loss.
    pub(crate) fn values(&self) -> Result<Vec<f64>, Problem> {
        let width = self.element.width().unwrap_or(1);
        let mut values = Vec::new();
        values.reserve_exact(self.bytes.len().checked_div(width).unwrap_or(0));
        let mut appended = Ok(());
        self.row_major(width, |piece| {
            if appended.is_ok() {
                appended = self.append(piece, &mut values);
            }
        });
        appended.map(|()| values)
    }

    /// Appends the elements of `bytes` as numbers.
    fn append(&self, bytes: &[u8], values: &mut Vec<f64>) -> Result<(), Problem> {
        let big = self.big_endian;
        match &self.element {
            Element::Float(Dtype::Float16) => {
                values.extend(elements(bytes, big).map(|e| f64::from(f16::from_le_bytes(e))));
            }
            Element::Float(Dtype::BFloat16) => {
                values.extend(elements(bytes, big).map(|e| f64::from(bf16::from_le_bytes(e))));
            }
            Element::Float(Dtype::Float32) => {
                values.extend(elements(bytes, big).map(|e| f64::from(f32::from_le_bytes(e))));
            }
            Element::Float(Dtype::Float64) => values.extend(elements(bytes, big).map(f64::from_le_bytes)),
            Element::Signed(1) => values.extend(elements(bytes, big).map(|e| f64::from(i8::from_le_bytes(e)))),
            Element::Signed(2) => values.extend(elements(bytes, big).map(|e| f64::from(i16::from_le_bytes(e)))),
            Element::Signed(4) => values.extend(elements(bytes, big).map(|e| f64::from(i32::from_le_bytes(e)))),
            Element::Signed(8) => {
                for e in elements(bytes, big) {
                    values.push(exact(i64::from_le_bytes(e).into()).map_err(|n| self.refuse(INTEGERS, n))?);
                }
            }
            Element::Unsigned(1) => values.extend(bytes.iter().map(|n| f64::from(*n))),
            Element::Unsigned(2) => values.extend(elements(bytes, big).map(|e| f64::from(u16::from_le_bytes(e)))),
            Element::Unsigned(4) => values.extend(elements(bytes, big).map(|e| f64::from(u32::from_le_bytes(e)))),
            Element::Unsigned(8) => {
                for e in elements(bytes, big) {
                    values.push(exact(u64::from_le_bytes(e).into()).map_err(|n| self.refuse(INTEGERS, n))?);
                }
            }
            Element::Bool => values.extend(bytes.iter().map(|b| f64::from(u8::from(*b != 0)))),
            Element::Signed(_) | Element::Unsigned(_) | Element::Other(_) => {
                return Err(self.refuse("float, integer or bool elements", self.element.name()));
            }
        }
        Ok(())
    }

    fn refuse(&self, expected: &str, found: String) -> Problem {
        Problem::Array { array: self.name.clone(), expected: expected.to_owned(), found }
    }

    /// Shows the bytes with the last axis fastest to `each`, in pieces of whole elements.
    fn row_major(&self, width: usize, mut each: impl FnMut(&[u8])) {
        if !self.fortran || self.shape.len() < 2 {
            return each(&self.bytes);
        }
        // Of each axis: extent, distance in the file, and where this element is.
        let mut axes = Vec::with_capacity(self.shape.len());
        let mut stride = width;
        for extent in &self.shape {
            axes.push((*extent, stride, 0usize));
            stride = stride.saturating_mul(*extent);
        }
        // A copy of the whole array would be one too many.
        let mut piece = Vec::with_capacity(PIECE);
        let (mut left, mut at) = (self.bytes.len(), 0usize);
        while left > 0 {
            let Some(element) = self.bytes.get(at..).and_then(|rest| rest.get(..width)) else { break };
            piece.extend_from_slice(element);
            left = left.saturating_sub(width);
            if piece.len().saturating_add(width) > PIECE {
                each(&piece);
                piece.clear();
            }
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
        each(&piece);
    }
}

/// Bytes of an array in another order that are handed on at a time.
const PIECE: usize = 64 << 10;

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
