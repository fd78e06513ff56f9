//! A map made safe to print: the names in it come from a file.

use std::ops::Range;

use report::unsafe_to_print;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The same map, its strings written so that none can move a cursor or forge a line. What is unsafe in a text of TOML
/// can only be in its strings, except for the ends of its lines.
pub(super) fn printable(mut text: String) -> Result<String, toml::de::Error> {
    let mut unsafe_strings = vec![];
    for (_, value) in DeTable::parse(&text)?.get_ref() {
        collect(value, &mut unsafe_strings);
    }
    unsafe_strings.sort_by_key(|(span, _)| span.start);
    for (span, string) in unsafe_strings.into_iter().rev() {
        text.replace_range(span, &quoted(&string));
    }
    Ok(text)
}

fn collect(value: &Spanned<DeValue<'_>>, found: &mut Vec<(Range<usize>, String)>) {
    match value.get_ref() {
        DeValue::String(text) if text.contains(unsafe_to_print) => found.push((value.span(), text.to_string())),
        DeValue::Array(items) => items.iter().for_each(|item| collect(item, found)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| collect(value, found)),
        _ => {}
    }
}

/// A basic string on one line.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // None of them is above U+FFFF, where TOML would need a longer escape.
            c if unsafe_to_print(c) => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Map;
    use crate::map::format::{MappedLstm, OneOrMany, parse};

    #[test]
    fn a_map_of_hostile_names_stays_the_same_map() {
        let names = [
            "\u{9b}31m",
            "a\nb",
            "\u{202e}\"x\"\\",
            "'\u{85}'''\"\"\"",
            "\u{1b}[2J\t",
            "plain",
            "\u{feff}",
            "\u{1f600}",
        ];
        let lstm = |name: &&str| MappedLstm {
            name: (*name).to_owned(),
            kernel: Some(OneOrMany::Many(vec![format!("{name}/k"), "k".to_owned()])),
            bias: Some(format!("{name}/b")),
            extra: [("gamma".to_owned(), format!("{name}/g"))].into(),
            ..MappedLstm::default()
        };
        let map = Map { lstm: names.iter().map(lstm).collect(), layer: vec![] };
        let text = printable(toml::to_string(&map).unwrap()).unwrap();
        assert!(!text.contains(|c| unsafe_to_print(c) && c != '\n'), "{text}");
        assert!(
            text.lines().all(|l| l.is_empty()
                || l.starts_with('[')
                || l.contains(" = ")
                || l == "]"
                || l.starts_with("    ")),
            "{text}"
        );
        assert_eq!(format!("{:?}", parse(&text).unwrap()), format!("{map:?}"));
    }

    #[test]
    fn other_maps_are_as_they_were() {
        let text = "[[lstm]]\nname = 'a\"b'\nkernel = \"k\"\n".to_owned();
        assert_eq!(printable(text.clone()).unwrap(), text);
    }
}
