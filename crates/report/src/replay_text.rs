//! A repeated bundle for people. Fits 80 columns.

use std::fmt::Write;

use crate::document::{Replay, ReplayedElement, ReplayedValues};
use crate::{Style, printable};

/// Whether it shows again, and one line of why.
pub fn replay_line(document: &Replay, style: Style) -> String {
    let on = printable(&document.repeated_on);
    let first = document.reasons.first().map_or_else(String::new, |r| printable(r).into_owned());
    match (document.shows, document.verdict.as_str()) {
        (true, "fail") => format!("{}  the same shows on {on}: {first}\n", style.bad("FAIL")),
        (true, _) => format!("{}  the same shows on {on}: {first}\n", style.doubtful("INCONCLUSIVE")),
        (false, _) => format!("{}  it does not show on {on}\n", style.doubtful("INCONCLUSIVE")),
    }
}

/// The whole document.
pub fn replay(document: &Replay, style: Style) -> String {
    let mut out = replay_line(document, style);
    for reason in document.reasons.iter().skip(1) {
        let _ = writeln!(out, "      {}", printable(reason));
    }
    let what = match document.what.as_str() {
        "step" => "one step from the oracle's state",
        "sequence" => "one sequence from its start",
        _ => "all that the network was tried with",
    };
    let _ = writeln!(out, "\n{} -> {}", printable(&document.lstm), printable(&document.layer));
    let _ = writeln!(out, "  found on  {}: {}", printable(&document.found_on), printable(&document.reason));
    let _ = writeln!(out, "  repeated  {what}, on {}", printable(&document.repeated_on));
    if let Some(element) = &document.element {
        let ReplayedElement { quantity, sequence, step, unit, lane, recorded, repeated, .. } = element;
        let lane = if lane == "tf1" { "TF1 lane" } else { "Keras lane" };
        let _ = writeln!(
            out,
            "  value     {} of sequence {sequence}, step {step}, unit {unit}, {lane}",
            printable(quantity)
        );
        for (when, values) in [("then", recorded), ("now", repeated)] {
            let ReplayedValues { oracle, found, limit, .. } = values;
            if oracle.is_some() || found.is_some() {
                let _ = writeln!(
                    out,
                    "  {when:<9} expected {}, found {}, at most {} apart",
                    number(*oracle),
                    number(*found),
                    limit.map_or_else(|| "?".to_owned(), |l| format!("{l:.2e}"))
                );
            }
        }
    }
    out
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "no finite number".to_owned(), |v| format!("{v:.7}"))
}
