//! Numbers in names, in their order rather than that of their digits.

use std::collections::HashMap;

/// A run of digits without leading zeros, by length first, or of other characters.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Run<'a> {
    Number(usize, &'a str),
    Text(&'a str),
}

fn runs(name: &str) -> Vec<Run<'_>> {
    let mut runs = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        runs.push(if digits {
            let number = run.trim_start_matches('0');
            Run::Number(number.len(), number)
        } else {
            Run::Text(run)
        });
    }
    runs
}

/// `name` without its numbers: `lstm` and `lstm_10` have one stem.
fn stem(name: &str) -> String {
    let texts = runs(name).into_iter().filter_map(|run| match run {
        Run::Text(text) => Some(text.trim_end_matches('_')),
        Run::Number(..) => None,
    });
    texts.collect()
}

/// Puts items of one stem in the order of their numbers, each into a place where one of them was. Returns whether
/// that tells the order of all: those of different stems have none.
pub(super) fn by_number<T>(items: &mut Vec<T>, name: impl Fn(&T) -> &str) -> bool {
    let mut stems: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        stems.entry(stem(name(item))).or_default().push(index);
    }
    let known = stems.len() <= 1;
    let mut from: Vec<usize> = (0..items.len()).collect();
    for places in stems.into_values() {
        let key = |index: &usize| items.get(*index).map(|item| runs(name(item)));
        let mut members = places.clone();
        members.sort_by(|a, b| key(a).cmp(&key(b)));
        for (place, member) in places.into_iter().zip(members) {
            if let Some(slot) = from.get_mut(place) {
                *slot = member;
            }
        }
    }
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(from.into_iter().filter_map(|index| taken.get_mut(index).and_then(Option::take)));
    known
}

#[cfg(test)]
mod tests {
    use super::by_number;

    fn ordered(names: &[&str]) -> (String, bool) {
        let mut names = names.to_vec();
        let known = by_number(&mut names, |n| n);
        (names.join(" "), known)
    }

    #[test]
    fn numbers_count_as_numbers() {
        assert_eq!(ordered(&["lstm", "lstm_1", "lstm_10", "lstm_2"]), ("lstm lstm_1 lstm_2 lstm_10".into(), true));
        assert_eq!(ordered(&["l_1/a", "l_10/a", "l_2/a", "l/a"]), ("l/a l_1/a l_2/a l_10/a".into(), true));
        assert_eq!(ordered(&["x9", "x10", "x007"]), ("x007 x9 x10".into(), true));
    }

    #[test]
    fn other_names_keep_their_places() {
        assert_eq!(ordered(&["b_10", "a_1", "b_2", "a_0"]), ("b_2 a_0 b_10 a_1".into(), false));
        assert_eq!(ordered(&[]), (String::new(), true));
    }
}
