//! What is made of a suite's results, and the exit code.

use std::io::Write;
use std::path::{Path, PathBuf};

use report::document::{Outcome, Suite, SuiteShard, Timings};
use serde::Serialize;

use super::baseline::{self, Baseline};
use super::options::{Annotations, Outputs};
use super::parts;
use super::shard::Shard;
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Code;
use crate::output;

/// Writes everything that was asked for.
pub(crate) fn write(
    outputs: &Outputs,
    mut report: Suite,
    timings: &Timings,
    shard: Option<Shard>,
) -> Result<Code, CliError> {
    let mut refused = String::new();
    let mut files: Vec<(PathBuf, Vec<u8>)> = vec![];
    if let Some(path) = &outputs.baseline {
        let accepted = outputs.accept && report.counts.unexpected == 0;
        if path.exists() || !outputs.accept {
            let mut comparison = Baseline::read(path)?.compare(path, &report, timings, outputs.slower);
            if accepted {
                comparison.accept();
            } else {
                report.outcome = baseline::outcome(report.outcome, &comparison);
            }
            report.baseline = Some(comparison);
        }
        if accepted {
            files.push((path.clone(), json(&Baseline::of(&report, timings))?));
        } else if outputs.accept {
            refused = format!("note: {} is left as it was: not every case ended as expected\n", path.display());
        }
    }
    let document = match shard {
        None => json(&report)?,
        Some(Shard { index, of }) => json(&SuiteShard {
            schema: parts::SCHEMA.to_owned(),
            shard: index,
            of,
            report: report.clone(),
            timings: timings.clone(),
        })?,
    };
    files.extend(outputs.junit.iter().map(|path| (path.clone(), report::junit(&report, timings).into_bytes())));
    files.extend(outputs.summary.iter().map(|path| (path.clone(), report::summary(&report).into_bytes())));
    files.extend(outputs.results.iter().map(|path| (path.clone(), document.clone())));
    // All of them or none: a baseline is not accepted by a run whose results were lost.
    output::write_all(&files)?;
    let annotations = match outputs.annotations {
        None => String::new(),
        Some(Annotations::Github) => report::github_annotations(&report),
    };
    // A log that has gone away is no reason to lose the result.
    let _gone = std::io::stderr().write_all((annotations + &refused).as_bytes());
    let style = outputs.display.look.style();
    match outputs.display.format {
        Format::Json => output::print(&String::from_utf8_lossy(&document))?,
        Format::Human if outputs.display.look.quiet => output::print(&report::suite_verdict_line(&report, style))?,
        Format::Human => output::print(&report::suite_text(&report, style))?,
    }
    Ok(match report.outcome {
        Outcome::AsExpected => Code::Pass,
        Outcome::Unexpected => Code::Fail,
        Outcome::Inconclusive => Code::Inconclusive,
    })
}

/// Finds out before anything runs whether a baseline can be read.
pub(crate) fn check(outputs: &Outputs) -> Result<(), CliError> {
    match &outputs.baseline {
        Some(path) if path.exists() || !outputs.accept => Baseline::read(path).map(drop),
        _ => Ok(()),
    }
}

/// No result replaces a file that was read, nor another result. `inputs` finds the files that are read, in whatever time
/// that takes: what is not there yet can be none of them.
pub(crate) fn refuse_to_overwrite(
    outputs: &Outputs,
    state: Option<&Path>,
    inputs: impl FnOnce() -> Vec<PathBuf>,
) -> Result<(), CliError> {
    let written: Vec<&Path> = [&outputs.results, &outputs.junit, &outputs.summary, &outputs.baseline]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    for (index, path) in written.iter().enumerate() {
        written[..index].iter().copied().chain(state).try_for_each(|other| output::refuse_one_for_two(other, path))?;
    }
    let inputs = if written.iter().any(|path| path.exists()) { inputs() } else { vec![] };
    for path in written {
        output::refuse_to_overwrite(path, &inputs).map_err(|error| match error {
            CliError::OutputIsInput(path) => CliError::OutputIsRead(path),
            other => other,
        })?;
    }
    Ok(())
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, CliError> {
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|e| CliError::Stdout(e.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
