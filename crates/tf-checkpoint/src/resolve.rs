//! From the path that a user gives to the files of one checkpoint.
//!
//! The state file is resolved as `tensorflow/python/training/checkpoint_management.py` does, and beyond that beside the
//! state file, since folders get moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use disk::Disk;

use crate::Error;
use crate::data_files::with_suffix;
use crate::error::ON_ONE_LINE;
use crate::frozen_graph::{Kind, kind_of};
use crate::source::{Source, describe_start};
use crate::state_file::CheckpointState;
use crate::table::has_magic;

/// The files of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A V2 bundle with this prefix.
    Bundle(PathBuf),
    /// A V1 checkpoint with this prefix, in these files.
    SavedSlices(PathBuf, Vec<PathBuf>),
    /// A file that is a frozen graph, or should be.
    FrozenGraph(PathBuf),
}

/// State files are a few lines per checkpoint that was kept.
const MAX_STATE_FILE: u64 = 16 << 20;

/// Finds the one checkpoint that `path` means.
pub(crate) fn resolve(disk: &Disk, path: &Path) -> Result<Found, Error> {
    if path.is_dir() { folder(disk, path) } else { file_or_prefix(disk, path) }
}

fn folder(disk: &Disk, path: &Path) -> Result<Found, Error> {
    let state = path.join("checkpoint");
    if disk.is_file(&state)? && !has_magic(disk, &state)? {
        return from_state_file(disk, &state);
    }
    let mut found = BTreeSet::new();
    for file in disk.list(path)? {
        let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
        if name.contains(".tempstate") || !disk.is_file(&file)? {
            continue;
        }
        if let Some(prefix) = name.strip_suffix(".index") {
            found.insert(path.join(prefix));
        } else if !name.ends_with(".meta") && !is_data_file(name) && has_magic(disk, &file)? {
            found.insert(shard(name).map_or_else(|| file.clone(), |(prefix, _)| path.join(prefix)));
        }
    }
    let saved_model = path.join("variables").join("variables");
    if found.is_empty() && exists(disk, &saved_model, ".index")? {
        found.insert(saved_model.clone());
    }
    if found.is_empty() {
        found = frozen_graphs(disk, path)?;
    }
    let found: Vec<PathBuf> = found.into_iter().collect();
    match found.as_slice() {
        [] => Err(Error::NotFound {
            path: path.to_owned(),
            looked_for: vec![state, path.join("*.index"), with_suffix(&saved_model, ".index"), path.join("*.pb")],
        }),
        [one] => file_or_prefix(disk, one),
        _ => Err(Error::Ambiguous { path: path.to_owned(), found }),
    }
}

/// The files in this folder that are graphs, if only they are called so.
fn frozen_graphs(disk: &Disk, folder: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let mut found = BTreeSet::new();
    for file in disk.list(folder)? {
        let is_pb = file.extension().is_some_and(|e| e == "pb");
        if is_pb && disk.is_file(&file)? && kind_of(disk, &file)? == Some(Kind::Graph) {
            found.insert(file);
        }
    }
    Ok(found)
}

/// What a file named as a graph, or that is one, leads to; `None` if it has another name and is none.
fn graph_file(disk: &Disk, path: &Path) -> Result<Option<Found>, Error> {
    let named = path.extension().is_some_and(|e| e == "pb" || e == "pbtxt");
    match kind_of(disk, path)? {
        Some(Kind::SavedModel) if path.file_name().is_some_and(|n| n == "saved_model.pb") => {
            let prefix = path.with_file_name("variables").join("variables");
            if exists(disk, &prefix, ".index")? {
                return Ok(Some(Found::Bundle(prefix)));
            }
            Err(Error::MissingFile { needed_by: path.to_owned(), looked_for: with_suffix(&prefix, ".index") })
        }
        None if !named => Ok(None),
        // Whatever it is, opening it says so.
        _ => Ok(Some(Found::FrozenGraph(path.to_owned()))),
    }
}

fn file_or_prefix(disk: &Disk, path: &Path) -> Result<Found, Error> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if disk.is_file(path)? {
        if let Some(prefix) = name.strip_suffix(".index") {
            return Ok(Found::Bundle(path.with_file_name(prefix)));
        }
        if let Some(prefix) = name.strip_suffix(".meta").or_else(|| data_prefix(name)) {
            let prefix = path.with_file_name(prefix);
            let missing =
                || Error::MissingFile { needed_by: path.to_owned(), looked_for: with_suffix(&prefix, ".index") };
            return from_prefix(disk, &prefix)?.ok_or_else(missing);
        }
    }
    if let Some(found) = from_prefix(disk, path)? {
        return Ok(found);
    }
    if disk.is_file(path)? {
        let source = Source::open(disk, path)?;
        let start = source.read(0, usize::try_from(source.len().min(64)).unwrap_or(64))?;
        if name == "checkpoint" || start.starts_with(b"model_checkpoint_path") {
            return from_state_file(disk, path);
        }
        if let Some(found) = graph_file(disk, path)? {
            return Ok(found);
        }
        let (found, hint) = describe_start(&start, source.len());
        return Err(Error::NotATable { path: path.to_owned(), found, hint });
    }
    let index = with_suffix(path, ".index");
    for there in [".meta", ".data-00000-of-00001"] {
        if exists(disk, path, there)? {
            return Err(Error::MissingFile { needed_by: with_suffix(path, there), looked_for: index });
        }
    }
    Err(Error::NotFound {
        path: path.to_owned(),
        looked_for: vec![index, path.to_owned(), with_suffix(path, "-?????-of-?????")],
    })
}

/// The checkpoint with this prefix: V2 if it has an index, else V1 in one file or in several.
fn from_prefix(disk: &Disk, prefix: &Path) -> Result<Option<Found>, Error> {
    if exists(disk, prefix, ".index")? {
        return Ok(Some(Found::Bundle(prefix.to_owned())));
    }
    if disk.is_file(prefix)? && has_magic(disk, prefix)? {
        let name = prefix.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        return match shard(name) {
            Some((base, shards)) => sharded(disk, &prefix.with_file_name(base), shards, prefix).map(Some),
            None => Ok(Some(Found::SavedSlices(prefix.to_owned(), vec![prefix.to_owned()]))),
        };
    }
    let mut counts = BTreeSet::new();
    let parent = prefix.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = prefix.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    // A prefix may be of a folder that is not there.
    for file in if parent.is_dir() { disk.list(parent)? } else { vec![] } {
        if let Some((b, shards)) = file.file_name().and_then(|n| n.to_str()).and_then(shard)
            && b == base
            && disk.is_file(&file)?
        {
            counts.insert((shards, file));
        }
    }
    let Some((shards, first)) = counts.first().cloned() else { return Ok(None) };
    if counts.iter().any(|(n, _)| *n != shards) {
        return Err(Error::Ambiguous {
            path: prefix.to_owned(),
            found: counts.into_iter().map(|(_, file)| file).collect(),
        });
    }
    sharded(disk, prefix, shards, &first).map(Some)
}

/// The V1 checkpoint in `P-SSSSS-of-NNNNN`: all of its files must be there.
fn sharded(disk: &Disk, prefix: &Path, shards: usize, found: &Path) -> Result<Found, Error> {
    let mut files = Vec::new();
    // Stops at the first file that is missing, so that a name alone can not claim much memory.
    for number in 0..shards {
        let file = with_suffix(prefix, &format!("-{number:05}-of-{shards:05}"));
        if !disk.is_file(&file)? {
            return Err(Error::MissingFile { needed_by: found.to_owned(), looked_for: file });
        }
        files.push(file);
    }
    Ok(Found::SavedSlices(prefix.to_owned(), files))
}

fn from_state_file(disk: &Disk, path: &Path) -> Result<Found, Error> {
    let source = Source::open(disk, path)?;
    if source.len() > MAX_STATE_FILE {
        let found = format!("{} bytes", source.len());
        return Err(Error::StateFile { path: path.to_owned(), line: 1, expected: "less than 16 MiB", found });
    }
    let state = CheckpointState::parse(path, &source.read_all()?)?;
    let named = state.model_checkpoint_path;
    if named.contains('\n') {
        return Err(Error::StateFile {
            path: path.to_owned(),
            line: 1,
            expected: ON_ONE_LINE,
            found: format!("{named:?}"),
        });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    // Paths written on Windows have backslashes.
    let base = named.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut looked_for = vec![folder.join(&named), folder.join(base)];
    looked_for.dedup();
    for prefix in &looked_for {
        let name = prefix.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // A sharded V1 checkpoint is recorded as the pattern of its files' names.
        let prefix = pattern(name).map_or_else(|| prefix.clone(), |base| prefix.with_file_name(base));
        if !base.is_empty()
            && let Some(found) = from_prefix(disk, &prefix)?
        {
            return Ok(found);
        }
    }
    Err(Error::StaleState { path: path.to_owned(), named, looked_for })
}

/// `P` and `NNNNN` of `P-?????-of-NNNNN`.
fn pattern(name: &str) -> Option<&str> {
    let (start, shards) = name.rsplit_once("-of-")?;
    is_number(shards).then_some(())?;
    start.strip_suffix("-?????")
}

/// `P` and the number `NNNNN` of `P-SSSSS-of-NNNNN`.
fn shard(name: &str) -> Option<(&str, usize)> {
    let (start, shards) = name.rsplit_once("-of-")?;
    let (base, number) = start.rsplit_once('-')?;
    (is_number(number) && is_number(shards) && !is_data_file(name)).then_some(())?;
    Some((base, shards.parse().ok()?))
}

/// `P` of `P.data-SSSSS-of-NNNNN`.
fn data_prefix(name: &str) -> Option<&str> {
    let (start, shards) = name.rsplit_once("-of-")?;
    let (base, number) = start.rsplit_once(".data-")?;
    (is_number(number) && is_number(shards)).then_some(base)
}

fn is_data_file(name: &str) -> bool {
    data_prefix(name).is_some()
}

fn is_number(digits: &str) -> bool {
    (5..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn exists(disk: &Disk, prefix: &Path, suffix: &str) -> Result<bool, Error> {
    Ok(disk.is_file(&with_suffix(prefix, suffix))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_writer::{BlockType, TableWriter};

    fn write(dir: &Path, names: &[&str]) {
        let table = TableWriter::new(1, BlockType::Stored).finish();
        for name in names {
            std::fs::write(dir.join(name), &table).unwrap();
        }
    }

    fn bundle(dir: &Path, name: &str) -> Found {
        Found::Bundle(dir.join(name))
    }

    #[test]
    fn every_file_of_a_bundle_leads_to_its_prefix() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(
            dir,
            &[
                "m.ckpt-10.index",
                "m.ckpt-10.meta",
                "m.ckpt-10.data-00000-of-00002",
                "m.ckpt-10.data-00001-of-00002.tempstate12",
            ],
        );
        for name in ["m.ckpt-10", "m.ckpt-10.index", "m.ckpt-10.meta", "m.ckpt-10.data-00000-of-00002", ""] {
            assert_eq!(resolve(&Disk::new(), &dir.join(name)).unwrap(), bundle(dir, "m.ckpt-10"), "{name}");
        }
        assert!(matches!(resolve(&Disk::new(), &dir.join("m.ckpt-1")), Err(Error::NotFound { .. })));
        write(dir, &["m.ckpt-9.index"]);
        assert!(matches!(resolve(&Disk::new(), dir), Err(Error::Ambiguous { found, .. }) if found.len() == 2));
    }

    #[test]
    fn a_missing_index_is_named() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), &["m.meta", "m.data-00000-of-00001"]);
        for name in ["m", "m.meta", "m.data-00000-of-00001"] {
            let error = resolve(&Disk::new(), &temp.path().join(name)).unwrap_err();
            assert!(
                matches!(&error, Error::MissingFile { looked_for, .. } if looked_for.ends_with("m.index")),
                "{error}"
            );
        }
    }

    #[test]
    fn v1_files_whole_and_sharded() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(dir, &["v1.ckpt", "s-00000-of-00002", "s-00001-of-00002"]);
        assert_eq!(
            resolve(&Disk::new(), &dir.join("v1.ckpt")).unwrap(),
            Found::SavedSlices(dir.join("v1.ckpt"), vec![dir.join("v1.ckpt")])
        );
        let all = Found::SavedSlices(dir.join("s"), vec![dir.join("s-00000-of-00002"), dir.join("s-00001-of-00002")]);
        for name in ["s", "s-00000-of-00002", "s-00001-of-00002"] {
            assert_eq!(resolve(&Disk::new(), &dir.join(name)).unwrap(), all);
        }
        for named in ["s-?????-of-00002", "/gone/s-?????-of-00002"] {
            std::fs::write(dir.join("checkpoint"), format!("model_checkpoint_path: \"{named}\"")).unwrap();
            assert_eq!(resolve(&Disk::new(), dir).unwrap(), all);
        }
        write(dir, &["s-00000-of-00003"]);
        assert!(matches!(resolve(&Disk::new(), &dir.join("s")), Err(Error::Ambiguous { .. })));
        assert!(
            matches!(resolve(&Disk::new(), &dir.join("s-00000-of-00003")), Err(Error::MissingFile { looked_for, .. }) if looked_for.ends_with("s-00001-of-00003"))
        );
    }

    #[test]
    fn state_files_relative_absolute_and_stale() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        write(dir, &["a.index", "b.index"]);
        let absolute = dir.join("a").display().to_string();
        for named in ["a", &absolute, "/somewhere/else/a", "C:\\runs\\a"] {
            let text = format!("model_checkpoint_path: \"{}\"", named.replace('\\', "\\\\"));
            std::fs::write(dir.join("checkpoint"), text).unwrap();
            assert_eq!(resolve(&Disk::new(), dir).unwrap(), bundle(dir, "a"), "{named}");
            assert_eq!(resolve(&Disk::new(), &dir.join("checkpoint")).unwrap(), bundle(dir, "a"));
        }
        std::fs::write(dir.join("checkpoint"), "model_checkpoint_path: \"/gone/c\"").unwrap();
        let error = resolve(&Disk::new(), dir).unwrap_err();
        assert!(matches!(&error, Error::StaleState { .. }) && error.to_string().contains("/gone/c"), "{error}");
    }

    #[test]
    fn other_files_are_described() {
        let temp = tempfile::tempdir().unwrap();
        let page = temp.path().join("model.ckpt");
        std::fs::write(&page, "<!DOCTYPE html><html></html>").unwrap();
        assert!(
            matches!(resolve(&Disk::new(), &page), Err(Error::NotATable { hint, .. }) if hint.contains("web page"))
        );
        assert!(matches!(resolve(&Disk::new(), temp.path()), Err(Error::NotFound { .. })));
    }

    #[test]
    fn a_saved_model_has_its_variables_in_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        let variables = temp.path().join("variables");
        std::fs::create_dir(&variables).unwrap();
        write(&variables, &["variables.index"]);
        assert_eq!(resolve(&Disk::new(), temp.path()).unwrap(), bundle(&variables, "variables"));
    }
}
