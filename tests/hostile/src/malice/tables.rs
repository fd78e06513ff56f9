//! Tables whose blocks, keys or handles lie.

use super::Case;
use super::Outcome::Refused;
use crate::bundle::{Bundle, DATA, INDEX};
use crate::saved_slices::{FILE, SavedSlices};
use crate::table::{Table, block, handle};
use crate::wire::varint;

/// This index beside the right data.
fn index(name: &'static str, says: &'static str, index: Vec<u8>) -> Case {
    let files = vec![(INDEX.to_owned(), index), (DATA.to_owned(), Bundle::lstm().data)];
    Case::new(name, files, INDEX, Refused(says))
}

fn entries() -> Vec<(Vec<u8>, Vec<u8>)> {
    Bundle::lstm().encoded()
}

pub(super) fn cases() -> Vec<Case> {
    let increase = "keys that increase";
    let mut swapped = entries();
    swapped.swap(1, 2);
    let mut twice = entries();
    twice.insert(2, twice[1].clone());
    let mut all = vec![
        index("keys out of order", increase, crate::table::table(&swapped)),
        index("a key that is there twice", increase, crate::table::table(&twice)),
        index("no entries", "an entry with an empty key", crate::table::table(&[])),
        index("no header", "an empty first key", crate::table::table(&entries()[1..])),
        index("an index that is its own data block", "an empty first key", own_index()),
        index("an index with a million handles of one block", "blocks one after the other", many_handles()),
        index("a block outside the file", "a block inside the file", with_handle((1 << 40, 100))),
        index("a block of 2^64 bytes", "a block inside the file", with_handle((0, u64::MAX))),
        index("a block at 2^64", "a block inside the file", with_handle((u64::MAX, 1))),
        index("a footer whose index is the footer", "a block inside the file", footer_as_index()),
        index("a block with 2^32 restart points", "a block with its restart array", restarts()),
        index("an entry longer than its block", "an entry inside its block", cut_entry()),
        index("a first key that shares a prefix", "an entry inside its block", shared_from_nothing()),
        index("keys that unpack to far more than the file", "keys that increase", key_bomb()),
        index("Snappy that claims two gigabytes", "said to unpack to", snappy(&varint(2 << 30))),
        index("Snappy that claims less than it holds", "a Snappy block", snappy(&[4, 0xfc, 0, 0, 0, 0, 0])),
        index("Snappy that copies from before its beginning", "a Snappy block", snappy(&[8, 0x1d, 0xff])),
        index("Snappy zeros that unpack to 90 megabytes", "at most", snappy_zeros()),
        index("a compression that there is not", "compression type 0 or 1", unknown_compression()),
    ];
    let mut v1 = SavedSlices::lstm();
    v1.stored.swap(0, 1);
    all.push(Case::new("V1: keys out of order", v1.files(), FILE, Refused("listed but not stored")));
    all
}

/// The index block lists itself as the one data block.
fn own_index() -> Vec<u8> {
    let mut table = Table::default();
    // The handle's own length is known: offset 0, and a size below 128.
    let content = |size: u64| block(&[(b"zzz".to_vec(), handle((0, size)))]);
    let own = table.put(&content(content(0).len() as u64), 0);
    table.finish(own)
}

fn many_handles() -> Vec<u8> {
    let mut table = Table::default();
    let data = table.put(&block(&entries()), 0);
    let handles: Vec<_> = (0..1_000_000u32).map(|n| (format!("s{n:07}").into_bytes(), handle(data))).collect();
    let index = table.put(&block(&handles), 0);
    table.finish(index)
}

fn with_handle(wrong: (u64, u64)) -> Vec<u8> {
    let mut table = Table::default();
    table.put(&block(&entries()), 0);
    table.finish_with(b"zzz", wrong)
}

fn footer_as_index() -> Vec<u8> {
    let mut table = Table::default();
    table.put(&block(&entries()), 0);
    let at = table.next();
    // The metaindex of 8 bytes and its trailer come before the footer.
    table.finish((at + 13, 48))
}

fn restarts() -> Vec<u8> {
    let mut table = Table::default();
    let mut content = block(&entries());
    let end = content.len();
    content[end - 4..].fill(0xff);
    let data = table.put(&content, 0);
    table.finish_with(b"zzz", data)
}

fn cut_entry() -> Vec<u8> {
    let mut table = Table::default();
    let mut content = [varint(0), varint(1 << 40), varint(0)].concat();
    content.extend(block(&[]));
    let data = table.put(&content, 0);
    table.finish_with(b"zzz", data)
}

fn shared_from_nothing() -> Vec<u8> {
    let mut table = Table::default();
    let content = [varint(5), varint(1), varint(0), b"a".to_vec(), block(&[])].concat();
    let data = table.put(&content, 0);
    table.finish_with(b"zzz", data)
}

/// Each key shares all but its end with the one before, which is long.
fn key_bomb() -> Vec<u8> {
    let header = crate::bundle::header(1);
    let mut content = [varint(0), varint(0), varint(header.len() as u64), header].concat();
    // An entry of a V2 index with nothing in it is a tensor of no known type, which is not read here.
    content.extend([varint(0), varint(100_000), varint(0), vec![b'k'; 100_000]].concat());
    for n in 1..20_000u32 {
        content.extend([varint(99_995), varint(5), varint(0)].concat());
        content.extend(format!("{n:05}").bytes());
    }
    content.extend(block(&[]));
    let mut table = Table::default();
    let data = table.put(&content, 0);
    table.finish_with(b"zzz", data)
}

fn snappy(content: &[u8]) -> Vec<u8> {
    let mut table = Table::default();
    let data = table.put(content, 1);
    table.finish_with(b"zzz", data)
}

/// One literal zero, then copies of 64 bytes from one byte before.
fn snappy_zeros() -> Vec<u8> {
    let copies = 1_400_000usize;
    let mut content = varint(1 + copies as u64 * 64);
    content.extend([0, 0]);
    for _ in 0..copies {
        content.extend([0xfe, 1, 0]);
    }
    snappy(&content)
}

fn unknown_compression() -> Vec<u8> {
    let mut table = Table::default();
    let data = table.put(&block(&entries()), 7);
    table.finish_with(b"zzz", data)
}
