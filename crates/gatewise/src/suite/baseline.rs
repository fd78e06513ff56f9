//! The last accepted run, and what got worse since.
//!
//! How far two right runs may be apart is derived, not chosen. Both are the largest of many rounding errors. Such errors
//! have Gaussian tails: of N of them, with scale σ, the largest is above σ·√(2(ln N + ln 1/p)) with a probability below
//! p, and below σ·√(2(ln N − ln ln 1/p)) with a probability of p. So one run is more than
//!
//! √((ln N + ln 1/p) / (ln N − ln ln 1/p))
//!
//! times the other by chance in less than 2p of cases ([`spread`]). N is taken as the number of sequences times steps:
//! what is computed in one step shares its inputs, and fewer independent errors spread wider, so that this errs on the
//! side of silence. Running freely, errors feed back and spread wider than that. But a run that is no further from the
//! truth than right runs were ever seen to be has not got worse, whatever it was before: without growth of errors, at
//! most 4.4 times as far as the right runs made beside it ([`CALM`], measured on 2,600 networks: `docs/evidence.md`); with
//! growth, what is allowed rises, and the share of it that this is stays the same.

use std::path::Path;

use report::document::{
    BaselineReport, CaseTime, Ending, Figure, Outcome, Regression, Suite, SuiteCase, SuiteDivergence, Timings,
};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// How often chance alone may look like a regression, at most: in one of 500,000 comparisons.
const CHANCE: f64 = 1e-6;
/// Differences below this many seconds are the scheduler's.
const SHORT: f64 = 0.25;
/// How many noise floors right runs are from the truth at most.
const CALM: f64 = 4.4;
const SCHEMA: &str = "gatewise.baseline/1";

/// `gatewise.baseline/1`: an accepted run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Baseline {
    schema: String,
    version: String,
    cases: Vec<Accepted>,
    timings: Timings,
}

/// What was accepted of a case.
#[derive(Debug, Deserialize, Serialize)]
struct Accepted {
    name: String,
    verdict: Ending,
    device: Option<String>,
    divergence: Option<SuiteDivergence>,
}

impl Baseline {
    /// Reads a baseline.
    pub(crate) fn read(path: &Path) -> Result<Baseline, CliError> {
        let wrong = |problem| CliError::Baseline { file: path.to_owned(), problem };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(wrong("there is none yet: --accept writes it".to_owned()));
            }
            Err(source) => return Err(CliError::File { doing: "reading", file: path.to_owned(), source }),
        };
        let baseline: Baseline = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if baseline.schema != SCHEMA {
            return Err(wrong(format!("its schema is {:?}: expected {SCHEMA:?}", baseline.schema)));
        }
        Ok(baseline)
    }

    /// What is accepted of a run.
    pub(crate) fn of(report: &Suite, timings: &Timings) -> Baseline {
        let accepted = |case: &SuiteCase| Accepted {
            name: case.name.clone(),
            verdict: case.found.verdict,
            device: case.found.device.clone(),
            divergence: case.found.divergence,
        };
        Baseline {
            schema: SCHEMA.to_owned(),
            version: report.version.clone(),
            cases: report.cases.iter().map(accepted).collect(),
            timings: timings.clone(),
        }
    }

    /// What got worse in `report` since.
    pub(crate) fn compare(&self, file: &Path, report: &Suite, timings: &Timings, slower: f64) -> BaselineReport {
        let mut regressions = vec![];
        let (mut new, mut speeds_apart) = (0, 0);
        for case in &report.cases {
            let Some(before) = self.cases.iter().find(|a| a.name == case.name) else {
                new += 1;
                continue;
            };
            let mut worse = |what: &str, ratio, text| {
                let regression =
                    Regression { case: case.name.clone(), line: Some(case.line), what: what.to_owned(), ratio, text };
                regressions.push(regression);
            };
            if rank(case.found.verdict) > rank(before.verdict) {
                worse("verdict", None, format!("{}, and {} was accepted", case.found.verdict, before.verdict));
            }
            if let (Some(now), Some(accepted)) = (&case.found.divergence, &before.divergence)
                && (case.found.verdict, before.verdict) == (Ending::Pass, Ending::Pass)
            {
                for (what, ratio, text) in divergence(now, accepted) {
                    worse(what, ratio, text);
                }
            }
            let here = case.found.device == before.device && report.version == self.version;
            match (timings.get(&case.name), self.timings.get(&case.name)) {
                (Some(now), Some(accepted)) if here && now.host == accepted.host => {
                    if let Some((ratio, text)) = speed(now, accepted, slower) {
                        worse("speed", ratio, text);
                    }
                }
                _ => speeds_apart += 1,
            }
        }
        // A case that is gone is not a case that passed.
        for before in self.cases.iter().filter(|a| report.cases.iter().all(|c| c.name != a.name)) {
            let text = format!("{} was accepted, and the suite no longer has the case", before.verdict);
            let case = before.name.clone();
            regressions.push(Regression { case, line: None, what: "missing".to_owned(), ratio: None, text });
        }
        let mut notes = vec![];
        if new > 0 {
            notes.push(format!("{new} of {} cases are not in the baseline: --accept adds them", report.cases.len()));
        }
        if speeds_apart > new {
            notes.push(format!(
                "the speed of {} cases was not compared: the device, the version, the machine or --jobs is another",
                speeds_apart - new
            ));
        }
        BaselineReport { file: file.display().to_string(), regressions, notes }
    }
}

/// How many times as large as accepted a divergence may be by chance, of `steps` independent errors.
fn spread(steps: u64) -> f64 {
    let (n, chance) = ((steps as f64).ln(), (1.0 / CHANCE).ln());
    let least = n - chance.ln();
    // Of too few errors the largest may be as small as it likes.
    if least > 0.0 { ((n + chance) / least).sqrt() } else { f64::INFINITY }
}

fn divergence(now: &SuiteDivergence, before: &SuiteDivergence) -> Vec<(&'static str, Option<Figure>, String)> {
    let times = spread(now.steps.min(before.steps));
    let floor = CALM / parity::CARRIED_FACTOR;
    let compared = [
        ("local", now.local, before.local, 0.0, "of the rounding bound"),
        ("carried", now.carried, before.carried, floor, "of what right runs allow"),
    ];
    let mut worse = vec![];
    for (what, now, accepted, floor, of_what) in compared {
        let limit = accepted.value().map(|a| (a * times).max(floor));
        // Written so that what is not finite is worse.
        let within = now.value().zip(limit).is_some_and(|(now, limit)| now <= limit);
        if !within {
            let ratio = now.value().zip(accepted.value()).map(|(now, a)| Figure::new(now / a));
            let limit = limit.map_or_else(|| "none".to_owned(), |l| Figure::new(l).to_string());
            let text =
                format!("{what} error is {now} {of_what}; {accepted} was accepted, and by chance at most {limit}");
            worse.push((what, ratio, text));
        }
    }
    worse
}

fn speed(now: &CaseTime, before: &CaseTime, slower: f64) -> Option<(Option<Figure>, String)> {
    let within = now.seconds <= before.seconds * slower || now.seconds - before.seconds <= SHORT;
    (!within).then(|| {
        let ratio = Figure::new(now.seconds / before.seconds);
        let text = format!(
            "took {:.2} s, {ratio} times as long as the accepted {:.2} s; up to {slower} times is tolerated",
            now.seconds, before.seconds
        );
        (Some(ratio), text)
    })
}

/// From good to bad.
fn rank(ending: Ending) -> u8 {
    match ending {
        Ending::Pass => 0,
        Ending::Inconclusive => 1,
        Ending::Fail => 2,
        Ending::Error => 3,
    }
}

/// What a suite comes to once regressions count.
pub(crate) fn outcome(before: Outcome, baseline: &BaselineReport) -> Outcome {
    if baseline.regressions.is_empty() { before } else { Outcome::Unexpected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_what_the_formula_says() {
        // ln 6400 = 8.764, ln 1e6 = 13.816, ln 13.816 = 2.626.
        assert!((spread(6400) - (22.580_f64 / 6.138).sqrt()).abs() < 1e-3, "{}", spread(6400));
        assert!(spread(64) > spread(6400) && spread(6400) > spread(640_000) && spread(640_000) > 1.0);
        for few in [0, 1, 13] {
            assert_eq!(spread(few), f64::INFINITY);
        }
    }

    fn measured(local: f64, carried: f64) -> SuiteDivergence {
        let zero = Figure::new(0.0);
        SuiteDivergence { local: Figure::new(local), carried: Figure::new(carried), lanes_apart: zero, steps: 6400 }
    }

    fn found(now: SuiteDivergence, before: SuiteDivergence) -> Vec<&'static str> {
        divergence(&now, &before).into_iter().map(|(what, ..)| what).collect()
    }

    #[test]
    fn what_is_beyond_chance_is_worse_and_what_is_not_a_number_too() {
        let before = measured(0.3, 0.02);
        assert_eq!(found(measured(0.3, 0.02), before), [""; 0]);
        assert_eq!(found(measured(0.57, 0.03), before), [""; 0], "1.9 times");
        assert_eq!(found(measured(0.58, 0.02), before), ["local"]);
        assert_eq!(found(measured(0.3, 0.137), before), [""; 0], "as far as right runs may be");
        assert_eq!(found(measured(0.3, 0.138), before), ["carried"]);
        assert_eq!(found(measured(0.3, 0.19), measured(0.3, 0.1)), [""; 0], "1.9 times");
        assert_eq!(found(measured(0.3, 0.2), measured(0.3, 0.1)), ["carried"], "2 times");
        assert_eq!(found(measured(f64::NAN, f64::INFINITY), before), ["local", "carried"]);
        assert_eq!(found(measured(0.3, 0.02), measured(f64::NAN, 0.02)), ["local"]);
        assert_eq!(found(measured(0.0, 0.0), measured(0.0, 0.0)), [""; 0]);
        assert_eq!(found(measured(1e-9, 0.0), measured(0.0, 0.0)), ["local"], "an exact result is no longer exact");
    }

    #[test]
    fn speed_is_a_ratio_and_short_times_are_noise() {
        let time = |seconds| CaseTime { seconds, host: String::new() };
        assert!(speed(&time(3.9), &time(2.0), 2.0).is_none());
        assert!(speed(&time(4.1), &time(2.0), 2.0).is_some());
        assert!(speed(&time(0.3), &time(0.1), 2.0).is_none(), "0.2 s");
        assert!(speed(&time(f64::NAN), &time(0.1), 2.0).is_some());
    }
}
