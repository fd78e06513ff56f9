//! A suite for people: all together first, then every case that is not as it should be, with what to do.

use std::fmt::Write;

use crate::document::{Counts, Outcome, Suite, SuiteCase};
use crate::{Style, printable};

/// All together, in one line.
pub fn verdict_line(document: &Suite, style: Style) -> String {
    let word = match document.outcome {
        Outcome::AsExpected => style.good("PASS"),
        Outcome::Unexpected => style.bad("FAIL"),
        Outcome::Inconclusive => style.doubtful("INCONCLUSIVE"),
    };
    format!("{word}  {}: {}\n", printable(&document.suite.path), in_words(document))
}

/// What became of the suite, without a full stop.
pub(crate) fn in_words(document: &Suite) -> String {
    let n = &document.counts;
    let cases = if n.cases == 1 { "1 case".to_owned() } else { format!("{} cases", n.cases) };
    let mut text = match n.unexpected {
        0 if n.cases == 1 => "its case ended as expected".to_owned(),
        0 => format!("all {cases} ended as expected"),
        some => format!("{some} of {cases} did not end as expected"),
    };
    let _ = write!(text, " ({})", endings(n));
    match document.baseline.as_ref().map(|b| b.regressions.len()) {
        None | Some(0) => {}
        Some(1) => text += "; 1 regression",
        Some(some) => {
            let _ = write!(text, "; {some} regressions");
        }
    }
    text
}

fn endings(n: &Counts) -> String {
    let counts = [(n.pass, "pass"), (n.fail, "fail"), (n.inconclusive, "inconclusive"), (n.error, "error")];
    counts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect::<Vec<_>>().join(", ")
}

/// The whole document.
pub fn suite(document: &Suite, style: Style) -> String {
    let mut out = verdict_line(document, style);
    for case in document.cases.iter().filter(|c| !c.unexpected.is_empty()) {
        one_case(&mut out, document, case, style);
    }
    if let Some(baseline) = &document.baseline {
        let _ = writeln!(out, "\n{}", style.heading(&format!("against {}", printable(&baseline.file))));
        for regression in &baseline.regressions {
            let _ = writeln!(out, "  {} {}", style.bad("worse"), printable(&regression.case));
            let _ = writeln!(out, "        {}", printable(&regression.text));
        }
        if baseline.regressions.is_empty() {
            let _ = writeln!(out, "  nothing got worse");
        }
        for note in &baseline.notes {
            let _ = writeln!(out, "  note  {}", printable(note));
        }
    }
    out
}

fn one_case(out: &mut String, document: &Suite, case: &SuiteCase, style: Style) {
    let _ = writeln!(
        out,
        "\n{} ({}:{})",
        style.heading(&printable(&case.name)),
        printable(&document.suite.path),
        case.line
    );
    for difference in &case.unexpected {
        let _ = writeln!(out, "  {}", printable(difference));
    }
    // An error may have several lines: its causes and hints.
    for line in case.found.reasons.iter().take(4).flat_map(|reason| reason.lines()) {
        let _ = writeln!(out, "    {}", printable(line));
    }
    if case.found.reasons.len() > 4 {
        let _ = writeln!(out, "    and {} reasons more", case.found.reasons.len() - 4);
    }
    let _ = writeln!(out, "  {}", printable(&case.command));
}
