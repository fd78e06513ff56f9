//! Names from files, made safe to print.

use std::borrow::Cow;

/// Escapes control characters: a name from a file could otherwise move the cursor or forge a line of output.
pub fn printable(text: &str) -> Cow<'_, str> {
    // Besides C0 and C1 controls, characters that reorder or hide text.
    let unsafe_to_print = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
    };
    if !text.contains(unsafe_to_print) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if unsafe_to_print(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
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
}
