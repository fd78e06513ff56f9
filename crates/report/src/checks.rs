//! What must hold of one LSTM, in a row each: the same for the terminal and for the HTML report.

use crate::document::{At, ByQuantity, Timestep, VerifiedLstm};

/// One thing that must hold.
pub(crate) struct Check {
    /// `weights`, `local`, `carried` or `faults`.
    pub(crate) name: &'static str,
    /// Whether it does; `None` where that cannot be said.
    pub(crate) holds: Option<bool>,
    /// In a few words.
    pub(crate) found: String,
    /// Where it is at its worst.
    pub(crate) worst: String,
}

impl Check {
    /// `ok`, `BROKEN` or `unsure`.
    pub(crate) fn result(&self) -> &'static str {
        match self.holds {
            Some(true) => "ok",
            Some(false) => "BROKEN",
            None => "unsure",
        }
    }
}

/// How large an LSTM is and where it stands.
pub(crate) fn sizes(lstm: &VerifiedLstm) -> String {
    let projection = lstm.weights.tensors.iter().find(|t| t.tensor == "output_projection");
    let outputs = projection.and_then(|t| t.count.checked_div(lstm.units));
    let projected = outputs.map_or_else(String::new, |n| format!(" projected to {n}"));
    format!("{} inputs, {} units{projected}, layer {}, {}", lstm.input_size, lstm.units, lstm.layer, lstm.direction)
}

/// The four checks of an LSTM.
pub(crate) fn checks(lstm: &VerifiedLstm) -> [Check; 4] {
    [weights(lstm), local(&lstm.timesteps), carried(&lstm.timesteps), faults(lstm)]
}

fn weights(lstm: &VerifiedLstm) -> Check {
    let w = &lstm.weights;
    let (found, worst) = match (w.equal, w.differing) {
        (true, _) => (format!("all {} equal", w.count), "bit for bit".to_owned()),
        (false, 0) => ("a setting differs".to_owned(), String::new()),
        (false, n) => {
            let at = w.tensors.iter().filter(|t| t.differing > 0).max_by(|a, b| a.max_abs.total_cmp(&b.max_abs));
            let at = at.and_then(|t| Some((t, t.at?)));
            let at = at.map(|(t, [row, column])| format!("{} [{row}, {column}]: {}", t.tensor, number(t.max_abs)));
            let more = if w.settings.is_empty() { "" } else { ", a setting" };
            (format!("{n} of {} differ{more}", w.count), at.unwrap_or_default())
        }
    };
    Check { name: "weights", holds: Some(w.equal), found, worst }
}

fn local(steps: &[Timestep]) -> Check {
    let (tf1, keras) = (
        largest(steps.iter().map(|t| by_quantity(&t.local.tf1_ratio))),
        largest(steps.iter().map(|t| by_quantity(&t.local.keras_ratio))),
    );
    let finite = steps.iter().all(|t| t.local.non_finite == 0);
    Check {
        name: "local",
        holds: Some(!steps.is_empty() && finite && tf1 <= 1.0 && keras <= 1.0),
        found: format!("{} TF1, {} Keras", share(tf1), share(keras)),
        worst: place(worst(steps, |t| t.local.ratio), |t| t.local.at.as_ref()),
    }
}

fn carried(steps: &[Timestep]) -> Check {
    let finite = steps.iter().all(|t| t.carried.non_finite == 0);
    let silent = !steps.is_empty() && steps.iter().all(|t| t.carried.saturated);
    let most = largest(steps.iter().map(share_of_allowed));
    Check {
        name: "carried",
        holds: (!silent || !finite).then_some(!steps.is_empty() && finite && most <= 1.0),
        found: format!("{} Keras", share(most)),
        worst: place(worst(steps, |t| t.carried.max_abs), |t| t.carried.at.as_ref()),
    }
}

fn faults(lstm: &VerifiedLstm) -> Check {
    let can: Vec<_> = lstm.sensitivity.iter().filter(|k| k.detected.is_some()).collect();
    let seen = || can.iter().filter(|k| k.detected == Some(true));
    let faintest = seen().min_by(|a, b| a.margin.total_cmp(&b.margin));
    let all = seen().count() == can.len() && !can.is_empty();
    Check {
        name: "faults",
        holds: all.then_some(true),
        found: format!("{} of {} would show", seen().count(), can.len()),
        worst: faintest.map_or_else(String::new, |k| format!("faintest: {}, {} x", k.fault, share(k.margin))),
    }
}

fn place(step: Option<&Timestep>, at: impl Fn(&Timestep) -> Option<&At>) -> String {
    let Some(step) = step else { return String::new() };
    match at(step) {
        Some(at) => format!("step {}, {} of sequence {}, unit {}", step.t, at.state, at.sequence, at.unit),
        None => format!("step {}", step.t),
    }
}

/// How far the Keras lane is from the oracle, h or c.
pub(crate) fn from_oracle(t: &Timestep) -> f64 {
    largest([t.carried.keras_from_oracle.h, t.carried.keras_from_oracle.c].into_iter())
}

/// The same as a share of what is allowed; zero where nothing is judged.
pub(crate) fn share_of_allowed(t: &Timestep) -> f64 {
    if t.carried.saturated { 0.0 } else { from_oracle(t) / t.carried.allowed }
}

/// The largest of states and gates.
pub(crate) fn by_quantity(q: &ByQuantity) -> f64 {
    largest([q.h, q.c, q.i, q.j, q.f, q.o].into_iter())
}

/// The largest value; NaN if any is: it would not be the largest by comparison.
pub(crate) fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |m: f64, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(v) })
}

/// The step at which a number is largest; one that is not a number is larger than any.
pub(crate) fn worst(steps: &[Timestep], of: impl Fn(&Timestep) -> f64) -> Option<&Timestep> {
    steps.iter().reduce(|a, b| if of(a).is_nan() || of(a) >= of(b) { a } else { b })
}

/// A measured number.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") }
}

/// A share or a multiple, as short as it can be read.
pub(crate) fn share(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.3}"),
        10.0..10_000.0 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}
