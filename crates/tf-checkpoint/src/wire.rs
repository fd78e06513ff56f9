//! The protocol buffer wire format, without copying: for the messages that hold whole tensors.

/// The value of one field. Fixed-width values are kept as the bytes in the file, which are little-endian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(&'a [u8]),
    Bytes(&'a [u8]),
    Fixed32(&'a [u8]),
}

/// The fields of a message in file order; stops after the first [`Malformed`].
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// Bytes that are not a message.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(&'static str);

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = varint(&mut self.0)?;
        let tag = u32::try_from(key >> 3).ok().filter(|&t| t != 0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => Value::Fixed64(take(&mut self.0, 8)?),
            2 => {
                let len = usize::try_from(varint(&mut self.0)?).ok()?;
                Value::Bytes(take(&mut self.0, len)?)
            }
            5 => Value::Fixed32(take(&mut self.0, 4)?),
            _ => return None,
        };
        Some((tag, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Malformed("a field that is cut off or of no known wire type"));
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// How many fields of bytes there are at the end of a path of tags, as far as the message can be read.
pub(crate) fn count(message: &[u8], path: &[u32]) -> usize {
    let Some((tag, rest)) = path.split_first() else { return 1 };
    let below = |field| match field {
        Ok((t, Value::Bytes(content))) if t == *tag => count(content, rest),
        _ => 0,
    };
    Fields::new(message).map(below).fold(0, usize::saturating_add)
}

/// The fields of a message in file order, each with all of its bytes; stops after the first [`Malformed`].
pub(crate) fn pieces(message: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>, &[u8]), Malformed>> {
    let mut rest = Fields::new(message);
    std::iter::from_fn(move || {
        let before = rest.0;
        let field = rest.next()?;
        let length = before.len().saturating_sub(rest.0.len());
        Some(field.map(|(tag, value)| (tag, value, before.get(..length).unwrap_or_default())))
    })
}

/// A copy of a message without the fields of this tag; `None` if it is malformed.
pub(crate) fn without(message: &[u8], tag: u32) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    for piece in pieces(message) {
        let (t, _, bytes) = piece.ok()?;
        if t != tag {
            kept.extend_from_slice(bytes);
        }
    }
    Some(kept)
}

/// Appends a field of bytes.
pub(crate) fn put_bytes(tag: u32, content: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(tag) << 3 | 2, out);
    put_varint(u64::try_from(content.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(content);
}

/// Takes a varint off the front of `input`; `None` if it is cut off or does not fit 64 bits.
pub(crate) fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return None;
        }
        value |= low.checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes `len` bytes off the front of `input`; `None` if there are fewer.
pub(crate) fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

/// Takes a little-endian 32-bit number off the front of `input`.
pub(crate) fn u32_le(input: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(input, 4)?.try_into().ok()?))
}

/// Appends a varint.
#[allow(clippy::cast_possible_truncation, reason = "seven bits are taken at a time")]
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        let read = |b: &[u8]| varint(&mut &b[..]);
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[0xac, 0x02]), Some(300));
        assert_eq!(read(&[0xff; 9]), None);
        let mut max = [0xff; 10];
        max[9] = 1;
        assert_eq!(read(&max), Some(u64::MAX));
        max[9] = 2;
        assert_eq!(read(&max), None);
        assert_eq!(read(&[0x80; 11]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn fields_of_every_wire_type() {
        let bytes = [0x08, 5, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'h', b'i', 0x25, 9, 8, 7, 6];
        let fields: Vec<_> = Fields::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(fields[0], (1, Value::Varint(5)));
        assert_eq!(fields[1], (2, Value::Fixed64(&[1, 2, 3, 4, 5, 6, 7, 8])));
        assert_eq!(fields[2], (3, Value::Bytes(b"hi")));
        assert_eq!(fields[3], (4, Value::Fixed32(&[9, 8, 7, 6])));
    }

    #[test]
    fn malformed_fields_end_the_message() {
        for bytes in
            [&[0x0a, 5, 1][..], &[0x00, 1], &[0x0b], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            let all: Vec<_> = Fields::new(bytes).collect();
            assert_eq!(all.len(), 1);
            assert!(all[0].is_err());
        }
    }
}
