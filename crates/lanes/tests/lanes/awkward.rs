//! Kernels on awkward sizes, within the bound that follows from rounding, and on whole sequences of them.

use std::sync::OnceLock;

use lanes::{Device, KerasLstm, Route, SelfCheck, Tf1FusedLstm};
use lstm::{Activation, Batch, CellTrace, KerasCell, Network, State, Tf1Cell, convert, oracle};
use ndarray::{Array2, Array3, Axis};
use parity::bound::{self, Bounded, LocalTruth};
use parity::{ActivationBudget, Lane};

use crate::nets::{Make, Random, rich_tf1};
use crate::{adapter, cpu, error};

const UNITS: [usize; 6] = [1, 3, 31, 33, 257, 1023];
const SEQUENCES: [usize; 3] = [1, 7, 65];

/// What each activation may be off by, as the self-check measures it on this device.
fn budget(device: &Device) -> &'static ActivationBudget {
    static BUDGET: OnceLock<ActivationBudget> = OnceLock::new();
    BUDGET.get_or_init(|| {
        let check = SelfCheck::run(device, &[Activation::Tanh, Activation::Sigmoid]);
        assert_eq!(check.failures, Vec::<String>::new());
        check.budget
    })
}

/// The largest error as a share of its bound; infinite for NaN.
fn share(found: &Array3<f32>, truth: &Bounded) -> f64 {
    let found = found.index_axis(Axis(1), 0);
    assert_eq!(found.dim(), truth.value.dim());
    let smallest = f64::from(f32::MIN_POSITIVE);
    let shares = found.iter().zip(&truth.value).zip(&truth.bound).map(|((found, value), bound)| {
        let share = (f64::from(*found) - value).abs() / (bound + smallest);
        if share.is_nan() { f64::INFINITY } else { share }
    });
    shares.fold(0.0, f64::max)
}

fn largest_share(trace: &CellTrace<f32>, truth: &LocalTruth) -> f64 {
    let gates = trace.gates.as_ref().unwrap();
    share(&trace.h, &truth.h).max(share(&trace.c, &truth.c)).max(share(gates, &truth.gates))
}

/// One step of `sequences` from random states, in every sequence its own.
fn one_step(cell: &Tf1Cell, sequences: usize, random: &mut Random) -> Batch {
    let x = random.matrix(sequences, cell.input_size(), 1.5).insert_axis(Axis(1));
    let state = State {
        h: random.matrix(sequences, cell.recurrent_size(), 0.8),
        c: random.matrix(sequences, cell.units(), 0.8),
    };
    Batch { x, lengths: None, initial: vec![state], record_gates: true }
}

fn truth(cell: &Tf1Cell, batch: &Batch) -> LocalTruth {
    let (x, State { h, c }) = (batch.x.index_axis(Axis(1), 0), &batch.initial[0]);
    bound::local(cell, x, h.view(), c.view(), budget(adapter()))
}

/// Within the bound for one step; over three, no more than 8 times as far from the equations as tensor operations are.
fn check<C>(
    (lane, operations): (&impl Lane<C>, &impl Lane<C>),
    form: &Network<C>,
    cell: &Tf1Cell,
    sequences: usize,
    random: &mut Random,
) {
    let what = format!("{} with {} units, {sequences} sequences", lane.name(), cell.units());
    let batch = one_step(cell, sequences, random);
    let trace = lane.run(form, &batch).unwrap();
    let share = largest_share(&trace.cells[0], &truth(cell, &batch));
    assert!(share <= 1.0, "{what}: {share} of the bound");
    assert!(share > 0.0 || cell.units() == 1, "{what}: f32 is exact nowhere in so many sums");

    let x = Array3::from_shape_simple_fn((sequences, 3, cell.input_size()), || random.real(1.5));
    let batch = Batch { x, lengths: Some((0..sequences).map(|n| n % 3 + 1).collect()), ..batch };
    let expected = oracle::run(&Network::Cell(cell.clone()), &batch).trace;
    let off = error(&expected, &lane.run(form, &batch).unwrap());
    // A few units in the last place are nobody's error.
    let allowed = 8.0 * error(&expected, &operations.run(form, &batch).unwrap()).max(2e-7);
    assert!(off <= allowed, "{what}: {off:e} from the equations, where {allowed:e} is allowed");
}

fn lanes(device: &Device, route: Route) -> (Tf1FusedLstm, KerasLstm) {
    (Tf1FusedLstm::new(device.clone()).with_route(route), KerasLstm::new(device.clone()).with_route(route))
}

fn awkward_sizes(route: Route) {
    let mut random = Random(21);
    let (tf1, keras) = lanes(adapter(), route);
    let (tf1_operations, keras_operations) = lanes(cpu(), Route::Operations);
    let (tf1, keras) = ((&tf1, &tf1_operations), (&keras, &keras_operations));
    for units in UNITS {
        // What fits no workgroup's memory has no sequence kernel.
        let input = if units == 1023 { 1 } else { 5 };
        let cell = Tf1Cell { forget_bias: 0.75, ..Tf1Cell::make(input, units, &mut random) };
        let converted = Network::Cell(convert::to_keras(&cell).unwrap());
        let rich = rich_tf1(input, units.min(257), units.min(257).div_ceil(2), &mut random);
        for sequences in SEQUENCES {
            check(tf1, &Network::Cell(cell.clone()), &cell, sequences, &mut random);
            check::<KerasCell>(keras, &converted, &cell, sequences, &mut random);
            // Each combination compiles a shader, which takes a software adapter a second.
            if sequences == 7 {
                check(tf1, &Network::Cell(rich.clone()), &rich, sequences, &mut random);
            }
        }
    }
}

#[test]
fn the_sequence_kernel_stays_within_the_bound_at_awkward_sizes() {
    awkward_sizes(Route::SequenceKernel);
}

#[test]
fn the_step_kernel_stays_within_the_bound_at_awkward_sizes() {
    awkward_sizes(Route::StepKernel);
}

#[test]
fn the_vector_kernel_stays_within_the_bound_at_awkward_sizes() {
    if adapter().info().is_software {
        awkward_sizes(Route::VectorKernel);
    }
}

/// The check itself sees one wrong weight, gate or unit.
#[test]
fn the_bound_sees_a_wrong_weight_and_a_swapped_gate() {
    let mut random = Random(22);
    let cell = Tf1Cell::make(5, 33, &mut random);
    let batch = one_step(&cell, 7, &mut random);
    let truth = truth(&cell, &batch);
    let (tf1, _) = lanes(adapter(), Route::StepKernel);
    let share_of = |cell: Tf1Cell| {
        let trace = tf1.run(&Network::Cell(cell), &batch).unwrap();
        largest_share(&trace.cells[0], &truth)
    };
    assert!(share_of(cell.clone()) <= 1.0);
    let mut wrong = cell.clone();
    wrong.kernel[[37, 40]] += 1e-4;
    assert!(share_of(wrong) > 1.0);
    let mut swapped = cell.clone();
    let columns: Vec<usize> = (0..33).chain(66..99).chain(33..66).chain(99..132).collect();
    swapped.kernel = Array2::from_shape_fn(cell.kernel.dim(), |(r, c)| cell.kernel[[r, columns[c]]]);
    assert!(share_of(swapped) > 1.0);
}
