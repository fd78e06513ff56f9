//! The kill table as a verification makes it: what is seen, what cannot show, and that neither is claimed for nothing.

mod plain;

use lstm::fault::Fault;
use lstm::{Activation, Batch, KerasCell, Network, Tf1Cell, Trace, convert};
use ndarray::{Array1, Axis};
use parity::bound::{self, Bounded};
use parity::{
    ActivationBudget, CellReport, InputSpec, Kill, Lane, LaneError, Lanes, Subject, Verdict, conclude, inputs, verify,
};
use plain::{Plain, random_cell};

fn run_on(network: &Network<Tf1Cell>, batch: &Batch, keras: &dyn Lane<KerasCell>) -> Vec<CellReport> {
    let right = convert::network_to_keras(network).unwrap();
    let names: Vec<String> = (0..network.cells().len()).map(|k| k.to_string()).collect();
    let subject =
        Subject { truth: network, expected: &right, candidate: &right, names: names.clone(), candidate_names: names };
    verify(&subject, Lanes { tf1: &Plain, keras }, batch, 0, &ActivationBudget::new(|_| 4.0), &|_| {})
}

fn run(network: &Network<Tf1Cell>) -> Vec<CellReport> {
    run_on(network, &inputs::draw(InputSpec { sequences: 12, timesteps: 20, seed: 0 }, network), &Plain)
}

fn kill(report: &CellReport, of: impl Fn(&Fault) -> bool) -> &Kill {
    report.sensitivity.kills.iter().find(|k| of(&k.fault)).unwrap()
}

/// Every fault of the catalogue has its row, and on a cell of random weights all but one show.
#[test]
fn each_fault_is_tried_once_and_seen() {
    let cell = random_cell(5, 8, 0.6, 1);
    let report = run(&Network::Cell(cell.clone())).remove(0);
    let kills = &report.sensitivity.kills;
    let tried: Vec<&Fault> = kills.iter().map(|k| &k.fault).collect();
    assert_eq!(tried, lstm::fault::catalogue(&cell).iter().collect::<Vec<_>>());
    for kill in kills {
        match kill.fault {
            Fault::HardSigmoidDefinition { .. } => {
                assert_eq!((kill.detected, kill.margin), (None, 0.0));
                assert_eq!(kill.why.as_deref(), Some("the cell does not use hard_sigmoid"));
            }
            _ => {
                assert_eq!((kill.detected, &kill.why), (Some(true), &None), "{:?}", kill.fault);
                assert!(kill.margin > 1.0 && kill.margin.is_finite(), "{:?}: {}", kill.fault, kill.margin);
            }
        }
    }
    assert!(
        kills.iter().any(|k| k.fault == Fault::OneStepLate) && kills.iter().any(|k| k.fault == Fault::StateSwapped)
    );
}

/// The margin is the largest error of h and c over its bound, whatever the gates do.
#[test]
fn the_margin_is_the_error_over_its_bound() {
    let cell = random_cell(5, 8, 0.6, 1);
    let network = Network::Cell(cell.clone());
    // One step of a few sequences: every point is tried, and starts from the states of the batch.
    let batch = inputs::draw(InputSpec { sequences: 8, timesteps: 1, seed: 0 }, &network);
    let report = run_on(&network, &batch, &Plain).remove(0);
    let budget = ActivationBudget::new(|_| 4.0);
    let x = batch.x.index_axis(Axis(1), 0).to_owned();
    let step =
        |cell: &Tf1Cell| bound::local(cell, x.view(), batch.initial[0].h.view(), batch.initial[0].c.view(), &budget);
    let right = step(&cell);
    let wrong = [
        (Fault::ForgetBiasMissing, Tf1Cell { forget_bias: 0.0, ..cell.clone() }),
        (Fault::ForgetBiasDoubled, Tf1Cell { forget_bias: 2.0, ..cell.clone() }),
        (Fault::BiasMissing, Tf1Cell { forget_bias: 0.0, bias: Array1::zeros(32), ..cell.clone() }),
        (Fault::Activation { found: Activation::Relu }, Tf1Cell { activation: Activation::Relu, ..cell.clone() }),
    ];
    for (fault, wrong) in wrong {
        let found = step(&wrong);
        let share = |found: &Bounded, right: &Bounded| {
            ((&found.value - &right.value).mapv_into(f64::abs) / &right.bound).fold(0.0, |m: f64, v| m.max(*v))
        };
        let expected = share(&found.h, &right.h).max(share(&found.c, &right.c));
        let margin = kill(&report, |f| *f == fault).margin;
        assert!((margin / expected - 1.0).abs() < 1e-4, "{fault:?}: {margin:e}, by hand {expected:e}");
    }
}

#[test]
fn neighbours_with_the_same_weights_cannot_be_mistaken() {
    let cell = |seed| Network::Cell(random_cell(8, 8, 0.5, seed));
    let swapped = |reports: &[CellReport], index: usize| {
        let found =
            kill(&reports[index], |f| matches!(f, Fault::LayersSwapped { .. } | Fault::DirectionsSwapped { .. }));
        (found.detected, found.why.clone())
    };
    let cannot = (None, Some("both cells hold the same weights".to_owned()));
    for (first, second, expected) in [(1, 2, (Some(true), None)), (1, 1, cannot)] {
        let stack = run(&Network::Stack(vec![cell(first), cell(second)]));
        let both = run(&Network::side_by_side(cell(first), cell(second)));
        for reports in [&stack, &both] {
            assert_eq!((swapped(reports, 0), swapped(reports, 1)), (expected.clone(), expected.clone()));
        }
    }
    // Any one of the tensors tells them apart.
    let same = random_cell(8, 8, 0.5, 1);
    let changes: [fn(&mut Tf1Cell); 3] =
        [|c| c.kernel[[2, 3]] += 0.5, |c| c.kernel[[12, 3]] += 0.5, |c| c.bias[3] += 0.5];
    for change in changes {
        let mut other = same.clone();
        change(&mut other);
        let reports = run(&Network::Stack(vec![Network::Cell(same.clone()), Network::Cell(other)]));
        assert_eq!(swapped(&reports, 0), (Some(true), None));
    }
}

#[test]
fn states_that_are_equal_cannot_be_exchanged() {
    let network = Network::Cell(random_cell(5, 8, 0.6, 1));
    let mut batch = inputs::draw(InputSpec { sequences: 4, timesteps: 1, seed: 0 }, &network);
    let state = |batch: &Batch| run_on(&network, batch, &Plain).remove(0);
    let exchanged = |report: &CellReport| kill(report, |f| *f == Fault::StateSwapped).clone();
    assert_eq!(exchanged(&state(&batch)).detected, Some(true));
    batch.initial[0].c = batch.initial[0].h.clone();
    let kill = exchanged(&state(&batch));
    assert_eq!((kill.detected, kill.why.as_deref()), (None, Some("what is fed wrongly is the same here")));
    let equal_inputs = {
        batch.x.fill(0.25);
        state(&batch)
    };
    let late = equal_inputs.sensitivity.kills.iter().find(|k| k.fault == Fault::OneStepLate).unwrap();
    assert_eq!(late.detected, None);
}

/// What a fault turns into NaN is seen, and without a bound.
#[test]
fn values_that_are_no_number_are_seen() {
    struct Spoilt(KerasCell);
    impl Lane<KerasCell> for Spoilt {
        fn name(&self) -> String {
            "spoilt".to_owned()
        }
        fn run(&self, network: &Network<KerasCell>, batch: &Batch) -> Result<Trace<f32>, LaneError> {
            let mut trace = Plain.run(network, batch)?;
            if *network.cells()[0] != self.0 {
                trace.cells[0].h[[0, 0, 0]] = f32::NAN;
            }
            Ok(trace)
        }
    }
    let cell = random_cell(5, 8, 0.6, 1);
    let lane = Spoilt(convert::to_keras(&cell).unwrap());
    let network = Network::Cell(cell);
    let batch = inputs::draw(InputSpec { sequences: 4, timesteps: 10, seed: 0 }, &network);
    let report = run_on(&network, &batch, &lane).remove(0);
    let small = kill(&report, |f| matches!(f, Fault::WeightsDiffer(_)));
    assert_eq!((small.detected, small.margin), (Some(true), f64::INFINITY));
    assert_eq!(conclude(&[report]).0, Verdict::Pass);
}
