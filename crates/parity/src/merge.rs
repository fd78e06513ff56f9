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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clips::{ClipUse, Clipped};
    use crate::divergence::{Place, Quantity};
    use crate::sensitivity::Kill;
    use crate::weights::WeightsReport;
    use crate::{Heat, LaneFailure, Side};
    use lstm::Direction;
    use lstm::fault::Fault;
    use ndarray::Array2;

    fn place(sequence: usize, found: f64) -> Place {
        Place { quantity: Quantity::Hidden, sequence, unit: 0, expected: 0.0, found }
    }

    fn local_error(sequence: usize, ratio: f64) -> LocalError {
        let at = Some(place(sequence, ratio));
        LocalError { max_abs: ratio, ratio, bound: 1.0, worst_case_ratio: ratio / 8.0, count: 1, non_finite: 0, at }
    }

    /// One value of each quantity was compared, in this sequence, with this difference.
    fn step(sequence: usize, apart: f64) -> StepReport {
        let mut carried = CarriedStep { allowed: 1.0, ..CarriedStep::default() };
        carried.lanes.0.iter_mut().for_each(|lanes| lanes.add(place(sequence, apart)));
        let local = PerQuantity([local_error(sequence, apart); 6]);
        StepReport { t: 0, carried, tf1_local: local, keras_local: local }
    }

    fn failure(text: &str) -> LaneFailure {
        LaneFailure { side: Side::Keras, text: text.to_owned() }
    }

    fn report(steps: Vec<StepReport>) -> CellReport {
        CellReport {
            name: "cell".to_owned(),
            candidate: "lstm".to_owned(),
            place: lstm::Place { layer: 0, direction: Direction::Forward },
            input_size: 1,
            units: 1,
            weights: WeightsReport { tensors: vec![], settings: vec![] },
            compared: 5,
            expected: 3,
            steps,
            sensitivity: Sensitivity::default(),
            degenerate: false,
            clips: vec![],
            heat: None,
            lane_failures: vec![],
            batch_dependence: vec![],
        }
    }

    fn heat(sequence: usize, apart: &[Option<f64>]) -> Option<Heat> {
        Some(Heat { sequence, apart: Array2::from_shape_vec((1, apart.len()), apart.to_vec()).unwrap() })
    }

    fn kills(rows: &[(Fault, Option<bool>, f64)]) -> Sensitivity {
        let kill = |(fault, detected, margin): &(Fault, Option<bool>, f64)| Kill {
            fault: fault.clone(),
            detected: *detected,
            margin: *margin,
            why: None,
        };
        Sensitivity { kills: rows.iter().map(kill).collect(), smallest_change: None }
    }

    #[test]
    fn sequences_of_a_block_get_the_numbers_they_have_in_the_run() {
        let numbered = |sequences: &[usize], number: usize| {
            let mut one = report(vec![step(number, 0.5)]);
            one.heat = heat(number, &[Some(0.5)]);
            one.lane_failures = vec![failure("lost")];
            one.batch_dependence = vec![failure("differs")];
            let mut reports = [one];
            renumber(&mut reports, sequences);
            let [one] = reports;
            let step = &one.steps[0];
            let lanes = step.carried.lanes.0.iter().map(|d| d.at.unwrap().sequence);
            let locals = step.tf1_local.0.iter().chain(&step.keras_local.0).map(|e| e.at.unwrap().sequence);
            let mut all: Vec<usize> = lanes.chain(locals).chain([one.heat.unwrap().sequence]).collect();
            all.dedup();
            let texts = one.lane_failures.into_iter().chain(one.batch_dependence).map(|f| f.text).collect::<Vec<_>>();
            (all, texts)
        };
        let plain = vec!["lost".to_owned(), "differs".to_owned()];
        let among = |text: &str| format!("in the block of sequences 5 to 9, counted from its first: {text}");
        assert_eq!(numbered(&[5, 9], 1), (vec![9], vec![among("lost"), among("differs")]));
        assert_eq!(numbered(&[0, 1], 1), (vec![1], plain.clone()), "the first block");
        assert_eq!(numbered(&[0, 1], 7), (vec![7], plain), "one that is not there keeps its number");
    }

    #[test]
    fn of_each_fault_the_block_counts_in_which_it_showed_most() {
        let (a, b) = (Fault::BiasMissing, Fault::StateSwapped);
        let cases = [
            ((Some(true), 2.0), (Some(true), 3.0), 3.0),
            ((Some(true), 3.0), (Some(true), 2.0), 3.0),
            ((Some(true), 1.5), (Some(false), 9.0), 1.5),
            ((Some(false), 9.0), (Some(true), 1.5), 1.5),
            ((None, 0.0), (Some(false), 0.5), 0.5),
            ((Some(false), 0.5), (None, 0.0), 0.5),
            ((Some(true), f64::INFINITY), (Some(true), 2.0), f64::INFINITY),
        ];
        for (first, second, margin) in cases {
            let of = |(detected, margin)| kills(&[(b.clone(), Some(true), 7.0), (a.clone(), detected, margin)]);
            let best = better(of(first), of(second));
            assert_eq!((best.kills.len(), best.kills[1].margin), (2, margin), "{first:?} {second:?}");
            assert_eq!(best.kills[1].detected, first.0.max(second.0));
        }
        let other_order = better(kills(&[(a.clone(), Some(true), 2.0)]), kills(&[(b, Some(true), 9.0)]));
        assert_eq!(other_order, kills(&[(a, Some(true), 2.0)]), "faults are told apart by what they are");
    }

    #[test]
    fn blocks_share_what_only_all_of_them_know() {
        let with = |degenerate, margin| {
            let sensitivity = kills(&[(Fault::BiasMissing, Some(true), margin)]);
            CellReport { degenerate, sensitivity, ..report(vec![]) }
        };
        for (flags, all) in [([true, false], false), ([false, true], false), ([true, true], true)] {
            let mut blocks =
                vec![vec![with(true, 2.0), with(flags[0], 4.0)], vec![with(true, 3.0), with(flags[1], 2.0)]];
            share(&mut blocks);
            for block in &blocks {
                assert_eq!((block[0].degenerate, block[1].degenerate), (true, all), "{flags:?}");
                assert_eq!(block[0].sensitivity, with(true, 3.0).sensitivity);
                assert_eq!(block[1].sensitivity, with(true, 4.0).sensitivity);
            }
        }
        let mut none: Vec<Vec<CellReport>> = vec![];
        share(&mut none);
        assert!(none.is_empty());
        let now = [with(false, 2.0), with(false, 4.0)];
        let of = |margins: &[f64]| margins.iter().map(|m| with(false, *m).sensitivity).collect::<Vec<_>>();
        assert_eq!(shown(&[], &now), of(&[2.0, 4.0]));
        assert_eq!(shown(&of(&[3.0, 3.0]), &now), of(&[3.0, 4.0]));
    }

    #[test]
    fn a_merged_report_counts_all_blocks_and_shows_the_worst() {
        let clip = |largest, reached| ClipUse { what: Clipped::State, limit: 1.0, largest, reached };
        let block = |sequence, apart, reached, text| CellReport {
            clips: vec![clip(apart, reached)],
            lane_failures: vec![failure(text)],
            batch_dependence: vec![failure(text)],
            heat: heat(sequence, &[Some(apart), None]),
            ..report(vec![step(sequence, apart), step(sequence, 1.0 - apart)])
        };
        let (near, far) = (block(1, 0.25, false, "first"), block(9, 0.5, true, "second"));
        for (blocks, texts) in [([&near, &far], ["first", "second"]), ([&far, &near], ["second", "first"])] {
            let merged = &merge(&blocks.map(|block| vec![block.clone()]))[0];
            assert_eq!((merged.compared, merged.expected), (10, 6));
            assert_eq!(merged.lane_failures, texts.map(failure));
            assert_eq!(merged.batch_dependence, texts.map(failure));
            assert_eq!(merged.clips, [clip(0.5, true)]);
            assert_eq!(merged.heat.as_ref().unwrap().sequence, 9);
            for (t, apart, sequence) in [(0, 0.5, 9), (1, 0.75, 1)] {
                for lanes in merged.steps[t].carried.lanes.0 {
                    assert_eq!((lanes.max_abs, lanes.count, lanes.at.unwrap().sequence), (apart, 2, sequence));
                }
                for error in merged.steps[t].tf1_local.0.iter().chain(&merged.steps[t].keras_local.0) {
                    let expected = LocalError { count: 2, ..local_error(sequence, apart) };
                    assert_eq!(*error, expected);
                }
            }
        }
        assert_eq!(merge(&[]), []);
        let of_heats = |a, b| {
            let with = |heat| vec![CellReport { heat, ..report(vec![]) }];
            merge(&[with(a), with(b)])[0].heat.as_ref().map(|h| h.sequence)
        };
        assert_eq!(of_heats(None, heat(2, &[Some(0.0)])), Some(2), "even one without a difference is a picture");
        assert_eq!(of_heats(heat(1, &[Some(9.0)]), heat(2, &[Some(f64::NAN)])), Some(2));
        assert_eq!(of_heats(heat(1, &[Some(9.0)]), heat(2, &[Some(9.0)])), Some(1), "the first of equals");
        assert_eq!(of_heats(None, None), None);
    }

    #[test]
    fn of_two_steps_that_nearer_to_its_limit_is_shown() {
        let with = |[of_tf1, of_keras]: [f64; 2], allowed: f64, saturated| {
            let mut step = CarriedStep { allowed, saturated, ..step(0, 0.5).carried };
            (step.tf1_from_oracle.0[1], step.keras_from_oracle.0[0]) = (of_tf1, of_keras);
            step
        };
        let graver = |a: &CarriedStep, b: &CarriedStep, why: &str| {
            for merged in [carried(a, b), carried(b, a)] {
                assert_eq!((merged.allowed, merged.saturated), (b.allowed, b.saturated), "{why}");
            }
        };
        let half = with([0.25, 0.5], 1.0, false);
        graver(&half, &with([0.5, 0.25], 0.75, false), "the TF1 lane's share counts");
        graver(&half, &with([0.25, 0.5], 0.75, false), "and the Keras lane's");
        graver(&with([4.0, 4.0], 0.5, true), &half, "where all is lost nothing is near");
        graver(&half, &with([f64::NAN, 0.0], 2.0, false), "what is not a number is beyond all");
        let empty = CarriedStep { lanes: PerQuantity::default(), ..with([9.0, 9.0], 4.0, false) };
        graver(&empty, &half, "nothing compared is near nothing");
        let equal = carried(&half, &CarriedStep { noise_floor: 0.125, ..half });
        assert_eq!(equal.noise_floor, half.noise_floor, "the first of equals");

        let truth = |apart, truth_there| CarriedStep { truth_there, ..step(0, apart).carried };
        let shown = |a, b| carried(&a, &b).truth_there;
        assert_eq!(shown(truth(0.5, 1.0), truth(0.75, 2.0)), 2.0, "the truth is that of the place shown");
        assert_eq!(shown(truth(0.75, 1.0), truth(0.5, 2.0)), 1.0);
        assert_eq!(shown(truth(0.5, 1.0), truth(0.5, 2.0)), 1.0);
    }

    #[test]
    fn of_two_local_errors_the_one_beyond_more_is_shown() {
        let merged = |a: LocalError, b: LocalError| local(&PerQuantity([a; 6]), &PerQuantity([b; 6])).0[3];
        let lost = LocalError { non_finite: 1, ..local_error(2, 0.25) };
        let worst = |e: LocalError| e.at.unwrap().sequence;
        assert_eq!(worst(merged(local_error(1, 0.5), local_error(2, 0.75))), 2);
        assert_eq!(worst(merged(local_error(1, 0.75), local_error(2, 0.5))), 1);
        assert_eq!(worst(merged(local_error(1, 0.75), local_error(2, 0.75))), 1, "the first of equals");
        for both in [merged(local_error(1, 9.0), lost), merged(lost, local_error(1, 9.0))] {
            assert_eq!((worst(both), both.non_finite, both.count), (2, 1, 2), "what is not finite before what is");
            assert_eq!((both.max_abs, both.worst_case_ratio), (9.0, 9.0 / 8.0));
        }
        assert_eq!(merged(lost, lost).non_finite, 2);
        let nothing = LocalError { ratio: 99.0, ..LocalError::default() };
        assert_eq!(merged(nothing, local_error(1, 0.5)), local_error(1, 0.5), "of nothing nothing is shown");
    }
}
