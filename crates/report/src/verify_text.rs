//! A verification for people: the verdict first, then what it rests on. Fits 80 columns.

use std::fmt::Write;

use crate::document::{ByQuantity, Timestep, VerifiedLstm, Verify};
use crate::{Style, printable};

/// The verdict and one line of why.
pub fn verdict_line(document: &Verify, style: Style) -> String {
    let word = match document.verdict.as_str() {
        "pass" => style.good("PASS"),
        "fail" => style.bad("FAIL"),
        _ => style.doubtful("INCONCLUSIVE"),
    };
    format!("{word}  {}\n", why(document))
}

/// One line of why.
pub(crate) fn why(document: &Verify) -> String {
    if document.verdict == "pass" { pass_line(document) } else { first_reason(document) }
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
    match &document.inputs.recorded {
        None => {
            let _ =
                writeln!(out, "  inputs    {} random sequences of {} steps, seed {}", s.sequences, s.timesteps, s.seed);
        }
        Some(file) => {
            let path = printable(&file.path);
            let _ = writeln!(out, "  inputs    {} sequences of {} steps from {path}", s.sequences, s.timesteps);
        }
    }
    let budgets: Vec<String> = ["sigmoid", "tanh"]
        .iter()
        .filter_map(|name| Some(format!("{name} {:.1} ULP", s.activation_budget_ulp.get(*name)?)))
        .collect();
    let _ =
        writeln!(out, "  bound     {} u sqrt(n) per sum of n terms, plus {} as measured", s.lambda, budgets.join(", "));
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
        let tf1 = largest(lstm, |t| by_quantity(&t.local.tf1_ratio));
        let keras = largest(lstm, |t| by_quantity(&t.local.keras_ratio));
        let _ = writeln!(
            out,
            "  local     at most {} (TF1) and {} (Keras) of the rounding bound",
            share(tf1),
            share(keras)
        );
        if let Some(at) = &worst.local.at {
            let _ = writeln!(
                out,
                "            worst at step {}, {}: expected {:.7}, found {:.7}, bound {:.2e}",
                worst.t,
                place(at),
                at.expected,
                at.found,
                worst.local.bound
            );
        }
    }
    if let Some(worst) = worst(lstm, |t| t.carried.max_abs) {
        let c = &worst.carried;
        let at = c.at.as_ref().map_or_else(String::new, |at| format!(", {}", place(at)));
        let _ = writeln!(out, "  carried   lanes at most {:.2e} apart, at step {}{at}", c.max_abs, worst.t);
        let keras =
            largest(lstm, |t| t.carried.keras_from_oracle.h.max(t.carried.keras_from_oracle.c) / t.carried.allowed);
        let growth = lstm.growth_per_step.map_or_else(String::new, |g| format!("; grows {g:.3}-fold a step"));
        let _ = writeln!(out, "            Keras lane at most {} of what right f32 runs allow{growth}", share(keras));
    }
    if let Some(step) = lstm.timesteps.iter().find(|t| t.carried.saturated) {
        let _ = writeln!(
            out,
            "            from step {} on even right runs drift apart: carried error says nothing there",
            step.t
        );
    }
    kill_table(out, lstm);
    for diagnosis in &lstm.diagnosis {
        let _ = writeln!(out, "  {} {}", style.heading("because"), printable(&diagnosis.text));
        let _ = writeln!(out, "            {}", printable(&diagnosis.advice));
    }
    let _ = writeln!(out, "\n  step  lanes apart          TF1 from oracle      Keras from oracle    worst at");
    let _ = writeln!(out, "        h         c          h         c          h         c");
    for t in &lstm.timesteps {
        step(out, t);
    }
}

fn kill_table(out: &mut String, lstm: &VerifiedLstm) {
    let seen = lstm.sensitivity.iter().filter(|k| k.detected == Some(true));
    let missed: Vec<&str> =
        lstm.sensitivity.iter().filter(|k| k.detected == Some(false)).map(|k| k.fault.as_str()).collect();
    let hidden = lstm.sensitivity.iter().filter(|k| k.detected.is_none()).count();
    let weakest = seen.clone().reduce(|a, b| if b.margin < a.margin { b } else { a });
    if let Some(weakest) = weakest {
        let _ = writeln!(
            out,
            "  faults    {} of {} would have been seen, the faintest ({}) at {} x the bound",
            seen.count(),
            lstm.sensitivity.len() - hidden,
            weakest.fault,
            share(weakest.margin)
        );
    }
    if !missed.is_empty() {
        let _ = writeln!(out, "            not seen: {}", missed.join(", "));
    }
    for kill in lstm.sensitivity.iter().filter(|k| k.detected.is_none()) {
        let why = kill.why.as_deref().unwrap_or_default();
        let _ = writeln!(out, "            cannot show: {} ({})", kill.fault, printable(why));
    }
    if let Some(change) = &lstm.smallest_change {
        let percent = |x: f64| format!("{:.2e}", x);
        let _ = writeln!(
            out,
            "            smallest change of one weight seen: {} of it (median), {} (95 in 100){}",
            percent(change.median),
            percent(change.p95),
            if change.invisible > 0 { format!("; {} never", change.invisible) } else { String::new() }
        );
    }
}

fn place(at: &crate::document::At) -> String {
    format!("{} of sequence {}, unit {}", at.state, at.sequence, at.unit)
}

fn by_quantity(q: &ByQuantity) -> f64 {
    [q.h, q.c, q.i, q.j, q.f, q.o].into_iter().fold(0.0, |m: f64, v| if v.is_nan() { v } else { m.max(v) })
}

/// A share or a multiple, as short as it can be read.
fn share(value: f64) -> String {
    if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1e}") }
}

fn step(out: &mut String, t: &Timestep) {
    let c = &t.carried;
    let at = c.at.as_ref().map_or_else(String::new, |at| format!("{} {}:{}", at.state, at.sequence, at.unit));
    let bad = if c.non_finite > 0 { format!("  {} not finite", c.non_finite) } else { String::new() };
    let _ = writeln!(
        out,
        "  {:>4}  {:<8}  {:<8}   {:<8}  {:<8}   {:<8}  {:<8}   {at}{bad}",
        t.t,
        number(c.lanes.h),
        number(c.lanes.c),
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
