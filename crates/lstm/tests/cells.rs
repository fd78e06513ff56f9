//! The rarer cells, wrappers and wirings: loading them by what `case.json` says of them, and the oracle against what
//! TensorFlow itself computed. TensorFlow ran the cells' own equations on the cells' own variables, so agreement to the
//! last digits proves the transforms of [`lstm::forms`], and layer normalisation, from outside.

mod found;

use std::collections::BTreeSet;

use golden::{Case, cell_cases};
use lstm::detect::{Given, LoadError, detect, load};
use lstm::oracle::Arithmetic;
use lstm::{CellTrace, Direction, Network, Tf1Cell, convert, oracle};
use ndarray::{Array2, Array3, ArrayD, Axis, concatenate};
use tf_checkpoint::Checkpoint;

fn weights(case: &Case) -> Network<Tf1Cell> {
    let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    found::network(case)
        .try_map(&mut |cell| load(cell, |name| checkpoint.read(name)))
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// Largest distance of the oracle from TensorFlow: of the outputs, and of the top layer's final states.
fn distance(case: &Case, network: &Network<Tf1Cell>) -> f64 {
    let batch = found::batch(case, network);
    let trace = oracle::run(network, &batch).trace;
    let io = case.io64();
    let apart = |ours: &ArrayD<f64>, theirs: &str| {
        let theirs = &io[theirs];
        assert_eq!(ours.shape(), theirs.shape(), "{}", case.name);
        ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let placed = network.placed_cells();
    let top = placed.iter().map(|(p, _)| p.layer).max().unwrap();
    let last = |n: usize| batch.lengths.as_ref().map_or(batch.timesteps(), |l| l[n]) - 1;
    let finals = |pick: fn(&CellTrace<f64>) -> &Array3<f64>| {
        let of_top = placed.iter().zip(&trace.cells).filter(|((place, _), _)| place.layer == top);
        let parts: Vec<Array2<f64>> = of_top
            .map(|((place, _), cell)| {
                let values = pick(cell);
                Array2::from_shape_fn((batch.sequences(), values.dim().2), |(n, unit)| {
                    values[[n, if place.direction == Direction::Forward { last(n) } else { 0 }, unit]]
                })
            })
            .collect();
        concatenate(Axis(1), &parts.iter().map(|p| p.view()).collect::<Vec<_>>()).unwrap().into_dyn()
    };
    let states = apart(&finals(|t| &t.h), "h").max(apart(&finals(|t| &t.c), "c"));
    apart(&trace.output.clone().into_dyn(), "y").max(states)
}

#[test]
fn the_oracle_computes_what_tensorflow_computes() {
    for case in cell_cases() {
        let network = weights(&case);
        let tolerance = if case.json["dtype"] == "float64" { 1e-12 } else { 1e-6 };
        let far = distance(&case, &network);
        assert!(far <= tolerance, "{}: {far:e} from TensorFlow", case.name);
        eprintln!("{:36} {far:.1e}", case.name);
    }
}

/// The same distances must be large where a transform or a normalisation is not what it should be.
#[test]
fn a_slightly_wrong_cell_is_far_from_tensorflow() {
    type Plant = fn(&mut Tf1Cell);
    let wrong: [(&str, Plant); 8] = [
        ("cells/float64_cifg", |c| c.exact.as_mut().unwrap().bias[0] += 1e-9),
        ("cells/float64_cifg", |c| c.exact.as_mut().unwrap().peepholes.as_mut().unwrap()[0][3] *= 1.0 + 1e-8),
        ("cells/float64_weight_norm", |c| c.exact.as_mut().unwrap().kernel[[8, 3]] *= 1.0 + 1e-8),
        ("cells/float64_weight_norm", |c| c.exact.as_mut().unwrap().projection.as_mut().unwrap()[[6, 3]] += 1e-9),
        ("cells/float64_glstm", |c| c.exact.as_mut().unwrap().kernel[[0, 35]] = 1e-8),
        ("cells/float64_indy", |c| c.exact.as_mut().unwrap().kernel[[5, 1]] = 1e-8),
        ("cells/float64_layer_norm", |c| c.layer_norm.as_mut().unwrap().epsilon = 1e-7),
        ("cells/float64_full", |c| c.cell_clip = Some(0.624_999_94)),
    ];
    for (name, plant) in wrong {
        let case = golden::case(name);
        let mut network = weights(&case);
        let Network::Cell(cell) = &mut network else { panic!("{name} is one cell") };
        plant(cell);
        let far = distance(&case, &network);
        assert!(far > 1e-11, "{name}: {far:e}");
    }
}

/// What is refused, and why, is the same with and without having read the weights.
#[test]
fn a_refusal_needs_no_weights() {
    let mut refused = BTreeSet::new();
    for case in cell_cases() {
        let (found, loaded) = (found::network(&case), weights(&case));
        for (found, loaded) in found.cells().into_iter().zip(loaded.cells()) {
            let why = convert::refusal_of(found);
            assert_eq!(why, convert::representable(loaded).err(), "{}", case.name);
            refused.insert(why.map_or("not refused".to_owned(), |why| why.to_string()));
        }
    }
    let words = refused.into_iter().collect::<Vec<_>>().join("; ");
    for word in ["not refused", "peephole", "normalises", "clips its cell state", "clips its projected output"] {
        assert!(words.contains(word), "no case is refused for {word:?}: {words}");
    }
}

#[test]
fn float64_and_computed_weights_say_what_rounding_them_changes() {
    for case in cell_cases() {
        for cell in weights(&case).cells() {
            let rounding = cell.rounding();
            assert_eq!(rounding.changed == 0, cell.exact.is_none(), "{}", case.name);
            assert!(rounding.largest_relative <= 2f64.powi(-24), "{}: {rounding}", case.name);
            let computed = case.name.contains("weight_norm") && !case.name.ends_with("off");
            // A coupled cell's input bias holds the sum of the stored bias and the forget bias.
            let expected = computed || case.name.contains("float64") || case.name.contains("cifg");
            assert_eq!(cell.exact.is_some(), expected, "{}: {rounding}", case.name);
        }
    }
}

/// Every operation rounded to float16, up or down at random.
struct Half(u64);

impl Half {
    fn next(&mut self) -> f64 {
        // Knuth's multiplicative generator; its upper bits are well spread.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }
}

impl Arithmetic for Half {
    const EXACT: bool = false;
    fn sums(&mut self, values: &mut [f64], squares: &[f32], terms: usize) {
        for (value, squares) in values.iter_mut().zip(squares) {
            // Four uniform numbers are near enough to a normal one; the sum of roundings has this deviation.
            let normal = (0..4).map(|_| self.next() - 0.5).sum::<f64>() * 3f64.sqrt();
            *value += normal * 2f64.powi(-11) * (terms as f64 / 6.0 * f64::from(*squares)).sqrt();
        }
        self.round(values);
    }
    fn round(&mut self, values: &mut [f64]) {
        for value in values {
            let quantum = f64::exp2(value.abs().max(2f64.powi(-14)).log2().floor() - 10.0);
            *value = (*value / quantum + self.next() - 0.5).round() * quantum;
        }
    }
    fn activate(&mut self, _: lstm::Activation, values: &mut [f64]) {
        self.round(values);
    }
}

/// TensorFlow computed this case in float16, whose unit roundoff is 2⁻¹¹. How far right float16 runs are from the
/// truth is what runs with every operation so rounded show; TensorFlow's may be no further than twice the farthest.
#[test]
fn float16_weights_are_widened_and_explain_tensorflow_within_float16() {
    let case = golden::case("float16");
    let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap();
    let graph = checkpoint.graph().unwrap();
    let detected = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    let of = |cell: &lstm::detect::FoundCell| load(cell, |name| checkpoint.read(name)).unwrap();
    let network = Network::Cell(of(detected.networks[0].network.cells()[0]));
    assert_eq!(network.cells()[0].rounding().changed, 0, "float32 holds what float16 does");
    let batch = found::batch(&case, &network);
    let truth = oracle::run(&network, &batch).trace.output;
    let floor = (0..32)
        .map(|seed| oracle::run_with(&network, &batch, &mut Half(seed)).trace.output)
        .map(|run| (&run - &truth).mapv(f64::abs).fold(0.0, |m: f64, v| m.max(*v)))
        .fold(0.0, f64::max);
    let far = |network: &Network<Tf1Cell>| {
        let ours = oracle::run(network, &batch).trace.output.into_dyn();
        (&ours - &case.io64()["y"]).mapv(f64::abs).fold(0.0, |m: f64, v| m.max(*v))
    };
    let right = far(&network);
    eprintln!("float16: {right:.1e} from TensorFlow, right float16 runs up to {floor:.1e}");
    assert!(floor < 0.01 && right > floor / 50.0 && right <= 2.0 * floor, "{right:e} against {floor:e}");
    let mut wrong = network.clone();
    let Network::Cell(cell) = &mut wrong else { unreachable!() };
    cell.forget_bias = 0.9;
    assert!(far(&wrong) > 2.0 * floor, "a forget bias of 0.9 is seen");
}

#[test]
fn what_no_lane_runs_is_refused_in_words() {
    let refusal = |name: &str, change: fn(&mut lstm::detect::FoundCell)| -> String {
        let case = golden::case(name);
        let checkpoint = Checkpoint::open(&case.checkpoint()).unwrap();
        let mut cell = found::network(&case).cells()[0].clone();
        change(&mut cell);
        let error: LoadError = load(&cell, |name| checkpoint.read(name)).unwrap_err();
        std::error::Error::source(&error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
    };
    assert_eq!(
        refusal("cells/glstm", |c| c.activation.value = lstm::Activation::Relu),
        "rnn/glstm_cell is a GLSTMCell with relu for its output and tanh for its candidate, which gatewise does not run"
    );
    assert!(refusal("cells/cifg", |c| c.layer_norm = true).contains("transform/gamma"));
    assert_eq!(
        refusal("cells/weight_norm", |c| _ = c.variables.extra.remove("norm_1")),
        "rnn/wn_lstm_cell/wn_lstm_cell is a WeightNormLSTMCell without norm_1"
    );
    let indy = refusal("cells/indy", |c| c.units = 5);
    assert!(indy.contains("do not fit together: kernel is [7, 20]: expected [5, 20]"), "{indy}");
}
