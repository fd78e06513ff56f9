//! Entries of a V2 index that lie: dimensions, sizes, places, types.

use super::Outcome::{Read, Refused};
use super::{Case, Outcome};
use crate::bundle::{BIAS, Bundle, Entry, INDEX, KERNEL, header, strings};
use crate::wire::{shape, unknown_rank};

/// The right bundle with another entry for its kernel.
fn kernel(name: &'static str, outcome: Outcome, change: impl FnOnce(&mut Entry)) -> Case {
    let mut bundle = Bundle::lstm();
    change(bundle.entry(KERNEL));
    Case::new(name, bundle.files(), INDEX, outcome)
}

/// The right bundle, changed.
fn whole(name: &'static str, outcome: Outcome, change: impl FnOnce(&mut Bundle)) -> Case {
    let mut bundle = Bundle::lstm();
    change(&mut bundle);
    Case::new(name, bundle.files(), INDEX, outcome)
}

pub(super) fn cases() -> Vec<Case> {
    let shapes = "a shape without unknown or negative dimensions";
    let memory = "a shape that fits memory";
    let times = "a size that is its shape times its type";
    vec![
        kernel("a negative dimension", Refused(shapes), |e| e.shape = shape(&[-3, 8])),
        kernel("two negative dimensions whose product is right", Refused(shapes), |e| e.shape = shape(&[-3, -8])),
        kernel("dimensions that overflow 64 bits", Refused(memory), |e| e.shape = shape(&[1 << 33, 1 << 33])),
        kernel("dimensions whose product wraps round to what is right", Refused(memory), |e| {
            e.shape = shape(&[3, 8, 1 << 32, 1 << 32]);
        }),
        kernel("dimensions that overflow in bytes only", Refused(times), |e| e.shape = shape(&[1 << 62])),
        kernel("an unknown rank", Refused(shapes), |e| e.shape = unknown_rank()),
        kernel("255 dimensions", Refused("at most 254 dimensions"), |e| e.shape = shape(&[1; 255])),
        kernel("a size that is not shape times type", Refused(times), |e| e.size = 92),
        kernel("a type that makes the size wrong", Refused(times), |e| e.dtype = 2),
        kernel("a shape that makes the size wrong", Refused(times), |e| e.shape = shape(&[3, 9])),
        kernel("an offset past the end of the data", Refused("bytes"), |e| e.offset = 1 << 20),
        kernel("an offset at the end of 64 bits", Refused("bytes"), |e| e.offset = i64::MAX),
        kernel("a negative offset", Refused("an offset and a size of at least 0"), |e| e.offset = -32),
        kernel("a negative size", Refused("an offset and a size of at least 0"), |e| e.size = -96),
        kernel("bytes that another variable has too", Refused("bytes of its own"), |e| {
            (e.offset, e.size, e.shape) = (0, 128, shape(&[4, 8]));
            e.crc = crc32c::crc32c(&Bundle::lstm().data);
        }),
        kernel("a data file number that there is not", Refused("a data file number"), |e| e.shard = 1),
        kernel("a negative data file number", Refused("a data file number"), |e| e.shard = -1),
        kernel("a type that there is not", Refused("which this reader does not decode"), |e| e.dtype = 77),
        kernel("a handle, which has no bytes", Refused("resource"), |e| e.dtype = 20),
        kernel("a checksum of other bytes", Refused("expected CRC-32C"), |e| e.crc ^= 1),
        whole("no data files", Refused("between 1 and 99999 data files"), |b| b.header = header(0)),
        whole("a negative number of data files", Refused("between 1 and 99999 data files"), |b| b.header = header(-1)),
        whole("two thousand million data files", Refused("between 1 and 99999 data files"), |b| {
            b.header = header(i64::from(i32::MAX));
        }),
        whole("a data file that is not there", Refused("model.ckpt.data-00001-of-00002"), |b| {
            b.header = header(2);
            b.entry(BIAS).shard = 1;
        }),
        whole("data after the last variable", Refused("expected a file of 128 bytes"), |b| b.data.push(0)),
        Case::new("a string tensor of 2^60 elements in a small index", huge_strings().files(), INDEX, {
            Refused("strings whose lengths fill the entry")
        }),
        string_lengths(),
        many_variables_of_nothing(),
    ]
}

/// One entry says that it has 2^60 strings, and its five bytes are all there.
fn huge_strings() -> Bundle {
    let mut bundle = Bundle::empty();
    bundle.add_key(b"s", 7, &[1 << 60], &[0; 5], 0);
    bundle
}

/// Strings whose lengths, with right checksums, go far past the end.
fn string_lengths() -> Case {
    let mut bundle = Bundle::empty();
    let (text, _) = strings(&[b""]);
    let mut data = crate::wire::varint(u64::MAX >> 1);
    let mut crc = crc32c::crc32c(&(u64::MAX >> 1).to_le_bytes());
    let word = crate::table::masked(crc).to_le_bytes();
    data.extend(word);
    crc = crc32c::crc32c_append(crc, &word);
    bundle.add_key(b"a", 7, &[1], &data, crc);
    assert!(text.len() < data.len());
    Case::new("a string of 2^63 bytes", bundle.files(), INDEX, Refused("strings whose lengths fill the entry"))
}

/// Entries are small on disk and larger in memory.
fn many_variables_of_nothing() -> Case {
    let mut bundle = Bundle::lstm();
    for n in 0..50_000 {
        bundle.add(&format!("z{n:06}"), 1, &[0], &[]);
    }
    Case::new("50,000 variables without elements", bundle.files(), INDEX, Read)
}
