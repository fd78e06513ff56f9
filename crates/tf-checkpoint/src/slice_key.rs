//! Keys of the slices of a tensor: TensorFlow's `OrderedCode`.
//!
//! `num(0) ‖ str(name) ‖ num(rank) ‖ { signed(start) signed(length) }*`, see `EncodeTensorNameSlice` in
//! `tensorflow/core/util/saved_tensor_slice_util.cc` and `tensorflow/core/lib/strings/ordered_code.cc`.

/// Where a slice starts along one dimension, and how long it is; `None` is all of the dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: i64,
    pub(crate) length: Option<i64>,
}

impl Extent {
    /// All of a dimension.
    #[cfg(test)]
    pub(crate) const FULL: Extent = Extent { start: 0, length: None };
}

/// The key under which the slice `extents` of the tensor `name` is stored.
pub(crate) fn encode(name: &str, extents: &[Extent]) -> Vec<u8> {
    let mut key = Vec::new();
    number(0, &mut key);
    string(name.as_bytes(), &mut key);
    number(u64::try_from(extents.len()).unwrap_or(u64::MAX), &mut key);
    for extent in extents {
        signed(extent.start, &mut key);
        signed(extent.length.unwrap_or(-1), &mut key);
    }
    key
}

/// One byte with the count of significant bytes, then those bytes, big-endian.
fn number(value: u64, out: &mut Vec<u8>) {
    let significant: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|&b| b == 0).collect();
    out.extend(u8::try_from(significant.len()));
    out.extend(significant);
}

/// The bytes with `00` as `00 ff` and `ff` as `ff 00`, ended by `00 01`.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        match byte {
            0x00 => out.push(0xff),
            0xff => out.push(0x00),
            _ => (),
        }
    }
    out.extend([0x00, 0x01]);
}

/// Two's complement, seven bits to the byte, with a header that says how many bytes and keeps the order.
fn signed(value: i64, out: &mut Vec<u8>) {
    /// What is combined with the first two of `n` bytes, for `n` from 1.
    const HEADERS: [[u8; 2]; 10] = [
        [0x80, 0],
        [0xc0, 0],
        [0xe0, 0],
        [0xf0, 0],
        [0xf8, 0],
        [0xfc, 0],
        [0xfe, 0],
        [0xff, 0],
        [0xff, 0x80],
        [0xff, 0xc0],
    ];
    let magnitude = if value < 0 { !value } else { value };
    let bits = 64u32.saturating_sub(magnitude.leading_zeros());
    let more = usize::try_from(bits / 7).unwrap_or(0);
    let header = HEADERS.get(more).copied().unwrap_or_default();
    // The 16 bytes are the sign, then the value; the encoding is the last `more + 1` of them.
    let extended = i128::from(value).to_be_bytes();
    let skip = 15usize.saturating_sub(more);
    for (i, &byte) in extended.iter().skip(skip).enumerate() {
        out.push(byte ^ header.get(i).copied().unwrap_or(0));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The inverse of [`encode`], for tests: `None` if `key` is not a slice key.
    pub(crate) fn decode(key: &[u8]) -> Option<(Vec<u8>, Vec<Extent>)> {
        let mut rest = key;
        if number_back(&mut rest)? != 0 {
            return None;
        }
        let name = string_back(&mut rest)?;
        let rank = number_back(&mut rest)?;
        let mut extents = Vec::new();
        for _ in 0..rank {
            let (start, length) = (signed_back(&mut rest)?, signed_back(&mut rest)?);
            extents.push(Extent { start, length: (length != -1).then_some(length) });
        }
        rest.is_empty().then_some((name, extents))
    }

    fn number_back(rest: &mut &[u8]) -> Option<u64> {
        let (&n, tail) = rest.split_first()?;
        let (bytes, tail) = tail.split_at_checked(usize::from(n))?;
        *rest = tail;
        Some(bytes.iter().fold(0, |v, &b| v << 8 | u64::from(b)))
    }

    fn string_back(rest: &mut &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let (&b, tail) = rest.split_first()?;
            *rest = tail;
            if b == 0 || b == 0xff {
                let (&c, tail) = rest.split_first()?;
                *rest = tail;
                if (b, c) == (0, 1) {
                    return Some(out);
                }
            }
            out.push(b);
        }
    }

    fn signed_back(rest: &mut &[u8]) -> Option<i64> {
        let first = *rest.first()?;
        let negative = first & 0x80 == 0;
        let flip = |b: u8| if negative { !b } else { b };
        let mut n = flip(first).leading_ones() as usize;
        if n == 8 {
            n += flip(*rest.get(1)?).leading_ones() as usize;
        }
        let (bytes, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        let mut value = 0i128;
        for &b in bytes {
            value = value << 8 | i128::from(flip(b));
        }
        // Clear the header: n ones, of which the last is followed by the sign bit.
        value &= (1i128 << (7 * n)) - 1;
        i64::try_from(if negative { !value } else { value }).ok()
    }

    #[test]
    fn vectors_of_signed_numbers() {
        let cases: [(i64, &[u8]); 20] = [
            (0, &[0x80]),
            (1, &[0x81]),
            (16, &[0x90]),
            (63, &[0xbf]),
            (64, &[0xc0, 0x40]),
            (127, &[0xc0, 0x7f]),
            (128, &[0xc0, 0x80]),
            (255, &[0xc0, 0xff]),
            (256, &[0xc1, 0x00]),
            (1000, &[0xc3, 0xe8]),
            (8191, &[0xdf, 0xff]),
            (8192, &[0xe0, 0x20, 0x00]),
            (13334, &[0xe0, 0x34, 0x16]),
            (0x42_4242, &[0xf0, 0x42, 0x42, 0x42]),
            (1_048_576, &[0xf0, 0x10, 0x00, 0x00]),
            (-1, &[0x7f]),
            (-64, &[0x40]),
            (-65, &[0x3f, 0xbf]),
            (-0x800, &[0x38, 0x00]),
            (i64::MIN, &[0x00, 0x3f, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (value, expected) in cases {
            let mut out = Vec::new();
            signed(value, &mut out);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn vectors_of_keys() {
        let rows = Extent { start: 6667, length: Some(6667) };
        let columns = Extent { start: 0, length: Some(70) };
        assert_eq!(
            encode("s/k", &[rows, columns]),
            [0x00, 0x73, 0x2f, 0x6b, 0x00, 0x01, 0x01, 0x02, 0xda, 0x0b, 0xda, 0x0b, 0x80, 0xc0, 0x46]
        );
        assert_eq!(encode("global_step", &[]), [&[0][..], b"global_step", &[0, 1, 0]].concat());
        assert_eq!(encode("b", &[Extent::FULL]), [0x00, 0x62, 0x00, 0x01, 0x01, 0x01, 0x80, 0x7f]);
    }

    proptest! {
        #[test]
        fn keys_survive_a_round_trip(name in ".*", extents in proptest::collection::vec((any::<i64>(), any::<i64>()), 0..5), shift in 0u32..63) {
            let extents: Vec<Extent> = extents.into_iter()
                .map(|(s, l)| Extent { start: s >> shift, length: Some(l >> (shift / 2)).filter(|&l| l != -1) })
                .collect();
            prop_assert_eq!(decode(&encode(&name, &extents)), Some((name.into_bytes(), extents)));
        }

        #[test]
        fn signed_numbers_keep_their_order(a in any::<i64>(), b in any::<i64>(), shift in 0u32..63) {
            let (a, b) = (a >> shift, b >> shift);
            let (mut x, mut y) = (Vec::new(), Vec::new());
            signed(a, &mut x);
            signed(b, &mut y);
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }
    }
}
