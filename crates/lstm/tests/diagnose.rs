//! Diagnosis of wrong conversions that a real Keras wrote, against the TensorFlow checkpoint they were made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use golden::case;
use keras_file::{LayerKind, Lstm};
use lstm::detect::{Given, detect, load};
use lstm::diagnose::explain;
use lstm::fault::Fault;
use lstm::{Activation, KerasCell, Network, Tf1Cell};
use ndarray::{Array1, Array2};
use tf_checkpoint::Checkpoint;

/// Every wrong conversion, by the name its generator gave it, and the faults it is to be explained by.
const WRONG: [(&str, &[&str]); 18] = [
    ("bias_not_permuted", &["bias-not-permuted"]),
    ("bias_zeroed", &["bias-missing"]),
    // Exchanging f and c in all three tensors is the same as not permuting them.
    ("forget_and_cell_swapped", &["gates-not-permuted"]),
    ("forget_bias_on_wrong_gate", &["forget-bias-wrong-gate"]),
    ("forget_bias_twice", &["forget-bias-doubled"]),
    ("gates_not_permuted", &["gates-not-permuted"]),
    ("gates_not_permuted_no_forget_bias", &["gates-not-permuted", "forget-bias-missing"]),
    ("go_backwards", &["backward-not-reversed"]),
    ("hard_sigmoid_gates", &["recurrent-activation"]),
    ("no_bias", &["bias-missing"]),
    ("no_forget_bias", &["forget-bias-missing"]),
    ("one_weight_off_by_1_percent", &["weights-differ"]),
    ("output_and_input_swapped", &["gate-order"]),
    ("recurrent_rows_rolled_by_one", &["recurrent-rows-rolled"]),
    ("recurrent_transposed_per_gate", &["recurrent-transposed"]),
    ("relu_instead_of_tanh", &["activation"]),
    ("rounded_to_float16", &["precision-reduced"]),
    ("rows_recurrent_first", &["kernel-rows-recurrent-first"]),
];

fn truth(name: &str) -> Network<Tf1Cell> {
    let checkpoint = Checkpoint::open(&case(name).checkpoint()).unwrap();
    let graph = checkpoint.graph().unwrap();
    let found = detect(checkpoint.variables(), graph.as_ref(), &Given::default()).unwrap();
    found.networks[0].network.try_map(&mut |cell| load(cell, |name| checkpoint.read(name))).unwrap()
}

fn keras_cell(lstm: &Lstm, major: u32) -> KerasCell {
    let matrix = |array: &keras_file::Array| {
        Array2::from_shape_vec((array.shape[0], array.shape[1]), array.data.clone()).unwrap()
    };
    let kernel = matrix(&lstm.kernel);
    let bias = lstm.bias.as_ref().map_or_else(|| Array1::zeros(kernel.ncols()), |b| Array1::from(b.data.clone()));
    let mut cell = KerasCell::new(kernel, matrix(&lstm.recurrent_kernel), bias).unwrap();
    if let Some(config) = &lstm.config {
        cell.activation = Activation::from_keras(&config.activation, major).unwrap();
        cell.recurrent_activation = Activation::from_keras(&config.recurrent_activation, major).unwrap();
        cell.go_backwards = config.go_backwards;
    }
    cell
}

fn candidate(path: &Path, major: u32) -> KerasCell {
    let file = keras_file::read(path).unwrap();
    match &file.layers[..] {
        [layer] => match &layer.kind {
            LayerKind::Lstm(lstm) => keras_cell(lstm, major),
            _ => panic!("{}: not one LSTM", path.display()),
        },
        layers => panic!("{}: {} layers", path.display(), layers.len()),
    }
}

/// The wrong conversions of one Keras, by name.
fn wrong_files(major: u32) -> BTreeMap<String, PathBuf> {
    let dir = case("basic").dir.join(format!("keras{major}/wrong"));
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e != "json"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned(), path))
        .collect()
}

#[test]
fn every_wrong_conversion_is_diagnosed_by_its_right_name() {
    let Network::Cell(truth) = truth("basic") else { panic!("basic is one cell") };
    for major in [2, 3] {
        let files = wrong_files(major);
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, WRONG.map(|(name, _)| name), "keras{major}");
        for (name, expected) in WRONG {
            let explanations = explain(&truth, &candidate(&files[name], major));
            let best = &explanations[0];
            let found: Vec<&str> = best.faults.iter().map(Fault::name).collect();
            assert_eq!(found, expected, "keras{major} {name}: {}", best.text);
            assert_eq!(best.equal, name != "one_weight_off_by_1_percent", "keras{major} {name}: {}", best.text);
            assert_eq!(best.residual == 0.0, best.equal, "keras{major} {name}");
        }
    }
}

#[test]
fn what_a_diagnosis_says() {
    let Network::Cell(truth) = truth("basic") else { panic!("basic is one cell") };
    let files = wrong_files(3);
    let says = |name: &str| {
        let best = explain(&truth, &candidate(&files[name], 3)).swap_remove(0);
        (best.text, best.advice)
    };
    let (text, advice) = says("gates_not_permuted_no_forget_bias");
    assert_eq!(
        text,
        "candidate = correct conversion with the gates not permuted and the forget bias missing: residual 0"
    );
    assert_eq!(
        advice,
        "take the four blocks of columns of kernel, recurrent kernel and bias in the order 0, 2, 1, 3; \
         add 1 to columns 8..16 of the bias after permuting it"
    );
    let (text, _) = says("one_weight_off_by_1_percent");
    assert!(
        text.starts_with(
            "candidate = correct conversion, but one weight differs: recurrent kernel row 4, column 9 (gate f) is "
        ),
        "{text}"
    );
    let (text, advice) = says("relu_instead_of_tanh");
    assert_eq!(text, "candidate = correct conversion with relu for candidate and output: residual 0");
    assert_eq!(advice, "set the layer's activation to tanh");
    let (text, _) = says("hard_sigmoid_gates");
    assert_eq!(text, "candidate = correct conversion with hard_sigmoid (Keras 3: x/6 + 0.5) for the gates: residual 0");
    let (text, _) = says("output_and_input_swapped");
    assert_eq!(
        text,
        "candidate = correct conversion with gates o, f, c, i in kernel, recurrent kernel and bias: residual 0"
    );
}

#[test]
fn right_conversions_need_no_diagnosis() {
    for name in ["basic", "forget_bias_0", "forget_bias_other", "square", "relu"] {
        let case = case(name);
        let Network::Cell(truth) = truth(name) else { panic!("{name} is one cell") };
        for (major, file) in [(2, "model.h5"), (2, "model.keras"), (3, "model.keras"), (3, "model.h5")] {
            let path = case.dir.join(format!("keras{major}/{file}"));
            assert_eq!(explain(&truth, &candidate(&path, major)), [], "{}", path.display());
        }
    }
}
