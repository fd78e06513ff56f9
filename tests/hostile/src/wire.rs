//! Protocol buffer messages, field by field, so that they can be wrong.

/// A varint.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = vec![];
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A number: of a signed field, the two's complement.
pub fn number(tag: u64, value: i64) -> Vec<u8> {
    [varint(tag << 3), varint(value as u64)].concat()
}

/// A string, a message, or any bytes.
pub fn bytes(tag: u64, content: &[u8]) -> Vec<u8> {
    [&varint(tag << 3 | 2), &varint(content.len() as u64), content].concat()
}

/// Four bytes.
pub fn fixed32(tag: u64, value: u32) -> Vec<u8> {
    [varint(tag << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

/// A `TensorShapeProto`.
pub fn shape(dims: &[i64]) -> Vec<u8> {
    dims.iter().flat_map(|&d| bytes(2, &number(1, d))).collect()
}

/// A `TensorShapeProto` of unknown rank.
pub fn unknown_rank() -> Vec<u8> {
    number(3, 1)
}

/// A `TensorSliceProto`: start and length along each axis; without a length, all of it.
pub fn slice(extents: &[(i64, Option<i64>)]) -> Vec<u8> {
    let extent = |&(start, length): &(i64, Option<i64>)| {
        let mut message = number(1, start);
        message.extend(length.map(|n| number(2, n)).unwrap_or_default());
        bytes(1, &message)
    };
    extents.iter().flat_map(extent).collect()
}

/// The varint at `at` and where it ends; `None` if it does.
pub(crate) fn read_varint(bytes: &[u8], mut at: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

/// The fields of a message: tag, wire type, number or length, and where its content is; as far as it can be read.
pub(crate) fn fields(message: &[u8]) -> Vec<(u64, u64, u64, std::ops::Range<usize>)> {
    let mut found = vec![];
    let mut at = 0;
    while let Some((key, next)) = read_varint(message, at) {
        let (value, content) = match key & 7 {
            0 => match read_varint(message, next) {
                Some((value, end)) => (value, next..end),
                None => break,
            },
            1 => (8, next..next + 8),
            2 => match read_varint(message, next) {
                Some((n, start)) if n <= message.len() as u64 => (n, start..start + n as usize),
                _ => break,
            },
            5 => (4, next..next + 4),
            _ => break,
        };
        if content.end > message.len() {
            break;
        }
        at = content.end;
        found.push((key >> 3, key & 7, value, content));
    }
    found
}

/// `OrderedCode` key of a slice: of V1 tensors, and of the slices of V2 ones. Numbers of up to 13 bits are enough.
pub fn slice_key(name: &str, extents: &[(i64, Option<i64>)]) -> Vec<u8> {
    let small = |n: u64| if n == 0 { vec![0] } else { vec![1, n as u8] };
    let signed = |n: i64| match n {
        -64..64 => vec![(n as u8) ^ 0x80],
        _ => vec![(n >> 8) as u8 ^ 0xc0, n as u8],
    };
    let mut key = vec![0];
    for byte in name.bytes() {
        key.push(byte);
        match byte {
            0 => key.push(0xff),
            0xff => key.push(0),
            _ => {}
        }
    }
    key.extend([0, 1]);
    key.extend(small(extents.len() as u64));
    for (start, length) in extents {
        key.extend(signed(*start));
        key.extend(signed(length.unwrap_or(-1)));
    }
    key
}
