//! Verifying more sequences than fit into memory: see `parity::streaming`.

use lanes::{Device, DeviceScreen};
use parity::streaming::{self, ALL_JUDGED};
use parity::{ActivationBudget, CellReport, InputSpec, Lanes, Reason, Streamed, Streaming, Verdict};
use report::document;

use crate::args;
use crate::candidate::Candidate;
use crate::comparison::{self, subject_of};
use crate::error::CliError;
use crate::free_memory;
use crate::progress::Progress;
use crate::source::Subject;

/// Runs of up to so many sequences are judged as a whole, whatever they take.
const ALWAYS_WHOLE: usize = 64;

/// The sequences of a run.
pub(crate) fn spec(args: &args::Verify) -> InputSpec {
    InputSpec { sequences: args.sequences, timesteps: args.timesteps, seed: args.seed }
}

/// The same run in the memory that it may have: what was asked for, or half of what is free if that is less. Whatever is
/// said of the run afterwards says so too.
pub(crate) fn sized(args: &args::Verify) -> args::Verify {
    let half = free_memory::free().map_or(u64::MAX, |free| free / 2);
    args::Verify { memory: args.memory.min(half.max(args::LEAST_MEMORY)), ..args.clone() }
}

/// Whether the run is more than `--memory` holds.
///
/// # Errors
/// If the least that must be judged at once does not fit into what is free.
pub(crate) fn applies(args: &args::Verify, subjects: &[Subject], candidates: &[Candidate]) -> Result<bool, CliError> {
    if args.inputs.is_some() {
        return Ok(false);
    }
    let spec = spec(args);
    let of_network = |(subject, candidate): (&Subject, &Candidate)| {
        streaming::judged_bytes_per_sequence(&subject_of(subject, candidate), spec)
    };
    let per_sequence = subjects.iter().zip(candidates).map(of_network).max().unwrap_or(0);
    let whole = per_sequence.saturating_mul(spec.sequences as u64);
    let streams = args.sequences > ALWAYS_WHOLE && whole > args.memory / 2;
    free_memory::check(if streams { per_sequence } else { whole })?;
    Ok(streams)
}

/// What a streamed run found of all networks.
pub(crate) struct Found {
    /// Of the judged sequences.
    pub(crate) cells: Vec<CellReport>,
    /// Of all sequences, one a cell; absent where all were judged.
    pub(crate) screened: Vec<Option<document::Screened>>,
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<Reason>,
    /// Sequences judged of each network, at least; absent where that is all.
    pub(crate) judged: Option<usize>,
    /// What was assumed.
    pub(crate) note: Option<String>,
}

pub(crate) fn compare(
    args: &args::Verify,
    subjects: &[Subject],
    candidates: &[Candidate],
    lanes: Lanes<'_>,
    device: &Device,
    (budget, failures): (&ActivationBudget, &[String]),
) -> Found {
    let spec = spec(args);
    let screen = DeviceScreen::new(device.clone());
    let total = (spec.sequences as u64).saturating_mul(subjects.len() as u64);
    let progress = Progress::stages("verifying", total, args.display.look.quiet);
    let mut found =
        Found { cells: vec![], screened: vec![], verdict: Verdict::Pass, reasons: vec![], judged: None, note: None };
    for (index, (subject, candidate)) in subjects.iter().zip(candidates).enumerate() {
        let comparison = subject_of(subject, candidate);
        let streaming = Streaming { subject: &comparison, lanes, screen: &screen, spec, memory: args.memory, budget };
        let tick = |done: usize, what: &str| {
            progress.set((index * spec.sequences + done) as u64);
            progress.say(&format!("{}: {what}", report::printable(&subject.name)));
        };
        let mut streamed = streaming.run(&tick);
        for report in streamed.blocks.iter_mut().flat_map(|block| block.iter_mut().zip(&candidate.settings)) {
            let (report, settings) = report;
            report.weights.settings.extend(settings.iter().cloned());
        }
        let (verdict, reasons) = streamed.conclude(failures);
        found.verdict = found.verdict.max(verdict);
        found.reasons.extend(reasons);
        let cells = streamed.cells();
        found.reasons.extend(tolerances(&cells, &streamed, args));
        for cell in 0..cells.len() {
            let steps = streamed.screened.get(cell);
            found.screened.push(steps.map(|s| document::Screened::new(s, spec.sequences, streamed.judged)));
        }
        if spec.sequences > ALL_JUDGED {
            found.judged = Some(found.judged.map_or(streamed.judged, |least| least.min(streamed.judged)));
        }
        found.cells.extend(cells);
    }
    if found.judged.is_some() {
        found.note = Some(
            "judged were the first 64 sequences, 64 drawn at random, and those in which the lanes are furthest apart"
                .to_owned(),
        );
    }
    found.reasons.sort_by_key(|r| std::cmp::Reverse(r.verdict));
    found
}

/// `--atol` and `--rtol`, over all sequences.
fn tolerances(cells: &[CellReport], streamed: &Streamed, args: &args::Verify) -> Vec<Reason> {
    let mut reasons = comparison::tolerances(cells, args.atol, args.rtol);
    for (cell, steps) in cells.iter().zip(&streamed.screened) {
        if reasons.iter().any(|r| r.cell == cell.name) {
            continue;
        }
        let beyond = steps.iter().enumerate().find_map(|(t, step)| {
            let states = step.states();
            comparison::beyond(args.atol, args.rtol, states.max_abs(), states.max_rel()).map(|how| (t, how))
        });
        if let Some((t, how)) = beyond {
            let text = format!("over all sequences, first at step {t}: {how}");
            reasons.push(Reason { verdict: Verdict::Fail, cell: cell.name.clone(), text });
        }
    }
    reasons
}
