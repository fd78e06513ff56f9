//! Writes tables as TensorFlow does, and for tests also ones that it would not write.

use crate::table::{MAGIC, mask};
use crate::wire::put_varint;

/// How the blocks of a table are stored.
#[derive(Clone, Copy)]
pub(crate) enum BlockType {
    /// As they are, which is what TensorFlow writes.
    Stored,
    #[cfg(test)]
    Snappy,
    /// Snappy whose header claims this many bytes.
    #[cfg(test)]
    SnappyClaiming(u64),
    /// A type that no reader knows.
    #[cfg(test)]
    Unknown,
}

/// A table under construction. Keys are to be added in order, each once; it does not look.
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
    restarts: Vec<usize>,
    count: usize,
    last: Vec<u8>,
}

impl TableWriter {
    /// A table whose data blocks end once they have `block_size` bytes.
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

    #[cfg(test)]
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

    /// The bytes of the file.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.flush();
        let index = std::mem::take(&mut self.index).finish();
        let handle = self.put(&index, self.kind);
        self.footer(handle)
    }

    /// Ends the file with an index said to be at this offset, of this size.
    #[cfg(test)]
    pub(crate) fn finish_with_index_at(self, handle: (usize, usize)) -> Vec<u8> {
        self.footer(handle)
    }

    fn footer(mut self, index: (usize, usize)) -> Vec<u8> {
        let meta = self.put(&Block::default().finish(), BlockType::Stored);
        let mut footer = Vec::new();
        for n in [meta.0, meta.1, index.0, index.1] {
            put_varint(wide(n), &mut footer);
        }
        footer.resize(40, 0);
        footer.extend(MAGIC);
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
        put_varint(wide(handle.0), &mut value);
        put_varint(wide(handle.1), &mut value);
        // The last key itself is a separator, though not the shortest.
        self.index.add(&last, &value, 1);
    }

    /// Appends a block and its trailer. Returns its offset and its size.
    fn put(&mut self, contents: &[u8], kind: BlockType) -> (usize, usize) {
        let (mut stored, type_byte) = match kind {
            BlockType::Stored => (contents.to_vec(), 0),
            #[cfg(test)]
            BlockType::Unknown => (contents.to_vec(), 7),
            #[cfg(test)]
            BlockType::Snappy => (snap::raw::Encoder::new().compress_vec(contents).unwrap(), 1),
            #[cfg(test)]
            BlockType::SnappyClaiming(len) => {
                let mut bytes = Vec::new();
                put_varint(len, &mut bytes);
                (bytes, 1)
            }
        };
        let handle = (self.file.len(), stored.len());
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
            self.restarts.push(self.bytes.len());
        }
        let shared = if restart { 0 } else { key.iter().zip(&self.last).take_while(|(a, b)| a == b).count() };
        let suffix = key.get(shared..).unwrap_or_default();
        for n in [shared, suffix.len(), value.len()] {
            put_varint(wide(n), &mut self.bytes);
        }
        self.bytes.extend(suffix);
        self.bytes.extend(value);
        self.last = key.to_vec();
        self.count = self.count.saturating_add(1);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.restarts.is_empty() {
            self.restarts.push(0);
        }
        let count = self.restarts.len();
        for n in self.restarts.into_iter().chain([count]) {
            // Blocks are of some hundred kilobytes, so the numbers fit.
            self.bytes.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
        }
        self.bytes
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
