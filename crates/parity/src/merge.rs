//! Reports of several blocks of sequences as one, for reading; the verdict is passed on each block by itself.

use crate::carried::CarriedStep;
use crate::divergence::PerQuantity;
use crate::local_error::LocalError;
use crate::sensitivity::Sensitivity;
use crate::verify::{CellReport, StepReport};

/// Gives the sequences of a block the numbers they have in the whole run.
pub(crate) fn renumber(reports: &mut [CellReport], sequences: &[usize]) {
    let number = |sequence: &mut usize| *sequence = sequences.get(*sequence).copied().unwrap_or(*sequence);
    for report in reports {
        for step in &mut report.steps {
            step.carried.lanes.0.iter_mut().filter_map(|d| d.at.as_mut()).for_each(|at| number(&mut at.sequence));
            for local in [&mut step.tf1_local, &mut step.keras_local] {
                local.0.iter_mut().filter_map(|e| e.at.as_mut()).for_each(|at| number(&mut at.sequence));
            }
        }
        if let Some(heat) = &mut report.heat {
            number(&mut heat.sequence);
        }
        if sequences.iter().enumerate().any(|(index, sequence)| index != *sequence) {
            let among = format!(
                "in the block of sequences {} to {}, counted from its first: ",
                sequences[0],
                sequences[sequences.len() - 1]
            );
            for failure in report.lane_failures.iter_mut().chain(&mut report.batch_dependence) {
                failure.text.insert_str(0, &among);
            }
        }
    }
}

/// What only all blocks together say of a cell: a fault that shows in one was seen, and an output that changes in one
/// is no constant.
pub(crate) fn share(blocks: &mut [Vec<CellReport>]) {
    let Some(cells) = blocks.first().map(Vec::len) else { return };
    for cell in 0..cells {
        let of_cell = || blocks.iter().filter_map(|block| block.get(cell));
        let degenerate = of_cell().all(|report| report.degenerate);
        let best = of_cell().map(|report| report.sensitivity.clone()).reduce(better);
        for report in blocks.iter_mut().filter_map(|block| block.get_mut(cell)) {
            report.degenerate = degenerate;
            if let Some(best) = &best {
                report.sensitivity = best.clone();
            }
        }
    }
}

/// What has been shown of each cell, with one more block.
pub(crate) fn shown(before: &[Sensitivity], reports: &[CellReport]) -> Vec<Sensitivity> {
    let now = reports.iter().map(|report| report.sensitivity.clone());
    now.enumerate().map(|(cell, now)| before.get(cell).cloned().map_or(now.clone(), |b| better(b, now))).collect()
}

/// For each fault the block in which it showed most.
fn better(a: Sensitivity, b: Sensitivity) -> Sensitivity {
    let kills = a.kills.iter().map(|kill| {
        let other = b.kills.iter().find(|other| other.fault == kill.fault);
        match other {
            // A fault that cannot show has no margin.
            Some(other)
                if other.detected > kill.detected || other.detected == kill.detected && other.margin > kill.margin =>
            {
                other.clone()
            }
            _ => kill.clone(),
        }
    });
    Sensitivity { kills: kills.collect(), smallest_change: a.smallest_change }
}

/// One report of each cell.
pub(crate) fn merge(blocks: &[Vec<CellReport>]) -> Vec<CellReport> {
    let Some((first, rest)) = blocks.split_first() else { return vec![] };
    let mut merged = first.clone();
    for block in rest {
        for (into, report) in merged.iter_mut().zip(block) {
            into.compared += report.compared;
            into.expected += report.expected;
            into.lane_failures.extend(report.lane_failures.iter().cloned());
            into.batch_dependence.extend(report.batch_dependence.iter().cloned());
            for (into, clip) in into.clips.iter_mut().zip(&report.clips) {
                into.largest = into.largest.max(clip.largest);
                into.reached |= clip.reached;
            }
            let furthest = |heat: &Option<crate::Heat>| {
                heat.as_ref().map_or(-1.0, |h| {
                    h.apart.iter().flatten().fold(0.0, |m: f64, v| if v.is_nan() { f64::INFINITY } else { m.max(*v) })
                })
            };
            if furthest(&report.heat) > furthest(&into.heat) {
                into.heat = report.heat.clone();
            }
            into.steps = into.steps.iter().zip(&report.steps).map(|(a, b)| both(a, b)).collect();
        }
    }
    merged
}

fn both(a: &StepReport, b: &StepReport) -> StepReport {
    StepReport {
        t: a.t,
        carried: carried(&a.carried, &b.carried),
        tf1_local: local(&a.tf1_local, &b.tf1_local),
        keras_local: local(&a.keras_local, &b.keras_local),
    }
}

/// The lanes' divergence of both; of what each is judged by, that of the block that comes nearer to its limit.
fn carried(a: &CarriedStep, b: &CarriedStep) -> CarriedStep {
    let nearness = |step: &CarriedStep| {
        let distances = step.tf1_from_oracle.states().iter().chain(step.keras_from_oracle.states());
        let limit = if step.saturated { f64::MAX } else { step.allowed };
        // What is not a number is beyond any limit, and a step at which nothing was compared comes nowhere near.
        let worst = distances.fold(0.0f64, |m, d| if d.is_nan() { f64::INFINITY } else { m.max(*d / limit) });
        if step.states().count == 0 { -1.0 } else { worst }
    };
    let mut lanes = a.lanes;
    lanes.0.iter_mut().zip(&b.lanes.0).for_each(|(into, other)| *into = into.merge(other));
    let further = if b.states().max_abs > a.states().max_abs { b } else { a };
    let graver = if nearness(b) > nearness(a) { b } else { a };
    CarriedStep { lanes, truth_there: further.truth_there, ..*graver }
}

fn local(a: &PerQuantity<LocalError>, b: &PerQuantity<LocalError>) -> PerQuantity<LocalError> {
    let mut merged = *a;
    for (into, other) in merged.0.iter_mut().zip(&b.0) {
        let graver = |a: &LocalError, b: &LocalError| (a.non_finite > 0, a.ratio) > (b.non_finite > 0, b.ratio);
        let worst = if into.count == 0 || graver(other, into) { *other } else { *into };
        *into = LocalError {
            max_abs: into.max_abs.max(other.max_abs),
            worst_case_ratio: into.worst_case_ratio.max(other.worst_case_ratio),
            count: into.count + other.count,
            non_finite: into.non_finite + other.non_finite,
            ..worst
        };
    }
    merged
}
