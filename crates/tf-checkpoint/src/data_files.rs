//! The data files of a V2 bundle: which file is which shard.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::source::{Source, io};

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
pub(crate) fn open(index: &Path, prefix: &Path, shard: usize, shards: usize) -> Result<Source, Error> {
    let expected = name(prefix, shard, shards);
    if expected.is_file() {
        return Source::open(&expected);
    }
    let missing = || Error::MissingFile { needed_by: index.to_owned(), looked_for: expected.clone() };
    let folder = prefix.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = prefix.file_name().and_then(|n| n.to_str()).ok_or_else(missing)?;
    let start = format!("{base}.data-{shard:05}-of-");
    let mut others = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| io("listing", folder, e))? {
        let entry = entry.map_err(|e| io("listing", folder, e))?;
        let file = entry.file_name();
        let of = file.to_str().and_then(|f| f.strip_prefix(&start)).unwrap_or_default();
        if of.len() >= 5 && of.bytes().all(|b| b.is_ascii_digit()) && entry.path().is_file() {
            others.push(entry.path());
        }
    }
    match others.as_slice() {
        [] => Err(missing()),
        [one] => Source::open(one),
        _ => {
            others.sort();
            Err(Error::Ambiguous { path: prefix.to_owned(), found: others })
        }
    }
}
