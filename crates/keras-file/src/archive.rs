//! Zip archives of untrusted content, and `.keras`: one of `metadata.json`, `config.json` and `model.weights.h5`.

use std::io::{Cursor, Read, Write};
use std::ops::Range;

use serde::Deserialize;
use zip::read::ZipReadOptions;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use crate::error::Problem;
use crate::json;

const METADATA: &str = "metadata.json";
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.weights.h5";

/// Largest JSON member. A model of a thousand layers has about 2 MB.
const MAX_JSON_BYTES: u64 = 16 << 20;
/// By how much compressed members may be larger than the archive. Keras stores its members uncompressed, and trained
/// weights hardly shrink.
const MAX_GROWTH: u64 = 48 << 20;
/// Deflate exceeds this factor on nothing.
const MAX_COMPRESSION: u64 = 1100;
/// Keras writes three members, and one for each asset.
const MAX_MEMBERS: usize = 10_000;

/// The members of a `.keras` archive that matter here.
pub(crate) struct Archive {
    pub(crate) keras_version: Option<String>,
    pub(crate) config: String,
    pub(crate) weights: Vec<u8>,
}

#[derive(Deserialize)]
struct Metadata {
    keras_version: Option<String>,
}

/// Whether `bytes` begin like a zip archive.
pub(crate) fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// What a file begins with, for a message.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    match bytes.get(..8).or_else(|| bytes.get(..)) {
        None | Some([]) => "an empty file".to_owned(),
        Some(start) => format!("a file that begins with {:?}", start.escape_ascii().to_string()),
    }
}

pub(crate) fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Bytes that the compressed members of an archive of `length` bytes may become.
pub(crate) fn inflated_limit(length: usize) -> u64 {
    let length = size(length);
    length.saturating_add(MAX_GROWTH).min(length.saturating_mul(MAX_COMPRESSION))
}

/// Reads the directory of an archive. Names are unique, and not too many.
pub(crate) fn open(bytes: &[u8]) -> Result<ZipArchive<Cursor<&[u8]>>, Problem> {
    let zip = ZipArchive::new(Cursor::new(bytes))
        .map_err(|source| Problem::Zip { member: "central directory".to_owned(), source })?;
    if zip.has_duplicate_names() {
        return Err(Problem::DuplicateMember);
    }
    if zip.len() > MAX_MEMBERS {
        return Err(Problem::TooLarge {
            what: "zip archive".to_owned(),
            limit: MAX_MEMBERS as u64,
            unit: "members",
            found: zip.len().to_string(),
        });
    }
    Ok(zip)
}

/// Unpacks the members of a `.keras` archive of `length` bytes into memory, checking sizes and checksums.
pub(crate) fn unpack(zip: &mut ZipArchive<Cursor<&[u8]>>, length: usize) -> Result<Archive, Problem> {
    let metadata = text(METADATA, member(zip, METADATA, MAX_JSON_BYTES, MAX_JSON_BYTES)?)?;
    let metadata: Metadata = json::parse(METADATA, metadata.as_bytes())?;
    Ok(Archive {
        keras_version: metadata.keras_version,
        config: text(CONFIG, member(zip, CONFIG, MAX_JSON_BYTES, MAX_JSON_BYTES)?)?,
        weights: member(zip, WEIGHTS, size(length), inflated_limit(length))?,
    })
}

fn text(member: &str, bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|e| Problem::ZipContent {
        member: member.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, e),
    })
}

/// Reads one member of at most `stored_limit` bytes, or `inflated_limit` if it is compressed.
fn member(
    zip: &mut ZipArchive<Cursor<&[u8]>>,
    name: &str,
    stored_limit: u64,
    inflated_limit: u64,
) -> Result<Vec<u8>, Problem> {
    let Some(index) = zip.index_for_name(name) else {
        let mut members: Vec<_> =
            zip.file_names().map(|n| n.map_or_else(|_| "?".to_owned(), |n| n.into_owned())).take(10).collect();
        members.sort();
        return Err(Problem::Missing {
            place: format!("zip archive with members {members:?}"),
            expected: format!("a member {name:?} (sharded and npz weights are not supported)"),
        });
    };
    content(zip, index, stored_limit, inflated_limit).map(|(_, content)| content)
}

/// Name and content of the member at `index`, limited as [`member`].
pub(crate) fn content(
    zip: &mut ZipArchive<Cursor<&[u8]>>,
    index: usize,
    stored_limit: u64,
    inflated_limit: u64,
) -> Result<(String, Vec<u8>), Problem> {
    let name = match zip.name_for_index(index) {
        Some(Ok(name)) => name.into_owned(),
        Some(Err(source)) => return Err(Problem::Zip { member: format!("number {index}"), source }),
        None => String::new(),
    };
    let options = ZipReadOptions::new().enforce_header_consistency(true);
    let file = match zip.by_index_with_options(index, options) {
        Ok(file) => file,
        Err(source) => return Err(Problem::Zip { member: name, source }),
    };
    let limit = match file.compression() {
        CompressionMethod::Stored => stored_limit,
        _ => inflated_limit,
    };
    // The declared size may lie: what counts is what comes out. Where it does not, nothing is reserved in vain.
    let mut content = Vec::new();
    if let Ok(declared) = usize::try_from(file.size().min(limit)) {
        content.try_reserve_exact(declared).map_err(|_| Problem::TooLarge {
            what: format!("zip member {name:?}"),
            limit,
            unit: "bytes, and memory ends before",
            found: declared.to_string(),
        })?;
    }
    let read = match file.take(limit.saturating_add(1)).read_to_end(&mut content) {
        Ok(read) => read,
        Err(source) => return Err(Problem::ZipContent { member: name, source }),
    };
    if size(read) > limit {
        return Err(Problem::TooLarge {
            what: format!("zip member {name:?}"),
            limit,
            unit: "bytes",
            found: "more".to_owned(),
        });
    }
    Ok((name, content))
}

/// The weights of a `.keras` archive, where they can be changed: stored uncompressed, with the checksum in both headers.
#[derive(Debug)]
pub(crate) struct StoredWeights {
    /// The HDF5 content, in the whole archive.
    pub(crate) content: Range<usize>,
    checksums: [Range<usize>; 2],
}

/// Where the CRC-32 of a member is in its own header and in its entry of the directory, and how these begin.
const CHECKSUMS: [(u64, &[u8; 4]); 2] = [(14, b"PK\x03\x04"), (16, b"PK\x01\x02")];

/// Finds the weights in the bytes of an archive, which has been unpacked before.
pub(crate) fn stored_weights(bytes: &[u8]) -> Result<StoredWeights, Problem> {
    let mut zip = open(bytes)?;
    let zip_problem = |source| Problem::Zip { member: WEIGHTS.to_owned(), source };
    let file = zip.by_name(WEIGHTS).map_err(zip_problem)?;
    let refuse = |expected: &str, found: String| Problem::Unreplaceable {
        what: format!("zip member {WEIGHTS:?}"),
        expected: expected.to_owned(),
        found,
    };
    if file.compression() != CompressionMethod::Stored || file.encrypted() {
        let found = format!("{}; pack the archive again with method stored", file.compression());
        return Err(refuse("it uncompressed, as Keras stores it", found));
    }
    let range = |start: u64, length: u64| {
        let end = start.checked_add(length)?;
        let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        (range.end <= bytes.len()).then_some(range)
    };
    let content = file.data_start().and_then(|start| range(start, file.size()));
    let crc = file.crc32();
    let headers = [file.header_start(), file.central_header_start()];
    let at = |(header, (offset, signature)): (u64, (u64, &[u8; 4]))| {
        let begins = range(header, 4).and_then(|r| bytes.get(r)) == Some(signature.as_slice());
        let field = range(header.checked_add(offset)?, 4)?;
        // A member written as a stream has its checksum behind the content instead.
        (begins && bytes.get(field.clone()) == Some(&crc.to_le_bytes())).then_some(field)
    };
    let mut fields = headers.into_iter().zip(CHECKSUMS).map(at);
    match (content, fields.next().flatten(), fields.next().flatten()) {
        (Some(content), Some(local), Some(central)) => Ok(StoredWeights { content, checksums: [local, central] }),
        _ => Err(refuse("its checksum in its header and in the directory", "something else there".to_owned())),
    }
}

impl StoredWeights {
    /// Makes the checksums in `archive` those of its content.
    pub(crate) fn update_checksum(&self, archive: &mut [u8]) {
        let crc = crc32(archive.get(self.content.clone()).unwrap_or_default()).to_le_bytes();
        for field in &self.checksums {
            if let Some(field) = archive.get_mut(field.clone()) {
                field.copy_from_slice(&crc);
            }
        }
    }
}

/// CRC-32 as zip uses it: reflected, polynomial 0x04c11db7.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        crc >> 8 ^ TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0)
    };
    !bytes.iter().fold(!0, step)
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, on constants"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Packs a `.keras` archive; the same content gives the same bytes.
pub(crate) fn pack(keras_version: &str, config: &str, weights: &[u8]) -> Result<Vec<u8>, Problem> {
    // A date is required; a fixed one keeps the bytes the same from run to run.
    let metadata = serde_json::json!({
        "keras_version": keras_version,
        "date_saved": "1980-01-01@00:00:00",
    });
    pack_members(&[(METADATA, metadata.to_string().as_bytes()), (CONFIG, config.as_bytes()), (WEIGHTS, weights)])
}

/// Packs members uncompressed, with the date that zip calls zero.
pub(crate) fn pack_members(members: &[(&str, &[u8])]) -> Result<Vec<u8>, Problem> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::DEFAULT)
        .system(System::Unix)
        .unix_permissions(0o644);
    for (name, content) in members {
        let large = u32::try_from(content.len()).is_err();
        zip.start_file(*name, options.large_file(large)).map_err(Problem::ZipWrite)?;
        zip.write_all(content).map_err(|e| Problem::ZipWrite(e.into()))?;
    }
    Ok(zip.finish().map_err(Problem::ZipWrite)?.into_inner())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_zip() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(super::crc32(b""), 0);
    }
}
