//! A verification for people: the verdict first, then what it rests on, and what to do now.

use std::fmt::Write;

use super::next;
use super::spark::{Curve, curves};
use super::steps::{Steps, steps};
use super::style::Style;
use super::wrap::{WIDTH, width, wrapped};
use crate::checks::{checks, from_oracle, sizes, worst};
use crate::document::{Timestep, VerifiedLstm, Verify};
use crate::printable;

/// The verdict and one line of why.
pub fn verdict_line(document: &Verify, style: Style) -> String {
    let (word, text) = match document.verdict.as_str() {
        "pass" => (style.good("PASS"), "PASS"),
        "fail" => (style.bad("FAIL"), "FAIL"),
        _ => (style.doubtful("INCONCLUSIVE"), "INCONCLUSIVE"),
    };
    // The reasons below it are indented alike, whatever the verdict.
    let indent = if text.len() > 4 { 6 } else { text.len() + 2 };
    wrapped(&format!("{word}  "), indent, &why(document))
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

pub(crate) fn reason_line(reason: &crate::document::Reason) -> String {
    if reason.lstm.is_empty() {
        printable(&reason.text).into_owned()
    } else {
        format!("{}: {}", printable(&reason.lstm), printable(&reason.text))
    }
}

/// The whole document.
pub fn verify(document: &Verify, which: Steps, style: Style) -> String {
    let mut out = verdict_line(document, style);
    for reason in document.reasons.iter().skip(1) {
        out += &wrapped("      ", 8, &reason_line(reason));
    }
    for lstm in &document.lstms {
        one_lstm(&mut out, lstm, which, style);
    }
    compared(&mut out, document, style);
    let mut label = format!("\n{}  ", style.heading("next"));
    for step in next(document) {
        out += &wrapped(&label, 6, &step);
        label = "      ".to_owned();
    }
    out
}

fn one_lstm(out: &mut String, lstm: &VerifiedLstm, which: Steps, style: Style) {
    let heading = format!("{} -> {}", printable(&lstm.name), printable(&lstm.candidate));
    // Long scopes take a line each.
    let heading = if width(&heading) > WIDTH { heading.replacen(" -> ", "\n  -> ", 1) } else { heading };
    let _ = writeln!(out, "\n{}", style.heading(&heading));
    let _ = writeln!(out, "{}", sizes(lstm));
    out.push('\n');
    table(out, lstm, style);
    out.push('\n');
    details(out, lstm);
    // The first one is among the reasons above.
    for diagnosis in lstm.diagnosis.iter().skip(1) {
        *out += &wrapped("  ", 4, &format!("or: {}", printable(&diagnosis.text)));
    }
    out.push('\n');
    let of = |value: fn(&Timestep) -> f64| lstm.timesteps.iter().map(|t| Some(value(t))).collect::<Vec<_>>();
    let allowed = lstm.timesteps.iter().map(|t| (!t.carried.saturated).then_some(t.carried.allowed)).collect();
    *out += &curves(
        "error",
        &[
            Curve { name: "allowed", values: allowed },
            Curve { name: "carried", values: of(from_oracle) },
            Curve { name: "one step", values: of(|t| t.local.ratio * t.local.bound) },
        ],
        style,
    );
    out.push('\n');
    *out += &steps(lstm, which, style);
}

/// One row per thing that must hold.
fn table(out: &mut String, lstm: &VerifiedLstm, style: Style) {
    let _ = writeln!(out, "  {}", style.faint("check    result  found                     worst at"));
    for check in checks(lstm) {
        let result = check.result();
        let gap = " ".repeat(6 - result.len());
        let result = match check.holds {
            Some(true) => style.good(result),
            Some(false) => style.bad(result),
            None => style.doubtful(result),
        };
        let first = format!("  {:<8} {result}{gap}  {:<24}  ", check.name, check.found);
        *out += &wrapped(&first, width(&first).min(45), &check.worst);
    }
}

/// What the table has no room for.
fn details(out: &mut String, lstm: &VerifiedLstm) {
    let mut say = |text: &str| *out += &wrapped("  ", 4, text);
    for setting in &lstm.weights.settings {
        say(&format!("setting: {}", printable(setting)));
    }
    if let Some(screened) = &lstm.screened {
        let furthest = screened.timesteps.iter().reduce(|a, b| if b.max_abs > a.max_abs { b } else { a });
        let at = furthest.and_then(|step| Some((step.t, step.at.as_ref()?)));
        let at = at.map_or_else(String::new, |(t, at)| {
            format!(", at step {t}, {} of sequence {}, unit {}", at.state, at.sequence, at.unit)
        });
        let (n, apart) = (screened.sequences, screened.max_abs);
        say(&format!("all {n} sequences: lanes at most {apart:.2e} apart{at}"));
        say(&format!("what is said besides is of the {} judged", screened.judged));
    }
    let all = &lstm.timesteps;
    if let Some((t, at)) = worst(all, |t| t.local.ratio).and_then(|t| Some((t, t.local.at.as_ref()?))) {
        let is_state = at.state == "h" || at.state == "c";
        let gate = if is_state { format!("; mostly by gate {}", t.local.gate) } else { String::new() };
        let (expected, found, bound) = (value(at.expected), value(at.found), t.local.bound);
        say(&format!(
            "local: at the worst place {expected} was expected, {found} found, where the bound is {bound:.2e}{gate}"
        ));
    }
    if let Some(t) = worst(all, |t| t.carried.max_abs) {
        let growth = lstm.growth_per_step.map_or_else(String::new, |g| format!("; grows {g:.3}-fold a step"));
        let at = t.carried.at.as_ref().and_then(|at| Some((at, at.oracle?)));
        let values = at.map_or_else(String::new, |(at, oracle)| {
            format!(": TF1 {}, Keras {}, the truth {}", value(at.expected), value(at.found), value(oracle))
        });
        match t.carried.max_abs {
            0.0 => say(&format!("carried: the lanes give the same values, bit for bit{growth}")),
            apart => say(&format!("carried: the lanes are at most {apart:.2e} apart{values}{growth}")),
        }
    }
    if let Some(step) = all.iter().find(|t| t.carried.saturated) {
        say(&format!("from step {} on even right runs drift apart: carried error says nothing there", step.t));
    }
    let missed: Vec<&str> =
        lstm.sensitivity.iter().filter(|k| k.detected == Some(false)).map(|k| k.fault.as_str()).collect();
    if !missed.is_empty() {
        say(&format!("faults that would not have been seen: {}", missed.join(", ")));
    }
    for (why, faults) in that_cannot_show(lstm) {
        say(&format!("cannot show: {} ({})", faults.join(", "), printable(why)));
    }
    if let Some(change) = &lstm.smallest_change {
        let never = if change.invisible > 0 { format!("; {} never", change.invisible) } else { String::new() };
        say(&format!(
            "smallest change of one weight that would show: {:.2e} of it (median), {:.2e} (95 in 100){never}",
            change.median, change.p95
        ));
    }
}

/// A value that was computed, with as many digits as f32 has.
fn value(v: f64) -> String {
    if v == 0.0 || (1e-2..1e7).contains(&v.abs()) || !v.is_finite() { format!("{v:.7}") } else { format!("{v:.7e}") }
}

/// The faults that cannot show, by the reason why, in the order of the kill table; one of several forms once.
fn that_cannot_show(lstm: &VerifiedLstm) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = vec![];
    for kill in lstm.sensitivity.iter().filter(|k| k.detected.is_none()) {
        let (why, fault) = (kill.why.as_deref().unwrap_or_default(), kill.fault.as_str());
        match all.iter_mut().find(|(known, _)| *known == why) {
            None => all.push((why, vec![fault])),
            Some((_, faults)) if faults.contains(&fault) => {}
            Some((_, faults)) => faults.push(fault),
        }
    }
    all
}

/// What was compared, how, and what that rests on.
fn compared(out: &mut String, document: &Verify, style: Style) {
    let _ = writeln!(out, "\n{}", style.heading("compared"));
    let mut say = |what: &str, text: &str| *out += &wrapped(&format!("  {what:<9} "), 12, text);
    if let Some(file) = &document.inputs.candidate {
        say("candidate", &printable(&file.path));
        say("sha256", &file.sha256);
    }
    let (s, d) = (&document.settings, &document.device);
    say("device", &format!("{} ({}, {})", printable(&d.name), d.kind, d.backend));
    say("lanes", &s.lanes.join(", "));
    let (n, steps) = (s.sequences, s.timesteps);
    match &document.inputs.recorded {
        None => {
            say("inputs", &format!("{n} random sequences of {steps} steps, seed {}", s.seed));
            if let Some(judged) = s.judged {
                say("", &format!("all through both lanes, {judged} of them judged against the oracle"));
            }
        }
        Some(file) => say("inputs", &format!("{n} sequences of up to {steps} steps from {}", printable(&file.path))),
    }
    let budgets: Vec<String> = ["sigmoid", "tanh"]
        .iter()
        .filter_map(|name| Some(format!("{name} {:.1} ULP", s.activation_budget_ulp.get(*name)?)))
        .collect();
    say("bound", &format!("{} u sqrt(n) per sum of n terms, plus {} as measured", s.lambda, budgets.join(", ")));
    say("local", "one step from the true state, as a share of what rounding can explain");
    say("carried", "running freely, as a share of how far right f32 runs may be from the truth");
    for note in &document.notes {
        say("note", &printable(note));
    }
}
