//! Recorded outputs alone: whose they are, and which mistake made them.

mod plain;

use lstm::fault::{self, Fault, Injected};
use lstm::{Batch, KerasCell, Network, Tf1Cell, convert};
use ndarray::Array3;
use parity::outputs::{OutputReport, judge};
use parity::{ActivationBudget, InputSpec, Lane, inputs};
use plain::{Plain, random_cell};

fn case() -> (Network<Tf1Cell>, Batch) {
    let network = Network::Cell(random_cell(5, 8, 0.6, 1));
    let batch = inputs::draw(InputSpec { sequences: 8, timesteps: 20, seed: 0 }, &network);
    (network, batch)
}

fn output_of(cell: KerasCell, batch: &Batch) -> Array3<f32> {
    Plain.run(&Network::Cell(cell), batch).unwrap().output
}

fn report(y: &Array3<f32>) -> OutputReport {
    let (network, batch) = case();
    judge(&network, &batch, y, &Plain, &ActivationBudget::new(|_| 4.0), 0).unwrap()
}

#[test]
fn right_outputs_agree() {
    let (network, batch) = case();
    let right = convert::to_keras(network.cells()[0]).unwrap();
    let report = report(&output_of(right, &batch));
    assert!(report.within() && report.distance > 0.0 && report.explanations.is_empty(), "{report:?}");
    let valid: usize = batch.lengths.unwrap().iter().sum();
    assert_eq!(report.compared, valid as u64 * 8);
}

#[test]
fn outputs_of_a_mistake_are_called_by_its_name() {
    let (network, batch) = case();
    let cell = network.cells()[0];
    for fault in [
        Fault::ForgetBiasMissing,
        Fault::GatesNotPermuted,
        Fault::RecurrentActivation { found: lstm::Activation::HardSigmoidKeras2 },
        Fault::Activation { found: lstm::Activation::Relu },
        Fault::BackwardNotReversed,
    ] {
        let Injected::Cell(wrong) = fault::inject(cell, &fault) else { panic!("{fault:?} can show") };
        let report = report(&output_of(wrong, &batch));
        assert!(!report.within(), "{fault:?}");
        let (best, residual) = &report.explanations[0];
        assert_eq!(best.name(), fault.name(), "{:?}", report.explanations);
        assert!(*residual < 1e-4 * report.distance, "{residual} of {}", report.distance);
    }
}

#[test]
fn not_a_number_and_other_shapes_never_agree() {
    let (network, batch) = case();
    let right = convert::to_keras(network.cells()[0]).unwrap();
    let mut y = output_of(right, &batch);
    y[[0, 3, 2]] = f32::NAN;
    assert!(!report(&y).within());
    let short = y.slice(ndarray::s![.., 1.., ..]).to_owned();
    assert!(judge(&network, &batch, &short, &Plain, &ActivationBudget::new(|_| 4.0), 0).is_err());
}
