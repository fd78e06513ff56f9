//! Writes tables for tests, including ones that TensorFlow would not write.

use crate::table::mask;

/// How the blocks of a table are stored.
#[derive(Clone, Copy)]
pub(crate) enum BlockType {
    Stored,
    Snappy,
    /// Snappy whose header claims this many bytes.
    SnappyClaiming(u64),
    /// A type that no reader knows.
    Unknown,
}

/// A table under construction. It accepts keys in any order.
pub(crate) struct TableWriter {
    file: Vec<u8>,
    index: Block,
    data: Block,
    block_size: usize,
    kind: BlockType,
    restart_every: usize,
}

#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    count: usize,
    last: Vec<u8>,
}

impl TableWriter {
    pub(crate) fn new(block_size: usize, kind: BlockType) -> TableWriter {
        TableWriter {
            file: Vec::new(),
            index: Block::default(),
            data: Block::default(),
            block_size,
            kind,
            restart_every: 16,
        }
    }

    pub(crate) fn restart_every(mut self, entries: usize) -> TableWriter {
        self.restart_every = entries;
        self
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.data.add(key, value, self.restart_every);
        if self.data.bytes.len() >= self.block_size {
            self.flush();
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flush();
        let index = std::mem::take(&mut self.index).finish();
        let handle = self.put(&index, self.kind);
        self.footer(handle)
    }

    /// Ends the file with an index said to be at this offset, of this size.
    pub(crate) fn finish_with_index_at(self, handle: (u64, u64)) -> Vec<u8> {
        self.footer(handle)
    }

    fn footer(mut self, index: (u64, u64)) -> Vec<u8> {
        let meta = self.put(&Block::default().finish(), BlockType::Stored);
        let mut footer = Vec::new();
        for n in [meta.0, meta.1, index.0, index.1] {
            put_varint(n, &mut footer);
        }
        footer.resize(40, 0);
        footer.extend(0xdb47_7524_8b80_fb57_u64.to_le_bytes());
        self.file.extend(footer);
        self.file
    }

    fn flush(&mut self) {
        if self.data.count == 0 {
            return;
        }
        let block = std::mem::take(&mut self.data);
        let last = block.last.clone();
        let handle = self.put(&block.finish(), self.kind);
        let mut value = Vec::new();
        put_varint(handle.0, &mut value);
        put_varint(handle.1, &mut value);
        self.index.add(&last, &value, 1);
    }

    fn put(&mut self, contents: &[u8], kind: BlockType) -> (u64, u64) {
        let (mut stored, type_byte) = match kind {
            BlockType::Stored => (contents.to_vec(), 0),
            BlockType::Unknown => (contents.to_vec(), 7),
            BlockType::Snappy => (snap::raw::Encoder::new().compress_vec(contents).unwrap(), 1),
            BlockType::SnappyClaiming(len) => {
                let mut bytes = Vec::new();
                put_varint(len, &mut bytes);
                (bytes, 1)
            }
        };
        let handle = (self.file.len() as u64, stored.len() as u64);
        stored.push(type_byte);
        let crc = mask(crc32c::crc32c(&stored));
        self.file.extend(stored);
        self.file.extend(crc.to_le_bytes());
        handle
    }
}

impl Block {
    fn add(&mut self, key: &[u8], value: &[u8], restart_every: usize) {
        let restart = self.count.is_multiple_of(restart_every);
        if restart {
            self.restarts.push(self.bytes.len() as u32);
        }
        let shared = if restart { 0 } else { key.iter().zip(&self.last).take_while(|(a, b)| a == b).count() };
        for n in [shared, key.len() - shared, value.len()] {
            put_varint(n as u64, &mut self.bytes);
        }
        self.bytes.extend(&key[shared..]);
        self.bytes.extend(value);
        self.last = key.to_vec();
        self.count += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        for restart in &self.restarts {
            self.bytes.extend(restart.to_le_bytes());
        }
        self.bytes.extend((self.restarts.len() as u32).to_le_bytes());
        self.bytes
    }
}

/// Appends a varint.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
