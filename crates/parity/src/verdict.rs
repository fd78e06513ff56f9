//! From what was measured to one of three verdicts. Every condition is written so that NaN, a missing number or nothing
//! compared does not pass.

use std::fmt;

use crate::divergence::PerQuantity;
use crate::local_error::LocalError;
use crate::sensitivity::Kill;
use crate::verify::{CellReport, Side, StepReport};

/// The outcome of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The candidate computes what the TF1 cells compute.
    Pass,
    /// Nothing can be said: the device or the model does not allow a judgement.
    Inconclusive,
    /// The candidate computes something else.
    Fail,
}

impl Verdict {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "PASS",
            Verdict::Inconclusive => "INCONCLUSIVE",
            Verdict::Fail => "FAIL",
        })
    }
}

/// One reason against an unqualified pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What follows from it.
    pub verdict: Verdict,
    /// The cell it concerns; empty for all.
    pub cell: String,
    /// The reason in words.
    pub text: String,
}

/// Judges all cells together, on a device that passed its self-check. No cell at all is inconclusive: nothing was
/// compared.
pub fn conclude(cells: &[CellReport]) -> (Verdict, Vec<Reason>) {
    conclude_on_device(cells, &[])
}

/// Judges all cells together. What lanes show on a device that failed its self-check proves nothing, neither way: there,
/// only the exact comparison, in which no device has a part, can fail a candidate.
pub fn conclude_on_device(cells: &[CellReport], self_check_failures: &[String]) -> (Verdict, Vec<Reason>) {
    let trusted = self_check_failures.is_empty();
    let mut reasons: Vec<Reason> = cells.iter().flat_map(|cell| judge(cell, trusted)).collect();
    reasons.extend(self_check_failures.iter().map(|failure| Reason {
        verdict: Verdict::Inconclusive,
        cell: String::new(),
        text: format!("the device failed its self-check: {failure}"),
    }));
    if cells.is_empty() {
        reasons.push(Reason {
            verdict: Verdict::Inconclusive,
            cell: String::new(),
            text: "nothing was compared".to_owned(),
        });
    }
    reasons.sort_by_key(|r| std::cmp::Reverse(r.verdict));
    (reasons.iter().map(|r| r.verdict).max().unwrap_or(Verdict::Pass), reasons)
}

fn judge(cell: &CellReport, trusted: bool) -> Vec<Reason> {
    let by_lanes = if trusted { Verdict::Fail } else { Verdict::Inconclusive };
    let mut reasons = weights(cell);
    let mut say = |verdict, text: String| reasons.push(Reason { verdict, cell: cell.name.clone(), text });

    for failure in cell.lane_failures.iter().chain(&cell.batch_dependence) {
        let who = match failure.side {
            Side::Tf1 => "the TF1 lane",
            Side::Keras => "the Keras lane",
        };
        say(Verdict::Inconclusive, format!("{who} did not run as it should: {}", failure.text));
    }
    if cell.compared != cell.expected || cell.compared == 0 {
        say(Verdict::Inconclusive, format!("{} values were compared: expected {}", cell.compared, cell.expected));
    }
    if cell.degenerate {
        say(Verdict::Inconclusive, "the cell's output never changes, so no fault could show on it".to_owned());
    }
    // A TF1 lane that is itself wrong judges nobody, and one that never ran neither.
    let tf1_right =
        !cell.steps.is_empty() && cell.steps.iter().all(|s| empty(s) || s.tf1_local.within() && s.carried.tf1_within());
    if !tf1_right && cell.lane_failures.is_empty() {
        let keras_right = cell.steps.iter().all(|s| empty(s) || s.keras_local.within());
        let who = if keras_right { "the TF1 lane disagrees" } else { "both lanes disagree" };
        let step = cell.steps.iter().find(|s| !(empty(s) || s.tf1_local.within() && s.carried.tf1_within()));
        let how = step.map_or_else(String::new, |s| format!(", first at step {}: {}", s.t, exceeded(&s.tf1_local)));
        say(Verdict::Inconclusive, format!("{who} with the oracle{how}; this device cannot be trusted"));
    }
    if tf1_right && cell.lane_failures.is_empty() {
        let beyond = || cell.steps.iter().filter(|s| !(empty(s) || s.keras_local.within()));
        // Where nothing bounds rounding, nothing is shown against the candidate either.
        let shown = beyond().find(|s| bounded(&s.keras_local)).map(|step| (by_lanes, step));
        if let Some((verdict, step)) = shown.or_else(|| Some((Verdict::Inconclusive, beyond().next()?))) {
            say(
                verdict,
                format!("one step from the oracle's state, first at step {}: {}", step.t, exceeded(&step.keras_local)),
            );
        }
        if let Some(step) = cell.steps.iter().find(|s| !(empty(s) || s.carried.keras_within())) {
            let states = step.carried.states();
            let how = if states.non_finite > 0 {
                format!("{} values are not finite", states.non_finite)
            } else {
                let found = step.carried.keras_from_oracle.states().iter().fold(0.0, |m: f64, d| m.max(*d));
                format!("the Keras lane is {found:.2e} from the oracle, where {:.2e} is allowed", step.carried.allowed)
            };
            say(by_lanes, format!("running freely, first at step {}: {how}", step.t));
        }
    }
    let mut ran = cell.steps.iter().filter(|s| !empty(s)).peekable();
    if ran.peek().is_some() && ran.all(|s| s.carried.saturated) {
        say(
            Verdict::Inconclusive,
            "running freely says nothing at any step: right runs are apart from the first".to_owned(),
        );
    }
    let names = |kills: &[&Kill]| kills.iter().map(|k| k.fault.name()).collect::<Vec<_>>().join(", ");
    let (untried, missed): (Vec<&Kill>, Vec<&Kill>) = cell.sensitivity.missed().partition(|k| k.why.is_some());
    if !missed.is_empty() {
        say(Verdict::Inconclusive, format!("these faults would not have been seen on this model: {}", names(&missed)));
    }
    if let Some(why) = untried.first().and_then(|k| k.why.as_ref()) {
        say(Verdict::Inconclusive, format!("these faults could not be tried: {}: {why}", names(&untried)));
    }
    if cell.sensitivity.kills.is_empty() {
        say(Verdict::Inconclusive, "no fault was tried, so a pass would mean nothing".to_owned());
    }
    reasons
}

/// A step past the end of every sequence: there is nothing to compare, and the count of all values says whether that
/// is as it should be.
fn empty(step: &StepReport) -> bool {
    step.carried.states().count == 0 && step.keras_local.0.iter().chain(&step.tf1_local.0).all(|e| e.count == 0)
}

/// Whether what goes beyond its bound most has one.
fn bounded(errors: &PerQuantity<LocalError>) -> bool {
    let worst = errors.worst().1;
    worst.non_finite > 0 || worst.bound.is_finite()
}

/// The exact comparison.
fn weights(cell: &CellReport) -> Vec<Reason> {
    let mut texts = vec![];
    for tensor in cell.weights.tensors.iter().filter(|t| t.differing > 0) {
        let (row, column) = tensor.at.unwrap_or_default();
        texts.push(format!(
            "{} of {} weights of {} differ from the right conversion, by up to {:.2e} at [{row}, {column}] (expected {}, found {})",
            tensor.differing, tensor.count, tensor.tensor, tensor.max_abs, tensor.expected as f32, tensor.found as f32
        ));
    }
    texts.extend(cell.weights.settings.iter().cloned());
    if !cell.weights.equal() && texts.is_empty() {
        texts.push("no weights were compared".to_owned());
    }
    texts.into_iter().map(|text| Reason { verdict: Verdict::Fail, cell: cell.name.clone(), text }).collect()
}

/// How a lane went beyond its bound at one step.
fn exceeded(errors: &PerQuantity<LocalError>) -> String {
    let (quantity, error) = errors.worst();
    let gate =
        if quantity.is_state() { format!(", mostly by gate {}", errors.worst_gate().letter()) } else { String::new() };
    let values = error.at.map_or_else(String::new, |at| {
        format!(" at sequence {}, unit {}: expected {:.6}, found {:.6}", at.sequence, at.unit, at.expected, at.found)
    });
    if error.count == 0 {
        return "nothing was compared".to_owned();
    }
    if error.non_finite > 0 {
        return format!("{} values of {quantity} are not finite{values}", error.non_finite);
    }
    if !error.bound.is_finite() {
        return format!("nothing bounds what rounding may do to {quantity}{values}");
    }
    let beyond = if error.worst_case_ratio > 1.0 {
        format!("{:.2e} times what rounding can explain", error.ratio)
    } else {
        format!(
            "{:.2} times the bound that rounding exceeds with a chance of about 1e-7, within the one it never exceeds",
            error.ratio
        )
    };
    let off = error.at.map_or(error.max_abs, |at| (at.expected - at.found).abs());
    format!("{quantity} is {off:.2e} off{gate}, {beyond}{values}")
}
