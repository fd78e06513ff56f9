//! What the kill table costs beside the verification itself, at default sizes.
//!
//!     cargo bench -p gatewise --bench kill_table -- [cpu] [gpu]
//!
//! Times come from the stages that `parity::verify` reports: after a cell's comparison, and after its kill table. Ends
//! with an error where a table costs as much as all the rest, and where a verification does not pass.

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lanes::{Choice, Device, KerasLstm, SelfCheck, Tf1FusedLstm};
use lstm::{Activation, Network, Tf1Cell, convert};
use ndarray::{Array1, Array2};
use parity::random::Stream;
use parity::{InputSpec, Lanes, Subject, Verdict};

/// Rounds that count; one that does not comes before them.
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let mut cheap = true;
    for (name, choice) in [("cpu", Choice::Cpu), ("gpu", Choice::Gpu)] {
        if named.iter().any(|n| n == name) || named.is_empty() && name == "cpu" {
            cheap &= on(choice);
        }
    }
    if cheap { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints one row per network; whether every kill table was cheaper than its verification.
fn on(choice: Choice) -> bool {
    let device = Device::open(choice).expect("the device opens");
    let check = SelfCheck::run(&device, &Activation::ALL);
    let (tf1, keras) = (Tf1FusedLstm::new(device.clone()), KerasLstm::new(device.clone()));
    let lanes = Lanes { tf1: &tf1, keras: &keras };
    let spec = InputSpec::default();
    println!("{}: {} sequences of {} steps, median of {ROUNDS}", device.info().name, spec.sequences, spec.timesteps);
    println!("{:<24} {:>6} {:>13} {:>10}", "network", "faults", "verification", "kill table");
    let mut all_cheap = true;
    for (name, network) in networks() {
        let right = convert::network_to_keras(&network).expect("Keras can express these");
        let names: Vec<String> = (0..network.cells().len()).map(|k| k.to_string()).collect();
        let subject = Subject {
            truth: &network,
            expected: &right,
            candidate: &right,
            names: names.clone(),
            candidate_names: names,
        };
        let batch = parity::inputs::draw(spec, &network);
        let mut rounds = vec![];
        let mut faults = 0;
        for round in 0..=ROUNDS {
            let stages = RefCell::new(vec![Instant::now()]);
            let tick = |_: usize| stages.borrow_mut().push(Instant::now());
            let reports = parity::verify(&subject, lanes, &batch, spec.seed, &check.budget, &tick);
            let (verdict, reasons) = parity::conclude(&reports);
            assert_eq!(verdict, Verdict::Pass, "{name}: {reasons:?}");
            faults = reports.iter().map(|r| r.sensitivity.kills.len()).sum();
            if round > 0 {
                rounds.push(split(&stages.borrow(), reports.len()));
            }
        }
        let [verification, table] = [0, 1].map(|which| median(rounds.iter().map(|r| r[which]).collect()));
        let millis = |d: Duration| format!("{:.0} ms", d.as_secs_f64() * 1e3);
        println!("{name:<24} {faults:>6} {:>13} {:>10}", millis(verification), millis(table));
        all_cheap &= table < verification;
    }
    all_cheap
}

/// From the moments at which stages ended: the verification without its kill tables, and these.
fn split(moments: &[Instant], cells: usize) -> [Duration; 2] {
    let stages: Vec<Duration> = moments.windows(2).map(|w| w[1] - w[0]).collect();
    // The last two stages of each cell are its comparison and its kill table.
    let tables: Duration = stages.iter().rev().step_by(2).take(cells).sum();
    [stages.iter().sum::<Duration>() - tables, tables]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn cell(input: usize, units: usize, seed: u64) -> Network<Tf1Cell> {
    let draw = Stream::new(seed, 1);
    let scale = 1.0 / ((input + units) as f32).sqrt();
    let kernel =
        Array2::from_shape_fn((input + units, 4 * units), |(r, c)| scale * draw.normal((r * 4 * units + c) as u64));
    let bias = Array1::from_shape_fn(4 * units, |c| 0.1 * Stream::new(seed, 2).normal(c as u64));
    Network::Cell(Tf1Cell::new(kernel, bias).expect("shapes fit"))
}

fn networks() -> Vec<(&'static str, Network<Tf1Cell>)> {
    let both = |input, units, seed| Network::side_by_side(cell(input, units, seed), cell(input, units, seed + 1));
    vec![
        ("5 inputs, 8 units", cell(5, 8, 1)),
        ("20 inputs, 100 units", cell(20, 100, 2)),
        ("64 inputs, 128 units", cell(64, 128, 3)),
        ("2 layers, both ways, 64", Network::Stack(vec![both(32, 64, 4), both(128, 64, 6)])),
    ]
}
