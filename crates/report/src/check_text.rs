//! The check of a certificate for people: the outcome first, then what it rests on. Fits 80 columns.

use std::fmt::Write;

use crate::document::Check;
use crate::{Style, printable};

/// The outcome and one line of why.
pub fn check_line(document: &Check, style: Style) -> String {
    let file = printable(&document.certificate);
    let first = |texts: &[String]| texts.first().map_or_else(String::new, |t| printable(t).into_owned());
    let verdict = document.verdict.as_deref().unwrap_or_default();
    let (word, why) = match (document.outcome.as_str(), verdict) {
        ("genuine", "pass") => (style.good("PASS"), format!("{file} is genuine and certifies a pass")),
        ("genuine", "fail") => {
            (style.bad("FAIL"), format!("{file} is genuine, and it certifies: {}", first(&document.verdict_reasons)))
        }
        ("genuine", _) => (
            style.doubtful("INCONCLUSIVE"),
            format!("{file} is genuine, and it says: {}", first(&document.verdict_reasons)),
        ),
        ("unverified", _) => (style.doubtful("NOT VERIFIED"), first(&document.reasons)),
        _ => (style.bad("REFUSED"), first(&document.reasons)),
    };
    format!("{word}  {why}\n")
}

/// The whole document.
pub fn check(document: &Check, style: Style) -> String {
    let mut out = check_line(document, style);
    let shown = usize::from(document.outcome != "genuine");
    for reason in document.reasons.iter().skip(shown) {
        let _ = writeln!(out, "      {}", printable(reason));
    }
    if let Some(signature) = &document.signature {
        let key = signature.key.as_deref().unwrap_or_default();
        let text = match signature.state.as_str() {
            "valid" => format!("valid, by key {}", printable(key)),
            "not-checked" => format!("not checked, said to be by key {}", printable(key)),
            _ => "none: the digest shows accidental changes, and proves nothing of who made it".to_owned(),
        };
        let _ = writeln!(out, "\n  signature {text}");
    }
    for file in &document.files {
        let state = match file.matches {
            Some(true) => "the same",
            Some(false) => "ANOTHER",
            None => "not checked",
        };
        let _ = writeln!(out, "  {:<9} {state}: {}", file.role, printable(&file.path));
    }
    if let Some(again) = &document.again {
        let numbers = match (again.equal, again.same_device) {
            (true, _) => "every number the same",
            (false, true) => "OTHER numbers on the same device",
            (false, false) => "another device or version: verdicts compared, not numbers",
        };
        let _ =
            writeln!(out, "  again     {} on {}; {numbers}", again.verdict.to_uppercase(), printable(&again.device));
    }
    for note in &document.notes {
        let _ = writeln!(out, "  note      {}", printable(note));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{CheckedFile, Signature};

    #[test]
    fn the_first_word_says_what_the_exit_code_says() {
        let mut document = Check {
            schema: "gatewise.check/1",
            outcome: "genuine".to_owned(),
            certificate: "c\u{1b}.json".to_owned(),
            verdict: Some("pass".to_owned()),
            verdict_reasons: vec![],
            signature: Some(Signature { state: "unsigned".to_owned(), key: None }),
            files: vec![CheckedFile {
                role: "checkpoint".to_owned(),
                path: "a\n".to_owned(),
                sha256: String::new(),
                matches: Some(true),
            }],
            again: None,
            reasons: vec![],
            notes: vec![],
        };
        let text = check(&document, Style::PLAIN);
        assert!(text.starts_with("PASS  c\\u{1b}.json is genuine"), "{text}");
        assert!(text.contains("  checkpoint the same: a\\u{a}\n"), "{text}");
        document.verdict = Some("fail".to_owned());
        document.verdict_reasons = vec!["weights differ".to_owned()];
        assert!(
            check_line(&document, Style::PLAIN).starts_with("FAIL  ")
                && check_line(&document, Style::PLAIN).contains("weights differ")
        );
        document.verdict = Some("inconclusive".to_owned());
        assert!(check_line(&document, Style::PLAIN).starts_with("INCONCLUSIVE  "));
        document.outcome = "unverified".to_owned();
        document.reasons = vec!["no key".to_owned(), "and more".to_owned()];
        assert_eq!(check_line(&document, Style::PLAIN), "NOT VERIFIED  no key\n");
        document.outcome = "refused".to_owned();
        assert!(check(&document, Style::PLAIN).starts_with("REFUSED  no key\n      and more\n"));
    }
}
