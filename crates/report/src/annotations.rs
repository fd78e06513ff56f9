//! What is not as it should be, as workflow commands of GitHub Actions, which show it on the lines of the suite file.
//! Format: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.

use std::fmt::Write;

use crate::document::Suite;

/// One `::error` line for each case that did not end as expected and each regression.
pub fn github(document: &Suite) -> String {
    let mut out = String::new();
    let mut error = |line: Option<usize>, title: &str, message: &str| {
        let line = line.map_or_else(String::new, |n| format!(",line={n}"));
        let file = property(&document.suite.path);
        let _ = writeln!(out, "::error file={file}{line},title={}::{}", property(title), data(message));
    };
    for case in document.cases.iter().filter(|c| !c.unexpected.is_empty()) {
        let mut message = case.unexpected.join("\n");
        for text in case.found.reasons.first().into_iter().chain([&case.command]) {
            message.push('\n');
            message.push_str(text);
        }
        error(Some(case.line), &case.name, &message);
    }
    for regression in document.baseline.iter().flat_map(|b| &b.regressions) {
        error(regression.line, &regression.case, &regression.text);
    }
    out
}

/// A message: what would end the line is escaped, and other control characters are shown as text.
fn data(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => out.push_str("%25"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            c => out.push_str(&crate::printable(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_command() {
        assert_eq!(data("50 %\r\n::error::x\u{1b}"), "50 %25%0D%0A::error::x\\u{1b}");
        assert_eq!(property("a,line=3:b"), "a%2Cline=3%3Ab");
    }
}
