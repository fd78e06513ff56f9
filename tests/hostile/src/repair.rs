//! Makes checksums right again after bytes were changed, so that the change reaches what lies behind them.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::table::masked;
use crate::wire::{fields, read_varint};

/// Makes the checksums of all blocks that a table's index refers to right, as far as it can be read.
pub fn table(file: &mut [u8]) {
    let Some(blocks) = blocks(file) else { return };
    for block in blocks {
        block_checksum(file, &block);
    }
}

/// Makes the checksums of an index and of all tensors in its data file right.
pub fn bundle(index: &mut [u8], data: &mut [u8]) {
    for block in blocks(index).unwrap_or_default() {
        for value in entries(index, &block).into_iter().map(|(_, value)| value) {
            let entry = index[value.clone()].to_vec();
            let number = |tag| fields(&entry).into_iter().rev().find(|f| f.0 == tag && f.1 == 0).map_or(0, |f| f.2);
            let crc = fields(&entry).into_iter().rev().find(|f| f.0 == 6 && f.1 == 5);
            let range = number(4) as usize..(number(4) as usize).saturating_add(number(5) as usize);
            if let (Some((.., at)), Some(tensor)) = (crc, data.get_mut(range)) {
                let crc = if number(1) == 7 { string_checksums(tensor) } else { crc32c::crc32c(tensor) };
                index[value.start + at.start..][..4].copy_from_slice(&masked(crc).to_le_bytes());
            }
        }
        block_checksum(index, &block);
    }
}

/// The same of both files in one input, as [`crate::bundle::split`] takes them apart.
pub fn joined_bundle(input: &mut [u8]) {
    let Some((length, rest)) = input.split_first_chunk_mut::<4>() else { return };
    if let Some((index, data)) = rest.split_at_mut_checked(u32::from_le_bytes(*length) as usize) {
        bundle(index, data);
    }
}

/// Makes the checksums of all uncompressed members of a zip archive right.
pub fn archive(file: &mut [u8]) {
    let Some(end) = file.windows(4).rposition(|w| w == b"PK\x05\x06") else { return };
    let u16_at = |file: &[u8], at: usize| Some(usize::from(u16::from_le_bytes(*file.get(at..)?.first_chunk()?)));
    let u32_at = |file: &[u8], at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?) as usize);
    let (Some(count), Some(mut at)) = (u16_at(file, end + 10), u32_at(file, end + 16)) else { return };
    for _ in 0..count {
        let member = || {
            let local = u32_at(file, at.checked_add(42)?)?;
            let size = u32_at(file, at + 20)?;
            let start = local.checked_add(30 + u16_at(file, local.checked_add(26)?)? + u16_at(file, local + 28)?)?;
            let next = at + 46 + u16_at(file, at + 28)? + u16_at(file, at + 30)? + u16_at(file, at + 32)?;
            let content = file.get(start..start.checked_add(size)?)?;
            let stored = u16_at(file, at + 10)? == 0 && file.get(at..)?.starts_with(b"PK\x01\x02");
            Some((local, next, stored.then(|| crc32fast::hash(content))))
        };
        let Some((local, next, crc)) = member() else { return };
        if let Some(crc) = crc {
            file[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
            file[local + 14..local + 18].copy_from_slice(&crc.to_le_bytes());
        }
        at = next;
    }
}

/// Makes the digest at the end of a plain certificate right.
pub fn certificate(file: &mut [u8]) {
    const END: &[u8] = b"\"\n  }\n}\n";
    let Some(head) = file.strip_suffix(END).and_then(|head| head.len().checked_sub(64)) else { return };
    if !file[..head].ends_with(b"\"certificate_sha256\": \"") {
        return;
    }
    let digest = Sha256::new().chain_update(&file[..head]).chain_update(END).finalize();
    let digits: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    file[head..head + 64].copy_from_slice(digits.as_bytes());
}

/// Where the contents of every block are: of the metaindex, the index, and those that it refers to.
fn blocks(file: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut at = file.len().checked_sub(48)?;
    let mut next = || {
        let (offset, after) = read_varint(file, at)?;
        let (size, after) = read_varint(file, after)?;
        at = after;
        range(file, offset, size)
    };
    let (meta, index) = (next(), next()?);
    let mut all = vec![];
    for (_, value) in entries(file, &index) {
        let handle = read_varint(file, value.start).and_then(|(o, at)| Some((o, read_varint(file, at)?.0)));
        all.extend(handle.and_then(|(offset, size)| range(file, offset, size)));
    }
    all.extend(meta);
    // Last, as its own bytes may have been a data block too.
    all.push(index);
    Some(all)
}

/// The contents of a block, if its trailer is in the file too.
fn range(file: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    let end = usize::try_from(offset.checked_add(size)?).ok()?;
    (end.checked_add(5)? <= file.len()).then_some(offset as usize..end)
}

/// Key suffixes and values of a block that is not compressed.
fn entries(file: &[u8], block: &Range<usize>) -> Vec<(Range<usize>, Range<usize>)> {
    let mut found = vec![];
    let mut at = block.start;
    let restarts = block.end.checked_sub(4).and_then(|at| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?)));
    let end = block.end.saturating_sub(4).saturating_sub((restarts.unwrap_or(0) as usize).saturating_mul(4));
    while at < end {
        let entry = || {
            let (_, at) = read_varint(file, at)?;
            let (key, at) = read_varint(file, at)?;
            let (value, at) = read_varint(file, at)?;
            let value_at = at.checked_add(usize::try_from(key).ok()?)?;
            let next = value_at.checked_add(usize::try_from(value).ok()?)?;
            (next <= end).then_some((at..value_at, value_at..next))
        };
        let Some((key, value)) = entry() else { break };
        at = value.end;
        found.push((key, value));
    }
    found
}

fn block_checksum(file: &mut [u8], block: &Range<usize>) {
    let crc = masked(crc32c::crc32c(&file[block.start..block.end + 1]));
    file[block.end + 1..block.end + 5].copy_from_slice(&crc.to_le_bytes());
}

/// Makes the checksum of the lengths right, and returns that of the whole: for a scalar, the only string tensor that
/// matters. For others the lengths are not known.
fn string_checksums(tensor: &mut [u8]) -> u32 {
    let Some((length, at)) = read_varint(tensor, 0) else { return 0 };
    let crc = match u32::try_from(length) {
        Ok(short) => crc32c::crc32c(&short.to_le_bytes()),
        Err(_) => crc32c::crc32c(&length.to_le_bytes()),
    };
    let Some(word) = tensor.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) else { return 0 };
    *word = masked(crc).to_le_bytes();
    let crc = crc32c::crc32c_append(crc, word);
    crc32c::crc32c_append(crc, &tensor[at + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;
    use crate::saved_slices::SavedSlices;

    #[test]
    fn right_checksums_stay_and_wrong_ones_become_right() {
        let sound = Bundle::lstm();
        let (mut index, mut data) = (sound.index(), sound.data.clone());
        bundle(&mut index, &mut data);
        assert_eq!((&index, &data), (&sound.index(), &sound.data));
        data[3] ^= 4;
        bundle(&mut index, &mut data);
        assert_ne!(index, sound.index());

        let (_, sound) = SavedSlices::lstm().files().remove(0);
        let mut broken = sound.clone();
        table(&mut broken);
        assert_eq!(broken, sound);
        let at = broken.len() - 60;
        for byte in broken[at..at + 4].iter_mut() {
            *byte ^= 1;
        }
        table(&mut broken);
        assert_eq!(broken.len(), sound.len());
    }
}
