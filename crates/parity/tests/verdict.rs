//! Each condition of the verdict alone: a report that passes is changed in one place, and the verdict follows.

mod plain;

use std::cell::RefCell;

use lstm::fault::{Fault, Precision};
use lstm::gate_order::Gate;
use lstm::{Activation, Batch, Network, convert};
use parity::{
    ActivationBudget, CellReport, InputSpec, Kill, LaneFailure, Lanes, Place, Quantity, Reason, Side, Subject, Verdict,
    conclude, inputs, stages, verify,
};
use plain::{Plain, random_cell};

/// Right lanes over sequences of which none reaches the last step, so that the last step is empty.
fn passing() -> CellReport {
    let network = Network::Cell(random_cell(5, 8, 0.6, 1));
    let right = convert::network_to_keras(&network).unwrap();
    let names = vec!["cell".to_owned()];
    let subject = Subject {
        truth: &network,
        expected: &right,
        candidate: &right,
        names: names.clone(),
        candidate_names: vec!["layer".to_owned()],
    };
    let drawn = inputs::draw(InputSpec { sequences: 8, timesteps: 10, seed: 0 }, &network);
    let batch = Batch { lengths: drawn.lengths.as_ref().map(|l| l.iter().map(|l| *l.min(&9)).collect()), ..drawn };
    let lanes = Lanes { tf1: &Plain, keras: &Plain };
    verify(&subject, lanes, &batch, 0, &ActivationBudget::new(|_| 4.0), &|_| {}).remove(0)
}

fn judged(report: &CellReport) -> (Verdict, Vec<Reason>) {
    conclude(std::slice::from_ref(report))
}

/// A change of a report.
type Change = fn(&mut CellReport);

#[test]
fn a_right_report_passes_and_names_its_cell() {
    let report = passing();
    assert_eq!(judged(&report), (Verdict::Pass, vec![]));
    assert_eq!((report.name.as_str(), report.candidate.as_str()), ("cell", "layer"));
    assert_eq!((report.input_size, report.units, report.steps.len(), report.degenerate), (5, 8, 10, false));
    assert_eq!(report.steps[9].carried.states().count, 0, "the last step is empty");
    assert!(report.steps.iter().enumerate().all(|(k, step)| step.t == k));
}

/// Changes that leave exactly one reason.
#[test]
fn one_condition_gives_one_reason() {
    use Verdict::{Fail, Inconclusive};
    let cases: [(Change, Verdict, &str); 29] = [
        (
            |r| r.lane_failures.push(LaneFailure { side: Side::Tf1, text: "lost".into() }),
            Inconclusive,
            "the TF1 lane did not run as it should: lost",
        ),
        (
            |r| r.batch_dependence.push(LaneFailure { side: Side::Keras, text: "alone".into() }),
            Inconclusive,
            "the Keras lane did not run as it should: alone",
        ),
        (|r| r.expected += 1, Inconclusive, "values were compared: expected"),
        (|r| r.compared -= 1, Inconclusive, "values were compared: expected"),
        (|r| (r.compared, r.expected) = (0, 0), Inconclusive, "0 values were compared"),
        (|r| r.degenerate = true, Inconclusive, "output never changes"),
        (|r| r.steps.clear(), Inconclusive, "the TF1 lane disagrees with the oracle; this device cannot be trusted"),
        (
            |r| r.steps[3].tf1_local.0[0].ratio = 1.5,
            Inconclusive,
            "the TF1 lane disagrees with the oracle, first at step 3: h is",
        ),
        (|r| r.steps[3].tf1_local.0[5].ratio = f64::NAN, Inconclusive, "the TF1 lane disagrees"),
        (|r| r.steps[3].tf1_local.0[5].count = 0, Inconclusive, "the TF1 lane disagrees"),
        (
            |r| r.steps[4].carried.tf1_from_oracle.0[0] = 1.0,
            Inconclusive,
            "the TF1 lane disagrees with the oracle, first at step 4",
        ),
        (|r| r.steps[4].carried.tf1_from_oracle.0[1] = f64::NAN, Inconclusive, "the TF1 lane disagrees"),
        (
            |r| {
                r.steps[3].tf1_local.0[0].ratio = 1.5;
                r.steps[5].keras_local.0[0].ratio = 1.5;
            },
            Inconclusive,
            "both lanes disagree with the oracle, first at step 3",
        ),
        (|r| r.steps[3].keras_local.0[1].ratio = 1.5, Fail, "one step from the oracle's state, first at step 3: c is"),
        (|r| r.steps[3].keras_local.0[4].ratio = f64::NAN, Fail, "one step from the oracle's state, first at step 3"),
        (|r| r.steps[3].keras_local.0[2].non_finite = 1, Fail, "1 values of i are not finite"),
        (|r| r.steps[3].keras_local.0[2].count = 0, Fail, "first at step 3"),
        (|r| r.steps[3].keras_local = Default::default(), Fail, "first at step 3: nothing was compared"),
        (
            |r| {
                r.steps[2].carried.keras_from_oracle.0[1] = 0.5;
                r.steps[2].carried.allowed = 0.25;
            },
            Fail,
            "running freely, first at step 2: the Keras lane is 5.00e-1 from the oracle, where 2.50e-1 is allowed",
        ),
        (|r| r.steps[2].carried.keras_from_oracle.0[0] = f64::NAN, Fail, "running freely, first at step 2"),
        (|r| r.steps[2].carried.allowed = f64::NAN, Inconclusive, "the TF1 lane disagrees"),
        (|r| r.steps[2].carried.lanes.0[1].non_finite = 3, Fail, "first at step 2: 3 values are not finite"),
        (|r| r.steps[2].carried.lanes = Default::default(), Fail, "running freely, first at step 2: the Keras lane is"),
        (
            |r| {
                r.sensitivity.kills = vec![
                    kill(Fault::ForgetBiasMissing, Some(false)),
                    kill(Fault::BiasNotPermuted, Some(true)),
                    kill(Fault::BiasMissing, None),
                    kill(Fault::RecurrentTransposed, Some(false)),
                    kill(Fault::PrecisionReduced(Precision::Float16), Some(false)),
                ]
            },
            Inconclusive,
            "these faults would not have been seen on this model: forget-bias-missing, recurrent-transposed",
        ),
        (
            |r| {
                r.sensitivity.kills[0].detected = Some(false);
                r.sensitivity.kills[0].why = Some("device lost".into());
            },
            Inconclusive,
            "these faults could not be tried: forget-bias-missing: device lost",
        ),
        (
            |r| {
                let h = &mut r.steps[3].keras_local.0[0];
                (h.ratio, h.bound) = (f64::INFINITY, f64::INFINITY);
            },
            Inconclusive,
            "first at step 3: nothing bounds what rounding may do to h at sequence",
        ),
        (|r| r.sensitivity.kills.clear(), Inconclusive, "no fault was tried"),
        (|r| r.weights.tensors.clear(), Fail, "no weights were compared"),
        (|r| r.weights.settings.push("activation is relu".into()), Fail, "activation is relu"),
    ];
    let right = passing();
    for (number, (change, verdict, words)) in cases.into_iter().enumerate() {
        let mut report = right.clone();
        change(&mut report);
        let (found, reasons) = judged(&report);
        assert_eq!(found, verdict, "case {number}: {reasons:#?}");
        assert_eq!(reasons.len(), 1, "case {number}: {reasons:#?}");
        assert!(reasons[0].text.contains(words), "case {number}, {words:?}: {reasons:#?}");
        assert_eq!((reasons[0].verdict, reasons[0].cell.as_str()), (verdict, "cell"), "case {number}");
    }
}

fn kill(fault: Fault, detected: Option<bool>) -> Kill {
    Kill { fault, detected, margin: 0.0, why: None }
}

/// Without a bound at one step, what is beyond it at another still counts.
#[test]
fn a_missing_bound_hides_nothing_at_other_steps() {
    let mut report = passing();
    let h = &mut report.steps[2].keras_local.0[0];
    (h.ratio, h.bound) = (f64::INFINITY, f64::INFINITY);
    report.steps[6].keras_local.0[0].ratio = 1.5;
    let (verdict, reasons) = judged(&report);
    assert_eq!((verdict, reasons.len()), (Verdict::Fail, 1), "{reasons:#?}");
    assert!(reasons[0].text.contains("first at step 6: h is"), "{reasons:#?}");
    report.steps[6].keras_local.0[0].ratio = 0.5;
    report.steps[2].keras_local.0[0].non_finite = 1;
    assert_eq!(judged(&report).0, Verdict::Fail, "a value that is not finite needs no bound");
}

#[test]
fn small_changes_of_the_weights_need_not_show_in_the_outputs() {
    let mut report = passing();
    for kill in &mut report.sensitivity.kills {
        if matches!(kill.fault, Fault::PrecisionReduced(_) | Fault::WeightsDiffer(_)) {
            kill.detected = Some(false);
        }
    }
    assert_eq!(judged(&report).0, Verdict::Pass);
}

/// A lane that did not run, or a device on which the TF1 lane is wrong, says nothing against the candidate.
#[test]
fn no_candidate_fails_for_what_a_lane_did() {
    let mut report = passing();
    report.steps[3].keras_local.0[0].ratio = 1.5;
    report.steps[3].carried.keras_from_oracle.0[0] = 1.0;
    let mut failed = report.clone();
    failed.lane_failures.push(LaneFailure { side: Side::Keras, text: "lost".into() });
    assert_eq!(judged(&failed).1.len(), 1);
    report.steps[7].tf1_local.0[2].ratio = 1.5;
    let (verdict, reasons) = judged(&report);
    assert_eq!((verdict, reasons.len()), (Verdict::Inconclusive, 1), "{reasons:#?}");
}

#[test]
fn the_exact_comparison_says_what_differs_and_comes_first() {
    let mut report = passing();
    report.degenerate = true;
    let bias = &mut report.weights.tensors[2];
    (bias.differing, bias.max_abs, bias.at) = (1, 0.5, Some((0, 7)));
    (bias.expected, bias.found) = (1.0, 0.5);
    let (verdict, reasons) = judged(&report);
    assert_eq!((verdict, reasons.len()), (Verdict::Fail, 2), "{reasons:#?}");
    assert_eq!(
        reasons[0].text,
        "1 of 32 weights of bias differ from the right conversion, by up to 5.00e-1 at [0, 7] (expected 1, found 0.5)"
    );
    assert_eq!(reasons[1].verdict, Verdict::Inconclusive);
}

#[test]
fn the_gravest_cell_decides() {
    let right = passing();
    let mut unsure = right.clone();
    unsure.degenerate = true;
    let mut wrong = right.clone();
    wrong.weights.settings.push(format!("activation is {}", Activation::Relu));
    let of = |cells: &[&CellReport]| conclude(&cells.iter().map(|c| (*c).clone()).collect::<Vec<_>>()).0;
    assert_eq!(of(&[&right, &right]), Verdict::Pass);
    assert_eq!(of(&[&right, &unsure]), Verdict::Inconclusive);
    assert_eq!(of(&[&wrong, &unsure, &right]), Verdict::Fail);
    assert_eq!(conclude(&[]).1.len(), 1);
}

#[test]
fn a_reason_says_how_far_and_where() {
    let mut report = passing();
    let local = &mut report.steps[3].keras_local;
    local.0[0].at = Some(Place { quantity: Quantity::Hidden, sequence: 6, unit: 2, expected: 0.25, found: 0.5 });
    (local.0[0].ratio, local.0[0].worst_case_ratio) = (40.0, 1.0);
    local.0[4].ratio = 0.9;
    assert_eq!(Quantity::ALL[4], Quantity::Gate(Gate::Forget));
    assert_eq!(
        judged(&report).1[0].text,
        "one step from the oracle's state, first at step 3: h is 2.50e-1 off, mostly by gate f, 40.00 times the bound \
         that rounding exceeds with a chance of about 1e-7, within the one it never exceeds at sequence 6, unit 2: \
         expected 0.250000, found 0.500000"
    );
    report.steps[3].keras_local.0[0].worst_case_ratio = 1.5;
    assert!(judged(&report).1[0].text.contains("4.00e1 times what rounding can explain at sequence 6"));
}

#[test]
fn the_words_of_the_verdicts() {
    let all = [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail];
    assert!(all.is_sorted());
    assert_eq!(all.map(Verdict::as_str), ["pass", "inconclusive", "fail"]);
    assert_eq!(all.map(|v| v.to_string()), ["PASS", "INCONCLUSIVE", "FAIL"]);
}

/// Whether running freely says nothing is a matter of the steps at which something was compared.
#[test]
fn chaos_from_the_first_step_is_told_from_steps_that_nobody_reaches() {
    let with = |of_empty: bool, of_others: bool| {
        let mut report = passing();
        for step in &mut report.steps {
            step.carried.saturated = if step.carried.states().count == 0 { of_empty } else { of_others };
        }
        judged(&report).0
    };
    assert_eq!((with(false, false), with(true, false)), (Verdict::Pass, Verdict::Pass));
    assert_eq!((with(false, true), with(true, true)), (Verdict::Inconclusive, Verdict::Inconclusive));
    let mut first_counts = passing();
    first_counts.steps[1..].iter_mut().for_each(|step| step.carried.saturated = true);
    assert_eq!(judged(&first_counts).0, Verdict::Pass);
}

#[test]
fn progress_goes_up_to_the_number_of_stages() {
    let cells = (1..=3).map(|seed| Network::Cell(random_cell(8, 8, 0.3, seed))).collect();
    let network = Network::Stack(cells);
    let right = convert::network_to_keras(&network).unwrap();
    let names: Vec<String> = (0..3).map(|k| k.to_string()).collect();
    let subject =
        Subject { truth: &network, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    let batch = inputs::draw(InputSpec { sequences: 4, timesteps: 5, seed: 0 }, &network);
    let told = RefCell::new(vec![]);
    let lanes = Lanes { tf1: &Plain, keras: &Plain };
    let cells = verify(&subject, lanes, &batch, 0, &ActivationBudget::new(|_| 4.0), &|n| told.borrow_mut().push(n));
    let told = told.into_inner();
    assert!(told.is_sorted_by(|a, b| a < b) && told.last() == Some(&stages(3)), "{told:?}");
    let lengths = batch.lengths.unwrap();
    for cell in cells {
        let expected = (2 * 8 * lengths.iter().sum::<usize>()) as u64;
        assert_eq!((cell.compared, cell.expected), (expected, expected));
    }
}
