//! `gatewise suite merge`: the results of all parts, put together as if the suite had been run whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use report::document::{Suite, SuiteCase, SuiteShard, Timings};

use crate::error::CliError;

/// Results beyond this many bytes are none that gatewise wrote.
const LARGEST: u64 = 1 << 30;
/// The schema of a part.
pub(crate) const SCHEMA: &str = "gatewise.suite-shard/1";

/// Reads every part and puts them together; cases are in the order of the suite.
pub(crate) fn merge(paths: &[PathBuf]) -> Result<(Suite, Timings), CliError> {
    let parts = paths.iter().map(|path| Ok((path.as_path(), read(path)?))).collect::<Result<Vec<_>, CliError>>()?;
    merged(parts)
}

fn read(path: &Path) -> Result<SuiteShard, CliError> {
    let failed = |source| CliError::File { doing: "reading", file: path.to_owned(), source };
    let wrong = |problem| CliError::Shards { file: path.to_owned(), problem };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(wrong(format!("{length} bytes: results have at most {LARGEST}")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(format!("no JSON: {e}")))?;
    match document.get("schema").and_then(|s| s.as_str()) {
        Some(SCHEMA) => {}
        Some("gatewise.suite/1") => {
            return Err(wrong("it is the result of a whole suite, not of a part (--shard)".to_owned()));
        }
        found => return Err(wrong(format!("its schema is {found:?}: expected {SCHEMA:?}"))),
    }
    serde_json::from_value(document).map_err(|e| wrong(e.to_string()))
}

fn merged(parts: Vec<(&Path, SuiteShard)>) -> Result<(Suite, Timings), CliError> {
    let Some((first_path, first)) = parts.first() else { return Err(CliError::NothingRun("no parts".to_owned())) };
    let mut whole = first.report.clone();
    let of = first.of;
    let (first_path, wrong) = (*first_path, |file: &Path, problem| CliError::Shards { file: file.to_owned(), problem });
    let mut seen: BTreeMap<usize, &Path> = BTreeMap::new();
    let mut cases: BTreeMap<usize, SuiteCase> = BTreeMap::new();
    let mut timings = Timings::new();
    for (path, part) in parts.iter().map(|(path, part)| (*path, part)) {
        let other = |what: &str, here: &str, there: &str| {
            wrong(
                path,
                format!(
                    "{what} is {here}, and that of {} is {there}: they are not parts of one run",
                    first_path.display()
                ),
            )
        };
        let (here, there) = (&part.report, &whole);
        if here.suite.sha256 != there.suite.sha256 {
            return Err(other("its suite file's digest", &here.suite.sha256, &there.suite.sha256));
        }
        if here.version != there.version {
            return Err(other("its version of gatewise", &here.version, &there.version));
        }
        if (&here.suite.plan, here.suite.cases) != (&there.suite.plan, there.suite.cases) {
            return Err(other("the digest of its cases", &here.suite.plan, &there.suite.plan));
        }
        if part.of != of {
            return Err(other("its number of parts", &part.of.to_string(), &of.to_string()));
        }
        if let Some(twice) = seen.insert(part.shard, path) {
            return Err(wrong(path, format!("part {} of {of} is in {} too", part.shard, twice.display())));
        }
        for case in &part.report.cases {
            let (index, name) = (case.index, case.name.clone());
            if let Some(twice) = cases.insert(index, case.clone()) {
                return Err(wrong(path, format!("case {index} ({name}) is in another part too, as {}", twice.name)));
            }
        }
        timings.extend(part.timings.clone());
    }
    let missing: Vec<String> = (1..=of).filter(|i| !seen.contains_key(i)).take(20).map(|i| i.to_string()).collect();
    if !missing.is_empty() || seen.len() != of {
        let problem = format!("part {} of {of} is missing", missing.join(", "));
        return Err(wrong(first_path, problem));
    }
    if !cases.keys().copied().eq(0..whole.suite.cases) {
        let problem = format!("all parts together have {} of {} cases", cases.len(), whole.suite.cases);
        return Err(wrong(first_path, problem));
    }
    whole.cases = cases.into_values().collect();
    let mut names: Vec<&String> = whole.cases.iter().map(|c| &c.name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(wrong(first_path, format!("two cases are named {:?}", pair[0])));
    }
    Ok((whole, timings))
}
