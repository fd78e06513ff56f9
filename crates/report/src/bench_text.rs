//! Times for people: a table for each case. Fits 80 columns.

use std::fmt::Write;

use crate::document::{Baseline, Bench, BenchCase, BenchResult};
use crate::{Style, printable};

/// The whole document.
pub fn bench(document: &Bench, style: Style) -> String {
    let mut out = String::new();
    let d = &document.device;
    let _ = writeln!(out, "device    {} ({}, {})", printable(&d.device.name), d.device.kind, d.device.backend);
    let _ = writeln!(
        out,
        "peak      {} GFLOP/s in a matrix product, {} GB/s in a copy",
        digits(d.peak_gflops),
        digits(d.copy_gb_s)
    );
    let s = &document.settings;
    let _ = writeln!(out, "operations {}", s.operations);
    for failure in &d.device.self_check.failures {
        let _ = writeln!(out, "self-check {}: {}", style.bad("failed"), printable(failure));
    }
    let mut cases: Vec<&BenchCase> = vec![];
    for case in document.results.iter().map(|r| &r.case).chain(document.skipped.iter().map(|s| &s.case)) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    for case in cases {
        one_case(&mut out, document, case, style);
    }
    if let Some(baseline) = &document.baseline {
        compared(&mut out, baseline, style);
    }
    out
}

fn one_case(out: &mut String, document: &Bench, case: &BenchCase, style: Style) {
    let _ = writeln!(out, "\n{}", style.heading(&title(case)));
    let _ = writeln!(
        out,
        "  {:<12} {:>9} {:>15} {:>7} {:>7} {:>7} {:>6} {:>8}",
        "", "median ms", "95 % range", "us/step", "steps/s", "GFLOP/s", "peak %", "first ms"
    );
    for result in document.results.iter().filter(|r| r.case == *case) {
        let _ = writeln!(out, "  {}", row(result, style));
    }
    for (route, names) in routes(document, case) {
        let _ = writeln!(out, "  {names}: {}", printable(route));
    }
    for skipped in document.skipped.iter().filter(|s| s.case == *case) {
        let _ = writeln!(out, "  {:<12} not timed: {}", skipped.implementation, printable(&skipped.why));
    }
}

/// The ways that were taken in a case, and by whom.
fn routes<'a>(document: &'a Bench, case: &BenchCase) -> Vec<(&'a str, String)> {
    let mut routes: Vec<(&str, String)> = vec![];
    for result in document.results.iter().filter(|r| r.case == *case) {
        match routes.iter_mut().find(|(route, _)| *route == result.route) {
            Some((_, names)) => *names = format!("{names}, {}", result.implementation),
            None => routes.push((&result.route, result.implementation.to_owned())),
        }
    }
    routes
}

/// What a case runs.
pub(crate) fn title(case: &BenchCase) -> String {
    let layers = match case.layers {
        1 => String::new(),
        n => format!(", {n} layers"),
    };
    let direction = if case.direction == "forward" { String::new() } else { format!(", {}", case.direction) };
    let name = case.lstm.as_ref().map_or_else(String::new, |name| format!("{}: ", printable(name)));
    format!(
        "{name}{} x {} steps, {} inputs, {} units{layers}{direction}",
        plural(case.sequences, "sequence"),
        case.timesteps,
        case.input,
        case.units
    )
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn row(result: &BenchResult, style: Style) -> String {
    let name = result.implementation;
    let Some(time) = &result.time else {
        let why = result.why.as_deref().unwrap_or("no result");
        return format!("{name:<12} {}: {}", style.bad("no time"), printable(why));
    };
    let standing = match time.standing {
        "fastest" => style.good(" fastest"),
        "tie" => " tie".to_owned(),
        _ => String::new(),
    };
    let range = format!("{} - {}", digits(time.low_ms), digits(time.high_ms));
    format!(
        "{name:<12} {:>9} {range:>15} {:>7} {:>7} {:>7} {:>6.1} {:>8}{standing}",
        digits(time.median_ms),
        digits(time.ms_per_step * 1e3),
        thousands(time.steps_per_s),
        digits(time.gflops),
        100.0 * time.of_peak,
        digits(time.first_run_ms)
    )
}

/// Three significant digits, with k for thousands and M for millions.
fn thousands(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => digits(v / 1e6) + "M",
        v if v >= 999.5 => digits(v / 1e3) + "k",
        v => digits(v),
    }
}

/// Three significant digits, and no fewer than are before the point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

fn compared(out: &mut String, baseline: &Baseline, style: Style) {
    let path = printable(&baseline.path);
    let more = match baseline.not_measured {
        0 => String::new(),
        n => format!("; {n} more of its results were not measured this time"),
    };
    let word = if baseline.regressions.is_empty() { style.good("no regression") } else { style.bad("REGRESSION") };
    let _ = writeln!(out, "\n{word}  {} compared with {path}{more}", plural(baseline.compared, "result"));
    for regression in &baseline.regressions {
        let now = match regression.now_ms {
            Some(now) => format!("now {} ms, {:.2} times as long", digits(now), now / regression.before_ms),
            None => "now without a right result".to_owned(),
        };
        let _ = writeln!(
            out,
            "  {} in {}: {} ms before, {now}",
            printable(&regression.implementation),
            title(&regression.case),
            digits(regression.before_ms)
        );
    }
}
