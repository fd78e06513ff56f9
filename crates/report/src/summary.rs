//! A suite in Markdown, for the summary of a CI run.

use std::fmt::Write;

use crate::document::{Figure, Suite, SuiteCase};
use crate::printable;
use crate::suite_text::in_words;

/// No summary has more bytes: GitHub takes 1 MiB for a step, and shows nothing of what is larger.
pub const LARGEST: usize = 1_000_000;
/// Of one cell of a table, in characters.
const LARGEST_CELL: usize = 400;
/// What is said of that which is left out fits in here.
const RESERVED: usize = 1000;

/// The whole document; of what does not fit in [`LARGEST`] bytes, how much is left out.
pub fn summary(document: &Suite) -> String {
    summary_within(document, LARGEST)
}

fn summary_within(document: &Suite, limit: usize) -> String {
    let limit = limit.saturating_sub(RESERVED);
    let mut out = format!("## gatewise: {}\n\n{}\n", cell(&in_words(document)), cell(&document.suite.path));
    let regressions = document.baseline.as_ref().map_or(&[][..], |b| &b.regressions);
    if !regressions.is_empty() {
        out.push_str("\n### Worse than the baseline\n\n| case | what |\n|---|---|\n");
        let rows = regressions.iter().map(|r| format!("| {} | {} |\n", cell(&r.case), cell(&r.text)));
        add(&mut out, rows, limit, "regressions");
    }
    let unexpected: Vec<&SuiteCase> = document.cases.iter().filter(|c| !c.unexpected.is_empty()).collect();
    if !unexpected.is_empty() {
        out.push_str("\n### Not as expected\n\n| case | line | what | why |\n|---|---|---|---|\n");
        let rows = unexpected.iter().map(|case| {
            let why = case.found.reasons.first().map_or("", String::as_str);
            let what = cell(&case.unexpected.join("; "));
            format!("| {} | {} | {what} | {} |\n", cell(&case.name), case.line, cell(why))
        });
        add(&mut out, rows, limit, "cases that did not end as expected");
    }
    out.push_str("\n<details><summary>All cases</summary>\n\n");
    out.push_str("| case | verdict | local | carried | lanes apart |\n|---|---|---|---|---|\n");
    add(&mut out, document.cases.iter().map(row), limit, "cases");
    out.push_str("\n</details>\n");
    out
}

fn row(case: &SuiteCase) -> String {
    let figure = |of: fn(&crate::document::SuiteDivergence) -> Figure| {
        case.found.divergence.as_ref().map_or_else(String::new, |d| of(d).to_string())
    };
    let (local, carried, apart) = (figure(|d| d.local), figure(|d| d.carried), figure(|d| d.lanes_apart));
    format!("| {} | {} | {local} | {carried} | {apart} |\n", cell(&case.name), case.found.verdict)
}

/// Adds rows while they fit; says how many do not.
fn add(out: &mut String, rows: impl Iterator<Item = String>, limit: usize, what: &str) {
    let mut left_out = 0;
    for row in rows {
        if left_out == 0 && out.len() + row.len() <= limit {
            out.push_str(&row);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let _ = writeln!(out, "\n{left_out} more {what} are left out here.");
    }
}

/// Text in a cell of a table, shortened where it is long: nothing in it is markup.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, c) in text.chars().enumerate() {
        if index == LARGEST_CELL {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' | '$' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push_str(&printable(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Counts, Ending, Expected, Finding, Outcome, SuiteFile};

    /// A suite of `n` cases, none of them as expected.
    fn suite(n: usize, name: &str) -> Suite {
        let case = |index: usize| SuiteCase {
            index,
            name: format!("{name} {index}"),
            line: index + 1,
            expected: Expected { verdict: Ending::Pass, fault: None, says: None },
            found: Finding {
                verdict: Ending::Fail,
                reasons: vec![name.to_owned()],
                faults: vec![],
                device: None,
                lstms: 1,
                divergence: None,
            },
            unexpected: vec!["expected pass, found fail".to_owned()],
            command: String::new(),
        };
        let (sha256, plan) = (String::new(), String::new());
        Suite {
            schema: "gatewise.suite/1".to_owned(),
            version: String::new(),
            suite: SuiteFile { path: "a.toml".to_owned(), sha256, plan, cases: n },
            outcome: Outcome::Unexpected,
            counts: Counts { cases: n, unexpected: n, fail: n, ..Counts::default() },
            cases: (0..n).map(case).collect(),
            baseline: None,
        }
    }

    #[test]
    fn no_summary_is_too_large_and_what_is_left_out_is_counted() {
        let names = ["case".to_owned(), "&<|`*\u{202e}\n".repeat(40), "ü".repeat(600)];
        for (name, n) in names.iter().flat_map(|name| [(name, 1), (name, 300), (name, 10_000)]) {
            let text = summary(&suite(n, name));
            assert!(text.len() < LARGEST, "{} bytes of {n} cases", text.len());
            let rows = text.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| case |")).count();
            let said: usize = text.lines().filter_map(|l| l.split_once(" more cases")?.0.parse::<usize>().ok()).sum();
            assert_eq!(rows + said, 2 * n, "each case has a row in both tables, or is counted");
            assert!(text.ends_with("</details>\n"));
        }
        assert!(summary(&suite(300, "case")).len() > 10_000);
        assert!(!summary(&suite(300, "case")).contains("left out"));
    }

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(cell("a|b\n<img>`x`"), "a&#124;b &lt;img&gt;&#96;x&#96;");
    }
}
