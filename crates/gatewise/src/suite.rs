//! `gatewise suite`: many verifications, for a pipeline.
//!
//! read (the suite file; what it may say is in file) → plan (its cases) → shard (those of this part) → run (with the
//! journal) → judged against what was expected → baseline → outputs. `merge` joins the results of parts and goes on from
//! there.

mod baseline;
mod file;
mod host;
mod journal;
mod key;
mod options;
mod outputs;
mod parts;
mod plan;
mod progress;
mod read;
mod run;
mod shard;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use disk::Disk;
use report::document::{Counts, Ending, Expected, Finding, Outcome, Suite, SuiteCase, SuiteFile, Timings};

use crate::error::CliError;
use crate::exit::Code;
use crate::store::Store;

pub(crate) use options::Suite as Options;

/// Runs a suite or a part of it, or joins parts.
pub(crate) fn run(options: &Options) -> Result<Code, CliError> {
    if let Some(options::SuiteCommand::Merge(merge)) = &options.merge {
        outputs::refuse_to_overwrite(&merge.outputs, None, || merge.parts.clone())?;
        let (report, timings) = parts::merge(&merge.parts)?;
        return outputs::write(&merge.outputs, counted(report), &timings, None);
    }
    let Some(path) = &options.file else { return Err(CliError::NothingRun("no suite file".to_owned())) };
    let read = read::SuiteFile::read(path)?;
    let plan = plan::plan(&read, &options.device)?;
    let shard = options.shard.map(|shard| shard.resolve(|name| std::env::var(name).ok())).transpose()?;
    let cases = shard.map_or_else(|| plan.cases.iter().collect(), |shard| shard.take(&plan.cases));
    if cases.is_empty() {
        let part = shard.map_or_else(String::new, |s| format!("part {} of {} of ", s.index, s.of));
        let problem = format!("{part}{}, which has {} cases", path.display(), plan.cases.len());
        return Err(CliError::NothingRun(problem));
    }
    outputs::refuse_to_overwrite(&options.outputs, options.state.as_deref(), || inputs(path, &plan))?;
    // What cannot be read at the end is better known before.
    outputs::check(&options.outputs)?;

    let journal = options.state.as_deref().map(journal::Journal::open).transpose()?;
    let quiet = options.outputs.display.look.quiet;
    if let Some(broken) = journal.as_ref().map(|j| j.broken).filter(|broken| *broken > 0 && !quiet) {
        eprintln!("note: {broken} lines of the state file are not whole, and are ignored");
    }
    let host = host::Host::here(journal.is_some());
    let progress = progress::Progress::new(cases.len(), quiet);
    let jobs = options.jobs.unwrap_or_else(host::cores).min(cases.len());
    let runner =
        run::Runner { jobs, host: &host, journal: journal.as_ref(), progress: &progress, judge: &crate::verify::judge };
    let done = runner.run(&cases)?;

    let timings: Timings = cases.iter().zip(&done).map(|(case, done)| (case.name.clone(), done.time.clone())).collect();
    let cases = cases.iter().zip(done).map(|(case, done)| judged(case, done.finding)).collect();
    let report = Suite {
        schema: "gatewise.suite/1".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        suite: SuiteFile {
            path: path.display().to_string(),
            sha256: read.sha256,
            plan: plan.sha256,
            cases: plan.cases.len(),
        },
        outcome: Outcome::Unexpected,
        counts: Counts::default(),
        cases,
        baseline: None,
    };
    outputs::write(&options.outputs, counted(report), &timings, shard)
}

/// Files that no result may replace: all that the cases read, as they would find them now.
fn inputs(suite: &Path, plan: &plan::Plan) -> Vec<PathBuf> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::from([suite.to_owned()]);
    let mut models: BTreeSet<&Path> = BTreeSet::new();
    for case in &plan.cases {
        let verify = &case.verify;
        files.extend(verify.inputs.iter().chain(&verify.source.map).cloned());
        models.insert(&verify.source.checkpoint);
        models.extend(verify.candidate.as_deref());
    }
    let disk = Disk::new();
    for path in models {
        files.insert(path.to_owned());
        // A checkpoint is called by a prefix, a folder or one of its files, and reads others. What cannot be opened is an
        // error of its case.
        files.extend(Store::open(&disk, path).map(|store| store.files).unwrap_or_default());
    }
    files.into_iter().collect()
}

/// A finding beside what was expected.
fn judged(case: &plan::Case, found: Finding) -> SuiteCase {
    SuiteCase {
        index: case.index,
        name: case.name.clone(),
        line: case.line,
        unexpected: differences(&case.expected, &found),
        expected: case.expected.clone(),
        found,
        command: case.command.clone(),
    }
}

/// What differs from what was expected.
fn differences(expected: &Expected, found: &Finding) -> Vec<String> {
    let mut differences = vec![];
    if expected.verdict != found.verdict {
        differences.push(format!("expected {}, found {}", expected.verdict, found.verdict));
    }
    if let Some(fault) = expected.fault.as_ref().filter(|fault| !found.faults.contains(fault)) {
        let found = if found.faults.is_empty() { "none".to_owned() } else { found.faults.join(", ") };
        differences.push(format!("expected the fault {fault}, found {found}"));
    }
    if let Some(says) = expected.says.as_ref().filter(|says| !found.reasons.iter().any(|r| r.contains(*says))) {
        differences.push(format!("expected a reason that says {says:?}"));
    }
    differences
}

/// The report with its cases counted and its outcome.
fn counted(mut report: Suite) -> Suite {
    let mut counts = Counts { cases: report.cases.len(), ..Counts::default() };
    for case in &report.cases {
        match case.found.verdict {
            Ending::Pass => counts.pass += 1,
            Ending::Fail => counts.fail += 1,
            Ending::Inconclusive => counts.inconclusive += 1,
            Ending::Error => counts.error += 1,
        }
    }
    let unexpected = || report.cases.iter().filter(|c| !c.unexpected.is_empty());
    counts.unexpected = unexpected().count();
    report.outcome = if counts.unexpected == 0 && counts.cases > 0 {
        Outcome::AsExpected
    } else if counts.cases > 0 && unexpected().all(|c| c.found.verdict == Ending::Inconclusive) {
        Outcome::Inconclusive
    } else {
        Outcome::Unexpected
    };
    report.counts = counts;
    report
}
