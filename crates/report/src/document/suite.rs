//! What `gatewise suite` prints, keeps and reads back.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Timestep, Verify};

/// `gatewise.suite/1`: the outcome of many verifications. The same suite, files, version and devices give the same
/// bytes, however many ran at once, in whatever order, in one run or in several: times are kept apart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Suite {
    /// `gatewise.suite/1`.
    pub schema: String,
    /// Of gatewise.
    pub version: String,
    /// What was asked for.
    pub suite: SuiteFile,
    /// All together.
    pub outcome: Outcome,
    /// How many there are of each.
    pub counts: Counts,
    /// In the order of the suite.
    pub cases: Vec<SuiteCase>,
    /// The comparison with the last accepted run, where one was asked for.
    pub baseline: Option<BaselineReport>,
}

/// The suite file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SuiteFile {
    /// The path as given.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// SHA-256 over all cases that it asks for once its patterns are matched with files.
    pub plan: String,
    /// How many those are.
    pub cases: usize,
}

/// What became of a suite.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every case ended as it should, and nothing got worse.
    AsExpected,
    /// Some verifications are inconclusive that should not be; all others are as they should be.
    Inconclusive,
    /// Something is not as it should be.
    Unexpected,
}

/// Cases by what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub cases: usize,
    /// Those that did not end as they should.
    pub unexpected: usize,
    /// Found to pass.
    pub pass: usize,
    /// Found to fail.
    pub fail: usize,
    /// Nothing can be said of them.
    pub inconclusive: usize,
    /// Nothing was compared.
    pub error: usize,
}

/// One verification of a suite.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SuiteCase {
    /// Its place in the whole suite, from 0.
    pub index: usize,
    /// Its name, which no other case has.
    pub name: String,
    /// The line of the suite file where its table begins.
    pub line: usize,
    /// How it should end.
    pub expected: Expected,
    /// How it ended.
    pub found: Finding,
    /// What differs from what was expected; empty where nothing does.
    pub unexpected: Vec<String>,
    /// The command that repeats it.
    pub command: String,
}

/// How a verification can end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Parity proven.
    Pass,
    /// Parity broken.
    Fail,
    /// Nothing can be said.
    Inconclusive,
    /// Nothing was compared.
    Error,
}

impl Ending {
    /// The word used in JSON and in suite files.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Pass => "pass",
            Ending::Fail => "fail",
            Ending::Inconclusive => "inconclusive",
            Ending::Error => "error",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a case should end.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Expected {
    /// The verdict.
    pub verdict: Ending,
    /// The mistake that the diagnosis should name.
    pub fault: Option<String>,
    /// What one of the reasons, or the error, should say.
    pub says: Option<String>,
}

/// How a verification ended: all that a suite keeps of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Ending,
    /// What speaks against a pass, gravest first; or what the error is.
    pub reasons: Vec<String>,
    /// What explains a failure, best first of each LSTM.
    pub faults: Vec<String>,
    /// What the lanes ran on; absent where they did not run.
    pub device: Option<String>,
    /// How many LSTMs were compared.
    pub lstms: usize,
    /// How far the candidate is from the truth; absent where nothing was compared.
    pub divergence: Option<SuiteDivergence>,
}

/// How far a candidate is from the truth, over all its LSTMs and steps.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct SuiteDivergence {
    /// Largest share of the rounding bound, each step starting from the oracle's state.
    pub local: Figure,
    /// Largest share of what right runs allow, running freely.
    pub carried: Figure,
    /// Largest |Δ| between the lanes, running freely.
    pub lanes_apart: Figure,
    /// Sequences times steps.
    pub steps: u64,
}

/// A measured number to four significant digits: what JSON carries to another machine and back without a change. `null`
/// in JSON where it is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure(Option<f64>);

impl Figure {
    /// Rounds a measurement.
    pub fn new(value: f64) -> Figure {
        let rounded = format!("{value:.3e}").parse().ok();
        Figure(rounded.filter(|v: &f64| v.is_finite()))
    }

    /// The number, where it is finite.
    pub fn value(self) -> Option<f64> {
        self.0
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Figure, D::Error> {
        // A JSON reader may miss the nearest number by its last bit; rounding mends that.
        Ok(Option::<f64>::deserialize(deserializer)?.map_or(Figure(None), Figure::new))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("not finite"),
            Some(v) if v == 0.0 || (1e-3..1e4).contains(&v) => write!(f, "{v}"),
            Some(v) => write!(f, "{v:.2e}"),
        }
    }
}

impl From<&Verify> for Finding {
    fn from(document: &Verify) -> Finding {
        let verdict = match document.verdict.as_str() {
            "pass" => Ending::Pass,
            "fail" => Ending::Fail,
            _ => Ending::Inconclusive,
        };
        let mut faults: Vec<String> = vec![];
        for fault in document.lstms.iter().filter_map(|l| Some(&l.diagnosis.first()?.fault)) {
            if !faults.contains(fault) {
                faults.push(fault.clone());
            }
        }
        let d = &document.device;
        let driver = if d.driver.is_empty() { String::new() } else { format!(", {}", d.driver) };
        let steps = || document.lstms.iter().flat_map(|l| &l.timesteps);
        let over_steps = |of: &dyn Fn(&Timestep) -> f64| Figure::new(largest(steps().map(of)));
        let divergence = SuiteDivergence {
            local: over_steps(&|t| {
                let q = &t.local.keras_ratio;
                let broken = if t.local.non_finite > 0 { f64::NAN } else { 0.0 };
                largest([q.h, q.c, q.i, q.j, q.f, q.o, broken].into_iter())
            }),
            carried: over_steps(&|t| {
                let from_oracle = &t.carried.keras_from_oracle;
                largest([from_oracle.h, from_oracle.c].into_iter()) / t.carried.allowed
            }),
            lanes_apart: over_steps(&|t| t.carried.max_abs),
            steps: (document.settings.sequences as u64).saturating_mul(document.settings.timesteps as u64),
        };
        Finding {
            verdict,
            reasons: document.reasons.iter().map(crate::reason_line).collect(),
            faults,
            device: Some(format!("{} ({}, {}{driver})", d.name, d.kind, d.backend)),
            lstms: document.lstms.len(),
            divergence: steps().next().is_some().then_some(divergence),
        }
    }
}

/// The largest of some numbers, where NaN is larger than any.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |m: f64, v| if m.is_nan() || v.is_nan() { f64::NAN } else { m.max(v) })
}

/// A run compared with the last accepted one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BaselineReport {
    /// The baseline's file.
    pub file: String,
    /// What got worse, in the order of the suite.
    pub regressions: Vec<Regression>,
    /// What was not compared, and why.
    pub notes: Vec<String>,
}

impl BaselineReport {
    /// What got worse is accepted: it is told, and is no regression any more.
    pub fn accept(&mut self) {
        let accepted = self.regressions.drain(..).map(|r| format!("accepted: {}: {}", r.case, r.text));
        self.notes.splice(..0, accepted.collect::<Vec<_>>());
    }
}

/// One thing that got worse.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Regression {
    /// The case.
    pub case: String,
    /// Its line in the suite file; absent of a case that is no longer there.
    pub line: Option<usize>,
    /// `verdict`, `local`, `carried`, `speed` or `missing`.
    pub what: String,
    /// How many times as much as accepted; absent where that is no number.
    pub ratio: Option<Figure>,
    /// In words.
    pub text: String,
}

/// How long each case took: kept apart from [`Suite`], which is to be the same from run to run.
pub type Timings = BTreeMap<String, CaseTime>;

/// How long a case took, and where.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CaseTime {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Processor, cores, and how many cases ran at once.
    pub host: String,
}

/// `gatewise.suite-shard/1`: a part of a suite, for `gatewise suite merge`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SuiteShard {
    /// `gatewise.suite-shard/1`.
    pub schema: String,
    /// Which part, from 1.
    pub shard: usize,
    /// Of how many.
    pub of: usize,
    /// Its cases.
    pub report: Suite,
    /// How long they took.
    pub timings: Timings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_survives_json_whatever_it_is() {
        for value in [0.0, 0.307, 2.384e-6, 1.0 / 3.0, 5e-324, 1.797e308, 9.999_9e-40, 440_123.0, -0.5] {
            let figure = Figure::new(value);
            let json = serde_json::to_string(&figure).unwrap();
            let back: Figure = serde_json::from_str(&json).unwrap();
            assert_eq!((back, serde_json::to_string(&back).unwrap()), (figure, json));
            let found = figure.value().unwrap();
            assert!((found - value).abs() <= 5.1e-4 * value.abs() + 5e-324, "{value}: {found}");
        }
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(serde_json::to_string(&Figure::new(value)).unwrap(), "null");
        }
        assert_eq!(serde_json::from_str::<Figure>("null").unwrap().value(), None);
    }
}
