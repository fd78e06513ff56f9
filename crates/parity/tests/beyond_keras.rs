//! Cells that Keras can express only with a dense layer after the LSTM, or not at all: the first pass, the others fail and
//! say why, and a clip that is never reached is told as what it is.

mod plain;

use lstm::diagnose::explain_network;
use lstm::fault::Fault;
use lstm::{Batch, KerasCell, LayerNorm, Merge, Network, Norm, Peepholes, Tf1Cell, convert};
use ndarray::{Array1, Array2};
use parity::random::Stream;
use parity::*;
use plain::{Plain, random_cell};

const SPEC: InputSpec = InputSpec { sequences: 12, timesteps: 25, seed: 0 };

fn compare(truth: &Network<Tf1Cell>, candidate: &Network<KerasCell>) -> (Verdict, Vec<Reason>, Vec<CellReport>) {
    compare_on(truth, candidate, &inputs::draw(SPEC, truth))
}

fn compare_on(
    truth: &Network<Tf1Cell>,
    candidate: &Network<KerasCell>,
    batch: &Batch,
) -> (Verdict, Vec<Reason>, Vec<CellReport>) {
    let names: Vec<String> = (0..truth.cells().len()).map(|k| k.to_string()).collect();
    let (expected, _) = convert::nearest_network(truth);
    let subject = Subject { truth, expected: &expected, candidate, names: names.clone(), candidate_names: names };
    let lanes = Lanes { tf1: &Plain, keras: &Plain };
    let reports = verify(&subject, lanes, batch, 0, &ActivationBudget::new(|_| 4.0), &|_| {});
    let (verdict, reasons) = conclude(&reports);
    (verdict, reasons, reports)
}

fn vector(units: usize, seed: u64) -> Array1<f32> {
    Array1::from_shape_fn(units, |k| 0.7 * Stream::new(seed, 60).normal(k as u64))
}

fn projected(input: usize, units: usize, width: usize, seed: u64) -> Tf1Cell {
    let wide = random_cell(input + width, units, 0.6, seed);
    let kernel = wide.kernel.slice(ndarray::s![..input + width, ..]).to_owned();
    let stream = Stream::new(seed, 61);
    let projection = Array2::from_shape_fn((units, width), |(r, c)| 0.6 * stream.normal((r * width + c) as u64));
    let cell = Tf1Cell { kernel, projection: Some(projection), ..wide };
    cell.check().unwrap();
    cell
}

fn with_peepholes(cell: Tf1Cell) -> Tf1Cell {
    let u = cell.units();
    Tf1Cell { peepholes: Some(Peepholes { input: vector(u, 1), forget: vector(u, 2), output: vector(u, 3) }), ..cell }
}

fn with_layer_norm(cell: Tf1Cell) -> Tf1Cell {
    let u = cell.units();
    let norm = |seed| Norm { gamma: 1.0 + 0.3 * vector(u, seed), beta: vector(u, seed + 1) };
    let gates = [norm(10), norm(20), norm(30), norm(40)];
    Tf1Cell { layer_norm: Some(LayerNorm { gates, state: norm(50), epsilon: 1e-12 }), ..cell }
}

fn clipped(cell: Tf1Cell, limit: f32) -> Tf1Cell {
    Tf1Cell { cell_clip: Some(limit), ..cell }
}

#[test]
fn a_projection_followed_by_a_dense_layer_passes() {
    let one = |seed, input, width| Network::Cell(projected(input, 8, width, seed));
    let networks = [
        one(1, 5, 4),
        one(2, 5, 8),
        one(3, 5, 11),
        Network::Stack(vec![one(4, 5, 4), one(5, 4, 3)]),
        Network::side_by_side(one(6, 5, 4), one(7, 5, 4)),
        Network::Stack(vec![one(8, 5, 6), Network::Residual(Box::new(one(9, 6, 6)))]),
    ];
    for network in networks {
        let right = convert::network_to_keras(&network).unwrap();
        let (verdict, reasons, reports) = compare(&network, &right);
        assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
        for report in reports {
            let ratio = report.steps.iter().flat_map(|s| s.keras_local.0).map(|e| e.ratio).fold(0.0, f64::max);
            assert!(ratio > 0.005 && ratio < 0.6, "the bound is neither broken nor idle: {ratio}");
            assert!(report.sensitivity.kills.iter().any(|k| k.fault == Fault::ProjectionDropped));
        }
    }
}

#[test]
fn a_projection_done_wrong_fails_and_is_named() {
    let network = Network::Cell(projected(5, 8, 8, 1));
    let Ok(Network::Cell(right)) = convert::network_to_keras(&network) else { unreachable!() };
    let mut transposed = right.clone();
    transposed.output_projection =
        right.output_projection.clone().map(|p| p.reversed_axes().as_standard_layout().into_owned());
    let dropped = KerasCell { output_projection: None, ..right.clone() };
    // The recurrent rows of the fused kernel in place of their product with the projection: shapes match here.
    let mut unfolded = right.clone();
    let flat = Tf1Cell { projection: None, ..network.cells()[0].clone() };
    unfolded.recurrent_kernel = convert::to_keras(&flat).unwrap().recurrent_kernel;
    for (wrong, fault) in
        [(transposed, "projection-differs"), (dropped, "projection-dropped"), (unfolded, "weights-differ")]
    {
        let wrong = Network::Cell(wrong);
        let (verdict, reasons, reports) = compare(&network, &wrong);
        assert_eq!(verdict, Verdict::Fail, "{fault}");
        assert!(reasons.len() > 1 && !reports[0].weights.equal(), "{fault}: {reasons:?}");
        let explained = explain_network(&network, &wrong);
        assert_eq!(explained[0].explanation.faults[0].name(), fault);
        let local = reports[0].steps.iter().all(|s| s.keras_local.within());
        assert!(!local, "{fault} shows in one step");
    }
}

#[test]
fn a_projected_start_that_no_state_gives_is_refused() {
    let network = Network::Cell(projected(5, 8, 4, 1));
    let right = convert::network_to_keras(&network).unwrap();
    let mut batch = inputs::draw(SPEC, &network);
    assert!(batch.initial[0].h.iter().all(|v| *v == 0.0) && batch.initial[0].c.iter().any(|v| *v != 0.0));
    batch.initial[0].h[[1, 2]] = 0.5;
    let (verdict, _, reports) = compare_on(&network, &right, &batch);
    assert_ne!(verdict, Verdict::Pass);
    assert!(reports[0].lane_failures[0].text.contains("start from a projected output that is not zero"));
}

#[test]
fn what_a_plain_layer_lacks_fails_under_its_name() {
    let plain = || random_cell(5, 8, 0.6, 1);
    let clip_of_output = Tf1Cell { projection_clip: Some(0.1), ..projected(5, 8, 4, 2) };
    let cases = [
        (with_peepholes(plain()), vec!["peephole-dropped"]),
        (with_layer_norm(plain()), vec!["layer-norm-dropped"]),
        (clipped(plain(), 0.3), vec!["clip-ignored"]),
        (clip_of_output, vec!["clip-ignored"]),
        (clipped(with_peepholes(projected(5, 8, 4, 3)), 0.3), vec!["peephole-dropped", "clip-ignored"]),
    ];
    for (cell, faults) in cases {
        let network = Network::Cell(cell);
        let (candidate, lost) = convert::nearest_network(&network);
        assert_eq!(lost[0].iter().map(Fault::name).collect::<Vec<_>>(), faults);
        let (verdict, reasons, reports) = compare(&network, &candidate);
        assert_eq!(verdict, Verdict::Fail, "{faults:?}: {reasons:?}");
        assert!(reports[0].weights.equal(), "the candidate is the nearest layer");
        assert!(reports[0].steps.iter().all(|s| s.tf1_local.within()), "{faults:?}: the TF1 lane is right");
        assert!(reasons.iter().any(|r| r.text.contains("rounding")), "{faults:?}: how far it is is told");
        assert!(reports[0].clips.iter().all(|c| c.reached));
        let explained = explain_network(&network, &candidate);
        assert_eq!(explained[0].explanation.faults.iter().map(Fault::name).collect::<Vec<_>>(), faults);
        let kills: Vec<_> = reports[0].sensitivity.kills.iter().map(|k| (k.fault.name(), k.detected)).collect();
        assert_eq!(kills, faults.iter().map(|f| (*f, Some(true))).collect::<Vec<_>>());
    }
}

#[test]
fn a_clip_that_is_never_reached_passes_with_a_note() {
    let unclipped = random_cell(5, 8, 0.6, 1);
    for cell in [clipped(unclipped.clone(), 50.0), Tf1Cell { projection_clip: Some(50.0), ..projected(5, 8, 4, 2) }] {
        let network = Network::Cell(cell);
        let (candidate, lost) = convert::nearest_network(&network);
        assert_eq!(lost[0], [Fault::ClipIgnored]);
        let (verdict, reasons, reports) = compare(&network, &candidate);
        assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
        let [clip] = reports[0].clips[..] else { panic!("one clip") };
        assert!(!clip.reached && clip.limit == 50.0 && clip.largest > 0.5 && clip.largest < 50.0);
        assert!(clip.note().contains("the comparison holds for inputs like these only"), "{}", clip.note());
        let kills = &reports[0].sensitivity.kills;
        let of_clip = kills.iter().find(|k| k.fault == Fault::ClipIgnored).unwrap();
        assert_eq!((of_clip.detected, kills.len() > 20), (None, true));
        // And a wrong conversion of such a cell is still seen.
        let Network::Cell(mut wrong) = candidate else { unreachable!() };
        wrong.bias.fill(0.0);
        assert_eq!(compare(&network, &Network::Cell(wrong)).0, Verdict::Fail);
    }
    // Just within the reach of the state, the same candidate fails.
    let largest = {
        let network = Network::Cell(clipped(unclipped.clone(), 50.0));
        compare(&network, &convert::nearest_network(&network).0).2[0].clips[0].largest
    };
    let network = Network::Cell(clipped(unclipped, 0.9 * largest as f32));
    let (verdict, _, reports) = compare(&network, &convert::nearest_network(&network).0);
    assert_eq!((verdict, reports[0].clips[0].reached), (Verdict::Fail, true));
}

/// float64 weights: both lanes run them rounded to f32, the truth is exact, and the bound covers the difference.
#[test]
fn weights_that_f32_does_not_hold_pass_and_a_rounding_too_coarse_does_not() {
    let mut cell = projected(5, 8, 4, 1);
    let mut weights = cell.weights().into_owned();
    let between = |w: f64| w * (1.0 + 2f64.powi(-26));
    weights.kernel.mapv_inplace(between);
    weights.bias.mapv_inplace(between);
    weights.projection.as_mut().unwrap().mapv_inplace(between);
    cell.hold(weights, 0.0);
    assert!(cell.rounding().changed > 100);
    let network = Network::Cell(cell);
    let right = convert::network_to_keras(&network).unwrap();
    let (verdict, reasons, _) = compare(&network, &right);
    assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
    let Network::Cell(mut wrong) = right else { unreachable!() };
    wrong.kernel.mapv_inplace(|w| lstm::fault::Precision::Bfloat16.round(w));
    let (verdict, _, reports) = compare(&network, &Network::Cell(wrong));
    assert_eq!(verdict, Verdict::Fail);
    assert!(!reports[0].steps.iter().all(|s| s.keras_local.within()));
}

#[test]
fn residuals_and_every_way_to_merge_two_directions_pass() {
    let cell = |input, seed| Network::Cell(random_cell(input, 8, 0.5, seed));
    for merge in [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Ave] {
        let width = if merge == Merge::Concat { 16 } else { 8 };
        let both = Network::Bidirectional { forward: Box::new(cell(5, 1)), backward: Box::new(cell(5, 2)), merge };
        let above = Network::Cell(random_cell(width, width, 0.3, 3));
        let network = Network::Stack(vec![both, Network::Residual(Box::new(above))]);
        let right = convert::network_to_keras(&network).unwrap();
        let (verdict, reasons, _) = compare(&network, &right);
        assert_eq!(verdict, Verdict::Pass, "{merge:?}: {reasons:?}");
    }
}

/// Every cell computes what it should, and the network does not: no cell reads the last outputs.
#[test]
fn an_output_made_otherwise_fails_though_every_cell_is_right() {
    let cell = |seed| Network::Cell(random_cell(8, 8, 0.5, seed));
    let both = |merge| Network::Bidirectional { forward: Box::new(cell(1)), backward: Box::new(cell(2)), merge };
    for (truth, other) in [(Network::Residual(Box::new(cell(1))), cell(1)), (both(Merge::Sum), both(Merge::Ave))] {
        let wrong = convert::network_to_keras(&other).unwrap();
        let (verdict, reasons, reports) = compare(&truth, &wrong);
        assert_eq!(verdict, Verdict::Fail);
        assert!(reasons[0].text.starts_with("the candidate is wired as"), "{reasons:?}");
        assert!(reports[0].steps.iter().all(|s| s.keras_local.within()));
    }
}
