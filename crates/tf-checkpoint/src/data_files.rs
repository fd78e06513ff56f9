//! The data files of a V2 bundle: which file is which shard.

use std::path::{Path, PathBuf};

use disk::Disk;

use crate::Error;
use crate::source::Source;

/// `P.data-SSSSS-of-NNNNN`, for the shard and the number of shards.
pub(crate) fn name(prefix: &Path, shard: usize, shards: usize) -> PathBuf {
    with_suffix(prefix, &format!(".data-{shard:05}-of-{shards:05}"))
}

/// `path` with `suffix` after its last component: not an extension, as prefixes have dots in them.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Opens the data file of `shard`. If the expected name does not exist, one with another number of shards will do, as
/// long as it is the only one: the header counts bundles without tensors, the names do not.
pub(crate) fn open(disk: &Disk, index: &Path, prefix: &Path, shard: usize, shards: usize) -> Result<Source, Error> {
    let expected = name(prefix, shard, shards);
    if disk.is_file(&expected)? {
        return Source::open(disk, &expected);
    }
    let missing = || Error::MissingFile { needed_by: index.to_owned(), looked_for: expected.clone() };
    let folder = prefix.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = prefix.file_name().and_then(|n| n.to_str()).ok_or_else(missing)?;
    let start = format!("{base}.data-{shard:05}-of-");
    let mut others = Vec::new();
    for file in disk.list(folder)? {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let of = name.strip_prefix(&start).unwrap_or_default();
        if of.len() >= 5 && of.bytes().all(|b| b.is_ascii_digit()) && disk.is_file(&file)? {
            others.push(file);
        }
    }
    match others.as_slice() {
        [] => Err(missing()),
        [one] => Source::open(disk, one),
        _ => {
            others.sort();
            Err(Error::Ambiguous { path: prefix.to_owned(), found: others })
        }
    }
}
