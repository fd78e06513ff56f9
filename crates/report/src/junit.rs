//! A suite as JUnit XML, in the dialect that Jenkins accepts (`tests/schemas/junit-10.xsd`), which the other readers of
//! JUnit files accept too.

use std::fmt::Write;

use crate::document::{Ending, Suite, SuiteCase, Timings};

/// One `testsuite`, one `testcase` for every case, and one for each regression.
pub fn junit(document: &Suite, timings: &Timings) -> String {
    let wrong = || document.cases.iter().filter(|c| !c.unexpected.is_empty());
    let errors = wrong().filter(|c| is_error(c)).count();
    let regressions = document.baseline.as_ref().map_or(&[][..], |b| &b.regressions);
    let failures = wrong().count() - errors + regressions.len();
    let total = document.cases.len() + regressions.len();
    let seconds: f64 = document.cases.iter().filter_map(|c| timings.get(&c.name)).map(|t| t.seconds).sum();
    let name = attribute(&document.suite.path);

    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let counts = format!("tests=\"{total}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\"");
    let _ = writeln!(out, "<testsuites name=\"gatewise suite\" {counts}>");
    let _ = writeln!(out, "  <testsuite name=\"{name}\" {counts} skipped=\"0\">");
    for case in &document.cases {
        one_case(&mut out, document, case, timings);
    }
    for regression in regressions {
        let name = attribute(&format!("{} ({} against the baseline)", regression.case, regression.what));
        let _ = writeln!(out, "    <testcase classname=\"gatewise.baseline\" name=\"{name}\">");
        let message = attribute(&regression.text);
        let _ = writeln!(out, "      <failure type=\"regression\" message=\"{message}\"/>");
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// What JUnit calls an error is a test that could not be judged.
fn is_error(case: &SuiteCase) -> bool {
    matches!(case.found.verdict, Ending::Error | Ending::Inconclusive)
}

fn one_case(out: &mut String, document: &Suite, case: &SuiteCase, timings: &Timings) {
    let name = attribute(&case.name);
    let time = timings.get(&case.name).map_or_else(String::new, |t| format!(" time=\"{:.3}\"", t.seconds));
    let _ = write!(out, "    <testcase classname=\"gatewise.suite\" name=\"{name}\"{time}");
    if case.unexpected.is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    let element = if is_error(case) { "error" } else { "failure" };
    let message = attribute(&case.unexpected.join("; "));
    let mut body = format!("{}:{}\n", document.suite.path, case.line);
    for line in case.found.reasons.iter().chain([&case.command]) {
        body.push_str(line);
        body.push('\n');
    }
    let kind = case.found.verdict;
    let _ = writeln!(out, "      <{element} type=\"{kind}\" message=\"{message}\">{}</{element}>", text(&body));
    out.push_str("    </testcase>\n");
}

fn attribute(value: &str) -> String {
    escaped(value, |c| c.is_control())
}

fn text(value: &str) -> String {
    escaped(value, |c| c.is_control() && c != '\n')
}

/// XML 1.0 has no way to write most control characters, nor U+FFFE and U+FFFF, not even as references: they are shown as
/// `printable` shows them, and so is what would reorder text.
fn escaped(value: &str, control: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' if !control(c) => out.push(c),
            '\u{FFFE}' | '\u{FFFF}' => out.extend(c.escape_unicode()),
            c => out.push_str(&crate::printable(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_xml_forbids_is_left() {
        assert_eq!(
            attribute("a<b>&\"c\"\n\u{0}\u{1b}\u{FFFF}"),
            "a&lt;b&gt;&amp;&quot;c&quot;\\u{a}\\u{0}\\u{1b}\\u{ffff}"
        );
        assert_eq!(text("]]>\nx\t"), "]]&gt;\nx\\u{9}");
    }
}
