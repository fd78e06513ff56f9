//! Names from files, made safe to print.

use std::borrow::Cow;

/// Whether a terminal could take it for more than text: besides C0 and C1 controls, characters that reorder or hide
/// text.
pub fn unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Escapes control characters: a name from a file could otherwise move the cursor or forge a line of output.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(unsafe_to_print) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unsafe_to_print(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The same for a JSON document, which stays the same document: what is unsafe can only be inside its strings, except
/// for the ends of its lines.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let escape = |c: char| unsafe_to_print(c) && c != '\n';
    if !json.contains(escape) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        // None of them is above U+FFFF, where JSON would need two.
        if escape(c) { out += &format!("\\u{:04x}", u32::from(c)) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_reach_the_terminal_as_text() {
        assert_eq!(printable("rnn/lstm_cell/kernel"), "rnn/lstm_cell/kernel");
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn json_stays_the_same_document() {
        let names = vec!["plain", "a\u{9b}31m\u{7f}\n", "\u{202e}b\u{feff}", "\u{1f600}"];
        let json = serde_json::to_string_pretty(&names).unwrap();
        let printed = printable_json(&json);
        assert!(!printed.contains(|c| unsafe_to_print(c) && c != '\n'), "{printed}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&printed).unwrap(), names);
        assert!(matches!(printable_json("[\n  1\n]"), Cow::Borrowed(_)));
    }
}
