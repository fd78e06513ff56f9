//! CuDNNLSTM and Keras 1 layers (`models/make_old.py`): read as Keras 2's own loader converts them, bit for bit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use keras_file::{Array, Elements, KerasFile, Layer, LayerKind, Lstm, Problem, Stored};

fn old(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/old").join(file)
}

fn read(file: &str) -> KerasFile {
    keras_file::read(&old(file)).unwrap_or_else(|e| panic!("{e}"))
}

fn directions(layer: &Layer) -> Vec<&Lstm> {
    layer.kind.lstms()
}

fn arrays(layer: &Layer) -> Vec<&Array> {
    directions(layer)
        .into_iter()
        .flat_map(|l| [Some(&l.kernel), Some(&l.recurrent_kernel), l.bias.as_ref()])
        .flatten()
        .collect()
}

#[test]
fn every_layer_is_read_as_keras_2_converts_it() {
    let expected: HashMap<String, _> = keras_file::read_arrays(&old("expected.npz"))
        .expect("expected.npz of make_old.py")
        .into_iter()
        .map(|a| (a.name.clone(), a))
        .collect();
    let mut compared = 0;
    for (files, stored) in [
        (["cudnn_stack", "cudnn_both_ways"].as_slice(), Stored::Cudnn),
        (&["keras1", "keras1_theano", "keras1_gpu", "keras1_both_ways"], Stored::Keras1),
    ] {
        for name in files {
            for ending in ["legacy.h5", "weights.h5", "model.h5", "keras"] {
                let file = format!("{name}.{ending}");
                if !old(&file).exists() {
                    continue;
                }
                let found = read(&file);
                // Keras 2 does not write names into this format: the groups are called after the classes.
                let nameless = ending == "weights.h5";
                let names: &[&str] = match *name {
                    "cudnn_stack" => &["a", "b"],
                    "cudnn_both_ways" if nameless => &["last", "bi"],
                    "cudnn_both_ways" => &["bi", "last"],
                    "keras1" if ending == "legacy.h5" => &["lstm_1", "lstm_2"],
                    "keras1_both_ways" => &["bidirectional_1"],
                    _ => &["lstm_1"],
                };
                assert_eq!(found.layers.len(), names.len(), "{file}");
                for (layer, name) in found.layers.iter().zip(names) {
                    assert!(nameless || layer.name == *name, "{file}: {}", layer.name);
                    assert!(directions(layer).iter().all(|l| l.stored == stored), "{file}");
                    for (i, array) in arrays(layer).into_iter().enumerate() {
                        let expected = &expected[&format!("{file}/{name}/{i}")];
                        assert_eq!(array.shape, expected.shape, "{file} {name} {i}");
                        let values = array.data.iter().map(|v| f64::from(*v).to_bits());
                        assert!(values.eq(expected.values.iter().map(|v| v.to_bits())), "{file} {name} {i}");
                        compared += 1;
                    }
                }
                // Nothing may be put where its layout is another.
                assert!(found.slots.iter().all(|s| s.layer.starts_with("dense")), "{file}: {:?}", found.slots);
            }
        }
    }
    assert_eq!(compared, 4 * 6 + 4 * 9 + 6 + 3 + 3 + 6 + 3 + 6);
}

#[test]
fn old_layers_bring_their_settings() {
    let config = |l: &Lstm| l.config.clone().expect("a configuration");
    for ending in ["model.h5", "keras"] {
        let file = read(&format!("cudnn_stack.{ending}"));
        let first = config(directions(&file.layers[0])[0]);
        assert_eq!((first.activation.as_str(), first.recurrent_activation.as_str()), ("tanh", "sigmoid"));
        assert!(first.use_bias && first.return_sequences && !config(directions(&file.layers[1])[0]).return_sequences);
    }
    let file = read("keras1.model.h5");
    assert_eq!(file.keras_version.as_deref(), Some("1.2.2"));
    assert_eq!(config(directions(&file.layers[0])[0]).recurrent_activation, "hard_sigmoid");
    let file = read("keras1_both_ways.model.h5");
    let LayerKind::Bidirectional { forward, backward, merge_mode } = &file.layers[0].kind else {
        panic!("one direction")
    };
    assert_eq!((config(forward).recurrent_activation.as_str(), merge_mode.as_deref()), ("sigmoid", Some("sum")));
    assert!(!config(forward).go_backwards && config(backward).go_backwards);
}

/// Files of real projects; `GATEWISE_REAL` says where they are.
fn real(file: &str) -> Option<PathBuf> {
    let given = std::env::var_os("GATEWISE_REAL").map(PathBuf::from);
    let root = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/real"));
    let path = root.join(file);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there; set GATEWISE_REAL", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn textgenrnn_is_read() {
    if let Some(path) = real("textgenrnn-h5/textgenrnn_weights.hdf5") {
        let file = keras_file::read(&path).unwrap_or_else(|e| panic!("{e}"));
        let names: Vec<_> = file.layers.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["rnn_1", "rnn_2"]);
        assert!(file.layers.iter().all(|l| directions(l)[0].stored == Stored::Cudnn));
        let shapes: Vec<_> = arrays(&file.layers[0]).iter().map(|a| a.shape.clone()).collect();
        assert_eq!(shapes, [vec![100, 512], vec![128, 512], vec![512]]);
    }
    if let Some(path) = real("textgenrnn-h5/textgenrnn_weights_2017.hdf5") {
        let file = keras_file::read(&path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(file.layers.len(), 1);
        assert_eq!(directions(&file.layers[0])[0].stored, Stored::Plain);
        assert_eq!(file.layers[0].name, "rnn");
    }
}

fn elements(file: &str) -> Vec<(String, Vec<usize>, String, Vec<f64>)> {
    let arrays = keras_file::read_hdf5_arrays(&old(file)).unwrap_or_else(|e| panic!("{e}"));
    let values = |e: Elements| match e {
        Elements::Float32(v) => v.into_iter().map(f64::from).collect(),
        Elements::Float64(v) => v,
    };
    arrays.into_iter().map(|a| (a.name, a.shape, a.dtype, values(a.data))).collect()
}

#[test]
fn hdf5_that_is_not_keras_is_listed_by_path() {
    assert!(
        matches!(keras_file::read(&old("foreign.hdf5")), Err(e) if matches!(e.problem(), Problem::UnknownLayout { .. }))
    );
    let found = elements("foreign.hdf5");
    let names: Vec<_> = found.iter().map(|a| (a.0.as_str(), a.1.clone(), a.2.as_str())).collect();
    let expected = [
        ("RNN_0/Cell0/B", vec![8], "float64"),
        ("RNN_0/Cell0/W_0", vec![3, 8], "float32"),
        ("big", vec![4], "float32"),
        ("gz", vec![2, 3], "uint8"),
        ("half", vec![4], "float16"),
        ("packed", vec![2, 3], "uint8"),
        ("steps", vec![], "int64"),
    ];
    assert_eq!(names, expected);
    let counted = |n: u8| (0..n).map(f64::from).collect::<Vec<_>>();
    let of = |i: usize| found[i].3.clone();
    assert_eq!([of(2), of(3), of(4), of(6)], [counted(4), counted(6), counted(4), vec![-7.0]]);
}

#[test]
fn a_group_that_contains_itself_ends() {
    let error = keras_file::read_hdf5_arrays(&old("circle.hdf5")).expect_err("a circle");
    assert!(matches!(error.problem(), Problem::TooLarge { .. }), "{error}");
}

#[test]
fn hdf5_is_told_by_its_beginning() {
    assert!(keras_file::is_hdf5(&old("foreign.hdf5")).expect("a file"));
    assert!(!keras_file::is_hdf5(&old("expected.npz")).expect("a file"));
    assert!(keras_file::is_hdf5(&old("nowhere")).is_err());
    let error = keras_file::read_hdf5_arrays(&old("expected.npz")).expect_err("no HDF5");
    assert!(matches!(error.problem(), Problem::NotHdf5 { .. }), "{error}");
}

#[test]
fn elmo_is_listed() {
    let Some(path) = real("elmo-fixture-h5/lm_weights.hdf5") else { return };
    let arrays = keras_file::read_hdf5_arrays(&path).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(arrays.len(), 33);
    let w = arrays.iter().find(|a| a.name == "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell/W_0").expect("its kernel");
    assert_eq!((w.shape.as_slice(), w.dtype.as_str()), ([32, 256].as_slice(), "float32"));
}

#[test]
fn files_of_the_first_weights_h5_are_read() {
    let text = std::fs::read_to_string(old("early.json")).expect("early.json of make_early.py");
    let expected: HashMap<String, Vec<Vec<f64>>> = serde_json::from_str(&text).expect("sums by file");
    assert_eq!(expected.len(), 2);
    for (name, sums) in expected {
        for ending in ["weights.h5", "keras"] {
            let file = read(&format!("{name}.{ending}"));
            let sum = |l: &&Lstm| l.kernel.data.iter().map(|v| f64::from(*v)).sum::<f64>();
            let mut found: Vec<Vec<f64>> =
                file.layers.iter().map(|l| directions(l).iter().map(sum).collect()).collect();
            if ending == "weights.h5" {
                // Numbered by class: the bidirectional layer comes last.
                assert!(!file.order_known);
                let bidirectional = found.pop().expect("a layer");
                found.insert(1, bidirectional);
            }
            let near = |(a, b): (&Vec<f64>, &Vec<f64>)| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
            };
            assert!(found.len() == sums.len() && found.iter().zip(&sums).all(near), "{name}.{ending}: {found:?}");
            assert!(file.slots.iter().any(|s| s.layer == "dense" && s.shape == [5, 2]), "{name}.{ending}");
        }
    }
}

/// One LSTM of Keras 1 over `x`, a list of steps, with its hard_sigmoid.
fn evaluate(lstm: &Lstm, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let units = lstm.units();
    let gate = |x: f64| (0.2 * x + 0.5).clamp(0.0, 1.0);
    let bias = lstm.bias.as_ref().expect("a bias");
    let (mut h, mut c) = (vec![0.0; units], vec![0.0; units]);
    let step = |x: &Vec<f64>| {
        let product = |v: &[f64], m: &Array, column: usize| -> f64 {
            v.iter().enumerate().map(|(row, v)| v * f64::from(m.data[row * 4 * units + column])).sum()
        };
        let z: Vec<f64> = (0..4 * units)
            .map(|n| product(x, &lstm.kernel, n) + product(&h, &lstm.recurrent_kernel, n) + f64::from(bias.data[n]))
            .collect();
        for u in 0..units {
            c[u] = gate(z[units + u]) * c[u] + gate(z[u]) * z[2 * units + u].tanh();
        }
        h = (0..units).map(|u| gate(z[3 * units + u]) * c[u].tanh()).collect();
        h.clone()
    };
    x.iter().map(step).collect()
}

#[test]
fn layers_of_a_real_keras_1_compute_what_it_did() {
    let arrays = keras_file::read_arrays(&old("keras1_real.npz")).expect("keras1_real.npz of make_keras1.py");
    let array = |name: &str| arrays.iter().find(|a| a.name == name).expect("x and y");
    let (x, y) = (array("x"), array("y"));
    let steps = x.shape[1];
    let rows = |a: &keras_file::NamedArray| a.values.chunks(a.shape[2]).map(<[f64]>::to_vec).collect::<Vec<_>>();
    for ending in ["model.h5", "legacy.h5"] {
        let file = read(&format!("keras1_real.{ending}"));
        assert_eq!(
            file.layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
            ["lstm_1", "bidirectional_1", "lstm_3"]
        );
        for (x, y) in rows(x).chunks(steps).zip(rows(y).chunks(steps)) {
            let found = file.layers.iter().fold(x.to_vec(), |x, layer| match directions(layer)[..] {
                [lstm] => evaluate(lstm, &x),
                [forward, backward] => {
                    let reversed: Vec<_> = x.iter().rev().cloned().collect();
                    let back = evaluate(backward, &reversed).into_iter().rev();
                    evaluate(forward, &x).into_iter().zip(back).map(|(f, b)| [f, b].concat()).collect()
                }
                _ => panic!("one or two"),
            });
            let worst = found.iter().flatten().zip(y.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-6, "{ending}: {worst}");
        }
        let config = directions(&file.layers[0])[0].config.as_ref();
        assert_eq!(config.map(|c| c.recurrent_activation.as_str()), (ending == "model.h5").then_some("hard_sigmoid"));
    }
}
