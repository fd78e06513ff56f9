//! Tables (`tensorflow/core/lib/io/table_builder.cc`), written by code that shares nothing with the reader's.

use crate::wire::varint;

/// What ends a table.
pub const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();

/// A CRC-32C as it is stored.
pub fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A table under construction: blocks as the caller wants them, in the order in which they are put.
#[derive(Default)]
pub struct Table {
    file: Vec<u8>,
}

/// Offset and size of a block.
pub type Handle = (u64, u64);

/// The contents of a block whose entries share no prefixes.
pub fn block(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![];
    for (key, value) in entries {
        for n in [0, key.len(), value.len()] {
            out.extend(varint(n as u64));
        }
        out.extend(key);
        out.extend(value);
    }
    // One restart point, at the beginning.
    out.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    out
}

/// A handle as it is stored.
pub fn handle((offset, size): Handle) -> Vec<u8> {
    [varint(offset), varint(size)].concat()
}

impl Table {
    /// Appends a block with a right checksum; `kind` 0 is stored, 1 Snappy.
    pub fn put(&mut self, contents: &[u8], kind: u8) -> Handle {
        let handle = (self.file.len() as u64, contents.len() as u64);
        let mut block = contents.to_vec();
        block.push(kind);
        let crc = masked(crc32c::crc32c(&block));
        self.file.extend(block);
        self.file.extend(crc.to_le_bytes());
        handle
    }

    /// Where the next block will be.
    pub fn next(&self) -> u64 {
        self.file.len() as u64
    }

    /// Ends the file; its index is said to be at `index`.
    pub fn finish(mut self, index: Handle) -> Vec<u8> {
        let meta = self.put(&block(&[]), 0);
        let mut footer = [handle(meta), handle(index)].concat();
        footer.resize(40, 0);
        self.file.extend(footer);
        self.file.extend(MAGIC);
        self.file
    }

    /// Ends the file after one data block, with an index of its own.
    pub fn finish_with(mut self, last_key: &[u8], data: Handle) -> Vec<u8> {
        let index = self.put(&block(&[(last_key.to_vec(), handle(data))]), 0);
        self.finish(index)
    }
}

/// A table of one block with these entries, in this order, whatever it is.
pub fn table(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut table = Table::default();
    let data = table.put(&block(entries), 0);
    let last = entries.iter().map(|(key, _)| key.clone()).max().unwrap_or_default();
    table.finish_with(&last, data)
}
