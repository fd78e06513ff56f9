//! Verifying more sequences than fit into memory.
//!
//! Every sequence runs through both lanes, a chunk at a time, and of each chunk only is kept how far the lanes are apart at
//! each step, and where. The whole judgement (oracle, ensemble, rounding bound, kill table) is passed on some of them,
//! in blocks that fit into memory: the first ones, a random sample, and those in which the lanes are furthest apart.
//! A sequence that is not judged cannot hide there: its lanes are no further apart than twice what is allowed from the
//! oracle, or it is judged too.

use std::collections::{BTreeMap, BTreeSet};

use crate::apart::StepApart;
use crate::bound::ActivationBudget;
use crate::inputs::{self, InputSpec};
use crate::lane::LaneError;
use crate::merge;
use crate::random::Stream;
use crate::screen::Screen;
use crate::sensitivity::Sensitivity;
use crate::verdict::{Reason, Verdict, conclude_on_device};
use crate::verify::{CellReport, Lanes, Subject, verify_more};

/// The first sequences are judged, as a run of the default size would.
const FIRST: usize = 64;
/// And so many drawn at random from all.
const SAMPLE: usize = 64;
/// And at most so many in which the lanes are furthest apart at some step.
const FURTHEST: usize = 128;
/// Up to so many sequences all are judged.
pub const ALL_JUDGED: usize = FIRST + SAMPLE + FURTHEST;

/// The stream that the sample is drawn from.
const STREAM: u32 = 1 << 26;

/// Of the memory allowed, the shares for what is screened and for what is judged at a time: the rest is for the program,
/// the driver, and what allocators keep. What is screened may lie on the device too.
const SCREENED: u64 = 4;
const JUDGED: u64 = 2;

/// Chunks are no larger, so that progress shows.
const LARGEST_CHUNK: usize = 1 << 15;

/// Bytes that one sequence takes while it is judged.
pub fn judged_bytes_per_sequence(subject: &Subject<'_>, spec: InputSpec) -> u64 {
    let cells = subject.truth.cells();
    let input = cells.first().map_or(0, |c| c.input_size()) as u64;
    // Truth and the lanes' traces of h, c and four gates, free and one step at a time: 200 bytes were measured for each
    // unit and step, and a quarter more are allowed for.
    let of_cell =
        |cell: &&lstm::Tf1Cell| 250 * cell.units().max(cell.recurrent_size()) as u64 + 40 * cell.input_size() as u64;
    let per_step = 40 * input + cells.iter().map(of_cell).sum::<u64>();
    per_step.saturating_mul(spec.timesteps as u64)
}

/// What is run, and within which limits.
pub struct Streaming<'a> {
    /// The two sides.
    pub subject: &'a Subject<'a>,
    /// The lanes.
    pub lanes: Lanes<'a>,
    /// What runs them over all sequences.
    pub screen: &'a dyn Screen,
    /// The sequences; the seed drives the sample and the ensemble too.
    pub spec: InputSpec,
    /// Bytes of memory to stay below.
    pub memory: u64,
    /// What activations may be off by.
    pub budget: &'a ActivationBudget,
}

/// What a streamed run found.
#[derive(Clone, Debug, Default)]
pub struct Streamed {
    /// Of each block of judged sequences, every cell.
    pub blocks: Vec<Vec<CellReport>>,
    /// Of every cell `[timesteps]`: how far the lanes are apart over all sequences. Empty if all were judged.
    pub screened: Vec<Vec<StepApart>>,
    /// Sequences judged.
    pub judged: usize,
    /// Values of h and c of every cell that were to be compared over all sequences.
    expected: Vec<u64>,
    /// What went wrong while screening.
    failure: Option<String>,
}

impl Streaming<'_> {
    /// Runs everything. `progress` is told how many sequences are done, of all, and what is being done.
    pub fn run(&self, progress: &dyn Fn(usize, &str)) -> Streamed {
        let sequences = self.spec.sequences;
        let mut streamed = Streamed::default();
        if sequences <= ALL_JUDGED {
            self.judge(&(0..sequences).collect::<Vec<_>>(), &mut streamed, progress);
            return streamed;
        }
        if u32::try_from(sequences).is_err() {
            streamed.failure = Some(format!("{sequences} sequences: at most {} can be numbered", u32::MAX));
            return streamed;
        }
        match self.screen(progress) {
            Ok(screened) => streamed.screened = screened,
            Err(message) => {
                streamed.failure = Some(message);
                return streamed;
            }
        }
        streamed.expected = self.expected();
        let chosen = self.chosen(&streamed.screened);
        self.judge(&chosen.iter().copied().collect::<Vec<_>>(), &mut streamed, progress);
        let more: BTreeSet<usize> = streamed.beyond().into_iter().map(|(_, _, n)| n).collect();
        let more: Vec<usize> = more.difference(&chosen).copied().take(FURTHEST).collect();
        self.judge(&more, &mut streamed, progress);
        streamed
    }

    fn screen(&self, progress: &dyn Fn(usize, &str)) -> Result<Vec<Vec<StepApart>>, String> {
        let Subject { truth, candidate, .. } = self.subject;
        let bytes = self.screen.bytes_per_sequence(truth, candidate, self.spec);
        let mut chunk = self.at_a_time(SCREENED, bytes).min(LARGEST_CHUNK);
        let cells = truth.cells().len();
        let mut all = vec![vec![StepApart::default(); self.spec.timesteps]; cells];
        let mut first = 0;
        while first < self.spec.sequences {
            progress(first, "lanes against each other");
            let end = (first + chunk).min(self.spec.sequences);
            let found = match self.screen.screen(truth, candidate, self.spec, first..end) {
                Ok(found) => found,
                // As likely as not it is out of memory, which half as many may not be.
                Err(LaneError::Device { .. } | LaneError::Panicked { .. }) if end - first > 1 => {
                    chunk = (end - first) / 2;
                    continue;
                }
                Err(error @ LaneError::Shape { .. }) => return Err(error.to_string()),
                Err(error) => return Err(format!("not even one sequence at a time: {error}")),
            };
            if found.len() != cells || found.iter().any(|steps| steps.len() != self.spec.timesteps) {
                return Err("the screened lanes gave missing or misshapen results".to_owned());
            }
            for (into, steps) in all.iter_mut().zip(&found) {
                into.iter_mut().zip(steps).for_each(|(into, step)| into.merge(step));
            }
            first = end;
        }
        progress(self.spec.sequences, "judging");
        Ok(all)
    }

    fn at_a_time(&self, share: u64, bytes_per_sequence: u64) -> usize {
        usize::try_from(self.memory / share / bytes_per_sequence.max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// Values of h and c that all sequences have, by cell.
    fn expected(&self) -> Vec<u64> {
        let steps: u64 = (0..self.spec.sequences).map(|n| inputs::length(self.spec, n) as u64).sum();
        self.subject.truth.cells().iter().map(|c| steps * (c.units() + c.recurrent_size()) as u64).collect()
    }

    /// The sequences to judge.
    fn chosen(&self, screened: &[Vec<StepApart>]) -> BTreeSet<usize> {
        let sequences = self.spec.sequences;
        let stream = Stream::new(self.spec.seed, STREAM);
        let mut chosen: BTreeSet<usize> = (0..FIRST.min(sequences)).collect();
        chosen.extend((0..SAMPLE).map(|k| stream.below(k as u64, sequences as u32) as usize));
        // At how many steps a sequence is the furthest: h and c of every cell.
        let mut furthest: BTreeMap<usize, usize> = BTreeMap::new();
        for apart in screened.iter().flatten().flat_map(|step| [&step.h, &step.c]) {
            if let Some(seen) = apart.first_non_finite {
                chosen.insert(seen.sequence);
            }
            if let Some(seen) = apart.abs {
                *furthest.entry(seen.sequence).or_default() += 1;
            }
        }
        let mut furthest: Vec<(usize, usize)> = furthest.into_iter().collect();
        furthest.sort_by_key(|(sequence, steps)| (std::cmp::Reverse(*steps), *sequence));
        chosen.extend(furthest.iter().take(FURTHEST).map(|(sequence, _)| *sequence));
        chosen
    }

    /// The whole judgement of these sequences, block by block.
    fn judge(&self, sequences: &[usize], streamed: &mut Streamed, progress: &dyn Fn(usize, &str)) {
        let at_a_time = self.at_a_time(JUDGED, judged_bytes_per_sequence(self.subject, self.spec)).min(FIRST);
        let mut shown: Vec<Sensitivity> =
            streamed.blocks.first().into_iter().flatten().map(|cell| cell.sensitivity.clone()).collect();
        for block in sequences.chunks(at_a_time) {
            let batch = inputs::draw_some(self.spec, block, self.subject.truth);
            let done = self.spec.sequences;
            let tick = |_: usize| progress(done, "judging");
            let mut reports = verify_more(self.subject, self.lanes, &batch, self.spec.seed, self.budget, &shown, &tick);
            merge::renumber(&mut reports, block);
            streamed.judged += block.len();
            shown = merge::shown(&shown, &reports);
            streamed.blocks.push(reports);
        }
        merge::share(&mut streamed.blocks);
    }
}

impl Streamed {
    /// One report of each cell, of all judged sequences together.
    pub fn cells(&self) -> Vec<CellReport> {
        merge::merge(&self.blocks)
    }

    /// How far the lanes of a cell may be apart at a step: each may be as far from the oracle as right runs are.
    fn allowed(&self, cell: usize, t: usize) -> f64 {
        let steps = self.blocks.iter().filter_map(|block| block.get(cell)?.steps.get(t));
        let limits = steps.map(|s| if s.carried.saturated { f64::MAX } else { 2.0 * s.carried.allowed });
        limits.filter(|limit| !limit.is_nan()).fold(0.0, f64::max)
    }

    /// Cell, step and sequence wherever the lanes are further apart than that.
    fn beyond(&self) -> Vec<(usize, usize, usize)> {
        let mut found = vec![];
        for (cell, steps) in self.screened.iter().enumerate() {
            for (t, step) in steps.iter().enumerate() {
                let limit = self.allowed(cell, t);
                let far = [step.h, step.c].into_iter().filter_map(|apart| apart.abs).filter(|seen| {
                    let within = seen.abs() <= limit;
                    !within
                });
                found.extend(far.map(|seen| (cell, t, seen.sequence)));
            }
        }
        found
    }

    /// Judges each block, and what was seen in the sequences that no block holds. Nothing judged is inconclusive.
    pub fn conclude(&self, self_check_failures: &[String]) -> (Verdict, Vec<Reason>) {
        let mut reasons: Vec<Reason> = vec![];
        for block in &self.blocks {
            let (_, of_block) = conclude_on_device(block, self_check_failures);
            // The first block that has something to say of a cell says it; others would repeat it.
            let new = |r: &Reason| !reasons.iter().any(|old| (&old.cell, old.verdict) == (&r.cell, r.verdict));
            let new: Vec<Reason> = of_block.into_iter().filter(new).collect();
            reasons.extend(new);
        }
        if self.blocks.is_empty() {
            reasons.extend(conclude_on_device(&[], self_check_failures).1);
        }
        if let Some(failure) = &self.failure {
            let text = format!("the lanes did not run over all sequences: {failure}");
            reasons.push(Reason { verdict: Verdict::Inconclusive, cell: String::new(), text });
        }
        reasons.extend(self.of_screened());
        reasons.sort_by_key(|r| std::cmp::Reverse(r.verdict));
        (reasons.iter().map(|r| r.verdict).max().unwrap_or(Verdict::Pass), reasons)
    }

    /// What speaks against a pass in the sequences that were not judged: never a fail, for only the oracle fails a
    /// candidate, and it judged the worst of them.
    fn of_screened(&self) -> Vec<Reason> {
        let Some(first) = self.blocks.first() else { return vec![] };
        let mut reasons = vec![];
        for (cell, steps) in self.screened.iter().enumerate() {
            let name = first.get(cell).map_or_else(String::new, |report| report.name.clone());
            let mut say = |text| reasons.push(Reason { verdict: Verdict::Inconclusive, cell: name.clone(), text });
            let (count, expected) =
                (steps.iter().map(|s| s.states().count).sum::<u64>(), self.expected.get(cell).copied().unwrap_or(0));
            if count != expected || count == 0 {
                say(format!("over all sequences {count} values were compared: expected {expected}"));
            }
            let not_finite: u64 = steps.iter().map(|s| s.states().non_finite).sum();
            if let Some(seen) = steps.iter().find_map(|s| s.states().first_non_finite) {
                say(format!(
                    "over all sequences {not_finite} values are not finite, first in sequence {}",
                    seen.sequence
                ));
            }
            if let Some((_, t, sequence)) = self.beyond().into_iter().find(|(of, ..)| *of == cell) {
                say(format!(
                    "over all sequences, first at step {t}: the lanes are {:.2e} apart in sequence {sequence}, where right \
                     runs are at most {:.2e} apart",
                    steps[t].states().max_abs(),
                    self.allowed(cell, t)
                ));
            }
        }
        reasons
    }
}
