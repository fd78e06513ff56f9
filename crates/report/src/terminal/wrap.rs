//! Lines that fit.

use unicode_width::UnicodeWidthStr;

/// Columns of a terminal, and of a log beside other things.
pub(super) const WIDTH: usize = 80;

/// `text` after `first`, broken at spaces so that it fits; later lines are indented by `indent` columns. A word that is
/// wider than a line stays whole, as a file name should. Ends with a line break.
pub(super) fn wrapped(first: &str, indent: usize, text: &str) -> String {
    let mut out = first.to_owned();
    let mut column = width(first);
    // Nothing stands on the line yet but what introduces it.
    let mut fresh = true;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        if !fresh && column + 1 + width(word) > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width(word);
        fresh = false;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Columns that a text takes, escape sequences of colour left out.
pub(super) fn width(text: &str) -> usize {
    let mut columns = 0;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        columns += before.width();
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    columns + rest.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_no_word_is_lost() {
        let text = "one two three four five ".repeat(20);
        let out = wrapped("PASS  ", 6, &text);
        assert!(out.lines().all(|l| l.chars().count() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|l| l.starts_with("      ") && !l.starts_with("       ")));
        assert!(out.split_whitespace().skip(1).eq(text.split_whitespace()));
        // As full as can be: the next word would not have fitted.
        let lines: Vec<&str> = out.lines().collect();
        for pair in lines.windows(2) {
            let next = pair[1].split_whitespace().next().unwrap();
            assert!(pair[0].len() + 1 + next.len() > WIDTH, "{pair:?}");
        }
    }

    #[test]
    fn a_file_name_stays_whole() {
        let name = "a/very/long/name/".repeat(9);
        assert_eq!(wrapped("FAIL  ", 6, &format!("in {name} here")), format!("FAIL  in\n      {name}\n      here\n"));
        assert_eq!(wrapped("FAIL  ", 6, &name), format!("FAIL  {name}\n"));
    }

    #[test]
    fn colour_takes_no_room_and_wide_characters_take_two() {
        assert_eq!(width("\u{1b}[1m\u{1b}[32mPASS\u{1b}[0m"), 4);
        assert_eq!(width("重み"), 4);
    }

    #[test]
    fn nothing_leaves_no_spaces_behind() {
        assert_eq!(wrapped("  check  ", 9, ""), "  check\n");
    }
}
