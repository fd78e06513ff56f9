//! False alarms and false passes: many random networks through the whole comparison.
//!
//! `GATEWISE_CAMPAIGN=10000 cargo test --release -p gatewise --test campaign -- --nocapture` repeats the figures of
//! docs/evidence.md; without the variable 500 of each are run, and 20 of the right ones on the GPU adapter. `2000..3000`
//! runs a part: a case is made from its number alone, so that parts add up to the whole, on one machine or on several.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lanes::{Choice, Device, KerasLstm, SelfCheck, Tf1FusedLstm};
use lstm::diagnose;
use lstm::fault::{self, Fault, Injected};
use lstm::{Activation, KerasCell, Network, Tf1Cell, convert};
use ndarray::{Array1, Array2, s};
use parity::random::Stream;
use parity::{ActivationBudget, CellReport, InputSpec, Lanes, Reason, Subject, Verdict};

/// Numbers of one random case, drawn one after another.
struct Draw {
    stream: Stream,
    drawn: u64,
}

impl Draw {
    fn new(case: u64, purpose: u32) -> Draw {
        Draw { stream: Stream::new(case, 1000 + purpose), drawn: 0 }
    }

    fn below(&mut self, n: usize) -> usize {
        self.drawn += 1;
        self.stream.below(self.drawn, n as u32) as usize
    }

    /// Log-uniform in `low..=high`.
    fn log(&mut self, low: f64, high: f64) -> f64 {
        self.drawn += 1;
        let share = f64::from(self.stream.uniform(self.drawn)) / 2.0 + 0.5;
        (low.ln() + share * (high / low).ln()).exp()
    }

    fn size(&mut self, low: usize, high: usize) -> usize {
        (self.log(low as f64, high as f64 + 0.999) as usize).clamp(low, high)
    }

    fn normal(&mut self) -> f32 {
        self.drawn += 1;
        self.stream.normal(self.drawn)
    }
}

/// Weights of scale 0.01…10 over the square root of the row count, a bias, and a forget bias as trained models have.
fn cell(draw: &mut Draw, input: usize, units: usize) -> Tf1Cell {
    let scale = draw.log(0.01, 10.0) as f32 / ((input + units) as f32).sqrt();
    let bias_scale = draw.log(0.01, 1.0) as f32;
    let kernel = Array2::from_shape_simple_fn((input + units, 4 * units), || scale * draw.normal());
    let bias = Array1::from_shape_simple_fn(4 * units, || bias_scale * draw.normal());
    let mut cell = Tf1Cell::new(kernel, bias).expect("shapes fit");
    cell.forget_bias = [1.0, 1.0, 1.0, 0.0, 0.5, 2.5][draw.below(6)];
    cell.activation = [Activation::Tanh, Activation::Tanh, Activation::Tanh, Activation::Softsign][draw.below(4)];
    // Training moves the forget gate's bias away from the others'.
    if draw.below(2) == 0 {
        let shift = draw.normal();
        cell.bias.slice_mut(s![2 * units..3 * units]).mapv_inplace(|b| b + shift);
    }
    cell
}

fn network(draw: &mut Draw) -> Network<Tf1Cell> {
    let depth = 1 + draw.below(4);
    let both = draw.below(2) == 0;
    let mut input = draw.size(1, 128);
    let largest = if depth > 2 { 48 } else { 128 };
    let mut layers = vec![];
    for _ in 0..depth {
        let units = draw.size(1, largest);
        let layer = if both {
            let forward = Network::Cell(cell(draw, input, units));
            let backward = Network::Cell(cell(draw, input, units));
            Network::side_by_side(forward, backward)
        } else {
            Network::Cell(cell(draw, input, units))
        };
        input = if both { 2 * units } else { units };
        layers.push(layer);
    }
    if layers.len() == 1 { layers.remove(0) } else { Network::Stack(layers) }
}

struct Bench {
    tf1: Tf1FusedLstm,
    keras: KerasLstm,
    budget: ActivationBudget,
}

impl Bench {
    fn open(choice: Choice) -> Bench {
        let device = Device::open(choice).expect("the device opens");
        let check = SelfCheck::run(&device, &Activation::ALL);
        assert!(check.failures.is_empty(), "{:?}", check.failures);
        Bench { tf1: Tf1FusedLstm::new(device.clone()), keras: KerasLstm::new(device), budget: check.budget }
    }

    fn judge(
        &self,
        truth: &Network<Tf1Cell>,
        candidate: Option<&Network<KerasCell>>,
        spec: InputSpec,
    ) -> (Verdict, Vec<Reason>, Vec<CellReport>) {
        let right = convert::network_to_keras(truth).expect("Keras can express these");
        let names: Vec<String> = (0..truth.cells().len()).map(|k| format!("cell {k}")).collect();
        let subject = Subject {
            truth,
            expected: &right,
            candidate: candidate.unwrap_or(&right),
            names: names.clone(),
            candidate_names: names,
        };
        let batch = parity::inputs::draw(spec, truth);
        let lanes = Lanes { tf1: &self.tf1, keras: &self.keras };
        let reports = parity::verify(&subject, lanes, &batch, spec.seed, &self.budget, &|_| {});
        let (verdict, reasons) = parity::conclude(&reports);
        (verdict, reasons, reports)
    }
}

/// The numbers of the cases to run on the CPU, and of those to run on a GPU, which are one in twenty.
fn cases() -> [Range<u64>; 2] {
    let Ok(asked) = std::env::var("GATEWISE_CAMPAIGN") else { return [0..500, 0..20] };
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    let [from, to] = [from, to].map(|n| n.parse::<u64>().expect("GATEWISE_CAMPAIGN is 10000 or 2000..3000"));
    assert!(from < to, "GATEWISE_CAMPAIGN={asked} is no case at all");
    [from..to, from / 20..to / 20]
}

/// Runs `case` for each of these numbers on all cores.
fn on_all_cores(cases: Range<u64>, case: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(cases.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases.end {
                        break;
                    }
                    case(number);
                }
            });
        }
    });
}

#[derive(Default, Debug)]
struct Tally {
    cases: usize,
    inconclusive: usize,
    failed: Vec<String>,
    largest_local: f64,
    /// Distance of the Keras lane from the oracle over the noise floor, at its largest.
    largest_carried: f64,
    saturated: usize,
    missed: std::collections::BTreeMap<&'static str, usize>,
}

fn right_conversions(bench: &Bench, cases: Range<u64>, longest: usize) -> Tally {
    let tally = Mutex::new(Tally::default());
    on_all_cores(cases, |number| {
        let mut draw = Draw::new(number, 0);
        let truth = network(&mut draw);
        let sequences = [1, 2, 3, 4, 4, 4, 8, 40][draw.below(8)];
        let spec = InputSpec { sequences, timesteps: draw.size(1, longest), seed: number };
        let (verdict, reasons, reports) = bench.judge(&truth, None, spec);
        let mut tally = tally.lock().expect("no case panicked");
        tally.cases += 1;
        if tally.cases % 1000 == 0 {
            eprintln!("{} right conversions, {} failed", tally.cases, tally.failed.len());
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Inconclusive => tally.inconclusive += 1,
            Verdict::Fail => {
                eprintln!("case {number} failed: {reasons:?}");
                tally.failed.push(format!("case {number}: {reasons:?}"));
            }
        }
        for report in &reports {
            for kill in report.sensitivity.missed() {
                *tally.missed.entry(kill.fault.name()).or_default() += 1;
            }
            for step in report.steps.iter().filter(|s| s.carried.states().count > 0) {
                tally.largest_local =
                    step.keras_local.0.iter().chain(&step.tf1_local.0).fold(tally.largest_local, |m, e| m.max(e.ratio));
                tally.saturated += usize::from(step.carried.saturated);
                if !step.carried.saturated {
                    for distance in
                        step.carried.keras_from_oracle.states().iter().chain(step.carried.tf1_from_oracle.states())
                    {
                        let share = distance / step.carried.allowed;
                        tally.largest_carried = tally.largest_carried.max(share);
                    }
                }
            }
        }
    });
    tally.into_inner().expect("no case panicked")
}

#[test]
fn no_right_conversion_fails_on_the_cpu() {
    let [cases, _] = cases();
    let tally = right_conversions(&Bench::open(Choice::Cpu), cases.clone(), 500);
    println!("right conversions on the CPU, cases {cases:?}: {tally:#?}");
    assert_eq!(tally.cases, cases.count());
    assert!(tally.failed.is_empty(), "{:#?}", tally.failed);
    assert!(tally.largest_local > 0.0 && tally.largest_local < 1.0, "{}", tally.largest_local);
}

#[test]
fn no_right_conversion_fails_on_the_gpu() {
    let [_, cases] = cases();
    let tally = right_conversions(&Bench::open(Choice::Gpu), cases.clone(), 60);
    println!("right conversions on the GPU, cases {cases:?}: {tally:#?}");
    assert_eq!(tally.cases, cases.count());
    assert!(tally.failed.is_empty(), "{:#?}", tally.failed);
}

#[derive(Default, Debug)]
struct WrongTally {
    cases: usize,
    /// The outputs alone, without the exact comparison of the weights, showed it.
    shown_by_lanes: usize,
    /// The diagnosis reproduces the layer bit for bit from named faults.
    explained: usize,
    passed: Vec<String>,
    unexplained: Vec<String>,
}

/// One cell of a random network converted with one or two faults of the catalogue.
fn wrong_conversions(bench: &Bench, cases: Range<u64>) -> WrongTally {
    let tally = Mutex::new(WrongTally::default());
    on_all_cores(cases, |number| {
        // Some draws change nothing (a fault that cannot show on this cell): draw on until one does.
        let mut draw = Draw::new(number, 1);
        let (truth, candidate, index, faults) = loop {
            let truth = network(&mut draw);
            let index = draw.below(truth.cells().len());
            let catalogue = fault::catalogue(truth.cells()[index]);
            let mut pick = || catalogue[draw.below(catalogue.len())].clone();
            let faults: Vec<Fault> = if number % 2 == 0 { vec![pick()] } else { vec![pick(), pick()] };
            let Injected::Cell(wrong) = fault::inject_all(truth.cells()[index], &faults) else { continue };
            let mut at = 0;
            let candidate = convert::network_to_keras(&truth).expect("Keras can express these").try_map(&mut |right| {
                at += 1;
                Ok::<_, ()>(if at - 1 == index { wrong.clone() } else { right.clone() })
            });
            break (truth, candidate.expect("cloning cannot fail"), index, faults);
        };
        let spec = InputSpec { sequences: 4, timesteps: draw.size(2, 100), seed: number };
        let (verdict, reasons, reports) = bench.judge(&truth, Some(&candidate), spec);
        let shown =
            reports.iter().any(|r| r.steps.iter().any(|s| s.carried.states().count > 0 && !s.keras_local.within()));
        let explained = diagnose::explain(truth.cells()[index], candidate.cells()[index]);
        let reproduced = explained.first().is_some_and(|e| {
            let again = fault::inject_all(truth.cells()[index], &e.faults);
            e.equal || matches!(again, Injected::Cell(cell) if cell == *candidate.cells()[index])
        });
        let what = || format!("case {number}: {faults:?} in cell {index}: {reasons:?}");
        let mut tally = tally.lock().expect("no case panicked");
        tally.cases += 1;
        tally.shown_by_lanes += usize::from(shown);
        tally.explained += usize::from(reproduced);
        if verdict != Verdict::Fail {
            tally.passed.push(what());
        }
        if !reproduced {
            let text = explained.first().map_or("nothing".to_owned(), |e| e.text.clone());
            tally.unexplained.push(format!("{}\n    explained as {text}", what()));
        }
    });
    tally.into_inner().expect("no case panicked")
}

#[test]
fn every_wrong_conversion_fails_and_is_explained() {
    let [cases, _] = cases();
    let tally = wrong_conversions(&Bench::open(Choice::Cpu), cases.clone());
    println!(
        "wrong conversions on the CPU, cases {cases:?}: {} cases, {} shown by the lanes alone, {} explained, {} passed",
        tally.cases,
        tally.shown_by_lanes,
        tally.explained,
        tally.passed.len()
    );
    assert_eq!(tally.cases, cases.count());
    assert!(tally.passed.is_empty(), "{:#?}", tally.passed);
    assert!(tally.explained * 100 >= tally.cases * 99, "{:#?}", tally.unexplained);
    assert!(tally.shown_by_lanes * 100 >= tally.cases * 95, "{} of {}", tally.shown_by_lanes, tally.cases);
}
