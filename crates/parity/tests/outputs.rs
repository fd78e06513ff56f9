//! Recorded outputs alone: whose they are, and which mistake made them.

mod plain;

use lstm::fault::{self, Fault, Injected};
use lstm::{Activation, Batch, KerasCell, Network, Tf1Cell, Trace, convert};
use ndarray::Array3;
use parity::outputs::{OutputReport, judge};
use parity::{ActivationBudget, InputSpec, Lane, LaneError, inputs};
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
        Fault::RecurrentActivation { found: Activation::HardSigmoidKeras2 },
        Fault::Activation { found: Activation::Relu },
        Fault::BackwardNotReversed,
    ] {
        let Injected::Cell(wrong) = fault::inject(cell, &fault) else { panic!("{fault:?} can show") };
        let report = report(&output_of(wrong, &batch));
        assert!(!report.within(), "{fault:?}");
        let best = &report.explanations[0];
        assert_eq!((best.fault.name(), best.cell), (fault.name(), None), "{:?}", report.explanations);
        assert!(best.residual < 1e-4 * report.distance, "{} of {}", best.residual, report.distance);
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

fn judged(network: &Network<Tf1Cell>, batch: &Batch, y: &Array3<f32>) -> OutputReport {
    judge(network, batch, y, &Plain, &ActivationBudget::new(|_| 4.0), 0).unwrap()
}

/// Where errors of rounding grow, only the steps before they have taken over are judged, and those are.
#[test]
fn chaos_hides_what_comes_after_it_and_nothing_before() {
    let network = Network::Cell(random_cell(5, 24, 3.0, 2));
    let mut batch = inputs::draw(InputSpec { sequences: 8, timesteps: 60, seed: 0 }, &network);
    batch.lengths = None;
    let right = convert::to_keras(network.cells()[0]).unwrap();
    let y = output_of(right, &batch);
    let report = judged(&network, &batch, &y);
    assert!(report.within() && !report.says_nothing(), "{report:?}");
    assert!(report.unjudged > 10 && report.unjudged < 59, "{}", report.unjudged);
    let with = |t: usize, value: f32| {
        let mut y = y.clone();
        y[[3, t, 7]] = value;
        judged(&network, &batch, &y)
    };
    let late = with(59, 0.5);
    assert!(late.within() && late.distance.is_finite(), "right runs are anywhere by then");
    let early = with(1, 0.5);
    assert!(!early.within() && early.step == 1, "{} {}", early.step, early.distance);
    for value in [f32::NAN, f32::INFINITY] {
        let spoilt = with(59, value);
        assert!(!spoilt.within() && spoilt.step == 59);
    }
}

#[test]
fn where_right_runs_are_apart_from_the_first_step_outputs_say_nothing() {
    let network = Network::Cell(random_cell(5, 24, 3.0, 2));
    let mut batch = inputs::draw(InputSpec { sequences: 8, timesteps: 4, seed: 0 }, &network);
    batch.x.mapv_inplace(|v| v * 1e6);
    batch.initial[0].h.fill(0.0);
    batch.initial[0].c.fill(0.0);
    // The sum of a few large products cancels so that float32 leaves nothing of it.
    let cell = network.cells()[0];
    let mut cell = Tf1Cell { activation: Activation::Linear, ..cell.clone() };
    let half = cell.kernel.row(0).to_owned();
    cell.kernel.row_mut(1).assign(&-&half);
    cell.kernel.slice_mut(ndarray::s![2.., ..]).fill(0.0);
    let network = Network::Cell(cell);
    let first = batch.x.index_axis(ndarray::Axis(2), 0).to_owned();
    batch.x.index_axis_mut(ndarray::Axis(2), 1).assign(&first);
    let y = output_of(convert::to_keras(network.cells()[0]).unwrap(), &batch);
    let report = judged(&network, &batch, &y);
    assert!(report.within() && report.says_nothing() && report.unjudged == 4, "{report:?}");
}

fn two_layers() -> (Network<Tf1Cell>, Batch) {
    let both = |seed| {
        let cell = |input, seed| Network::Cell(random_cell(input, 4, 0.6, seed));
        Network::side_by_side(cell(if seed == 0 { 5 } else { 8 }, seed), cell(if seed == 0 { 5 } else { 8 }, seed + 1))
    };
    let network = Network::Stack(vec![both(0), both(2)]);
    let batch = inputs::draw(InputSpec { sequences: 6, timesteps: 9, seed: 0 }, &network);
    (network, batch)
}

/// Outputs of the network with the named cells replaced.
fn output_with(
    network: &Network<Tf1Cell>,
    batch: &Batch,
    change: &dyn Fn(usize, &KerasCell) -> KerasCell,
) -> Array3<f32> {
    let mut index = 0;
    let wrong = convert::network_to_keras(network).unwrap().try_map(&mut |cell| {
        index += 1;
        Ok::<_, ()>(change(index - 1, cell))
    });
    Plain.run(&wrong.unwrap(), batch).unwrap().output
}

#[test]
fn a_mistake_in_one_cell_or_in_all_is_told_apart() {
    let (network, batch) = two_layers();
    let inject = |index: usize, fault: &Fault| match fault::inject(network.cells()[index], fault) {
        Injected::Cell(wrong) => wrong,
        other => panic!("{other:?}"),
    };
    let y = output_with(&network, &batch, &|_, right| right.clone());
    assert!(judged(&network, &batch, &y).within());
    for fault in [Fault::ForgetBiasMissing, Fault::GatesNotPermuted, Fault::Activation { found: Activation::Relu }] {
        let y = output_with(&network, &batch, &|index, _| inject(index, &fault));
        let report = judged(&network, &batch, &y);
        assert!(!report.within());
        let best = &report.explanations[0];
        assert_eq!((&best.fault, best.cell), (&fault, None));
        assert!(best.residual <= report.allowed);
        let y =
            output_with(&network, &batch, &|index, right| if index == 2 { inject(2, &fault) } else { right.clone() });
        let report = judged(&network, &batch, &y);
        let best = &report.explanations[0];
        assert_eq!((&best.fault, best.cell), (&fault, Some(2)));
        assert!(!report.within() && best.residual <= report.allowed);
        assert!(report.explanations.is_sorted_by(|a, b| a.residual <= b.residual));
    }
}

#[test]
fn directions_exchanged_explain_their_outputs() {
    let (network, batch) = two_layers();
    let right = convert::network_to_keras(&network).unwrap();
    let y = output_with(&network, &batch, &|index, _| right.cells()[[0, 1, 3, 2][index]].clone());
    let report = judged(&network, &batch, &y);
    assert!(!report.within());
    assert_eq!(report.explanations[0].fault, Fault::DirectionsSwapped { forward: 2, backward: 3 });
    assert!(report.explanations[0].residual <= report.allowed);
}

/// A lane that fails while mistakes are tried takes back no judgement.
#[test]
fn the_judgement_stands_without_an_explanation() {
    struct Lost;
    impl Lane<KerasCell> for Lost {
        fn name(&self) -> String {
            "lost".to_owned()
        }
        fn run(&self, _: &Network<KerasCell>, _: &Batch) -> Result<Trace<f32>, LaneError> {
            panic!("device lost")
        }
    }
    let (network, batch) = case();
    let y = output_of(convert::to_keras(network.cells()[0]).unwrap(), &batch) + 0.5;
    let report = judge(&network, &batch, &y, &Lost, &ActivationBudget::new(|_| 4.0), 0).unwrap();
    assert!(!report.within() && report.explanations.is_empty());
}

/// Zeros at the first step are not lost to rounding, and hide nothing that comes after them.
#[test]
fn a_first_step_of_zeros_leaves_the_others_judged() {
    let mut cell = random_cell(5, 8, 0.6, 1);
    cell.bias.fill(0.0);
    let network = Network::Cell(cell);
    let mut batch = inputs::draw(InputSpec { sequences: 8, timesteps: 20, seed: 0 }, &network);
    batch.x.slice_mut(ndarray::s![.., 0, ..]).fill(0.0);
    batch.initial[0].h.fill(0.0);
    batch.initial[0].c.fill(0.0);
    let y = output_of(convert::to_keras(network.cells()[0]).unwrap(), &batch);
    assert!(y.index_axis(ndarray::Axis(1), 0).iter().all(|h| *h == 0.0));
    let report = judged(&network, &batch, &y);
    assert!(report.within() && report.unjudged == 0, "{report:?}");
    for t in [0, 1] {
        let mut wrong = y.clone();
        wrong[[3, t, 4]] += 0.5;
        let report = judged(&network, &batch, &wrong);
        assert!(!report.within() && report.step == t, "{report:?}");
    }
}
