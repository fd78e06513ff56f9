//! JSON of untrusted content.

use serde::de::DeserializeOwned;

use crate::error::Problem;

/// Values that a document may have. A model of a thousand layers has about fifty thousand; each takes two bytes of the
/// file or more, and a hundred of memory or more.
const MAX_VALUES: usize = 500_000;

/// Parses a document, after a look at how much it is.
pub(crate) fn parse<T: DeserializeOwned>(document: &'static str, text: &[u8]) -> Result<T, Problem> {
    // One for each value or key but the first of a list; those inside strings are too few to matter.
    let values = text.iter().filter(|b| matches!(b, b',' | b':' | b'[' | b'{')).count();
    if values > MAX_VALUES {
        return Err(Problem::TooLarge {
            what: document.to_owned(),
            limit: MAX_VALUES as u64,
            unit: "JSON values",
            found: values.to_string(),
        });
    }
    serde_json::from_slice(text).map_err(|source| Problem::Json { document, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_too_many_values_is_refused_before_it_is_parsed() {
        let list = |values: usize| [&b"[0"[..], &b",0".repeat(values - 1), b"]"].concat();
        let parsed: Vec<u8> = parse("list", &list(1000)).unwrap();
        assert_eq!(parsed.len(), 1000);
        let outcome: Result<Vec<u8>, _> = parse("list", &list(MAX_VALUES + 1));
        assert!(matches!(outcome, Err(Problem::TooLarge { unit: "JSON values", .. })));
    }
}
