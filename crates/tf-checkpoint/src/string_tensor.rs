//! String tensors in the data files of a V2 bundle: lengths, a checksum of the lengths, then the strings.
//!
//! The checksums are over another form of the bytes than the file has: see `ReadStringTensor` in
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

use crate::Tensor;
use crate::table::{mask, unmask};
use crate::tensor::MAX_STRINGS;
use crate::wire::{put_varint, take, varint};

/// Why bytes are not a string tensor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A checksum does not match; unmasked.
    Checksum { stored: u32, computed: u32 },
    /// The lengths do not fit the bytes.
    Lengths,
    /// There are more than [`MAX_STRINGS`].
    Elements,
}

/// Decodes `bytes` as the strings of a tensor of `elements` elements, and checks both checksums. `stored` is the
/// entry's, unmasked.
pub(crate) fn decode(
    bytes: &[u8],
    shape: &[usize],
    elements: usize,
    stored: u32,
    big_endian: bool,
) -> Result<Tensor, Problem> {
    let mut rest = bytes;
    // Each length takes a byte or more.
    if elements > bytes.len() {
        return Err(Problem::Lengths);
    }
    if elements > MAX_STRINGS {
        return Err(Problem::Elements);
    }
    let mut ends = Vec::with_capacity(elements);
    let mut crc = 0;
    let mut end = 0usize;
    for _ in 0..elements {
        let length = varint(&mut rest).ok_or(Problem::Lengths)?;
        crc = crc_of_length(crc, length, big_endian);
        end = usize::try_from(length).ok().and_then(|n| end.checked_add(n)).ok_or(Problem::Lengths)?;
        ends.push(end);
    }
    let word: [u8; 4] = take(&mut rest, 4).and_then(|w| w.try_into().ok()).ok_or(Problem::Lengths)?;
    let lengths_stored = unmask(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) });
    if lengths_stored != crc {
        return Err(Problem::Checksum { stored: lengths_stored, computed: crc });
    }
    crc = crc32c::crc32c_append(crc, &word);
    crc = crc32c::crc32c_append(crc, rest);
    if crc != stored {
        return Err(Problem::Checksum { stored, computed: crc });
    }
    if rest.len() != end {
        return Err(Problem::Lengths);
    }
    Tensor::joined_strings(shape.to_vec(), rest.to_vec(), ends).ok_or(Problem::Lengths)
}

/// The bytes of a string tensor in a data file, and the entry's checksum, unmasked.
pub(crate) fn encode(strings: &[&[u8]], big_endian: bool) -> (Vec<u8>, u32) {
    let (mut bytes, mut crc) = (Vec::new(), 0);
    for s in strings {
        let length = u64::try_from(s.len()).unwrap_or(u64::MAX);
        put_varint(length, &mut bytes);
        crc = crc_of_length(crc, length, big_endian);
    }
    let word = if big_endian { mask(crc).to_be_bytes() } else { mask(crc).to_le_bytes() };
    bytes.extend(word);
    crc = crc32c::crc32c_append(crc, &word);
    for s in strings {
        bytes.extend(*s);
        crc = crc32c::crc32c_append(crc, s);
    }
    (bytes, crc)
}

/// Extends a checksum by a length: as 32 bits if it fits them, which is not how the file has it.
fn crc_of_length(crc: u32, length: u64, big_endian: bool) -> u32 {
    match (u32::try_from(length), big_endian) {
        (Ok(short), false) => crc32c::crc32c_append(crc, &short.to_le_bytes()),
        (Ok(short), true) => crc32c::crc32c_append(crc, &short.to_be_bytes()),
        (Err(_), false) => crc32c::crc32c_append(crc, &length.to_le_bytes()),
        (Err(_), true) => crc32c::crc32c_append(crc, &length.to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back() {
        for big_endian in [false, true] {
            let strings = [&b"one"[..], b"", &[7; 300]];
            let (bytes, crc) = encode(&strings, big_endian);
            assert_eq!(decode(&bytes, &[3], 3, crc, big_endian).unwrap().strings().unwrap(), strings);
            for n in 0..bytes.len() {
                assert!(decode(&bytes[..n], &[3], 3, crc, big_endian).is_err());
                let mut flipped = bytes.clone();
                flipped[n] ^= 0x10;
                assert!(decode(&flipped, &[3], 3, crc, big_endian).is_err());
            }
            assert_eq!(decode(&bytes, &[usize::MAX], usize::MAX, crc, big_endian), Err(Problem::Lengths));
        }
    }
}
