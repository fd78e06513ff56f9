//! Timing the implementations of one case in turns, and checking what they computed.

use std::time::Duration;

use lanes::{Device, Implementation, Peak, Ready, SelfCheck};
use lstm::{Batch, State};
use ndarray::{Array3, Axis};
use parity::outputs::Yardstick;
use report::document::{BenchResult, BenchTime, Skipped};
use timing::{Contender, Measured, Rounds, Times, in_turns};

use super::cases::Case;
use crate::args;
use crate::progress::Progress;

/// Sequences whose outputs are compared with the truth, at most.
pub(crate) const CHECKED: usize = 4;
/// Shorter work is done several times a turn, until it takes this long.
const TURN: Duration = Duration::from_millis(20);

/// What was found in one case.
pub(crate) struct OfCase {
    pub(crate) results: Vec<BenchResult>,
    pub(crate) skipped: Vec<Skipped>,
}

/// Turns of one case, for the progress bar.
pub(crate) fn turns_of_a_case(rounds: usize) -> usize {
    rounds * Implementation::ALL.len()
}

/// Times one case.
pub(crate) fn measure(
    case: &Case,
    device: &Device,
    check: &SelfCheck,
    peak: Peak,
    args: &args::Bench,
    progress: &Progress,
) -> OfCase {
    let (mut ready, mut skipped) = (vec![], vec![]);
    for implementation in Implementation::ALL {
        let name = implementation.name(device);
        if !args.implementation.is_empty() && !args.implementation.iter().any(|wanted| wanted == name) {
            continue;
        }
        match implementation.prepare(device, &case.truth, &case.converted, &case.batch) {
            Ok(prepared) => ready.push((name, prepared)),
            Err(why) => skipped.push(Skipped { implementation: name, case: case.described.clone(), why }),
        }
    }
    let mut contenders: Vec<Contender<'_>> = ready.iter_mut().map(|(_, prepared)| contender(prepared)).collect();
    let rounds = Rounds { rounds: args.rounds, turn: TURN };
    let measured = in_turns(&mut contenders, rounds, &|| progress.add(1));
    drop(contenders);

    let checked = Checked::new(case, check, args.seed);
    let mut results = vec![];
    for ((name, prepared), measured) in ready.iter().zip(measured) {
        let output = measured.and_then(|measured| {
            let output = prepared.output().map_err(|e| e.to_string())?;
            Ok((measured, output.ok_or("it left no output")?))
        });
        results.push(result((name, prepared.route()), case, peak, &checked, output));
    }
    rank(&mut results);
    OfCase { results: results.into_iter().map(|(result, _)| result).collect(), skipped }
}

fn contender<'a, 'b: 'a>(prepared: &'a mut Ready<'b>) -> Contender<'a> {
    Contender { run: Box::new(move || prepared.run().map_err(|e| e.to_string())) }
}

/// Some of a case's sequences, with the truth of their outputs.
struct Checked<'a> {
    /// Why nothing can be verified here.
    distrusted: Option<String>,
    sequences: Vec<usize>,
    batch: Batch,
    yardstick: Yardstick,
    case: &'a Case,
}

impl Checked<'_> {
    fn new<'a>(case: &'a Case, check: &SelfCheck, seed: u64) -> Checked<'a> {
        let all = case.described.sequences;
        let count = all.min(CHECKED);
        // The first, the last, and some between: no sequence knows of another.
        let sequences: Vec<usize> = (0..count).map(|k| if k == 0 { 0 } else { k * (all - 1) / (count - 1) }).collect();
        let initial = case
            .batch
            .initial
            .iter()
            .map(|state| State { h: state.h.select(Axis(0), &sequences), c: state.c.select(Axis(0), &sequences) });
        let batch = Batch {
            x: case.batch.x.select(Axis(0), &sequences),
            lengths: None,
            initial: initial.collect(),
            record_gates: false,
        };
        let yardstick = Yardstick::new(&case.truth, &batch, &check.budget, seed);
        let distrusted = check.failures.first().map(|failure| format!("the device failed its self-check: {failure}"));
        Checked { distrusted, sequences, batch, yardstick, case }
    }

    /// The largest error of an output, what is allowed, and why the output is not right.
    fn judge(&self, output: &Array3<f32>) -> (Option<f64>, Option<f64>, Option<String>) {
        let (sequences, timesteps, _) = output.dim();
        if (sequences, timesteps) != (self.case.described.sequences, self.case.described.timesteps) {
            return (None, None, Some(format!("its output is {:?}", output.shape())));
        }
        match self.yardstick.judge(&self.batch, &output.select(Axis(0), &self.sequences)) {
            Err(error) => (None, None, Some(error.to_string())),
            Ok(report) => {
                let why =
                    report.says_nothing().then(|| "right runs differ as much as wrong ones: errors grow".to_owned());
                let off = (!report.within()).then(|| {
                    format!(
                        "its output is {:.2e} from the truth, where {:.2e} is allowed",
                        report.distance, report.allowed
                    )
                });
                let why = off.or(why);
                // Values that are not finite beyond the checked sequences are seen all the same.
                let why = why.or_else(|| {
                    output.iter().any(|v| !v.is_finite()).then(|| "some of its output is not finite".to_owned())
                });
                (Some(report.distance), Some(report.allowed), self.distrusted.clone().or(why))
            }
        }
    }
}

/// A result, with its times for the ranking.
fn result(
    (implementation, route): (&'static str, &str),
    case: &Case,
    peak: Peak,
    checked: &Checked<'_>,
    measured: Result<(Measured, Array3<f32>), String>,
) -> (BenchResult, Option<Times>) {
    let mut result = BenchResult {
        implementation,
        route: route.to_owned(),
        case: case.described.clone(),
        verified: false,
        why: None,
        error: None,
        allowed: None,
        time: None,
    };
    let (measured, output) = match measured {
        Ok(measured) => measured,
        Err(why) => return (BenchResult { why: Some(why), ..result }, None),
    };
    (result.error, result.allowed, result.why) = checked.judge(&output);
    result.verified = result.why.is_none();
    if !result.verified {
        return (result, None);
    }
    let Measured { first_ms, times } = measured;
    let interval = times.interval();
    let seconds = interval.median / 1e3;
    let gflops = case.operations() / seconds / 1e9;
    result.time = Some(BenchTime {
        first_run_ms: first_ms,
        median_ms: interval.median,
        low_ms: interval.low,
        high_ms: interval.high,
        min_ms: times.min(),
        max_ms: times.max(),
        ms_per_step: interval.median / case.described.timesteps as f64,
        steps_per_s: case.steps() / seconds,
        gflops,
        of_peak: gflops / peak.gflops,
        intensity: case.operations() / case.bytes(),
        standing: "slower",
    });
    (result, Some(times))
}

/// Says which implementation is the fastest, and which cannot be told from it.
fn rank(results: &mut [(BenchResult, Option<Times>)]) {
    let fastest =
        results.iter().filter_map(|(_, times)| times.clone()).min_by(|a, b| a.median().total_cmp(&b.median()));
    let Some(fastest) = fastest else { return };
    let ties: Vec<bool> =
        results.iter().map(|(_, times)| times.as_ref().is_some_and(|t| t.ties_with(&fastest))).collect();
    let alone = ties.iter().filter(|tie| **tie).count() == 1;
    for ((result, _), tie) in results.iter_mut().zip(ties) {
        if let (Some(time), true) = (&mut result.time, tie) {
            time.standing = if alone { "fastest" } else { "tie" };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases;
    use lanes::Choice;
    use report::document::BenchCase;

    const PEAK: Peak = Peak { gflops: 1.0, copy_gb_s: 1.0 };

    /// A case, the right output for it, and times.
    fn measured() -> (Case, SelfCheck, Array3<f32>, Measured) {
        let described =
            BenchCase { lstm: None, sequences: 6, timesteps: 4, input: 3, units: 5, layers: 1, direction: "forward" };
        let case = Case::make(&cases::Shape::random(described), 0);
        let device = Device::open(Choice::Cpu).unwrap();
        let check = SelfCheck::run(&device, &[lstm::Activation::Sigmoid, lstm::Activation::Tanh]);
        let mut ready =
            Implementation::KernelKeras.prepare(&device, &case.truth, &case.converted, &case.batch).unwrap();
        ready.run().unwrap();
        let output = ready.output().unwrap().unwrap();
        drop(ready);
        (case, check, output, Measured { first_ms: 2.0, times: Times::new(vec![1.0]).unwrap() })
    }

    #[test]
    fn a_wrong_implementation_has_no_time() {
        let (case, check, right, times) = measured();
        let checked = Checked::new(&case, &check, 0);
        let judge = |output: &Array3<f32>| {
            result(("planted", "by hand"), &case, PEAK, &checked, Ok((times.clone(), output.clone()))).0
        };
        let good = judge(&right);
        assert!(good.verified && good.time.is_some() && good.why.is_none());
        let wrong = |output: Array3<f32>, says: &str| {
            let result = judge(&output);
            assert!(!result.verified && result.time.is_none(), "{says}");
            assert!(result.why.as_ref().unwrap().contains(says), "{result:?}");
        };
        let with = |at: [usize; 3], value: f32| {
            let mut output = right.clone();
            output[at] = value;
            output
        };
        wrong(with([0, 3, 2], right[[0, 3, 2]] + 1e-4), "from the truth");
        wrong(with([5, 0, 0], f32::NAN), "from the truth");
        wrong(Array3::zeros(right.dim()), "from the truth");
        wrong(&right * 1.001, "from the truth");
        wrong(Array3::zeros((6, 3, 5)), "its output is [6, 3, 5]");
        wrong(Array3::zeros((6, 4, 6)), "expected [4, 4, 5], found [4, 4, 6]");
        // Of the six sequences four are compared; what is not finite shows in the others too.
        assert_eq!(checked.sequences, [0, 1, 3, 5]);
        wrong(with([2, 1, 1], f32::INFINITY), "not finite");
        let failed = result(("planted", "by hand"), &case, PEAK, &checked, Err("the device failed".to_owned())).0;
        assert!(!failed.verified && failed.time.is_none() && failed.why.as_deref() == Some("the device failed"));
    }

    #[test]
    fn nothing_is_verified_on_a_device_that_failed_its_self_check() {
        let (case, mut check, right, times) = measured();
        check.failures.push("tanh is off".to_owned());
        let result = result(("planted", "by hand"), &case, PEAK, &Checked::new(&case, &check, 0), Ok((times, right))).0;
        assert!(!result.verified && result.time.is_none());
        assert_eq!(result.why.as_deref(), Some("the device failed its self-check: tanh is off"));
    }

    #[test]
    fn what_cannot_be_told_apart_is_a_tie() {
        let (case, check, right, _) = measured();
        let checked = Checked::new(&case, &check, 0);
        let standings = |all: &[&[f64]]| {
            let mut results: Vec<_> = all
                .iter()
                .map(|ms| {
                    let times = Times::new(ms.to_vec()).unwrap();
                    result(
                        ("planted", "by hand"),
                        &case,
                        PEAK,
                        &checked,
                        Ok((Measured { first_ms: 1.0, times }, right.clone())),
                    )
                })
                .collect();
            rank(&mut results);
            results.iter().map(|(r, _)| r.time.as_ref().unwrap().standing).collect::<Vec<_>>()
        };
        assert_eq!(standings(&[&[2.0, 2.1], &[1.0, 1.1], &[5.0, 5.1]]), ["slower", "fastest", "slower"]);
        assert_eq!(standings(&[&[1.05, 2.1], &[1.0, 1.1], &[5.0, 5.1]]), ["tie", "tie", "slower"]);
    }
}
