//! From what was measured to one of three verdicts. Every condition is written so that NaN, a missing number or nothing
//! compared does not pass.

use std::fmt;

use crate::verify::{CellReport, Side};

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
    /// The cell it concerns.
    pub cell: String,
    /// The reason in words.
    pub text: String,
}

/// Judges all cells together. No cell at all is inconclusive: nothing was compared.
pub fn conclude(cells: &[CellReport]) -> (Verdict, Vec<Reason>) {
    let mut reasons: Vec<Reason> = cells.iter().flat_map(judge).collect();
    if cells.is_empty() {
        reasons.push(Reason {
            verdict: Verdict::Inconclusive,
            cell: String::new(),
            text: "nothing was compared".to_owned(),
        });
    }
    reasons.sort_by(|a, b| b.verdict.cmp(&a.verdict));
    (reasons.iter().map(|r| r.verdict).max().unwrap_or(Verdict::Pass), reasons)
}

fn judge(cell: &CellReport) -> Vec<Reason> {
    let mut reasons = vec![];
    let mut reason = |verdict, text: String| reasons.push(Reason { verdict, cell: cell.name.clone(), text });

    let same_weights = cell.weights.equal();
    for tensor in cell.weights.tensors.iter().filter(|t| t.differing > 0) {
        let (row, column) = tensor.at.unwrap_or_default();
        reason(
            Verdict::Fail,
            format!(
                "{} of {} weights of {} differ from the right conversion, by up to {:.3e} at [{row}, {column}] (expected {}, found {})",
                tensor.differing,
                tensor.count,
                tensor.tensor,
                tensor.max_abs,
                tensor.expected as f32,
                tensor.found as f32
            ),
        );
    }
    for setting in &cell.weights.settings {
        reason(Verdict::Fail, setting.clone());
    }
    if !same_weights && cell.weights.settings.is_empty() && cell.weights.differing() == 0 {
        reason(Verdict::Fail, "no weights were compared".to_owned());
    }

    // A TF1 lane that is itself wrong judges nobody.
    let tf1_wrong = cell.steps.is_empty() || !cell.steps.iter().all(|s| s.tf1_local.within());
    let keras_wrong = !cell.steps.iter().all(|s| s.keras_local.within());
    for failure in &cell.lane_failures {
        let who = match failure.side {
            Side::Tf1 => "the TF1 lane",
            Side::Keras => "the Keras lane",
        };
        reason(Verdict::Inconclusive, format!("{who} gave no usable output: {}", failure.text));
    }
    if tf1_wrong && cell.lane_failures.is_empty() {
        let worst = worst_step(cell, |s| s.tf1_local.ratio);
        let both = if keras_wrong { "both lanes disagree" } else { "the TF1 lane disagrees" };
        reason(
            Verdict::Inconclusive,
            format!(
                "{both} with the oracle (TF1 lane at {:.3} of its bound at step {}): this device cannot be trusted",
                worst.0, worst.1
            ),
        );
    }
    if keras_wrong && !tf1_wrong && cell.lane_failures.is_empty() {
        if let Some(step) = cell.steps.iter().find(|s| !s.keras_local.within()) {
            let local = &step.keras_local;
            let how = if local.non_finite > 0 {
                format!("{} values are not finite", local.non_finite)
            } else if local.worst_case_ratio > 1.0 {
                format!(
                    "the Keras lane is {:.3e} from the truth, {:.3} times what rounding can explain",
                    local.max_abs, local.ratio
                )
            } else {
                format!(
                    "the Keras lane is {:.3e} from the truth, {:.3} times the bound that rounding exceeds with a chance below 1e-7 \
                     (within the bound that it can never exceed)",
                    local.max_abs, local.ratio
                )
            };
            reason(Verdict::Fail, format!("one step from the oracle's state, first at step {}: {how}", step.t));
        }
    }
    // Running freely, the lanes are judged only where the TF1 lane can serve as a yardstick.
    if !tf1_wrong && cell.lane_failures.is_empty() {
        if let Some(step) = cell.steps.iter().find(|s| !s.carried_within()) {
            let how = if step.carried.non_finite > 0 {
                format!("{} values are not finite", step.carried.non_finite)
            } else {
                let found = step.keras_from_oracle[0].max(step.keras_from_oracle[1]);
                format!("the Keras lane is {found:.3e} from the oracle, where {:.3e} is allowed", step.allowed)
            };
            reason(Verdict::Fail, format!("running freely, first at step {}: {how}", step.t));
        }
    }
    if cell.compared != cell.expected || cell.compared == 0 {
        let text = format!("{} values were compared: expected {}", cell.compared, cell.expected);
        reason(Verdict::Inconclusive, text);
    }
    if cell.degenerate {
        reason(Verdict::Inconclusive, "the cell's output never changes, so no fault could show on it".to_owned());
    }
    reasons
}

/// The largest value of a number over the steps, and where; NaN counts as largest.
fn worst_step(cell: &CellReport, of: impl Fn(&crate::verify::StepReport) -> f64) -> (f64, usize) {
    cell.steps.iter().fold((0.0, 0), |worst, step| {
        let value = of(step);
        if value.is_nan() || value > worst.0 { (value, step.t) } else { worst }
    })
}
