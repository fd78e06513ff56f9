//! A verification for people: the verdict first, then what it rests on. Fits 80 columns.

use std::fmt::Write;

use crate::document::{Timestep, VerifiedLstm, Verify};
use crate::{Style, printable};

/// The verdict and one line of why.
pub fn verdict_line(document: &Verify, style: Style) -> String {
    let (word, why) = match document.verdict.as_str() {
        "pass" => (style.good("PASS"), pass_line(document)),
        "fail" => (style.bad("FAIL"), first_reason(document)),
        _ => (style.doubtful("INCONCLUSIVE"), first_reason(document)),
    };
    format!("{word}  {why}\n")
}

fn pass_line(document: &Verify) -> String {
    let what = match &document.inputs.candidate {
        Some(file) => printable(&file.path).into_owned(),
        None => "gatewise's own conversion".to_owned(),
    };
    let n = document.lstms.len();
    format!("{what} computes what the TF1 checkpoint computes ({n} LSTM{})", if n == 1 { "" } else { "s" })
}

fn first_reason(document: &Verify) -> String {
    document.reasons.first().map_or_else(String::new, reason_line)
}

fn reason_line(reason: &crate::document::Reason) -> String {
    if reason.lstm.is_empty() {
        printable(&reason.text).into_owned()
    } else {
        format!("{}: {}", printable(&reason.lstm), printable(&reason.text))
    }
}

/// The whole document.
pub fn verify(document: &Verify, style: Style) -> String {
    let mut out = verdict_line(document, style);
    for reason in document.reasons.iter().skip(1) {
        let _ = writeln!(out, "      {}", reason_line(reason));
    }
    let s = &document.settings;
    let d = &document.device;
    let _ = writeln!(out, "\n  device    {} ({}, {})", printable(&d.name), d.kind, d.backend);
    let _ = writeln!(out, "  lanes     {}", s.lanes.join(", "));
    let _ = writeln!(out, "  inputs    {} random sequences of {} steps, seed {}", s.sequences, s.timesteps, s.seed);
    for note in &document.notes {
        let _ = writeln!(out, "  note      {}", printable(note));
    }
    for lstm in &document.lstms {
        one_lstm(&mut out, lstm, style);
    }
    out
}

fn one_lstm(out: &mut String, lstm: &VerifiedLstm, style: Style) {
    let heading = format!("{} -> {}", printable(&lstm.name), printable(&lstm.candidate));
    let _ = writeln!(out, "\n{}", style.heading(&heading));
    let _ =
        writeln!(out, "  {} inputs, {} units, layer {}, {}", lstm.input_size, lstm.units, lstm.layer, lstm.direction);
    let w = &lstm.weights;
    let verdict = if w.equal {
        format!("all {} equal, bit for bit", w.count)
    } else {
        format!("{} of {} differ, by up to {:.2e}", w.differing, w.count, w.max_abs)
    };
    let _ = writeln!(out, "  weights   {verdict}");
    for setting in &w.settings {
        let _ = writeln!(out, "            {}", printable(setting));
    }
    if let Some(worst) = worst(lstm, |t| t.local.ratio) {
        let _ = writeln!(
            out,
            "  local     at most {:.3} (TF1) and {:.3} (Keras) of the rounding bound",
            largest(lstm, |t| t.local.tf1_ratio),
            largest(lstm, |t| t.local.keras_ratio)
        );
        let _ = writeln!(
            out,
            "            worst at step {}: |error| {:.2e}, bound {:.2e}",
            worst.t, worst.local.max_abs, worst.local.bound
        );
    }
    if let Some(worst) = worst(lstm, |t| t.carried.max_abs) {
        let c = &worst.carried;
        let at =
            c.at.as_ref()
                .map_or_else(String::new, |at| format!(", {} of sequence {}, unit {}", at.state, at.sequence, at.unit));
        let _ = writeln!(out, "  carried   lanes at most {:.2e} apart, at step {}{at}", c.max_abs, worst.t);
    }
    let _ = writeln!(out, "\n  step  lanes apart          TF1 from oracle      Keras from oracle    worst at");
    let _ = writeln!(out, "        h         c          h         c          h         c");
    for t in &lstm.timesteps {
        step(out, t);
    }
}

fn step(out: &mut String, t: &Timestep) {
    let c = &t.carried;
    let at = c.at.as_ref().map_or_else(String::new, |at| format!("{} {}:{}", at.state, at.sequence, at.unit));
    let bad = if c.non_finite > 0 { format!("  {} not finite", c.non_finite) } else { String::new() };
    let _ = writeln!(
        out,
        "  {:>4}  {:<8}  {:<8}   {:<8}  {:<8}   {:<8}  {:<8}   {at}{bad}",
        t.t,
        number(c.h),
        number(c.c),
        number(c.tf1_from_oracle.h),
        number(c.tf1_from_oracle.c),
        number(c.keras_from_oracle.h),
        number(c.keras_from_oracle.c),
    );
}

fn number(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") }
}

fn worst(lstm: &VerifiedLstm, of: impl Fn(&Timestep) -> f64) -> Option<&Timestep> {
    lstm.timesteps.iter().reduce(|a, b| if of(a).is_nan() || of(a) >= of(b) { a } else { b })
}

fn largest(lstm: &VerifiedLstm, of: impl Fn(&Timestep) -> f64) -> f64 {
    lstm.timesteps.iter().map(of).fold(0.0, |m: f64, v| if v.is_nan() { v } else { m.max(v) })
}
