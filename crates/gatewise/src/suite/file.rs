//! What a suite file says: `[defaults]`, and a `[[case]]` table for each verification. Every value remembers its line.

use std::collections::BTreeMap;
use std::ops::Range;

use report::document::{Ending, Expected};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One `[[case]]` table, the defaults filled in.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where the table begins, from 1.
    pub(crate) line: usize,
    pub(crate) checkpoint: Vec<Pattern>,
    /// Empty where gatewise's own conversion is verified.
    pub(crate) candidate: Vec<Pattern>,
    /// What is not meant of that which the patterns match.
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) expected: Expected,
    /// Options of `gatewise verify`, by their key here.
    pub(crate) options: BTreeMap<&'static str, OptionValue>,
}

/// A path, in which `*`, `?`, `[…]` and `**` stand for what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The value of an option, as words of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OptionValue {
    /// What follows `--option=`; nothing for a switch that is on.
    pub(crate) words: Vec<String>,
    pub(crate) switch: bool,
    pub(crate) line: usize,
    /// Said in `[defaults]`.
    pub(crate) by_default: bool,
}

/// What kind of value an option takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A path, taken from the folder of the suite file.
    Path,
    Number,
    /// Text or a number: `keras = 2` and `keras = "2"`.
    Word,
    Switch,
    List,
}

/// Every option of `gatewise verify` that says what is compared and how; a key is the option with `_` for `-`.
const OPTIONS: [(&str, Kind); 16] = [
    ("lstm", Kind::List),
    ("map", Kind::Path),
    ("forget_bias", Kind::Number),
    ("activation", Kind::Text),
    ("recurrent_activation", Kind::Text),
    ("input_size", Kind::Number),
    ("weights", Kind::Text),
    ("override", Kind::Switch),
    ("keras", Kind::Word),
    ("device", Kind::Text),
    ("sequences", Kind::Number),
    ("timesteps", Kind::Number),
    ("seed", Kind::Number),
    ("inputs", Kind::Path),
    ("atol", Kind::Number),
    ("rtol", Kind::Number),
];

/// Recorded inputs have their own numbers of sequences and steps.
const SIZES: [&str; 2] = ["sequences", "timesteps"];

/// What is wrong, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

/// A table's keys and values, taken out one by one, so that what is left is unknown.
struct Table<'t, 'i> {
    text: &'t str,
    what: &'static str,
    line: usize,
    values: BTreeMap<&'t str, (usize, &'t Spanned<DeValue<'i>>)>,
}

/// Reads the text of a suite file: at least one case.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, Wrong> {
    let document = DeTable::parse(text).map_err(|error| Wrong {
        line: error.span().map_or(1, |span| line_of(text, span)),
        problem: error.message().to_owned(),
    })?;
    let mut top = Table::new(text, "a suite", 1, document.get_ref());
    let defaults = match top.values.remove("defaults") {
        None => Settings::default(),
        Some((line, value)) => {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(Wrong { line, problem: "defaults is a table: [defaults]".to_owned() });
            };
            let mut table = Table::new(text, "[defaults]", line, table);
            let settings = Settings::take(&mut table, true)?;
            table.nothing_left()?;
            settings
        }
    };
    let cases = match top.values.remove("case") {
        None => vec![],
        Some((line, value)) => {
            let not_tables = || Wrong { line, problem: "case is a list of tables: [[case]]".to_owned() };
            let DeValue::Array(cases) = value.get_ref() else { return Err(not_tables()) };
            let mut tables = vec![];
            for case in cases.iter() {
                let DeValue::Table(table) = case.get_ref() else { return Err(not_tables()) };
                tables.push(Table::new(text, "[[case]]", line_of(text, case.span()), table));
            }
            tables
        }
    };
    top.nothing_left()?;
    if cases.is_empty() {
        return Err(Wrong { line: 1, problem: "it has no [[case]]: nothing would be verified".to_owned() });
    }
    cases.into_iter().map(|table| entry(table, &defaults)).collect()
}

fn entry(mut table: Table<'_, '_>, defaults: &Settings) -> Result<Entry, Wrong> {
    let line = table.line;
    let missing = |key: &str| Wrong { line, problem: format!("a [[case]] without {key}") };
    let name = table.text("name")?.ok_or_else(|| missing("name"))?;
    if name.text.trim().is_empty() {
        return Err(Wrong { line: name.line, problem: "name is empty".to_owned() });
    }
    let checkpoint = table.patterns("checkpoint")?;
    if checkpoint.is_empty() {
        return Err(missing("checkpoint"));
    }
    let (candidate, exclude) = (table.patterns("candidate")?, table.patterns("exclude")?);
    let own = Settings::take(&mut table, false)?;
    table.nothing_left()?;

    // A mistake or a text that is expected belongs to the ending it is written beside.
    let (ending, fault, says) = match own.expect {
        Some(_) => (own.expect, own.fault, own.says),
        None => (defaults.expect, own.fault.or(defaults.fault.clone()), own.says.or(defaults.says.clone())),
    };
    let verdict = ending.unwrap_or(Ending::Pass);
    if let Some(fault) = fault.as_ref().filter(|_| verdict != Ending::Fail) {
        let problem = format!("fault is for expect = \"fail\", and {verdict} is expected");
        return Err(Wrong { line: fault.line, problem });
    }
    if let Some(says) = says.as_ref().filter(|_| verdict == Ending::Pass) {
        return Err(Wrong { line: says.line, problem: "says is for what speaks against a pass".to_owned() });
    }
    let expected = Expected { verdict, fault: fault.map(|f| f.text), says: says.map(|s| s.text) };

    let mut options = defaults.options.clone();
    if own.options.contains_key("inputs") {
        SIZES.iter().for_each(|size| drop(options.remove(size)));
    }
    options.extend(own.options);
    Ok(Entry { name: name.text, line, checkpoint, candidate, exclude, expected, options })
}

/// What a case and the defaults can both say.
#[derive(Default)]
struct Settings {
    expect: Option<Ending>,
    fault: Option<Pattern>,
    says: Option<Pattern>,
    options: BTreeMap<&'static str, OptionValue>,
}

impl Settings {
    fn take(table: &mut Table<'_, '_>, by_default: bool) -> Result<Settings, Wrong> {
        let expect = match table.text("expect")? {
            None => None,
            Some(word) => {
                let known = [Ending::Pass, Ending::Fail, Ending::Inconclusive, Ending::Error];
                let found = known.into_iter().find(|e| e.as_str() == word.text);
                let problem = || format!("expect is {:?}: expected pass, fail, inconclusive or error", word.text);
                Some(found.ok_or_else(|| Wrong { line: word.line, problem: problem() })?)
            }
        };
        let (fault, says) = (table.text("fault")?, table.text("says")?);
        let mut options = BTreeMap::new();
        for (key, kind) in OPTIONS {
            if let Some(value) = table.option(key, kind, by_default)? {
                options.insert(key, value);
            }
        }
        Ok(Settings { expect, fault, says, options })
    }
}

impl<'t, 'i> Table<'t, 'i> {
    fn new(text: &'t str, what: &'static str, line: usize, table: &'t DeTable<'i>) -> Table<'t, 'i> {
        let values =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), (line_of(text, key.span()), value))).collect();
        Table { text, what, line, values }
    }

    fn text(&mut self, key: &str) -> Result<Option<Pattern>, Wrong> {
        let Some((line, value)) = self.values.remove(key) else { return Ok(None) };
        match value.get_ref().as_str() {
            Some(text) => Ok(Some(Pattern { text: text.to_owned(), line })),
            None => Err(self.kind(key, line, value, "text in quotes")),
        }
    }

    /// A pattern or a list of them; an absent key is an empty list, an empty list an error.
    fn patterns(&mut self, key: &str) -> Result<Vec<Pattern>, Wrong> {
        let Some((line, value)) = self.values.remove(key) else { return Ok(vec![]) };
        let wrong = || self.kind(key, line, value, "a path in quotes, or a list of them");
        let pattern = |value: &Spanned<DeValue<'_>>| {
            let text = value.get_ref().as_str().filter(|text| !text.is_empty())?;
            Some(Pattern { text: text.to_owned(), line: line_of(self.text, value.span()) })
        };
        let patterns: Option<Vec<Pattern>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(pattern).collect(),
            _ => pattern(value).map(|p| vec![p]),
        };
        patterns.filter(|p| !p.is_empty()).ok_or_else(wrong)
    }

    fn option(&mut self, key: &str, kind: Kind, by_default: bool) -> Result<Option<OptionValue>, Wrong> {
        let Some((line, value)) = self.values.remove(key) else { return Ok(None) };
        let wrong = |expected| Err(self.kind(key, line, value, expected));
        let number = |value: &DeValue<'_>| match value {
            DeValue::Integer(n) if n.radix() == 10 => Some(n.as_str().to_owned()),
            DeValue::Float(x) => Some(x.as_str().to_owned()),
            _ => None,
        };
        let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        let value_of = value.get_ref();
        let words = match kind {
            Kind::Text | Kind::Path => text(value_of).map(|w| vec![w]),
            Kind::Number => number(value_of).map(|w| vec![w]),
            Kind::Word => number(value_of).or_else(|| text(value_of)).map(|w| vec![w]),
            Kind::Switch => value_of.as_bool().map(|_| vec![]),
            Kind::List => match value_of {
                DeValue::Array(items) => items.iter().map(|item| text(item.get_ref())).collect(),
                one => text(one).map(|w| vec![w]),
            },
        };
        let Some(words) = words else {
            return wrong(match kind {
                Kind::Text | Kind::Path => "text in quotes",
                Kind::Number => "a decimal number",
                Kind::Word => "text or a number",
                Kind::Switch => "true or false",
                Kind::List => "text, or a list of texts",
            });
        };
        let switch = value_of.as_bool().unwrap_or(false);
        Ok(Some(OptionValue { words, switch, line, by_default }))
    }

    fn kind(&self, key: &str, line: usize, value: &Spanned<DeValue<'_>>, expected: &str) -> Wrong {
        let found = self.text.get(value.span()).unwrap_or_default();
        let found: String = found.chars().take(60).collect();
        Wrong { line, problem: format!("{key} is {found}: expected {expected}") }
    }

    fn nothing_left(self) -> Result<(), Wrong> {
        let Some((key, (line, _))) = self.values.iter().min_by_key(|(_, (line, _))| *line) else { return Ok(()) };
        let known = match self.what {
            "a suite" => "[defaults] and [[case]]".to_owned(),
            what => {
                let first: &[&str] =
                    if what == "[[case]]" { &["name", "checkpoint", "candidate", "exclude"] } else { &[] };
                let keys = first.iter().copied().chain(["expect", "fault", "says"]);
                keys.chain(OPTIONS.iter().map(|(key, _)| *key)).collect::<Vec<_>>().join(", ")
            }
        };
        Err(Wrong { line: *line, problem: format!("unknown key {key:?} in {}: it has {known}", self.what) })
    }
}

/// The option of `gatewise verify` that a key stands for.
pub(crate) fn option_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// Whether an option's value is a path, taken from the folder of the suite file.
pub(crate) fn is_path(key: &str) -> bool {
    OPTIONS.iter().any(|(k, kind)| *k == key && matches!(kind, Kind::Path))
}

/// The line, from 1, on which a span begins.
fn line_of(text: &str, span: Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or_default();
    1 + before.iter().filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let wrong = parse(text).unwrap_err();
        (wrong.line, wrong.problem)
    }

    #[test]
    fn a_case_takes_the_defaults_that_it_does_not_replace() {
        let text = "[defaults]\nsequences = 8\nkeras = 2\nexpect = \"fail\"\nfault = \"bias-missing\"\noverride = true\n\n\
                    [[case]]\nname = \"a\"\ncheckpoint = \"x\"\n\
                    [[case]]\nname = \"b\"\ncheckpoint = \"y\"\ncandidate = \"z*\"\nexpect = \"pass\"\nsequences = 1_6\n\
                    keras = \"3\"\nlstm = [\"p\", \"q\"]\noverride = false\n\
                    [[case]]\nname = \"c\"\ncheckpoint = \"y\"\nexpect = \"error\"\nsays = \"no\"\ninputs = \"r.npz\"\n";
        let [a, b, c] = &parse(text).unwrap()[..] else { panic!() };
        assert_eq!((a.line, b.line, c.line), (8, 11, 20));
        assert_eq!((a.expected.verdict, a.expected.fault.as_deref()), (Ending::Fail, Some("bias-missing")));
        assert_eq!((b.expected.verdict, b.expected.fault.as_deref()), (Ending::Pass, None));
        assert_eq!((c.expected.verdict, c.expected.says.as_deref()), (Ending::Error, Some("no")));
        assert_eq!(
            (&a.options["sequences"].words[..], a.options["sequences"].by_default),
            (&["8".to_owned()][..], true)
        );
        assert_eq!(b.options["sequences"].words, ["16"]);
        assert_eq!(
            (&a.options["keras"].words[..], &b.options["keras"].words[..]),
            (&["2".to_owned()][..], &["3".to_owned()][..])
        );
        assert_eq!(b.options["lstm"].words, ["p", "q"]);
        assert_eq!((a.options["override"].switch, b.options["override"].switch), (true, false));
        assert!(!c.options.contains_key("sequences"), "recorded inputs have their own size");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let case = "[[case]]\nname = \"a\"\ncheckpoint = \"x\"\n";
        assert_eq!(wrong("").0, 1);
        assert!(wrong("[defaults]\n").1.contains("no [[case]]"));
        assert_eq!(wrong(&format!("{case}sequenses = 3\n")).0, 4);
        assert!(
            wrong(&format!("{case}sequenses = 3\n"))
                .1
                .starts_with("unknown key \"sequenses\" in [[case]]: it has name,")
        );
        assert_eq!(wrong(&format!("[defaults]\nname = \"x\"\n{case}")).0, 2);
        assert_eq!(wrong(&format!("top = 1\n{case}")).0, 1);
        assert_eq!(wrong("\n[[case]]\ncheckpoint = \"x\"\n"), (2, "a [[case]] without name".to_owned()));
        assert_eq!(wrong("[[case]]\nname = \"x\"\n"), (1, "a [[case]] without checkpoint".to_owned()));
        assert_eq!(wrong(&format!("{case}name = \"b\"\n")).0, 4);
        assert_eq!(wrong(&format!("{case}expect = \"good\"\n")).0, 4);
        assert_eq!(wrong(&format!("{case}fault = \"bias-missing\"\n")).0, 4);
        assert_eq!(wrong(&format!("{case}says = \"x\"\n")).0, 4);
        let problem = wrong(&format!("{case}sequences = \"many\"\n"));
        assert_eq!(problem, (4, "sequences is \"many\": expected a decimal number".to_owned()));
        assert_eq!(wrong(&format!("{case}seed = 0x10\n")).0, 4);
        assert_eq!(wrong(&format!("{case}override = 1\n")).0, 4);
        assert_eq!(wrong(&format!("{case}lstm = [1]\n")).0, 4);
        assert_eq!(wrong(&format!("{case}candidate = [\"y\",\n3]\n")).0, 4);
        assert_eq!(wrong(&format!("{case}candidate = []\n")).0, 4);
        assert_eq!(wrong("[[case]]\nname = \"x\"\ncheckpoint = \"\"\n").0, 3);
        assert_eq!(wrong("case = 3\n").0, 1);
        assert_eq!(wrong("[case]\nname = \"a\"\n").0, 1);
    }
}
