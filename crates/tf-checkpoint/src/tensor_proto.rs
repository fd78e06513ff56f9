//! `TensorProto`: the tensors inside V1 files and graphs (`tensorflow/core/framework/tensor.proto`).

use prost::Message;

use crate::DType;
use crate::proto::TensorShape;
use crate::tensor::{MAX_STRINGS, Tensor, element_count};
use crate::wire::{Fields, Malformed, Value, varint};

/// What to do when a message holds fewer values than the shape has elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Refuse it: the V1 format has one value per element.
    Refuse,
    /// Repeat the last value, or zeros if there is none, as constants of a graph do, up to this many bytes in all.
    Repeat(usize),
}

/// Why a message is not the tensor it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("bytes that are not a TensorProto")]
    Wire(#[from] Malformed),
    #[error("a shape that is not one")]
    Shape,
    #[error("a value out of range for {0}, or of another type")]
    Value(DType),
    #[error("{found} bytes of values where {expected} belong")]
    Count { expected: usize, found: usize },
    #[error("one value repeated to {expected} bytes, over the {limit} that this reader unpacks")]
    Repeated { expected: usize, limit: usize },
    #[error("{0} strings where {1} belong")]
    Strings(usize, usize),
    #[error("type {0}, which has no plain values")]
    Unsupported(DType),
}

/// Decodes a `TensorProto` that says its own type and shape.
pub(crate) fn decode(message: &[u8], missing: Missing) -> Result<Tensor, Problem> {
    let (dtype, shape) = head(message)?;
    decode_as(message, dtype, shape, missing)
}

/// The type and the shape that a `TensorProto` says it has.
pub(crate) fn head(message: &[u8]) -> Result<(DType, Vec<usize>), Problem> {
    let (mut dtype, mut shape) = (DType::Other(0), Vec::new());
    for field in Fields::new(message) {
        match field? {
            (1, Value::Varint(n)) => dtype = DType::from_number(i32::try_from(n).map_err(|_| Problem::Shape)?),
            (2, Value::Bytes(b)) => {
                shape = dims(&TensorShape::decode(b).map_err(|_| Problem::Shape)?).ok_or(Problem::Shape)?
            }
            _ => (),
        }
    }
    Ok((dtype, shape))
}

/// The field of a `TensorProto` that holds all elements as they lie in memory; `None` if it has none, or no end.
pub(crate) fn content(message: &[u8]) -> Option<&[u8]> {
    let mut content = None;
    for field in Fields::new(message) {
        if let (4, Value::Bytes(b)) = field.ok()? {
            content = Some(b).filter(|b| !b.is_empty());
        }
    }
    content
}

/// Decodes the values of a `TensorProto` as a tensor of a type and shape that are known from elsewhere.
pub(crate) fn decode_as(message: &[u8], dtype: DType, shape: Vec<usize>, missing: Missing) -> Result<Tensor, Problem> {
    let elements = element_count(&shape).ok_or(Problem::Shape)?;
    if dtype == DType::String {
        return strings(message, shape, elements, missing);
    }
    let size = dtype.size().ok_or(Problem::Unsupported(dtype))?;
    let expected = elements.checked_mul(size).ok_or(Problem::Shape)?;
    let tag = value_tag(dtype).ok_or(Problem::Unsupported(dtype))?;
    let (mut bytes, mut content): (Vec<u8>, &[u8]) = (Vec::new(), &[]);
    for field in Fields::new(message) {
        match field? {
            (4, Value::Bytes(b)) => content = b,
            (t, value) if t == tag => push(dtype, value, &mut bytes)?,
            _ => (),
        }
    }
    if !content.is_empty() {
        // Content is all of the tensor, as in TensorFlow: it counts for more than values, and is never repeated.
        let found = content.len();
        return Tensor::fixed(dtype, shape, content.to_vec()).ok_or(Problem::Count { expected, found });
    }
    let found = bytes.len();
    if let Missing::Repeat(limit) = missing
        && found < expected
        && found.checked_rem(size) == Some(0)
    {
        if expected > limit {
            return Err(Problem::Repeated { expected, limit });
        }
        let last = found.checked_sub(size).and_then(|at| bytes.get(at..)).map_or_else(|| vec![0; size], <[u8]>::to_vec);
        bytes.extend(last.into_iter().cycle().take(expected.saturating_sub(found)));
    }
    Tensor::fixed(dtype, shape, bytes).ok_or(Problem::Count { expected, found })
}

fn strings(message: &[u8], shape: Vec<usize>, elements: usize, missing: Missing) -> Result<Tensor, Problem> {
    let mut found = Vec::new();
    for field in Fields::new(message) {
        if let (8, Value::Bytes(s)) = field? {
            found.push(s);
        }
        if found.len() > MAX_STRINGS {
            return Err(Problem::Strings(found.len(), elements.min(MAX_STRINGS)));
        }
    }
    let count = found.len();
    if let Missing::Repeat(limit) = missing
        && let last = found.last().copied().unwrap_or_default()
        && count < elements
        // A border for each, and the strings.
        && elements.checked_mul(last.len().saturating_add(24)).is_some_and(|n| n <= limit)
    {
        found.resize(elements, last);
    }
    Tensor::of_strings(shape, found).ok_or(Problem::Strings(count, elements))
}

/// The repeated field that holds values of this type.
fn value_tag(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::Float32 => 5,
        DType::Float64 => 6,
        DType::Int32 | DType::Int16 | DType::Int8 | DType::UInt8 | DType::UInt16 => 7,
        DType::QInt32 | DType::QInt16 | DType::QInt8 | DType::QUInt8 | DType::QUInt16 => 7,
        DType::Complex64 => 9,
        DType::Int64 => 10,
        DType::Bool => 11,
        DType::Complex128 => 12,
        DType::Float16 | DType::BFloat16 => 13,
        DType::UInt32 => 16,
        DType::UInt64 => 17,
        DType::Float8E5M2
        | DType::Float8E4M3FN
        | DType::Float8E4M3FNUZ
        | DType::Float8E4M3B11FNUZ
        | DType::Float8E5M2FNUZ => 18,
        _ => return None,
    })
}

/// Appends one value, or a packed run of them.
fn push(dtype: DType, value: Value<'_>, out: &mut Vec<u8>) -> Result<(), Problem> {
    let wrong = || Problem::Value(dtype);
    let fixed = match dtype {
        DType::Float32 | DType::Complex64 => Some(4),
        DType::Float64 | DType::Complex128 => Some(8),
        _ if value_tag(dtype) == Some(18) => Some(1),
        _ => None,
    };
    match (fixed, value) {
        (Some(width), Value::Bytes(packed)) if packed.len().checked_rem(width) == Some(0) => {
            out.extend_from_slice(packed)
        }
        (Some(4), Value::Fixed32(b)) | (Some(8), Value::Fixed64(b)) => out.extend_from_slice(b),
        (None, Value::Varint(n)) => push_integer(dtype, n, out).ok_or_else(wrong)?,
        (None, Value::Bytes(mut packed)) => {
            while !packed.is_empty() {
                let n = varint(&mut packed).ok_or_else(wrong)?;
                push_integer(dtype, n, out).ok_or_else(wrong)?;
            }
        }
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Appends an integer in the width of its type. The `int32` of a protocol buffer is the low half of the varint.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the wire format defines the truncation"
)]
fn push_integer(dtype: DType, n: u64, out: &mut Vec<u8>) -> Option<()> {
    let int = n as i32;
    match dtype {
        DType::Int32 | DType::QInt32 => out.extend(int.to_le_bytes()),
        DType::Int16 | DType::QInt16 => out.extend(i16::try_from(int).ok()?.to_le_bytes()),
        DType::Int8 | DType::QInt8 => out.extend(i8::try_from(int).ok()?.to_le_bytes()),
        DType::UInt16 | DType::QUInt16 | DType::Float16 | DType::BFloat16 => {
            out.extend(u16::try_from(int).ok()?.to_le_bytes())
        }
        DType::UInt8 | DType::QUInt8 => out.extend(u8::try_from(int).ok()?.to_le_bytes()),
        DType::Bool => out.push(u8::from(n != 0)),
        DType::UInt32 => out.extend(u32::try_from(n).ok()?.to_le_bytes()),
        DType::Int64 | DType::UInt64 => out.extend(n.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

/// The extents of a shape; `None` if one of them, or their number, is unknown or negative.
pub(crate) fn dims(shape: &TensorShape) -> Option<Vec<usize>> {
    if shape.unknown_rank {
        return None;
    }
    shape.dim.iter().map(|d| usize::try_from(d.size).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::put_varint;

    fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(tag << 3 | 2, &mut out);
        put_varint(bytes.len() as u64, &mut out);
        out.extend(bytes);
        out
    }

    fn integers(tag: u64, values: &[i64]) -> Vec<u8> {
        let mut packed = Vec::new();
        values.iter().for_each(|&v| put_varint(v as u64, &mut packed));
        field(tag, &packed)
    }

    const REFUSE: Missing = Missing::Refuse;

    #[test]
    fn packed_and_unpacked_floats() {
        let packed = field(5, &[1.0f32.to_le_bytes(), 2.0f32.to_le_bytes()].concat());
        let unpacked = [&[0x2d][..], &1.0f32.to_le_bytes(), &[0x2d], &2.0f32.to_le_bytes()].concat();
        for message in [packed, unpacked] {
            let tensor = decode_as(&message, DType::Float32, vec![2], REFUSE).unwrap();
            assert_eq!(tensor.to_f32().unwrap(), [1.0, 2.0]);
            assert!(matches!(
                decode_as(&message, DType::Float32, vec![3], REFUSE),
                Err(Problem::Count { expected: 12, found: 8 })
            ));
        }
    }

    #[test]
    fn integers_of_every_width() {
        let values = [-3, 5];
        let message = integers(7, &values);
        for dtype in [DType::Int32, DType::Int16, DType::Int8] {
            assert_eq!(decode_as(&message, dtype, vec![2], REFUSE).unwrap().to_i64().unwrap(), values);
        }
        assert!(matches!(decode_as(&message, DType::UInt8, vec![2], REFUSE), Err(Problem::Value(DType::UInt8))));
        assert_eq!(decode_as(&integers(10, &values), DType::Int64, vec![2], REFUSE).unwrap().to_i64().unwrap(), values);
        assert_eq!(decode_as(&integers(11, &[1, 0]), DType::Bool, vec![2], REFUSE).unwrap().bytes(), [1, 0]);
        assert_eq!(
            decode_as(&integers(13, &[0x3c00]), DType::Float16, vec![], REFUSE).unwrap().to_f32().unwrap(),
            [1.0]
        );
        assert!(decode_as(&integers(13, &[0x1_0000]), DType::Float16, vec![], REFUSE).is_err());
        assert_eq!(decode_as(&integers(16, &[0xffff_ffff]), DType::UInt32, vec![], REFUSE).unwrap().bytes(), [0xff; 4]);
    }

    #[test]
    fn constants_repeat_their_last_value_within_a_limit() {
        let shape = field(2, &[0x12, 2, 0x08, 3]);
        let message = [&[0x08, 1][..], &shape, &field(5, &2.5f32.to_le_bytes())].concat();
        assert_eq!(decode(&message, Missing::Repeat(100)).unwrap().to_f32().unwrap(), [2.5; 3]);
        assert!(decode(&message, Missing::Repeat(11)).is_err());
        assert!(decode(&message, REFUSE).is_err());
        let none = [&[0x08, 3][..], &shape].concat();
        assert_eq!(decode(&none, Missing::Repeat(100)).unwrap().to_i64().unwrap(), [0; 3]);
        let text = [&[0x08, 7][..], &shape, &field(8, b"ab")].concat();
        assert_eq!(decode(&text, Missing::Repeat(100)).unwrap().bytes(), b"ababab");
        assert!(decode(&text, Missing::Repeat(8)).is_err());
        let content = [&[0x08, 3][..], &field(4, &7i32.to_le_bytes())].concat();
        assert_eq!(decode(&content, REFUSE).unwrap().to_i64().unwrap(), [7]);
        let both = [&content[..], &integers(7, &[9])].concat();
        assert_eq!(decode(&both, REFUSE).unwrap().to_i64().unwrap(), [7]);
        let cut = [&[0x08, 3][..], &shape, &field(4, &7i32.to_le_bytes())].concat();
        assert!(matches!(decode(&cut, Missing::Repeat(100)), Err(Problem::Count { expected: 12, found: 4 })));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for shape in [field(2, &[0x18, 1]), field(2, &[&[0x12, 11, 0x08][..], &[0xff; 9], &[1]].concat())] {
            assert!(matches!(decode(&[&[0x08, 1][..], &shape].concat(), Missing::Repeat(100)), Err(Problem::Shape)));
        }
        assert!(matches!(decode(&[0x08, 20], REFUSE), Err(Problem::Unsupported(DType::Resource))));
        assert!(matches!(decode(&[0x0a], REFUSE), Err(Problem::Wire(_))));
    }
}
